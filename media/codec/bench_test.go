package codec_test

import (
	"testing"
	"time"

	"github.com/pion/rtp"

	"github.com/livekit-connector/livekit-connector/media"
	"github.com/livekit-connector/livekit-connector/media/codec"
)

// BenchmarkEncode is one frame of speech, pauses included.
func BenchmarkEncode(b *testing.B) {
	loss := codec.ToPhone()
	loss.Opus.ExpectedLoss = 5
	for _, c := range []struct {
		name string
		o    codec.Options
		to   media.Codec
	}{
		{"opus to the phone", codec.ToPhone(), media.CodecOpus},
		{"opus to the phone, with FEC", loss, media.CodecOpus},
		{"opus to the room", codec.ToRoom(), media.CodecOpus},
		{"PCMU", codec.ToPhone(), media.CodecPCMU},
	} {
		b.Run(c.name, func(b *testing.B) {
			e := newEncoder(b, newCodecs(b, c.o), c.to)
			defer e.Close()
			pcm, dst, i := speech(b), make([]byte, 1275), 0
			b.ReportAllocs()
			for b.Loop() {
				_, _ = e.Encode(pcm[i:i+320], dst)
				i = (i + 320) % (len(pcm) - 320)
			}
		})
	}
}

// BenchmarkVoice is one frame of speech from packet to PCM, playout included.
func BenchmarkVoice(b *testing.B) {
	for _, kind := range all {
		b.Run(kind.String(), func(b *testing.B) {
			c := newCodecs(b, codec.ToPhone())
			e, v := newEncoder(b, c, kind), newVoice(b, c, kind)
			defer e.Close()
			defer v.Close()
			payloads := encode(b, e, speech(b), 16000)
			pcm, i := make([]int16, 320), 0
			p := rtp.Packet{Header: rtp.Header{Version: 2}}
			b.ReportAllocs()
			for b.Loop() {
				at := time.Duration(i) * media.FrameDuration
				p.SequenceNumber, p.Timestamp = uint16(i), uint32(i)*kind.ClockRate()/50
				p.Payload = payloads[i%len(payloads)]
				v.Write(&p, at)
				v.Read(pcm, at)
				i++
			}
		})
	}
}

// BenchmarkSwitch is what it takes to begin to mix one source.
func BenchmarkSwitch(b *testing.B) {
	c := newCodecs(b, codec.ToPhone())
	b.ReportAllocs()
	for b.Loop() {
		v, _ := c.NewVoice(media.CodecOpus)
		e, _ := c.NewEncoder(media.CodecOpus)
		v.Close()
		e.Close()
	}
}
