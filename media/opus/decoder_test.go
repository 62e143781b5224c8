package opus_test

import (
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/media"
	"github.com/livekit-connector/livekit-connector/media/opus"
	"github.com/livekit-connector/livekit-connector/testdata"
)

// speech is 3 s of a voice at 16 kHz.
func speech(tb testing.TB) []int16 {
	tb.Helper()
	const header = 44
	wav, err := testdata.Audio.ReadFile("audio/caller.wav")
	require.NoError(tb, err)
	pcm := make([]int16, 3*16000)
	_, err = binary.Decode(wav[header:], binary.LittleEndian, pcm)
	require.NoError(tb, err)
	return pcm
}

func packets(tb testing.TB, o opus.EncoderOptions, pcm []int16) [][]byte {
	tb.Helper()
	enc := newEncoder(tb, o)
	var out [][]byte
	frame := o.SampleRate / 50
	for i := 0; i+frame <= len(pcm); i += frame {
		packet := make([]byte, opus.MaxPacketBytes)
		n, err := enc.Encode(pcm[i:i+frame], packet)
		require.NoError(tb, err)
		out = append(out, packet[:n])
	}
	return out
}

func decode(tb testing.TB, dec *opus.Decoder, packets [][]byte) []int16 {
	tb.Helper()
	var heard []int16
	pcm := make([]int16, 5760)
	for _, p := range packets {
		n, err := dec.Decode(p, pcm)
		require.NoError(tb, err)
		heard = append(heard, pcm[:n]...)
	}
	return heard
}

func TestDecoderResetIsAsNew(t *testing.T) {
	for _, low := range []bool{false, true} {
		in := packets(t, opus.EncoderOptions{SampleRate: 16000, Bitrate: 24000, LowDelay: low}, sine(16000, 16000))
		dec := newDecoder(t, 16000)
		first := decode(t, dec, in)
		require.NotEqual(t, first, decode(t, dec, in), "state was left")
		require.NoError(t, dec.Conceal(make([]int16, 320)))
		require.NoError(t, dec.Reset())
		require.Equal(t, first, decode(t, dec, in))
	}
}

func TestSamplesIsTheDurationAtTheDecodersRate(t *testing.T) {
	dec := newDecoder(t, 16000)
	for _, c := range []struct {
		packet []byte
		want   int
	}{
		{[]byte{0xF8, 0xFF, 0xFE}, 320},                     // CELT, 20 ms
		{[]byte{31<<3 | 3, 6, 1, 2, 3, 4, 5, 6}, 1920},      // six frames of 20 ms
		{[]byte{3 << 3, 1}, 960},                            // SILK, 60 ms
		{[]byte{16 << 3, 1}, 40},                            // CELT, 2.5 ms
		{[]byte{2<<3 | 4, 1, 2}, 640},                       // SILK, 40 ms, stereo
		{[]byte{3<<3 | 3, 2, 1, 2}, 1920},                   // SILK, two frames of 60 ms
		{[]byte{14<<3 | 1, 1, 2}, 320},                      // hybrid, two frames of 10 ms
		{[]byte{28<<3 | 3, 0x80 | 48, 1}, 48 * 16000 / 400}, // as many as fit into 120 ms
	} {
		n, err := dec.Samples(c.packet)
		require.NoError(t, err, "%x", c.packet)
		require.Equal(t, c.want, n, "%x", c.packet)
	}
	_, err := dec.Samples(nil)
	require.ErrorIs(t, err, opus.ErrBuffer)
	_, err = dec.Samples([]byte{31<<3 | 3, 48, 0})
	require.Error(t, err, "longer than 120 ms")
	_, err = dec.Samples([]byte{31<<3 | 3})
	require.Error(t, err, "cut off")
}

func TestGarbageLeavesTheDecoderAsItWas(t *testing.T) {
	in := packets(t, opus.EncoderOptions{SampleRate: 16000, Bitrate: 24000}, sine(16000, 16000))
	want := decode(t, newDecoder(t, 16000), in)
	dec := newDecoder(t, 16000)
	got := decode(t, dec, in[:25])
	for _, garbage := range [][]byte{{31<<3 | 3}, {31<<3 | 3, 48, 0}, {3}, {1, 2}, {2, 252}, {3, 0}} {
		_, err := dec.Decode(garbage, make([]int16, 1920))
		require.Error(t, err, "%x", garbage)
		require.Error(t, dec.DecodeFEC(garbage, make([]int16, 320)), "%x", garbage)
	}
	require.Equal(t, want, append(got, decode(t, dec, in[25:])...))
}

