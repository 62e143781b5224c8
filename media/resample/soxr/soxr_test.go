package soxr_test

import (
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/media/resample"
	"github.com/livekit-connector/livekit-connector/media/resample/soxr"
)

func each(t *testing.T, test func(t *testing.T, in, out int)) {
	t.Helper()
	for _, p := range [][2]int{
		{8000, 16000},
		{16000, 8000},
		{16000, 48000},
		{48000, 16000},
		{8000, 48000},
		{48000, 8000},
		{24000, 16000},
		{16000, 24000},
		{12000, 16000},
		{16000, 12000},
		{44100, 16000},
		{16000, 44100},
		{44100, 8000},
		{44100, 48000},
		{48000, 44100},
	} {
		t.Run(fmt.Sprintf("%d to %d", p[0], p[1]), func(t *testing.T) { test(t, p[0], p[1]) })
	}
}

func tone(samples, rate int, hz, peak float64) []int16 {
	pcm := make([]int16, samples)
	for i := range pcm {
		pcm[i] = int16(math.Round(peak * math.Sin(2*math.Pi*hz*float64(i)/float64(rate))))
	}
	return pcm
}

// level is the RMS in dB relative to that of a sine of the given peak.
func level(pcm []int16, peak float64) float64 {
	var sum float64
	for _, v := range pcm {
		sum += float64(v) * float64(v)
	}
	return 10 * math.Log10((sum/float64(len(pcm))+1e-9)/(peak*peak/2))
}

// at is the amplitude of hz in pcm.
func at(pcm []int16, rate int, hz float64) float64 {
	var re, im float64
	for i, v := range pcm {
		// A Hann window, so that what is elsewhere does not leak.
		w := 1 - math.Cos(2*math.Pi*(float64(i)+0.5)/float64(len(pcm)))
		a := 2 * math.Pi * hz * float64(i) / float64(rate)
		re += w * float64(v) * math.Cos(a)
		im += w * float64(v) * math.Sin(a)
	}
	return 2 * math.Hypot(re, im) / float64(len(pcm))
}

func TestConvertKeepsLengthAndPlace(t *testing.T) {
	each(t, func(t *testing.T, in, out int) {
		for _, n := range []int{1, 7, 160, 4001, 3*in + 11} {
			click := make([]int16, n)
			click[n/2] = 20000
			got, err := soxr.Convert(click, in, out)
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
		got, err := soxr.Convert(pcm, in, out)
		require.NoError(t, err)
		amplitude := at(got[out/2:out/2*3], out, hz)
		require.InDelta(t, 0, 20*math.Log10(amplitude/20000), 0.05)
		again, err := soxr.Convert(pcm, in, out)
		require.NoError(t, err)
		require.Equal(t, got, again)
		if in > out {
			got, err = soxr.Convert(tone(2*in, in, 0.53*float64(out), 20000), in, out)
			require.NoError(t, err)
			require.Less(t, level(got[out/2:out/2*3], 20000), -74.0)
		}
	})
}

// What the live resampler gives is this, later and a little narrower.
func TestLiveSoundsAsConverted(t *testing.T) {
	pcm := make([]int16, 16000)
	for i := range pcm {
		x := float64(i) / 16000
		pcm[i] = int16(6000*math.Sin(2*math.Pi*170*x) + 4000*math.Sin(2*math.Pi*1100*x+1) + 2000*math.Sin(2*math.Pi*2900*x))
	}
	file, err := soxr.Convert(pcm, 16000, 48000)
	require.NoError(t, err)
	f, err := resample.NewFilter(16000, 48000)
	require.NoError(t, err)
	live := make([]int16, len(file))
	_, err = resample.New(f).Resample(pcm, live)
	require.NoError(t, err)
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
		_, err := soxr.Convert(make([]int16, 100), p[0], p[1])
		require.ErrorIs(t, err, soxr.ErrRate)
	}
	got, err := soxr.Convert(nil, 8000, 16000)
	require.NoError(t, err)
	require.Empty(t, got)
	pcm := []int16{1, 2, 3}
	got, err = soxr.Convert(pcm, 16000, 16000)
	require.NoError(t, err)
	require.Equal(t, pcm, got)
	got[0] = 9
	require.Equal(t, int16(1), pcm[0], "a copy")
}
