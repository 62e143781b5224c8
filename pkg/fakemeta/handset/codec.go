package handset

import (
	"fmt"
	"math"
	"math/bits"
	"time"

	"github.com/livekit-connector/livekit-connector/media/opus"
)

// Codec is what a call is coded in. WhatsApp's phones speak Opus; a call in G.711
// is one that Meta transcodes, and this phone is then Meta's transcoder as well.
type Codec uint8

// The codecs of calls.
const (
	// Opus is RFC 7587.
	Opus Codec = iota
	// PCMU and PCMA are G.711 (RFC 3551, section 4.5.14).
	PCMU
	PCMA
)

// g711Rate is what G.711 samples at, and its RTP clock.
const g711Rate = 8000

// clockRate is in RTP ticks per second.
func (c Codec) clockRate() int64 {
	if c == Opus {
		return 48000 // RFC 7587, section 4.1
	}
	return g711Rate
}

// frameTicks are the RTP ticks of a frame.
func (c Codec) frameTicks() int64 { return c.clockRate() / int64(time.Second/frameDuration) }

// payloadType is Meta's for Opus, the static one for the others (RFC 3551, section
// 6).
func (c Codec) payloadType() uint8 {
	return [...]uint8{Opus: DefaultPayloadType, PCMU: 0, PCMA: 8}[c]
}

// encoder makes packets of frames.
type encoder interface {
	Encode(pcm []int16, packet []byte) (int, error)
}

// decoder makes sound of packets and of what is missing.
type decoder interface {
	Decode(packet []byte, pcm []int16) (samples int, err error)
	DecodeFEC(next []byte, pcm []int16) error
	Conceal(pcm []int16) error
}

func newEncoder(o Options) (encoder, error) {
	if o.Codec != Opus {
		return law(o.Codec), nil
	}
	return opus.NewEncoder(opus.EncoderOptions{
		SampleRate: o.Rate, Bitrate: o.Bitrate, InbandFEC: true, ExpectedLossPercent: 10,
	})
}

func newDecoder(o Options) (decoder, error) {
	if o.Codec != Opus {
		return law(o.Codec), nil
	}
	return opus.NewDecoder(o.Rate)
}

// law is G.711, written after the recommendation and apart from the connector's, so
// that both must be right to understand each other. It works at g711Rate.
type law Codec

// Encode writes a byte for each sample.
func (l law) Encode(pcm []int16, packet []byte) (int, error) {
	if len(packet) < len(pcm) {
		return 0, fmt.Errorf("handset: %d bytes for %d samples", len(packet), len(pcm))
	}
	for i, v := range pcm {
		packet[i] = l.compress(v)
	}
	return len(pcm), nil
}

// Decode reads a sample from each byte. A packet longer than pcm is no G.711 that
// anybody sends.
func (l law) Decode(packet []byte, pcm []int16) (samples int, err error) {
	if len(packet) == 0 || len(packet) > len(pcm) {
		return 0, fmt.Errorf("handset: %d bytes of G.711", len(packet))
	}
	for i, b := range packet {
		pcm[i] = l.expand(b)
	}
	return len(packet), nil
}

// DecodeFEC is Conceal: G.711 has no FEC.
func (l law) DecodeFEC(_ []byte, pcm []int16) error { return l.Conceal(pcm) }

// Conceal is silent.
func (law) Conceal(pcm []int16) error {
	clear(pcm)
	return nil
}

// The figures of tables 1a and 2a of G.711, scaled to 16 bit.
const (
	muBias  = 132
	muClip  = math.MaxInt16 - muBias
	aFlip   = 0x55 // even bits are inverted on the line
	segment = 4    // the bits below the segment's number
)

func (l law) compress(v int16) byte {
	positive, x := byte(0x80), int(v)
	if x < 0 {
		positive, x = 0, -x-1
	}
	if Codec(l) == PCMU {
		x = min(x, muClip) + muBias
		s := bits.Len(uint(x)) - 8
		return ^(positive ^ 0x80 | byte(s<<segment) | byte(x>>(s+3)&0x0f))
	}
	s := max(0, bits.Len(uint(x))-8)
	return (positive | byte(s<<segment) | byte(x>>(max(1, s)+3)&0x0f)) ^ aFlip
}

func (l law) expand(b byte) int16 {
	if Codec(l) == PCMU {
		b = ^b
		s := b >> segment & 7
		x := (int(b&0x0f)<<3+muBias)<<s - muBias
		if b&0x80 != 0 {
			return int16(-x)
		}
		return int16(x)
	}
	b ^= aFlip
	s := b >> segment & 7
	x := int(b&0x0f)<<4 + 8
	if s > 0 {
		x = (x + 256) << (s - 1)
	}
	if b&0x80 == 0 {
		return int16(-x)
	}
	return int16(x)
}
