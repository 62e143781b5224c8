package media

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

// tone fills sum with frame number n of a sine.
func tone(sum []int32, n int, hz, amplitude float64) {
	for i := range sum {
		t := float64(n*len(sum)+i) / 16000
		sum[i] = int32(amplitude * math.Sin(2*math.Pi*hz*t))
	}
}

func TestLimiterLetsPassWhatFits(t *testing.T) {
	var l limiter
	sum, pcm := make([]int32, 320), make([]int16, 320)
	for n := range 50 {
		tone(sum, n, 440, ceiling)
		require.InDelta(t, 1, l.apply(sum, 1, pcm), 0)
		for i := range pcm {
			require.EqualValues(t, sum[i], pcm[i])
		}
	}
	require.InDelta(t, 1, l.apply(sum, 0.5, pcm), 0)
	require.InDelta(t, float64(sum[100])/2, float64(pcm[100]), 1)
}

// Ten times too loud, at once, in the middle of a frame, or of another frequency: no sample above the ceiling, hardly
// any at it, no step that the sum does not have, and the gain comes back.
func TestLimiterDoesNotClipAndRecovers(t *testing.T) {
	for _, hz := range []float64{110, 440, 1000, 3400} {
		for _, factor := range []float64{1.2, 2, 10, 100} {
			var l limiter
			sum, pcm := make([]int32, 320), make([]int16, 320)
			flat, run, frames, last := 0, 0, 100, 0.0
			for n := range frames {
				amplitude := 8000.0
				if n >= 10 && n < 60 {
					amplitude = 8000 * factor * 4
				}
				tone(sum, n, hz, amplitude)
				l.apply(sum, 1, pcm)
				slope := 2 * math.Pi * hz / 16000 * ceiling
				for i, v := range pcm {
					require.LessOrEqual(t, math.Abs(float64(v)), float64(ceiling))
					if run++; math.Abs(float64(v)) < ceiling-1 {
						run = 0
					}
					flat = max(flat, run)
					if n > 10 {
						require.LessOrEqual(t, math.Abs(float64(v)-last), 1.1*slope+200, "frame %d sample %d", n, i)
					}
					last = float64(v)
				}
			}
			require.LessOrEqual(t, flat, 20, "%v Hz, factor %v: rounded off for a millisecond at most", hz, factor)
			for n := range 150 {
				tone(sum, n, hz, 8000)
				l.apply(sum, 1, pcm)
			}
			require.Zero(t, l.reduction, "recovered")
		}
	}
}

func TestLimiterRestsInSilence(t *testing.T) {
	l := limiter{reduction: 0.9}
	for range 10 { // 200 ms: one time constant
		l.rest()
	}
	require.InDelta(t, 0.9/math.E, float64(l.reduction), 1e-3)
}

func TestAddToAndFade(t *testing.T) {
	for _, n := range []int{0, 1, 3, 4, 7, 160, 320} {
		sum, pcm := make([]int32, n), make([]int16, n)
		for i := range pcm {
			pcm[i], sum[i] = int16(i-5), int32(1000*i)
		}
		addTo(sum, pcm)
		for i := range sum {
			require.EqualValues(t, 1001*i-5, sum[i])
		}
	}
	pcm := []int16{1000, 1000, 1000, 1000, 1000}
	fade(pcm, 4, 1, 0)
	require.Equal(t, []int16{750, 500, 250, 0, 1000}, pcm)
}

func BenchmarkLimiter(b *testing.B) {
	for name, amplitude := range map[string]float64{"idle": 8000, "working": 80000} {
		b.Run(name, func(b *testing.B) {
			var l limiter
			sum, pcm := make([]int32, 320), make([]int16, 320)
			tone(sum, 0, 440, amplitude)
			for b.Loop() {
				l.apply(sum, 1, pcm)
			}
		})
	}
}
