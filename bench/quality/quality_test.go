package quality_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/bench/chain"
	"github.com/livekit-connector/livekit-connector/bench/quality"
	"github.com/livekit-connector/livekit-connector/internal/impair"
)

// measure runs one cell in fake time.
func measure(t *testing.T, m chain.Maker, cell quality.Cell) quality.Result {
	t.Helper()
	clip, err := quality.Speech(true, cell.LossPercent())
	require.NoError(t, err)
	var rec *chain.Recording
	synctest.Test(t, func(*testing.T) { rec, err = quality.Run(m, clip, cell, quality.Seed) })
	require.NoError(t, err)
	r, heard, err := quality.Measure(m.Name, rec, clip, cell, quality.Seed)
	require.NoError(t, err)
	require.NotEmpty(t, heard)
	t.Logf("%+v", r)
	return r
}

// TestSpeechIsUnderstood holds what the benchmark reports to bars: for the relay the targets, for the mix what 20 kb/s
// leave of speech that was coded before. The networks repeat; where in its tick a line begins does not.
func TestSpeechIsUnderstood(t *testing.T) {
	t.Parallel()
	cells := map[quality.Cell]struct{ relay, mix float64 }{
		{Name: "clean"}: {0.99, 0.985},
		{Name: "5 %", Network: impair.Model{Loss: 0.05}}:                                        {0.985, 0.975},
		{Name: "20 %", Network: impair.Model{Loss: 0.2}}:                                        {0.96, 0.93},
		{Name: "clock fast", DriftPPM: 200}:                                                     {0.99, 0.98},
		{Name: "5 %, jitter", Network: impair.Model{Loss: 0.05, Jitter: 60 * time.Millisecond}}: {0.985, 0.96},
	}
	for cell, bars := range cells {
		for _, m := range quality.Ours() {
			t.Run(m.Name+" "+cell.Name, func(t *testing.T) {
				t.Parallel()
				r := measure(t, m, cell)
				bar, delay := bars.relay, time.Millisecond
				if m.Name == quality.Mix {
					bar, delay = bars.mix, 45*time.Millisecond+2*cell.Network.Jitter
				}
				require.GreaterOrEqual(t, r.STOI, bar)
				require.LessOrEqual(t, r.Delay.P95, delay+time.Duration(cell.LossPercent())*time.Millisecond)
				require.Zero(t, r.Gaps)
			})
		}
	}
}

func TestDelayOf(t *testing.T) {
	t.Parallel()
	require.Zero(t, quality.DelayOf(nil))
	var all []time.Duration
	for i := range 101 {
		all = append(all, time.Duration(100-i))
	}
	require.Equal(t, quality.Delay{P50: 50, P95: 95, P99: 99}, quality.DelayOf(all))
}
