package hearing_test

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/pkg/fakemeta/hearing"
)

func TestResampleKeepsWhatBothRatesCarry(t *testing.T) {
	for _, c := range []struct{ from, to int }{{16000, 48000}, {48000, 16000}, {8000, 44100}, {44100, 8000}} {
		const f = 1000.0
		in := hearing.Tone(f, 0.5, time.Second, c.from)
		out := hearing.Resample(in, c.from, c.to)
		require.Len(t, out, c.to)
		for i := c.to / 10; i < c.to*9/10; i++ {
			want := 0.5 * 32767 * math.Sin(2*math.Pi*f*float64(i)/float64(c.to))
			require.InDelta(t, want, float64(out[i]), 200, "%d to %d, sample %d", c.from, c.to, i)
		}
	}
}

func TestResampleTakesOutWhatWouldAlias(t *testing.T) {
	out := hearing.Resample(hearing.Tone(6000, 0.5, time.Second, 48000), 48000, 8000)
	for _, v := range out[800:7200] {
		require.Less(t, math.Abs(float64(v)), 60.0)
	}
}
