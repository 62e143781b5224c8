package stoi_test

import (
	"bytes"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/bench/stoi"
	"github.com/livekit-connector/livekit-connector/pkg/fakemeta/hearing"
	"github.com/livekit-connector/livekit-connector/testdata"
)

func speech(t *testing.T, name string) []float64 {
	t.Helper()
	wav, err := testdata.Audio.ReadFile("audio/" + name)
	require.NoError(t, err)
	pcm, rate, err := hearing.ReadWAV(bytes.NewReader(wav))
	require.NoError(t, err)
	require.Equal(t, 16000, rate)
	x := make([]float64, len(pcm))
	for i, v := range pcm {
		x[i] = float64(v) / 32768
	}
	return x
}

// noise is a sequence that a few lines of any language repeat.
func noise(n int) []float64 {
	out := make([]float64, n)
	s := uint64(12345)
	for i := range out {
		s = (s*1103515245 + 12345) % (1 << 31)
		out[i] = float64(s)/(1<<30) - 1
	}
	return out
}

// TestAgreesWithPystoi holds values that pystoi 0.4.1 gives for the same signals.
func TestAgreesWithPystoi(t *testing.T) {
	t.Parallel()
	damage := map[string]func(v, noise float64, i int) float64{
		"same":       func(v, _ float64, _ int) float64 { return v },
		"noise 0.01": func(v, n float64, _ int) float64 { return v + 0.01*n },
		"noise 0.1":  func(v, n float64, _ int) float64 { return v + 0.1*n },
		"clipped":    func(v, _ float64, _ int) float64 { return min(0.05, max(-0.05, v)) },
		"10 % silent": func(v, _ float64, i int) float64 {
			if i/320%10 == 0 {
				return 0
			}
			return v
		},
	}
	want := map[string]map[string]stoi.Scores{
		"caller.wav": {
			"same": {STOI: 1, ESTOI: 1}, "noise 0.01": {STOI: 0.99062, ESTOI: 0.96275}, "noise 0.1": {STOI: 0.82015, ESTOI: 0.56916},
			"clipped": {STOI: 0.78866, ESTOI: 0.69691}, "10 % silent": {STOI: 0.94705, ESTOI: 0.92099},
		},
		"agent.wav": {
			"same": {STOI: 1, ESTOI: 1}, "noise 0.01": {STOI: 0.99314, ESTOI: 0.96890}, "noise 0.1": {STOI: 0.81900, ESTOI: 0.54336},
			"clipped": {STOI: 0.76808, ESTOI: 0.64238}, "10 % silent": {STOI: 0.92622, ESTOI: 0.91272},
		},
	}
	for file, cases := range want {
		said := speech(t, file)
		n := noise(len(said))
		for name, scores := range cases {
			t.Run(file+" "+name, func(t *testing.T) {
				t.Parallel()
				heard := make([]float64, len(said))
				for i, v := range said {
					heard[i] = damage[name](v, n[i], i)
				}
				got := stoi.Compare(said, heard, 16000)
				require.InDelta(t, scores.STOI, got.STOI, 1e-4)
				require.InDelta(t, scores.ESTOI, got.ESTOI, 1e-4)
			})
		}
	}
}

func TestTooShortSpeechGivesNoScore(t *testing.T) {
	t.Parallel()
	said := speech(t, "caller.wav")
	require.Zero(t, stoi.Compare(said[:3000], said[:3000], 16000))
	require.Zero(t, stoi.Compare(nil, nil, 16000))
	require.Zero(t, stoi.Compare(make([]float64, 16000), said[:16000], 16000), "there was no speech")
}

func TestResampleKeepsTones(t *testing.T) {
	t.Parallel()
	const n = 4800
	x := make([]float64, n)
	for i := range x {
		x[i] = math.Sin(2 * math.Pi * 1000 * float64(i) / 48000)
	}
	y := stoi.Resample(x, 48000, 16000)
	require.Len(t, y, n/3)
	for i := 200; i < len(y)-200; i++ {
		require.InDelta(t, math.Sin(2*math.Pi*1000*float64(i)/16000), y[i], 2e-3)
	}
}
