package g711_test

import (
	"encoding/binary"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/media/g711"
)

const frame = 160 // 20 ms

// voiced is a sound of pitch Hz with overtones.
func voiced(samples int, pitch float64) []int16 {
	pcm := make([]int16, samples)
	for i := range pcm {
		phase := 2 * math.Pi * pitch * float64(i) / g711.SampleRate
		pcm[i] = int16(6000*math.Sin(phase) + 3000*math.Sin(2*phase+1) + 1500*math.Sin(5*phase+2))
	}
	return pcm
}

func coded(pcm []int16) []byte {
	payload := make([]byte, len(pcm))
	g711.Mu.Encode(pcm, payload)
	return payload
}

func rms(pcm []int16) float64 {
	var sum float64
	for _, v := range pcm {
		sum += float64(v) * float64(v)
	}
	return math.Sqrt(sum / float64(max(1, len(pcm))))
}

func largestStep(pcm []int16) (step int) {
	for i := range pcm[1:] {
		step = max(step, int(pcm[i+1])-int(pcm[i]), int(pcm[i])-int(pcm[i+1]))
	}
	return step
}

// play decodes payload in frames; those in lost are made up, with one call each.
func play(tb testing.TB, payload []byte, lost map[int]bool) []int16 {
	tb.Helper()
	d := g711.NewDecoder(g711.Mu)
	out := make([]int16, len(payload))
	for i := 0; i*frame < len(payload); i++ {
		pcm := out[i*frame:][:frame]
		if lost[i] {
			require.NoError(tb, d.Conceal(pcm))
			continue
		}
		n, err := d.Decode(payload[i*frame:][:frame], pcm)
		require.NoError(tb, err)
		require.Equal(tb, frame, n)
	}
	return out
}

func TestALossInAVowelIsHardlyHeard(t *testing.T) {
	for _, pitch := range []float64{70, 100, 123, 181} {
		whole := voiced(20*frame, pitch)
		clean := play(t, coded(whole), nil)
		heard := play(t, coded(whole), map[int]bool{10: true})
		require.Equal(t, clean[:10*frame], heard[:10*frame])
		require.Equal(t, clean[12*frame:], heard[12*frame:])

		var off float64
		for i := 10 * frame; i < 11*frame; i++ {
			off += math.Pow(float64(heard[i])-float64(clean[i]), 2)
		}
		snr := 20 * math.Log10(rms(clean[10*frame:11*frame])/math.Sqrt(off/frame))
		require.Greater(t, snr, 6.0, "%v Hz", pitch)
		require.Less(t, largestStep(heard), largestStep(clean)*3/2, "%v Hz: a click", pitch)
	}
}

func TestALongLossFadesToSilence(t *testing.T) {
	heard := play(t, coded(voiced(20*frame, 110)), map[int]bool{10: true, 11: true, 12: true, 13: true, 14: true})
	var level []float64
	for i := 9; i < 15; i++ {
		level = append(level, rms(heard[i*frame:][:frame]))
	}
	require.InEpsilon(t, level[0], level[1], 0.2, "10 ms at full level")
	require.Less(t, level[2], level[1])
	require.Less(t, level[3], level[2]/2)
	require.Zero(t, level[4], "60 ms have passed")
	require.Zero(t, level[5])
	require.Less(t, largestStep(heard), 2*largestStep(voiced(frame, 110)))
	require.InEpsilon(t, level[0], rms(heard[16*frame:17*frame]), 0.1)
}

// How the loss is cut into calls makes no difference.
func TestConcealmentContinuesAcrossCalls(t *testing.T) {
	var want []int16
	for _, step := range []int{400, 200, 80, 20, 1} {
		d := g711.NewDecoder(g711.Mu)
		_, err := d.Decode(coded(voiced(800, 90)), make([]int16, 800))
		require.NoError(t, err)
		pcm := make([]int16, 400)
		for i := 0; i < len(pcm); i += step {
			require.NoError(t, d.Conceal(pcm[i:i+step]))
		}
		if want == nil {
			want = pcm
		}
		require.Equal(t, want, pcm, "in steps of %d", step)
	}
}

