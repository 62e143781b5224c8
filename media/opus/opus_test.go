package opus_test

import (
	"math"
	"testing"
	"time"

	libopus "github.com/hraban/opus"
	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/internal/leaks"
	"github.com/livekit-connector/livekit-connector/media/opus"
)

func TestMain(m *testing.M) { leaks.Main(m) }

var rates = []int{8000, 12000, 16000, 24000, 48000}

// sine is n samples of 300 Hz, which every rate can carry.
func sine(n, rate int) []int16 {
	pcm := make([]int16, n)
	for i := range pcm {
		pcm[i] = int16(10000 * math.Sin(2*math.Pi*300*float64(i)/float64(rate)))
	}
	return pcm
}

func rms(pcm []int16) float64 {
	var sum float64
	for _, v := range pcm {
		sum += float64(v) * float64(v)
	}
	return math.Sqrt(sum / float64(max(1, len(pcm))))
}

func newEncoder(tb testing.TB, o opus.EncoderOptions) *opus.Encoder {
	tb.Helper()
	e, err := opus.NewEncoder(o)
	require.NoError(tb, err)
	return e
}

func newDecoder(tb testing.TB, rate int) *opus.Decoder {
	tb.Helper()
	d, err := opus.NewDecoder(rate)
	require.NoError(tb, err)
	return d
}

func TestVersionNamesTheLibrary(t *testing.T) {
	require.Contains(t, opus.Version(), "libopus")
}

func TestEveryRateDecodesEveryRate(t *testing.T) {
	for _, from := range rates {
		for _, to := range rates {
			enc := newEncoder(t, opus.EncoderOptions{SampleRate: from, Bitrate: 32000})
			dec := newDecoder(t, to)
			packet := make([]byte, opus.MaxPacketBytes)
			pcm := make([]int16, opus.FrameSamples(to, opus.MaxPacketDuration))
			voice := sine(from, from)
			var heard []int16
			for i := 0; i < len(voice); i += from / 50 {
				n, err := enc.Encode(voice[i:i+from/50], packet)
				require.NoError(t, err)
				n, err = dec.Decode(packet[:n], pcm)
				require.NoError(t, err)
				require.Equal(t, to/50, n)
				heard = append(heard, pcm[:n]...)
			}
			require.InEpsilon(t, rms(voice), rms(heard[to/5:]), 0.15, "%d to %d", from, to)
		}
	}
}

func TestPacketsUpTo120MS(t *testing.T) {
	// Two packets of 60 ms with the same TOC joined: code 3, two frames.
	enc := newEncoder(t, opus.EncoderOptions{SampleRate: 16000, Bitrate: 16000})
	a := make([]byte, opus.MaxPacketBytes)
	n, err := enc.Encode(sine(960, 16000), a)
	require.NoError(t, err)
	require.Equal(t, byte(3<<3), a[0]&0x18, "a SILK frame of 60 ms")
	frame := a[1:n]
	packet := append([]byte{a[0]&^3 | 1}, frame...)
	packet = append(packet, frame...)

	pcm := make([]int16, opus.FrameSamples(48000, opus.MaxPacketDuration))
	samples, err := newDecoder(t, 48000).Decode(packet, pcm)
	require.NoError(t, err)
	require.Equal(t, 5760, samples)
}

func TestStereoBecomesMono(t *testing.T) {
	enc, err := libopus.NewEncoder(48000, 2, libopus.AppAudio)
	require.NoError(t, err)
	require.NoError(t, enc.SetBitrate(128000))
	dec := newDecoder(t, 48000)
	pcm := make([]int16, 5760)
	packet := make([]byte, opus.MaxPacketBytes)
	left := sine(960, 48000)
	both := make([]int16, 2*960)
	for i, v := range left {
		both[2*i] = v // silence on the right
	}
	var n int
	for range 10 {
		length, err := enc.Encode(both, packet)
		require.NoError(t, err)
		require.NotZero(t, packet[0]&4, "stereo")
		n, err = dec.Decode(packet[:length], pcm)
		require.NoError(t, err)
	}
	require.Equal(t, 960, n)
	require.InEpsilon(t, rms(left)/2, rms(pcm[:n]), 0.2)
}

