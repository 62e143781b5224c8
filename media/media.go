// Package media moves audio between a source and a sink: RTP streams, the relay
// of each direction of a call, the mix of several voices, and the clock that paces
// what nobody else paces. It depends on the standard library and pion/rtp only;
// codecs, jitter buffers and resamplers are its neighbours and come in through
// Codecs.
//
// # Two directions
//
// A Relay carries what one source sends, packet by packet: phone to room. A Line
// makes one unbroken stream out of many sources: room to phone. While one source
// is heard a Line is a relay, too; while several are, or one whose packets the far
// end cannot take, it decodes, sums and encodes. A Line with one source that must
// be transcoded is the way from a phone with G.711 into the room.
//
// # Who is heard
//
// A Line judges packets without decoding them: by DTX, digital silence, the voice
// flags of SILK, the audio level that a client measured, and the room's hint who
// speaks. What nobody judged counts as sound. Noise is heard while there is nothing
// else, but makes nobody decode. What a source says until it is believed to speak
// is kept and played from its beginning. A mix ends a second or two after all but
// one fell silent.
//
// # From relay to mix and back
//
// The phone has one decoder for all of it, and must not notice. A relayed source's
// last packets prime a voice, which stretches them until its next one is due; what
// they held warms the encoder, so that its first frame goes on from there. Going
// back, the voice plays what it had decoded, what it had not is relayed, and live
// packets follow. Decoders keep more than sound: CELT codes loudness and SILK pitch
// as a difference to the frame before, and a change between the two needs frames
// that prepare it. So frames around a switch imitate the other stream (Encoder).
// Without that a switch is a hole of 10 ms or a fade-in of 100.
//
// # Time
//
// Media time is counted in RTP ticks of ClockRate, whatever the codec's own
// sample rate is (RFC 7587 section 4.1), or RTP clock. Everything that has to agree
// about wall time reads one clock, the Pacer's, which counts from the Pacer's start.
//
// # Ownership
//
// A packet belongs to whoever called WriteRTP. A Writer neither keeps nor
// changes it, so one reader buffer serves a whole call without an allocation.
// Voices and encoders belong to the Line that asked for them, which gives them back
// when a mix ends.
package media

import (
	"time"

	"github.com/pion/rtp"
)

const (
	// ClockRate is the RTP clock of Opus in ticks per second (RFC 7587
	// section 4.1: always 48000).
	ClockRate = 48000
	// FrameSamples is the length of one frame in RTP ticks, and in samples of a
	// 48 kHz mono signal.
	FrameSamples = 960
	// FrameDuration is FrameSamples in time: the packet time Meta asks for
	// (ptime:20) and the step of the Pacer.
	FrameDuration = 20 * time.Millisecond
	// OpusPayloadType is the dynamic payload type that this package writes. Legs
	// that negotiated another one replace it.
	OpusPayloadType = 111
)

// Writer takes one RTP stream, packet by packet.
//
// WriteRTP must not block for longer than a datagram takes to leave, must not
// change p, and must keep neither p nor p.Payload after it returned. An error
// concerns this packet only: the next one may be written.
type Writer interface {
	WriteRTP(p *rtp.Packet) error
}

// ticksOf converts a duration to RTP ticks, rounding down.
func ticksOf(d time.Duration) int64 {
	return int64(d) * (ClockRate / 1000) / int64(time.Millisecond)
}

// durationOf converts RTP ticks to a duration, rounding down.
func durationOf(ticks int64) time.Duration {
	return time.Duration(ticks * int64(time.Millisecond) / (ClockRate / 1000))
}
