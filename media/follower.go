package media

import (
	"time"

	"github.com/pion/rtp"
)

// Limits of RFC 3550 appendix A.1, for what counts as the same stream.
const (
	// maxDropout is how many packets may be missing before a sequence number is
	// taken for the start of another stream.
	maxDropout = 3000
	// reorderWindow is how far back a packet may come and still be placed: one
	// bit per packet in a word.
	reorderWindow = 64
	// maxGap is how much further than the wall clock a timestamp may move before
	// it is taken for another clock.
	maxGap = 5 * time.Second
	// returnQuiet is how long a stream has to be quiet before the one it replaced
	// may come back: until then packets of the old one are stragglers.
	returnQuiet = 500 * time.Millisecond
)

// verdict is what a packet means for the stream it belongs to.
type verdict uint8

const (
	// inOrder is newer than all before it: the next one, or after a loss.
	inOrder verdict = iota
	// reordered is older than the newest, new, and still has its place.
	reordered
	// restarted is the first packet of a stream: the source's first, of another
	// SSRC, or after a jump of its numbering. The mapping must be made anew.
	restarted
	// duplicate was there before, or lies before the stream's start.
	duplicate
	// stray does not belong to the stream: drop it.
	stray
)

// follower follows the numbering of one RTP source (RFC 3550 appendix A.1): what
// is new, what is late, what is twice, and where a new stream begins. Its zero
// value waits for the first packet. Not safe for concurrent use.
type follower struct {
	started bool
	ssrc    uint32
	seq     uint16 // newest
	ts      uint32 // of the newest
	at      time.Duration
	seen    uint64 // bit i: seq-i arrived

	formerSSRC uint32 // the stream that the present one replaced
	former     bool
	probation  uint16 // the number that would confirm a jump
	jumped     bool
}

// next classifies a packet that arrived at now. For inOrder it also returns how
// far sequence number and timestamp moved since the newest one before it; for
// reordered and the others both are zero.
func (f *follower) next(h *rtp.Header, now time.Duration) (v verdict, steps uint16, ticks uint32) {
	if !f.started {
		f.restart(h, now)
		return restarted, 0, 0
	}
	if h.SSRC != f.ssrc {
		return f.otherSSRC(h, now), 0, 0
	}
	steps = h.SequenceNumber - f.seq
	if steps == 0 {
		return duplicate, 0, 0
	}
	if back := -steps; back < reorderWindow {
		f.jumped = false
		bit := uint64(1) << back
		if f.seen&bit != 0 {
			return duplicate, 0, 0
		}
		if behind := int64(int32(f.ts - h.Timestamp)); behind <= 0 || behind > int64(back)*maxOpusTicks+ticksOf(maxGap) {
			return stray, 0, 0
		}
		f.seen |= bit
		return reordered, 0, 0
	}
	if steps > maxDropout {
		return f.jump(h, now), 0, 0
	}
	f.jumped = false
	ticks = h.Timestamp - f.ts
	if forward := int64(int32(ticks)); forward <= 0 || forward > ticksOf(now-f.at+maxGap) {
		f.restart(h, now) // the numbering goes on but its clock does not
		return restarted, 0, 0
	}
	f.seen <<= min(steps, reorderWindow)
	f.seen |= 1
	f.seq, f.ts, f.at = h.SequenceNumber, h.Timestamp, now
	return inOrder, steps, ticks
}

// skip takes note of a packet that will not be relayed. It reports whether the
// packet was the next one, so that the caller can close the hole it leaves. The
// timestamp of such a packet says nothing about the audio (RFC 4733 section 2.1:
// an event repeats the time of its start) and is ignored.
func (f *follower) skip(h *rtp.Header) bool {
	if !f.started || h.SSRC != f.ssrc || h.SequenceNumber != f.seq+1 {
		return false
	}
	f.seq++
	f.seal()
	return true
}

// seal gives up everything before the newest packet: stragglers from there no
// longer have a place in the output.
func (f *follower) seal() { f.seen = ^uint64(0) }

func (f *follower) restart(h *rtp.Header, now time.Duration) {
	if f.started && h.SSRC != f.ssrc {
		f.former, f.formerSSRC = true, f.ssrc
	}
	f.started, f.jumped = true, false
	f.ssrc, f.seq, f.ts, f.at = h.SSRC, h.SequenceNumber, h.Timestamp, now
	f.seal()
}

// otherSSRC starts a new stream at once, but does not fall back to the former
// one for its stragglers.
func (f *follower) otherSSRC(h *rtp.Header, now time.Duration) verdict {
	if f.former && h.SSRC == f.formerSSRC && now-f.at < returnQuiet {
		return stray
	}
	f.restart(h, now)
	return restarted
}

// jump waits for a second packet that continues a jump before believing it
// (RFC 3550 appendix A.1, bad_seq): one wild packet must not move the stream.
func (f *follower) jump(h *rtp.Header, now time.Duration) verdict {
	if f.jumped && h.SequenceNumber == f.probation {
		f.restart(h, now)
		return restarted
	}
	f.jumped, f.probation = true, h.SequenceNumber+1
	return stray
}
