package media

import (
	"time"

	"github.com/pion/rtp"
)

// Codec says how the payloads of a stream are coded.
type Codec uint8

const (
	// CodecOpus is RFC 7587: 48 kHz clock, packets of 2.5 to 120 ms.
	CodecOpus Codec = iota
	// CodecPCMU is G.711 with the mu-law: 8 kHz clock (RFC 3551 section 4.5.14).
	CodecPCMU
	// CodecPCMA is G.711 with the A-law: 8 kHz clock (RFC 3551 section 4.5.14).
	CodecPCMA
)

// ClockRate is the codec's RTP clock in ticks per second.
func (c Codec) ClockRate() uint32 {
	if c == CodecOpus {
		return ClockRate
	}
	return 8000
}

func (c Codec) String() string {
	switch c {
	case CodecOpus:
		return "opus"
	case CodecPCMU:
		return "PCMU"
	case CodecPCMA:
		return "PCMA"
	default:
		return "unknown"
	}
}

// Codecs makes what a mix is made of. All of one Codecs work at one sample rate.
// Safe for concurrent use; what it makes is not.
type Codecs interface {
	// Rate is the sample rate of the mix in Hz.
	Rate() int
	// NewVoice returns a voice for a source of codec c. The caller closes it.
	NewVoice(c Codec) (Voice, error)
	// NewEncoder returns an encoder to codec c. The caller closes it.
	NewEncoder(c Codec) (Encoder, error)
}

// Voice turns the packets of one source into PCM at the rate of the mix: a jitter
// buffer, a decoder, and what hides loss, lateness and drift between them. It is
// told the time and starts nothing by itself. Not safe for concurrent use.
type Voice interface {
	// Prime decodes a payload whose sound was already heard, so that what follows
	// continues it without a click and can be stretched out of it. Called in
	// order, before the first Write.
	Prime(payload []byte)
	// Write takes a packet of the source, in the source's own numbering, that
	// arrived at pacer time at. The packet is not kept.
	Write(p *rtp.Packet, at time.Duration)
	// Read fills pcm, one frame of FrameDuration, with what is to be heard at
	// pacer time now, and says what it is. It never fails: what cannot be decoded
	// is concealed and counted.
	Read(pcm []int16, now time.Duration) Sound
	// Finish is the last Read before the source is relayed again: it fills pcm with
	// all decoded sound that was not played yet, shortened or stretched to fit.
	Finish(pcm []int16, now time.Duration) Sound
	// Pending hands out the packets that were written and not decoded, oldest
	// first. Each is valid during the call of yield only.
	Pending(yield func(p *rtp.Packet))
	// Recall fills pcm with the newest sound that was primed or read, its end at the
	// end of pcm, zeros before it if there was less. It changes nothing. With it an
	// encoder is warmed by what was heard before its first frame; 40 ms suffice.
	Recall(pcm []int16)
	// Depth is how much sound is held, decoded or not.
	Depth() time.Duration
	// Stats may be called between other calls, at any time before Close.
	Stats() VoiceStats
	// Close gives decoder and buffers back. The voice must not be used after.
	Close()
}

// Sound is what a voice put into a frame.
type Sound struct {
	// Level is the frame's RMS level in dB below full scale: 0 is the loudest, 127
	// is digital silence (the scale of RFC 6464).
	Level uint8
	// Active is false when the source is silent by its own account (DTX, digital
	// silence) or has sent nothing for so long that concealment has faded out.
	Active bool
	// Concealed is true when part of the frame was made up for a loss.
	Concealed bool
}

// VoiceStats counts since the voice was made.
type VoiceStats struct {
	Packets   uint64 // written
	Decoded   uint64 // played from their own payload
	Duplicate uint64 // written twice
	Late      uint64 // came after their time was played
	Recovered uint64 // lost packets played from in-band FEC or redundancy
	Concealed uint64 // lost packets made up
	Garbage   uint64 // payloads that did not decode
	Discarded uint64 // dropped because the buffer was full
	Stretched uint64 // time-scale operations that lengthened
	Shortened uint64 // time-scale operations that shortened
	Underruns uint64 // times nothing was there although the source was not silent
	Jitter    time.Duration
	Target    time.Duration // depth that the voice aims at
	Depth     time.Duration // depth now
	DriftPPM  float64       // source's clock against ours; positive is faster
	MaxDepth  time.Duration
}

// Encoder turns frames of PCM into payloads. Not safe for concurrent use.
type Encoder interface {
	// Encode writes the payload of one frame of FrameDuration into dst and returns
	// its length. 1,275 bytes always suffice.
	Encode(pcm []int16, dst []byte) (n int, err error)
	// Imitate makes the frames that follow be coded in the mode of a payload of the
	// encoder's own codec, as far as it can, until it is called with nil. Where a
	// decoder hears this stream after another one or before it, frames in the other
	// one's mode between the two (warm-up frames that are not sent count) spare it a
	// change of mode that nobody prepared it for, which is a hole of 10 to 100 ms.
	Imitate(payload []byte) error
	// SetExpectedLoss says how many percent of its packets the receiver loses, as
	// RTCP reports tell, so that redundancy is sent for it.
	SetExpectedLoss(percent int) error
	// Close gives the encoder back. It must not be used after.
	Close()
}
