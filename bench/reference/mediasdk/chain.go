// Package mediasdk is the audio path from a room to the phone as LiveKit's bridges build it out of media-sdk: each
// track is decoded, a mixer adds the tracks up, what it gives is encoded. All settings are media-sdk's defaults, as in
// livekit-sip: 48 kHz, no concealment, and a jitter buffer only if it is switched on.
package mediasdk

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/livekit-connector/livekit-connector/bench/chain"
	"github.com/livekit-connector/livekit-connector/media"
	msdk "github.com/livekit/media-sdk"
	"github.com/livekit/media-sdk/jitter"
	"github.com/livekit/media-sdk/mixer"
	"github.com/livekit/media-sdk/opus"
	msdkrtp "github.com/livekit/media-sdk/rtp"
	"github.com/livekit/protocol/logger"
	"github.com/pion/rtp"
)

// Rate of the room's side in livekit-sip, in Hz.
const Rate = 48000

// jitterLatency is what media-sdk's rtp.HandleJitter gives its buffer.
const jitterLatency = 60 * time.Millisecond

// Maker makes chains out of media-sdk, with or without its jitter buffer.
func Maker(name string, withJitterBuffer bool) chain.Maker {
	return maker(name, withJitterBuffer, func(out *packetizer, log logger.Logger) (msdk.PCM16Writer, error) {
		return opus.Encode(out, 1, log)
	})
}

// MetaMaker is Maker with the jitter buffer, and with an encoder that keeps to the bitrate that Meta asks for, which
// media-sdk's cannot be told.
func MetaMaker(name string) chain.Maker { return maker(name, true, newMetaEncoder) }

func maker(name string, withJitterBuffer bool, encode func(*packetizer, logger.Logger) (msdk.PCM16Writer, error)) chain.Maker {
	return chain.Maker{Name: name, New: func(dst media.Writer) (chain.Chain, error) {
		c := &path{log: logger.GetLogger(), jitter: withJitterBuffer, out: &packetizer{dst: dst}}
		encoder, err := encode(c.out, c.log)
		if err != nil {
			return nil, fmt.Errorf("make encoder: %w", err)
		}
		if c.mixer, err = mixer.NewMixer(encoder, msdkrtp.DefFrameDur, 1, mixer.WithOutputChannel()); err != nil {
			return nil, fmt.Errorf("make mixer: %w", err)
		}
		return c, nil
	}}
}

// path is one chain.
type path struct {
	log     logger.Logger
	jitter  bool
	mixer   *mixer.Mixer
	out     *packetizer
	buffers []*jitter.Buffer
}

// Source adds a track.
func (c *path) Source() (media.Writer, error) {
	decoder, err := opus.Decode(c.mixer.NewInput(), 1, c.log)
	if err != nil {
		return nil, fmt.Errorf("make decoder: %w", err)
	}
	t := &track{decoder: decoder}
	if c.jitter {
		// As rtp.HandleJitter does it. That stamps packets with a clock of its own, which knows nothing of fake time.
		t.buffer = jitter.NewBuffer(depacketizer{}, jitterLatency, func(packets []jitter.ExtPacket) {
			for _, p := range packets {
				t.decode(p.Payload)
			}
		})
		c.buffers = append(c.buffers, t.buffer)
	}
	return t, nil
}

// Close stops the mixer.
func (c *path) Close() {
	for _, b := range c.buffers {
		b.Close()
	}
	c.buffers = nil
	c.mixer.Stop()
	c.out.close()
}

// track is a source of the mixer.
type track struct {
	decoder opus.Writer
	buffer  *jitter.Buffer
}

// WriteRTP takes a packet.
func (t *track) WriteRTP(p *rtp.Packet) error {
	if t.buffer == nil {
		t.decode(p.Payload)
		return nil
	}
	kept := rtp.Packet{Header: p.Header, Payload: slices.Clone(p.Payload)} // the buffer keeps the caller's slice
	t.buffer.PushAt(&kept, time.Now())
	return nil
}

func (t *track) decode(payload []byte) {
	_ = t.decoder.WriteSample(opus.Sample(payload)) // what does not decode is not heard
}

// depacketizer takes each packet as a whole, as that of rtp.HandleJitter.
type depacketizer struct{}

func (depacketizer) Unmarshal(packet []byte) ([]byte, error) { return packet, nil }
func (depacketizer) IsPartitionHead([]byte) bool             { return true }
func (depacketizer) IsPartitionTail(_ bool, _ []byte) bool   { return true }

// packetizer numbers what the encoder gives.
type packetizer struct {
	mu     sync.Mutex
	dst    media.Writer
	closed bool
	header rtp.Header
}

func (p *packetizer) String() string  { return "phone" }
func (p *packetizer) SampleRate() int { return Rate }
func (p *packetizer) Close() error    { return nil }

// WriteSample sends one frame.
func (p *packetizer) WriteSample(payload opus.Sample) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil
	}
	packet := rtp.Packet{Header: p.header, Payload: payload}
	packet.Version = 2
	p.header.SequenceNumber++
	p.header.Timestamp += media.FrameSamples
	return p.dst.WriteRTP(&packet)
}

func (p *packetizer) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
}
