package resample_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/media/resample"
)

var pairs = [][2]int{
	{8000, 16000},
	{16000, 8000},
	{16000, 48000},
	{48000, 16000},
	{8000, 48000},
	{48000, 8000},
	{24000, 16000},
	{16000, 24000},
	{24000, 48000},
	{48000, 24000},
	{12000, 16000},
	{16000, 12000},
	{32000, 16000},
	{16000, 32000},
	{44100, 16000},
	{16000, 44100},
	{44100, 48000},
	{48000, 44100},
}

func each(t *testing.T, test func(t *testing.T, in, out int)) {
	t.Helper()
	for _, p := range pairs {
		t.Run(fmt.Sprintf("%d to %d", p[0], p[1]), func(t *testing.T) { test(t, p[0], p[1]) })
	}
}

func filter(tb testing.TB, in, out int) *resample.Filter {
	tb.Helper()
	f, err := resample.NewFilter(in, out)
	require.NoError(tb, err)
	return f
}

func convert(tb testing.TB, f *resample.Filter, pcm []int16) []int16 {
	tb.Helper()
	r := resample.New(f)
	dst := make([]int16, r.Len(len(pcm)))
	n, err := r.Resample(pcm, dst)
	require.NoError(tb, err)
	require.Equal(tb, len(dst), n)
	return dst
}

func tone(samples, rate int, hz, peak float64) []int16 {
	pcm := make([]int16, samples)
	for i := range pcm {
		pcm[i] = int16(math.Round(peak * math.Sin(2*math.Pi*hz*float64(i)/float64(rate))))
	}
	return pcm
}

// level is the RMS in dB below that of a sine of the given peak.
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

func TestDelayStaysBelow2ms(t *testing.T) {
	each(t, func(t *testing.T, in, out int) {
		f := filter(t, in, out)
		require.Less(t, f.Delay(), 2*time.Millisecond)
		const when = 1000
		click := make([]int16, 3000)
		click[when] = 30000
		heard := convert(t, f, click)
		var sum, moment float64
		for i, v := range heard {
			sum += float64(v)
			moment += float64(v) * float64(i)
		}
		require.InEpsilon(t, 30000*float64(out)/float64(in), sum, 0.02)
		measured := moment/sum/float64(out) - float64(when)/float64(in)
		require.InDelta(t, f.Delay().Seconds(), measured, 50e-6)
	})
}

// What a phone's voice consists of passes unchanged; nothing of what the lower
// rate cannot hold comes through, or comes to be.
func TestPassbandAndStopband(t *testing.T) {
	const peak = 30000
	each(t, func(t *testing.T, in, out int) {
		f := filter(t, in, out)
		nyquist := float64(min(in, out)) / 2
		pass, stop := 0.87*nyquist, 1.03*nyquist
		switch min(in, out) { // in 4 ms they have fewer periods
		case 8000:
			pass, stop = 0.79*nyquist, 1.11*nyquist
		case 12000:
			pass, stop = 0.84*nyquist, 1.06*nyquist
		}
		for hz := 100.0; hz < pass; hz += 97 {
			heard := convert(t, f, tone(in/4, in, hz, peak))[out/40:]
			amplitude := at(heard, out, hz)
			require.InDelta(t, 0, 20*math.Log10(amplitude/peak), 0.1, "%v Hz", hz)
			if out <= in {
				continue
			}
			for image := float64(in) - hz; image < float64(out)/2; image += float64(in) {
				amplitude := at(heard, out, image)
				require.Less(t, 20*math.Log10(amplitude/peak+1e-9), -74.0, "image of %v Hz at %v", hz, image)
			}
		}
		// A tone above the lower rate's Nyquist frequency, wherever it would fold to.
		for hz := stop; hz < float64(in)/2; hz += 151 {
			heard := convert(t, f, tone(in/4, in, hz, peak))[out/40:]
			require.Less(t, level(heard, peak), -74.0, "alias of %v Hz", hz)
		}
	})
}

func TestLengthIsExactOverLongStreams(t *testing.T) {
	each(t, func(t *testing.T, in, out int) {
		r := resample.New(filter(t, in, out))
		rng := rand.New(rand.NewPCG(1, 2))
		src, dst := make([]int16, 3000), make([]int16, 3000*6+1)
		taken, given := 0, 0
		for taken < 30*in { // half a minute
			n := 1 + rng.IntN(len(src))
			want := r.Len(n)
			m, err := r.Resample(src[:n], dst)
			require.NoError(t, err)
			require.Equal(t, want, m)
			taken += n
			given += m
			require.Equal(t, (taken*out+in-1)/in, given)
		}
		r.Reset()
		for range 50 { // and a frame in is a frame out
			m, err := r.Resample(src[:in/50], dst)
			require.NoError(t, err)
			require.Equal(t, out/50, m)
		}
	})
}

