package jitter

import (
	"time"

	"github.com/pion/rtp"
)

// Limits of RFC 3550 appendix A.1 for what counts as the same stream.
const (
	// maxDropout is how many packets may be missing before a sequence number is
	// taken for the start of another stream.
	maxDropout = 3000
	// maxMisorder is how many packets late a packet may be and still belong.
	maxMisorder = 100
	// maxGap is how much further than the wall clock a timestamp may move before
	// it is taken for another clock.
	maxGap = 2 * time.Second
	// returnQuiet is how long a stream has to be quiet before the one it replaced
	// may come back: until then packets of the old one are stragglers.
	returnQuiet = 500 * time.Millisecond
)

// verdict is what a packet means for the stream it belongs to.
type verdict uint8

const (
	following verdict = iota // has its place on the line
	fresh                    // starts another stream, which continues the line
	stray                    // belongs to no stream
)

// order unwraps the numbering of one source into a line that never turns back.
// Its zero value, but for clock, waits for the first packet.
type order struct {
	clock   int64 // ticks per second
	started bool
	ssrc    uint32
	seq     uint16        // newest as received
	ts      uint32        // of the newest
	at      time.Duration // arrival of the newest

	line struct{ seq, time, end int64 } // of the newest

	former     bool
	formerSSRC uint32
	jumped     bool
	probation  uint16 // the number that would confirm a jump
}

// duration converts ticks to time.
func (o *order) duration(ticks int64) time.Duration {
	return time.Duration(ticks/o.clock)*time.Second + time.Duration(ticks%o.clock)*time.Second/time.Duration(o.clock)
}

// ticks converts time to ticks, rounding down.
func (o *order) ticks(d time.Duration) int64 {
	return int64(d/time.Second)*o.clock + int64(d%time.Second)*o.clock/int64(time.Second)
}

// place puts a packet that lasts ticks on the line. base is the transit of the
// fastest packets: where on the line a new stream starts that arrives at at.
func (o *order) place(h *rtp.Header, ticks int64, at, base time.Duration) (seq, ts int64, v verdict) {
	switch {
	case !o.started:
		o.started = true
		o.ssrc = h.SSRC
		o.line.seq, o.line.time = int64(h.SequenceNumber), int64(h.Timestamp)
		o.advance(h, ticks, at)
		return o.line.seq, o.line.time, following
	case h.SSRC != o.ssrc:
		return o.otherSSRC(h, ticks, at, base)
	}
	steps := int64(int16(h.SequenceNumber - o.seq))
	moved := int64(int32(h.Timestamp - o.ts))
	switch {
	case steps <= 0 && steps > -maxMisorder:
		o.jumped = false
		if !o.mayPrecede(steps, moved, ticks) {
			return 0, 0, stray
		}
		return o.line.seq + steps, o.line.time + moved, following
	case steps <= 0 || steps > maxDropout:
		// Believed when a second packet continues it (RFC 3550 appendix A.1,
		// bad_seq): one wild packet must not move the stream.
		if o.jumped && h.SequenceNumber == o.probation {
			return o.restart(h, ticks, at, base)
		}
		o.jumped, o.probation = true, h.SequenceNumber+1
		return 0, 0, stray
	}
	o.jumped = false
	if ticks == 0 { // padding only: its timestamp is of no sound
		o.line.seq += steps
		o.seq = h.SequenceNumber
		return o.line.seq, o.line.end, following
	}
	if moved <= 0 || moved > o.ticks(at-o.at+maxGap) {
		return o.restart(h, ticks, at, base) // the numbering goes on but its clock does not
	}
	o.line.seq += steps
	o.line.time += moved
	o.advance(h, ticks, at)
	return o.line.seq, o.line.time, following
}

// otherSSRC starts a new stream at once, but does not fall back to the former one
// for its stragglers.
func (o *order) otherSSRC(h *rtp.Header, ticks int64, at, base time.Duration) (seq, ts int64, v verdict) {
	if o.former && h.SSRC == o.formerSSRC && at-o.at < returnQuiet {
		return 0, 0, stray
	}
	o.former, o.formerSSRC, o.ssrc = true, o.ssrc, h.SSRC
	return o.restart(h, ticks, at, base)
}

// mayPrecede reports whether a packet numbered steps and timed moved from the newest,
// neither of them forward, belongs there: its time must be older as well, but by no
// more than so many packets and a pause between them could last.
func (o *order) mayPrecede(steps, moved, ticks int64) bool {
	if moved > 0 || moved == 0 && steps < 0 && ticks > 0 {
		return false
	}
	return -moved <= -steps*maxTicks*o.clock/1000+o.ticks(maxGap)
}

func (o *order) advance(h *rtp.Header, ticks int64, at time.Duration) {
	o.seq, o.ts, o.at = h.SequenceNumber, h.Timestamp, at
	o.line.end = o.line.time + ticks
}

// restart continues the line with a packet whose numbering does not: right behind
// the newest in sequence, and in time where it would have been sent had its
// stream been there all along.
func (o *order) restart(h *rtp.Header, ticks int64, at, base time.Duration) (seq, ts int64, v verdict) {
	o.jumped = false
	o.line.seq++
	o.line.time = max(o.line.end, o.ticks(at-base))
	o.advance(h, ticks, at)
	return o.line.seq, o.line.time, fresh
}
