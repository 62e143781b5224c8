package mediasdk

import (
	"fmt"
	"time"

	"github.com/livekit-connector/livekit-connector/bench/chain"
	"github.com/livekit-connector/livekit-connector/bench/micro"
	"github.com/livekit-connector/livekit-connector/media"
	msdk "github.com/livekit/media-sdk"
	"github.com/livekit/media-sdk/jitter"
	"github.com/livekit/media-sdk/mixer"
	"github.com/livekit/media-sdk/opus"
	"github.com/livekit/protocol/logger"
	"github.com/pion/rtp"
)

// Stages are media-sdk's, at its defaults. What it relays it decodes and encodes.
func Stages() []micro.Stage {
	all := []micro.Stage{
		{Name: micro.PhoneRelay, New: transcode},
		{Name: micro.LineRelay, Chain: Maker("media-sdk", false), Speakers: 1},
		{Name: micro.Jitter, New: jitterBuffer},
		{Name: micro.Decode, New: decode},
		{Name: micro.Voice, New: jitterAndDecode},
		{Name: micro.EncodePhone, New: encode},
		{Name: micro.EncodeRoom, New: encode},
		{Name: micro.Down, New: func() (func(), error) { return resampling(48000, 16000) }},
		{Name: micro.Up, New: func() (func(), error) { return resampling(16000, 48000) }},
		{Name: micro.UpG711, New: func() (func(), error) { return resampling(8000, 16000) }},
	}
	for _, n := range micro.Mixes {
		all = append(all, micro.Stage{Name: micro.MixOf(n), Chain: bareMixer(), Speakers: n})
	}
	for _, n := range micro.Wholes {
		all = append(all, micro.Stage{Name: micro.WholeOf(n), Chain: Maker("media-sdk", false), Speakers: n})
	}
	return all
}

// nowhere takes PCM or Opus.
type nowhere[T any] struct{ rate int }

func (nowhere[T]) String() string      { return "nowhere" }
func (n nowhere[T]) SampleRate() int   { return n.rate }
func (nowhere[T]) WriteSample(T) error { return nil }
func (nowhere[T]) Close() error        { return nil }

func transcode() (func(), error) {
	encoder, err := opus.Encode(nowhere[opus.Sample]{Rate}, 1, logger.GetLogger())
	if err != nil {
		return nil, fmt.Errorf("make encoder: %w", err)
	}
	return decodeTo(encoder)
}

func decode() (func(), error) { return decodeTo(nowhere[msdk.PCM16Sample]{Rate}) }

func decodeTo(w msdk.PCM16Writer) (func(), error) {
	packets, err := micro.Packets()
	if err != nil {
		return nil, err
	}
	d, err := opus.Decode(w, 1, logger.GetLogger())
	if err != nil {
		return nil, fmt.Errorf("make decoder: %w", err)
	}
	n := 0
	return func() {
		_ = d.WriteSample(packets[n%len(packets)]) // they were decoded before
		n++
	}, nil
}

// buffered pushes packets through the jitter buffer.
func buffered(onPacket func(payload []byte)) (func(), error) {
	packets, err := micro.Packets()
	if err != nil {
		return nil, err
	}
	b := jitter.NewBuffer(depacketizer{}, jitterLatency, func(all []jitter.ExtPacket) {
		for _, p := range all {
			onPacket(p.Payload)
		}
	})
	h := rtp.Header{Version: 2, SSRC: 1}
	return func() {
		b.Push(&rtp.Packet{Header: h, Payload: packets[int(h.SequenceNumber)%len(packets)]}) // as rtp.HandleJitter does it
		h.SequenceNumber++
		h.Timestamp += media.FrameSamples
	}, nil
}

func jitterBuffer() (func(), error) { return buffered(func([]byte) {}) }

func jitterAndDecode() (func(), error) {
	d, err := opus.Decode(nowhere[msdk.PCM16Sample]{Rate}, 1, logger.GetLogger())
	if err != nil {
		return nil, fmt.Errorf("make decoder: %w", err)
	}
	return buffered(func(payload []byte) { _ = d.WriteSample(payload) }) // they were decoded before
}

func encode() (func(), error) {
	frames, err := micro.Frames(Rate)
	if err != nil {
		return nil, err
	}
	e, err := opus.Encode(nowhere[opus.Sample]{Rate}, 1, logger.GetLogger())
	if err != nil {
		return nil, fmt.Errorf("make encoder: %w", err)
	}
	n := 0
	return func() {
		_ = e.WriteSample(frames[n%len(frames)]) // any PCM can be encoded
		n++
	}, nil
}

func resampling(from, to int) (func(), error) {
	frames, err := micro.Frames(from)
	if err != nil {
		return nil, err
	}
	w := msdk.ResampleWriter(nowhere[msdk.PCM16Sample]{to}, from)
	n := 0
	return func() {
		_ = w.WriteSample(frames[n%len(frames)]) // goes nowhere
		n++
	}, nil
}

// bareMixer is the mixer without codecs: a packet is worth a frame of PCM.
func bareMixer() chain.Maker {
	return chain.Maker{Name: "mixer", New: func(dst media.Writer) (chain.Chain, error) {
		frames, err := micro.Frames(Rate)
		if err != nil {
			return nil, err
		}
		m, err := mixer.NewMixer(&pcmSink{dst: dst}, 20*time.Millisecond, 1, mixer.WithOutputChannel())
		if err != nil {
			return nil, fmt.Errorf("make mixer: %w", err)
		}
		return &bare{mixer: m, frames: frames}, nil
	}}
}

type bare struct {
	mixer  *mixer.Mixer
	frames [][]int16
}

func (b *bare) Source() (media.Writer, error) {
	return &pcmSource{input: b.mixer.NewInput(), frames: b.frames}, nil
}

func (b *bare) Close() { b.mixer.Stop() }

// pcmSource writes a frame for each packet.
type pcmSource struct {
	input  *mixer.Input
	frames [][]int16
	n      int
}

func (s *pcmSource) WriteRTP(*rtp.Packet) error {
	s.n++
	return s.input.WriteSample(s.frames[s.n%len(s.frames)])
}

// pcmSink is told of each mixed frame.
type pcmSink struct {
	dst media.Writer
	p   rtp.Packet
}

func (s *pcmSink) String() string                     { return "sink" }
func (s *pcmSink) SampleRate() int                    { return Rate }
func (s *pcmSink) WriteSample(msdk.PCM16Sample) error { return s.dst.WriteRTP(&s.p) }
func (s *pcmSink) Close() error                       { return nil }