func TestChunksMakeNoDifference(t *testing.T) {
	each(t, func(t *testing.T, in, out int) {
		f := filter(t, in, out)
		rng := rand.New(rand.NewPCG(3, 4))
		noise := make([]int16, 5000)
		for i := range noise {
			noise[i] = int16(rng.IntN(1 << 16))
		}
		want := convert(t, f, noise)
		r, got := resample.New(f), make([]int16, len(want))
		for range 2 {
			n := 0
			for rest := noise; len(rest) > 0; {
				some := rest[:min(len(rest), rng.IntN(700))]
				rest = rest[len(some):]
				m, err := r.Resample(some, got[n:])
				require.NoError(t, err)
				n += m
			}
			require.Equal(t, want, got[:n])
			r.Reset()
		}
	})
}

// A sweep comes out as the same sweep, later.
func TestSweep(t *testing.T) {
	const peak = 20000
	each(t, func(t *testing.T, in, out int) {
		f := filter(t, in, out)
		top := 0.75 * float64(min(in, out)) / 2
		sweep := func(seconds float64) float64 {
			return peak * math.Sin(2*math.Pi*(50*seconds+(top-50)*seconds*seconds/2)) // 1 s
		}
		pcm := make([]int16, in)
		for i := range pcm {
			pcm[i] = int16(math.Round(sweep(float64(i) / float64(in))))
		}
		var signal, noise float64
		for i, v := range convert(t, f, pcm) {
			if i < out/100 {
				continue // the filter fills
			}
			want := sweep(float64(i)/float64(out) - f.Delay().Seconds())
			signal += want * want
			noise += (float64(v) - want) * (float64(v) - want)
		}
		require.Greater(t, 10*math.Log10(signal/noise), 60.0)
	})
}

func TestLoudSoundIsCutNotWrapped(t *testing.T) {
	square := make([]int16, 4800)
	for i := range square {
		square[i] = int16(32767 - 65535*(i/40%2))
	}
	heard := convert(t, filter(t, 8000, 16000), square)
	for i := 200; i < len(heard); i++ {
		step := math.Abs(float64(heard[i]) - float64(heard[i-1]))
		require.Less(t, step, 60000.0, "at %d", i)
	}
}

func TestSameRateIsACopy(t *testing.T) {
	f := filter(t, 16000, 16000)
	require.Zero(t, f.Delay())
	pcm := tone(777, 16000, 440, 10000)
	require.Equal(t, pcm, convert(t, f, pcm))
}

func TestWhatCannotBe(t *testing.T) {
	for _, p := range [][2]int{{0, 8000}, {8000, -1}, {7999, 16000}, {16000, 192000}, {44101, 48000}, {48000, 44101}} {
		_, err := resample.NewFilter(p[0], p[1])
		require.ErrorIs(t, err, resample.ErrRate, "%v", p)
	}
	r := resample.New(filter(t, 8000, 16000))
	_, err := r.Resample(make([]int16, 160), make([]int16, 319))
	require.ErrorIs(t, err, resample.ErrBuffer)
	n, err := r.Resample(make([]int16, 160), make([]int16, 320))
	require.NoError(t, err)
	require.Equal(t, 320, n, "nothing was taken before")
	in, out := r.Filter().Rates()
	require.Equal(t, [2]int{8000, 16000}, [2]int{in, out})
}

func TestNothingIsAllocatedPerFrame(t *testing.T) {
	r := resample.New(filter(t, 8000, 16000))
	src, dst := make([]int16, 160), make([]int16, 320)
	require.Zero(t, testing.AllocsPerRun(100, func() {
		_, _ = r.Resample(src, dst)
		r.Reset()
	}))
}

func BenchmarkResample(b *testing.B) {
	for _, p := range pairs[:10] {
		b.Run(fmt.Sprintf("%d to %d", p[0], p[1]), func(b *testing.B) {
			r := resample.New(filter(b, p[0], p[1]))
			src, dst := tone(p[0]/50, p[0], 300, 10000), make([]int16, p[1]/50)
			b.ReportAllocs()
			for b.Loop() {
				_, _ = r.Resample(src, dst)
			}
		})
	}
}
