package metaleg

import (
	"sync/atomic"
	"time"
)

// Limits of RFC 3550 appendix A.1.
const (
	maxDropout  = 3000 // sequence numbers ahead that still are a gap
	maxMisorder = 100  // and behind that still are reordering
)

// reception watches the audio that comes from Meta as RFC 3550 appendix A has it:
// loss from the sequence numbers (A.3), jitter from the timestamps (A.8). One
// goroutine takes packets, any may read.
type reception struct {
	clock atomic.Uint32 // of the timestamps, in Hz

	// Owned by the goroutine that takes packets.
	started bool
	ssrc    uint32
	highest uint16
	wrong   uint16 // the number that would confirm a jump
	jumped  bool
	transit int64 // of the newest packet, in ticks
	jitter  int64 // in ticks, times 16

	expected, received atomic.Uint64
	gaps               atomic.Uint64 // runs of missing packets
	jitterNanos        atomic.Int64
}

func (r *reception) setClock(rate uint32) { r.clock.Store(rate) }

// take notes a packet of the audio that arrived at now.
func (r *reception) take(ssrc uint32, seq uint16, ts uint32, now time.Time) {
	ahead := seq - r.highest
	switch {
	case !r.started || ssrc != r.ssrc:
		r.start(ssrc, seq)
	case ahead == 0:
		return // a duplicate, which must not make up for a loss
	case ahead < maxDropout:
		r.expected.Add(uint64(ahead))
		if ahead > 1 {
			r.gaps.Add(1)
		}
		r.highest, r.jumped = seq, false
	case -ahead <= maxMisorder:
		r.received.Add(1) // not lost, only late; says nothing about jitter
		return
	case r.jumped && seq == r.wrong:
		r.start(ssrc, seq)
	default: // one wild packet must not count as thousands of lost ones
		r.jumped, r.wrong = true, seq+1
		return
	}
	r.received.Add(1)
	r.observe(ts, now)
}

// start begins another numbering; what was counted stays.
func (r *reception) start(ssrc uint32, seq uint16) {
	r.started, r.jumped, r.ssrc, r.highest = true, false, ssrc, seq
	r.transit = 0
	r.expected.Add(1)
}

// observe is RFC 3550 section 6.4.1: the mean deviation of the difference in spacing,
// smoothed by a sixteenth.
func (r *reception) observe(ts uint32, now time.Time) {
	rate := int64(r.clock.Load())
	if rate == 0 {
		return
	}
	arrival := now.Unix()*rate + int64(now.Nanosecond())*rate/int64(time.Second)
	transit := int64(int32(uint32(arrival) - ts))
	if r.transit != 0 {
		d := transit - r.transit
		if d < 0 {
			d = -d
		}
		if d < rate { // more is a pause or another clock, not jitter
			r.jitter += d - (r.jitter+8)>>4
		}
	}
	r.transit = transit
	r.jitterNanos.Store((r.jitter >> 4) * int64(time.Second) / rate)
}

// Reception is what came of the audio that Meta sent.
type Reception struct {
	// Expected packets by their numbering, Lost of them did not come. What came late
	// is not lost.
	Expected, Lost uint64
	// Gaps is in how many runs they were lost.
	Gaps uint64
	// Jitter is RFC 3550's interarrival jitter.
	Jitter time.Duration
}

// Reception returns the state of Meta's stream. Safe to call from any goroutine.
func (l *Leg) Reception() Reception {
	r := &l.reception
	got := Reception{Expected: r.expected.Load(), Gaps: r.gaps.Load(), Jitter: time.Duration(r.jitterNanos.Load())}
	if received := r.received.Load(); received < got.Expected {
		got.Lost = got.Expected - received
	}
	return got
}