func TestFECIsThereWhenAskedFor(t *testing.T) {
	voice := speech(t)
	for name, c := range map[string]struct {
		options opus.EncoderOptions
		frame   int
		want    bool
	}{
		"wideband":           {opus.EncoderOptions{SampleRate: 16000, Bitrate: 32000, InbandFEC: true, ExpectedLossPercent: 10}, 320, true},
		"wideband, 40 ms":    {opus.EncoderOptions{SampleRate: 16000, Bitrate: 32000, InbandFEC: true, ExpectedLossPercent: 10}, 640, true},
		"wideband, 60 ms":    {opus.EncoderOptions{SampleRate: 16000, Bitrate: 32000, InbandFEC: true, ExpectedLossPercent: 10}, 960, true},
		"hybrid":             {opus.EncoderOptions{SampleRate: 48000, Bitrate: 32000, InbandFEC: true, ExpectedLossPercent: 10}, 960, true},
		"switched off":       {opus.EncoderOptions{SampleRate: 16000, Bitrate: 32000, ExpectedLossPercent: 10}, 320, false},
		"no loss expected":   {opus.EncoderOptions{SampleRate: 16000, Bitrate: 32000, InbandFEC: true}, 320, false},
		"CELT, which cannot": {opus.EncoderOptions{SampleRate: 48000, Bitrate: 48000, LowDelay: true, InbandFEC: true, ExpectedLossPercent: 10}, 960, false},
	} {
		enc := newEncoder(t, c.options)
		packet, found := make([]byte, opus.MaxPacketBytes), 0
		for i := 0; i+c.frame <= len(voice); i += c.frame {
			n, err := enc.Encode(voice[i:i+c.frame], packet)
			require.NoError(t, err)
			if media.OpusHasFEC(packet[:n]) {
				found++
			}
		}
		require.Equal(t, c.want, found > len(voice)/c.frame/2, "%s: %d", name, found)
		require.True(t, c.want || found == 0, "%s: %d", name, found)
	}
}

// FuzzDecoder feeds packets that anybody may send, as they are, as the packet
// after a loss, and between good ones. Nothing crashes, pcm is never left, and
// speech decodes afterwards.
func FuzzDecoder(f *testing.F) {
	good := packets(f, opus.EncoderOptions{SampleRate: 16000, Bitrate: 32000, InbandFEC: true, ExpectedLossPercent: 20}, sine(8000, 16000))
	celt := packets(f, opus.EncoderOptions{SampleRate: 48000, Bitrate: 48000, LowDelay: true}, sine(9600, 48000))
	f.Add([]byte{0xF8, 0xFF, 0xFE}, uint64(0))
	f.Add([]byte{3}, uint64(1))
	f.Add(good[10], uint64(0x1234567))
	f.Add(good[11][:len(good[11])/2], uint64(0xFEDCBA98))
	f.Add(celt[5], uint64(0x0102030405))
	f.Add(append([]byte{good[10][0] | 7, 2}, good[10][1:]...), uint64(0x3030303))
	f.Fuzz(func(t *testing.T, payload []byte, order uint64) {
		dec := newDecoder(t, 16000)
		room := make([]int16, 2000)
		for i := 1920; i < len(room); i++ {
			room[i] = 77
		}
		pcm := room[:1920]
		for ; order != 0; order >>= 4 {
			switch order & 7 {
			case 0, 1:
				want, bad := dec.Samples(payload)
				n, err := dec.Decode(payload, pcm)
				if err == nil {
					require.NoError(t, bad)
					require.Equal(t, want, n)
				}
			case 2:
				_ = dec.DecodeFEC(payload, pcm[:320*(1+order>>3&1)])
			case 3:
				require.NoError(t, dec.Conceal(pcm[:320]))
			case 4:
				_, _ = dec.Decode(payload, pcm[:320])
			case 5:
				_, err := dec.Decode(good[10], pcm)
				require.NoError(t, err)
			case 6:
				require.NoError(t, dec.DecodeFEC(good[11], pcm[:320]))
			case 7:
				require.NoError(t, dec.Reset())
			}
		}
		for _, p := range good[5:] {
			n, err := dec.Decode(p, pcm)
			require.NoError(t, err)
			require.Equal(t, 320, n)
		}
		require.Greater(t, rms(pcm[:320]), 3000.0)
		for _, v := range room[1920:] {
			require.Equal(t, int16(77), v)
		}
	})
}