// The binding passes the capacity of a slice as its length.
func TestCapacityBeyondTheLengthStaysUntouched(t *testing.T) {
	enc := newEncoder(t, opus.EncoderOptions{SampleRate: 48000, Bitrate: 64000})
	packet := make([]byte, opus.MaxPacketBytes)
	n, err := enc.Encode(sine(960, 48000), packet)
	require.NoError(t, err)
	require.Greater(t, n, 20)
	small := make([]byte, 20, opus.MaxPacketBytes)
	m, err := enc.Encode(sine(960, 48000), small)
	require.NoError(t, err)
	require.LessOrEqual(t, m, 20)
	require.Equal(t, make([]byte, 100), small[20:120])

	dec := newDecoder(t, 48000)
	big := make([]int16, 5760)
	for i := range big {
		big[i] = 77
	}
	_, err = dec.Decode(packet[:n], big[:480])
	require.Error(t, err, "20 ms do not fit into 10")
	_, err = dec.Decode(packet[:n], big[:960])
	require.NoError(t, err)
	require.NoError(t, dec.Conceal(big[:960]))
	require.NoError(t, dec.DecodeFEC(packet[:n], big[:960]))
	for _, v := range big[960:] {
		require.Equal(t, int16(77), v)
	}
}

func TestFECBringsBackWhatConcealmentCannot(t *testing.T) {
	enc := newEncoder(t, opus.EncoderOptions{
		SampleRate: 16000, Bitrate: 32000, InbandFEC: true, ExpectedLossPercent: 20,
	})
	// A tone begins in the frame that is lost: concealment knows nothing of it.
	packets := make([][]byte, 12)
	tone := sine(16000, 16000)
	for i := range packets {
		pcm := make([]int16, 320)
		if i >= 10 {
			copy(pcm, tone[i*320:])
		}
		packet := make([]byte, opus.MaxPacketBytes)
		n, err := enc.Encode(pcm, packet)
		require.NoError(t, err)
		packets[i] = packet[:n]
	}
	lost := func(hide func(*opus.Decoder, []int16) error) float64 {
		dec := newDecoder(t, 16000)
		pcm := make([]int16, 1920)
		for _, p := range packets[:10] {
			_, err := dec.Decode(p, pcm)
			require.NoError(t, err)
		}
		require.NoError(t, hide(dec, pcm[:320]))
		return rms(pcm[:320])
	}
	concealed := lost(func(d *opus.Decoder, pcm []int16) error { return d.Conceal(pcm) })
	recovered := lost(func(d *opus.Decoder, pcm []int16) error { return d.DecodeFEC(packets[11], pcm) })
	require.Less(t, concealed, 200.0)
	require.Greater(t, recovered, 1000.0)
}

func TestConcealmentFades(t *testing.T) {
	enc := newEncoder(t, opus.EncoderOptions{SampleRate: 16000, Bitrate: 20000})
	dec := newDecoder(t, 16000)
	pcm, packet := make([]int16, 1920), make([]byte, opus.MaxPacketBytes)
	tone := sine(16000, 16000)
	for i := range 20 {
		n, err := enc.Encode(tone[i*320:][:320], packet)
		require.NoError(t, err)
		_, err = dec.Decode(packet[:n], pcm)
		require.NoError(t, err)
	}
	require.NoError(t, dec.Conceal(pcm[:320]))
	first := rms(pcm[:320])
	require.Greater(t, first, 1000.0)
	for range 30 {
		require.NoError(t, dec.Conceal(pcm[:320]))
	}
	require.Less(t, rms(pcm[:320]), first/4)
}