func TestNothingHeardIsConcealedAsSilence(t *testing.T) {
	d := g711.NewDecoder(g711.A)
	pcm := voiced(frame, 100)
	require.NoError(t, d.Conceal(pcm))
	require.Equal(t, make([]int16, frame), pcm)
}

func TestNoiseAndFullScaleDoNotWrap(t *testing.T) {
	square := make([]int16, 4*frame)
	for i := range square {
		square[i] = int16(32767 * (1 - 2*(i/37%2)))
	}
	heard := play(t, coded(square), map[int]bool{2: true})
	for _, v := range heard {
		require.Greater(t, math.Abs(float64(v)), 0.0)
	}
}

func TestResetIsAsNew(t *testing.T) {
	d := g711.NewDecoder(g711.Mu)
	pcm := make([]int16, frame)
	for range 3 {
		require.NoError(t, d.Conceal(pcm))
		require.Equal(t, make([]int16, frame), pcm)
		_, err := d.Decode(coded(voiced(frame, 100)), pcm)
		require.NoError(t, err)
		require.NoError(t, d.Conceal(pcm[:33]))
		require.NoError(t, d.Reset())
	}
}

func TestBuffersOfNoUse(t *testing.T) {
	d := g711.NewDecoder(g711.Mu)
	_, err := d.Decode(nil, make([]int16, frame))
	require.ErrorIs(t, err, g711.ErrBuffer)
	_, err = d.Decode(make([]byte, frame), make([]int16, frame-1))
	require.ErrorIs(t, err, g711.ErrBuffer)
	require.ErrorIs(t, d.Conceal(nil), g711.ErrBuffer)
	require.ErrorIs(t, d.DecodeFEC([]byte{1}, nil), g711.ErrBuffer)
	_, err = d.Samples(nil)
	require.ErrorIs(t, err, g711.ErrBuffer)
	n, err := d.Samples(make([]byte, 160))
	require.NoError(t, err)
	require.Equal(t, 160, n)
}

func TestNothingIsAllocatedPerFrame(t *testing.T) {
	d := g711.NewDecoder(g711.A)
	pcm, payload := make([]int16, frame), make([]byte, frame)
	require.Zero(t, testing.AllocsPerRun(100, func() {
		_, _ = d.Decode(payload, pcm)
		_ = d.Conceal(pcm)
		_ = d.Reset()
		g711.A.Encode(pcm, payload)
		g711.Mu.Encode(pcm, payload)
	}))
}

// FuzzDecoder takes anything for a payload, between losses of any length.
func FuzzDecoder(f *testing.F) {
	f.Add([]byte{0, 0xFF, 0x80, 0x7F}, []byte{1, 160, 2, 255})
	f.Add(coded(voiced(400, 100)), binary.BigEndian.AppendUint64(nil, 0x3020a05010ffff01))
	f.Fuzz(func(t *testing.T, payload, order []byte) {
		d := g711.NewDecoder(g711.Mu)
		pcm := make([]int16, 960)
		for _, o := range order {
			if o&1 == 0 {
				require.NoError(t, d.Conceal(pcm[:1+int(o)*3]))
				continue
			}
			n, err := d.Decode(payload, pcm)
			if len(payload) == 0 || len(payload) > len(pcm) {
				require.ErrorIs(t, err, g711.ErrBuffer)
				continue
			}
			require.NoError(t, err)
			require.Equal(t, len(payload), n)
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	payload, pcm := coded(voiced(frame, 100)), make([]int16, frame)
	d := g711.NewDecoder(g711.Mu)
	b.ReportAllocs()
	for b.Loop() {
		_, _ = d.Decode(payload, pcm)
	}
}

func BenchmarkConcealAfterDecode(b *testing.B) {
	payload, pcm := coded(voiced(frame, 100)), make([]int16, frame)
	d := g711.NewDecoder(g711.Mu)
	b.ReportAllocs()
	for b.Loop() {
		_, _ = d.Decode(payload, pcm)
		_ = d.Conceal(pcm)
	}
}

func BenchmarkEncode(b *testing.B) {
	payload, pcm := make([]byte, frame), voiced(frame, 100)
	b.ReportAllocs()
	for b.Loop() {
		g711.Mu.Encode(pcm, payload)
	}
}
