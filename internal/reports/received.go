package reports

import (
	"encoding/binary"
	"sync"
	"time"

	"github.com/pion/rtcp"
)

// Limits of RFC 3550 appendix A.1.
const (
	maxDropout  = 3000 // sequence numbers ahead that still are a gap
	maxMisorder = 100  // and behind that still are reordering
)

// maxLost is the most that the 24 bits of a block hold with their sign.
const maxLost = 1<<23 - 1

// Received watches a stream that we receive, as RFC 3550 appendix A has it: loss from the sequence numbers (A.3), jitter
// from the timestamps (A.8). Its zero value is ready. Safe for concurrent use.
type Received struct {
	mu sync.Mutex // guards what follows

	started bool
	ssrc    uint32
	cycles  uint32 // how often the numbers wrapped around
	highest uint16
	wrong   uint16 // the number that would confirm a jump
	jumped  bool
	transit int64 // of the newest packet, in ticks
	jitter  int64 // in ticks, times 16
	rate    int64 // of the newest packet

	total, begin, reported count // so far, when this numbering began, at the last block
	gaps                   uint64

	// The newest sender report: whose, the middle of its NTP time, when it came.
	reporter, lastReport uint32
	lastReportAt         time.Time
}

// count is of packets.
type count struct{ expected, received uint64 }

// Take notes a packet that arrived now, with a timestamp of a clock of rate Hz. Packets whose timestamp does not tell
// when they were made have a rate of zero.
func (r *Received) Take(ssrc uint32, seq uint16, timestamp, rate uint32, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	ahead := seq - r.highest
	switch {
	case !r.started || ssrc != r.ssrc:
		r.startLocked(ssrc, seq)
	case ahead == 0:
		return // a duplicate, which must not make up for a loss
	case ahead < maxDropout:
		r.total.expected += uint64(ahead)
		if ahead > 1 {
			r.gaps++
		}
		if seq < r.highest {
			r.cycles++
		}
		r.highest, r.jumped = seq, false
	case -ahead <= maxMisorder:
		r.total.received++ // not lost, only late; says nothing about jitter
		return
	case r.jumped && seq == r.wrong:
		r.startLocked(ssrc, seq)
	default: // one wild packet must not count as thousands of lost ones
		r.jumped, r.wrong = true, seq+1
		return
	}
	r.total.received++
	r.observeLocked(timestamp, int64(rate), now)
}

// startLocked begins another numbering. What was counted stays for State, and is none of the new one's blocks.
func (r *Received) startLocked(ssrc uint32, seq uint16) {
	r.begin, r.reported = r.total, r.total
	r.started, r.jumped, r.ssrc, r.highest, r.cycles = true, false, ssrc, seq, 0
	r.transit = 0
	r.total.expected++
}

// observeLocked is RFC 3550 section 6.4.1: the mean deviation of the difference in spacing, smoothed by a sixteenth.
func (r *Received) observeLocked(timestamp uint32, rate int64, now time.Time) {
	if rate == 0 {
		return
	}
	arrival := now.Unix()*rate + int64(now.Nanosecond())*rate/int64(time.Second)
	transit := int64(int32(uint32(arrival) - timestamp))
	if r.transit != 0 {
		d := transit - r.transit
		if d < 0 {
			d = -d
		}
		if d < rate { // more is a pause or another clock, not jitter
			r.jitter += d - (r.jitter+8)>>4
		}
	}
	r.transit, r.rate = transit, rate
}

// TakeReports notes the sender report in a compound packet that came now. Before the first packet, whose report it is
// cannot be told, so the newest is kept.
func (r *Received) TakeReports(compound []byte, now time.Time) {
	Each(compound, func(typ uint8, _ int, body []byte) {
		if typ != senderReport || len(body) < senderHead {
			return
		}
		ssrc := binary.BigEndian.Uint32(body)
		r.mu.Lock()
		defer r.mu.Unlock()
		if !r.started || ssrc == r.ssrc {
			// The NTP time comes after the SSRC; its middle goes back in our block.
			r.reporter, r.lastReport, r.lastReportAt = ssrc, binary.BigEndian.Uint32(body[6:]), now
		}
	})
}

// Block is what a report says of the stream, or false as long as none came. The share of lost packets is that since the
// last block.
func (r *Received) Block(now time.Time) (rtcp.ReceptionReport, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.started {
		return rtcp.ReceptionReport{}, false
	}
	block := rtcp.ReceptionReport{
		SSRC:               r.ssrc,
		FractionLost:       fraction(r.total.expected-r.reported.expected, r.total.received-r.reported.received),
		TotalLost:          uint32(min(lost(r.total.expected-r.begin.expected, r.total.received-r.begin.received), maxLost)),
		LastSequenceNumber: r.cycles<<16 | uint32(r.highest),
		Jitter:             uint32(r.jitter >> 4),
	}
	r.reported = r.total
	if r.reporter == r.ssrc && !r.lastReportAt.IsZero() {
		block.LastSenderReport = r.lastReport
		block.Delay = uint32(int64(now.Sub(r.lastReportAt)) << 16 / int64(time.Second))
	}
	return block, true
}

// lost is never less than none: packets that came late may belong to an interval before.
func lost(expected, received uint64) uint64 {
	if received >= expected {
		return 0
	}
	return expected - received
}

// fraction is the share of lost packets in 256ths.
func fraction(expected, received uint64) uint8 {
	if expected == 0 {
		return 0
	}
	return uint8(min(lost(expected, received)<<8/expected, 255))
}

// State is what came of a stream.
type State struct {
	// Expected packets by their numbering, Lost of them did not come. What came late is not lost.
	Expected, Lost uint64
	// Gaps is in how many runs they were lost.
	Gaps uint64
	// Jitter is RFC 3550's interarrival jitter.
	Jitter time.Duration
}

// State returns what came so far, of all numberings.
func (r *Received) State() State {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := State{Expected: r.total.expected, Lost: lost(r.total.expected, r.total.received), Gaps: r.gaps}
	if r.rate > 0 {
		s.Jitter = time.Duration((r.jitter >> 4) * int64(time.Second) / r.rate)
	}
	return s
}