func TestBadInputIsAnError(t *testing.T) {
	_, err := opus.NewEncoder(opus.EncoderOptions{SampleRate: 44100})
	require.ErrorIs(t, err, opus.ErrSampleRate)
	_, err = opus.NewDecoder(0)
	require.ErrorIs(t, err, opus.ErrSampleRate)
	_, err = opus.NewEncoder(opus.EncoderOptions{SampleRate: 48000, Complexity: 11})
	require.Error(t, err)
	_, err = opus.NewEncoder(opus.EncoderOptions{SampleRate: 48000, ExpectedLossPercent: 101})
	require.Error(t, err)

	enc := newEncoder(t, opus.EncoderOptions{SampleRate: 48000})
	_, err = enc.Encode(nil, make([]byte, 100))
	require.ErrorIs(t, err, opus.ErrBuffer)
	_, err = enc.Encode(make([]int16, 960), nil)
	require.ErrorIs(t, err, opus.ErrBuffer)
	_, err = enc.Encode(make([]int16, 961), make([]byte, 100))
	require.Error(t, err)
	require.NoError(t, enc.Reset())

	dec := newDecoder(t, 48000)
	pcm := make([]int16, 960)
	_, err = dec.Decode(nil, pcm)
	require.ErrorIs(t, err, opus.ErrBuffer)
	_, err = dec.Decode([]byte{3}, pcm)
	require.Error(t, err)
	require.ErrorIs(t, dec.Conceal(pcm[:100]), opus.ErrBuffer)
	require.ErrorIs(t, dec.DecodeFEC(nil, pcm), opus.ErrBuffer)
}

func TestNothingIsAllocatedPerFrame(t *testing.T) {
	enc := newEncoder(t, opus.EncoderOptions{SampleRate: 48000, Bitrate: 32000, InbandFEC: true, ExpectedLossPercent: 10})
	dec := newDecoder(t, 48000)
	voice, packet := sine(960, 48000), make([]byte, opus.MaxPacketBytes)
	pcm := make([]int16, 5760)
	n, err := enc.Encode(voice, packet)
	require.NoError(t, err)
	for name, step := range map[string]func() error{
		"encode":  func() error { _, err := enc.Encode(voice, packet[n:]); return err },
		"decode":  func() error { _, err := dec.Decode(packet[:n], pcm); return err },
		"FEC":     func() error { return dec.DecodeFEC(packet[:n], pcm[:960]) },
		"conceal": func() error { return dec.Conceal(pcm[:960]) },
	} {
		require.NoError(t, step(), name)
		require.Zero(t, testing.AllocsPerRun(100, func() { _ = step() }), name)
	}
}

func TestFrameSamples(t *testing.T) {
	require.Equal(t, 960, opus.FrameSamples(48000, 20*time.Millisecond))
	require.Equal(t, 5760, opus.FrameSamples(48000, opus.MaxPacketDuration))
	require.Equal(t, 20, opus.FrameSamples(8000, 2500*time.Microsecond))
}

func BenchmarkEncode(b *testing.B) {
	enc := newEncoder(b, opus.EncoderOptions{SampleRate: 48000, Bitrate: 32000})
	voice, packet := sine(960, 48000), make([]byte, opus.MaxPacketBytes)
	b.ReportAllocs()
	for b.Loop() {
		_, _ = enc.Encode(voice, packet)
	}
}

func BenchmarkDecode(b *testing.B) {
	enc := newEncoder(b, opus.EncoderOptions{SampleRate: 48000, Bitrate: 32000})
	packet, pcm := make([]byte, opus.MaxPacketBytes), make([]int16, 5760)
	n, err := enc.Encode(sine(960, 48000), packet)
	require.NoError(b, err)
	dec := newDecoder(b, 48000)
	b.ReportAllocs()
	for b.Loop() {
		_, _ = dec.Decode(packet[:n], pcm)
	}
}
