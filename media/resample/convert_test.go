package resample_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/media/resample"
)

func TestConvertKeepsLengthAndPlace(t *testing.T) {
	each(t, func(t *testing.T, in, out int) {
		for _, n := range []int{1, 7, 160, 4001, 3*in + 11} {
			click := make([]int16, n)
			click[n/2] = 20000
			got, err := resample.Convert(click, in, out)
			require.NoError(t, err)
			require.Len(t, got, (n*out+in-1)/in)
			if n < 4000 {
				continue
			}
			peak := 0
			for i, v := range got {
				if v > got[peak] {
					peak = i
				}
			}
			require.InDelta(t, float64(n/2)*float64(out)/float64(in), float64(peak), 1)
		}
	})
}

func TestConvertIsTransparentAndRepeatable(t *testing.T) {
	each(t, func(t *testing.T, in, out int) {
		hz := 0.4 * float64(min(in, out)) // 0.8 of Nyquist's
		pcm := tone(2*in, in, hz, 20000)
		got, err := resample.Convert(pcm, in, out)
		require.NoError(t, err)
		amplitude := at(got[out/2:out/2*3], out, hz)
		require.InDelta(t, 0, 20*math.Log10(amplitude/20000), 0.05)
		again, err := resample.Convert(pcm, in, out)
		require.NoError(t, err)
		require.Equal(t, got, again)
		if in > out {
			got, err = resample.Convert(tone(2*in, in, 0.53*float64(out), 20000), in, out)
			require.NoError(t, err)
			require.Less(t, level(got[out/2:out/2*3], 20000), -74.0)
		}
	})
}

// The live resampler is the file's, later and a little narrower.
func TestLiveSoundsAsConverted(t *testing.T) {
	pcm := make([]int16, 16000)
	for i := range pcm {
		x := float64(i) / 16000
		pcm[i] = int16(6000*math.Sin(2*math.Pi*170*x) + 4000*math.Sin(2*math.Pi*1100*x+1) + 2000*math.Sin(2*math.Pi*2900*x))
	}
	file, err := resample.Convert(pcm, 16000, 48000)
	require.NoError(t, err)
	f := filter(t, 16000, 48000)
	live := convert(t, f, pcm)
	lag := int(math.Round(f.Delay().Seconds() * 48000))
	var signal, noise float64
	for i := 4800; i < 43000; i++ {
		d := float64(live[i+lag]) - float64(file[i])
		signal += float64(file[i]) * float64(file[i])
		noise += d * d
	}
	require.Greater(t, 10*math.Log10(signal/noise), 20.0, "apart by a third of a sample at most")
}

func TestConvertRefusesWhatSoxrMight(t *testing.T) {
	for _, p := range [][2]int{{0, 8000}, {8000, 0}, {-1, 8000}, {1, 8000}, {8000, 1 << 30}, {math.MinInt, 8000}} {
		_, err := resample.Convert(make([]int16, 100), p[0], p[1])
		require.ErrorIs(t, err, resample.ErrRate)
	}
	got, err := resample.Convert(nil, 8000, 16000)
	require.NoError(t, err)
	require.Empty(t, got)
	pcm := []int16{1, 2, 3}
	got, err = resample.Convert(pcm, 16000, 16000)
	require.NoError(t, err)
	require.Equal(t, pcm, got)
	got[0] = 9
	require.Equal(t, int16(1), pcm[0], "a copy")
}
