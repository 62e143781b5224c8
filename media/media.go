// Package media moves audio between a source and a sink: RTP streams, the relay
// of each direction of a call, and the clock that paces what nobody else paces.
// It depends on the standard library and pion/rtp only; codecs, jitter buffers
// and resamplers are its neighbours.
//
// # Time
//
// Media time is counted in RTP ticks of ClockRate, whatever the codec's own
// sample rate is (RFC 7587 section 4.1). Everything that has to agree about wall
// time reads one clock, the Pacer's, which counts from the Pacer's start.
//
// # Ownership
//
// A packet belongs to whoever called WriteRTP. A Writer neither keeps nor
// changes it, so one reader buffer serves a whole call without an allocation.
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
