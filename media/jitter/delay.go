package jitter

import (
	"math"
	"slices"
	"time"
)

const (
	// bins of the histogram, of one millisecond each. The last counts all above.
	bins = 400
	// forget is how much of the histogram each packet leaves: 5 s of 20 ms.
	forget = 0.996
	// forgetLoss is the same for the share of lost packets: 10 s.
	forgetLoss = 0.998

	// second is the length of one bin of the minimum filter.
	second = time.Second
	// baseSeconds is how long a fastest packet is remembered.
	baseSeconds = 10
	// driftSeconds is how many minima the drift is measured from.
	driftSeconds = 64

	// stepPackets and stepLeast tell a new route, or a source whose timestamps
	// stood still in a pause, from jitter: that many packets in a row were at
	// least so much later than the base.
	stepPackets = 10
	stepLeast   = 40 * time.Millisecond

	// redundancyMemory is how many packets without redundancy end the hope for it:
	// encoders leave it out in pauses.
	redundancyMemory = 500
	// redundantLate is how much later than a packet's length its redundancy counts as
	// there: a margin of just the one packet would be won and lost with each
	// millisecond that either side's clock is off.
	redundantLate = 2 * time.Millisecond
	// lateWithRedundancy is the share of packets that may be late even if what
	// they said can be had, coarser, from the next one.
	lateWithRedundancy = 0.05
)

// delays learns how late packets come and how many are lost.
type delays struct {
	started bool
	base    time.Duration // least transit: arrival minus timestamp
	jitter  time.Duration // RFC 3550 appendix A.8
	last    time.Duration // transit of the packet before

	// Least transit of each second, a ring; empty seconds hold math.MaxInt64.
	minima [driftSeconds]time.Duration
	epoch  time.Duration // when the newest second began
	newest int

	late   [stepPackets]time.Duration // transits of late packets in a row, not counted yet
	streak int                        // how many they are

	arrived histogram     // packets by relative delay
	heard   histogram     // by when their sound is there: from them or from the next
	weight  float64       // of the next one counted: more than that of the one before
	shift   time.Duration // rest of moving the histograms by whole bins
	pending struct {      // the newest packet, whose next one may come in time for both
		ok   bool
		seq  int64
		late time.Duration
	}

	counting bool
	seq      int64  // newest counted
	window   uint64 // bit i: seq-i came
	loss     float64
	lossGain float64
	poor     int // packets since one with redundancy
}

// histogram of relative delays. Its weights grow, which is how it forgets.
type histogram struct {
	weight [bins]float64
	total  float64
}

func (h *histogram) add(late time.Duration, weight float64) {
	bin := int((late + time.Millisecond - 1) / time.Millisecond) // a margin of bin ms holds it
	h.weight[min(bin, bins-1)] += weight
	h.total += weight
}

// fall moves all delays down by some bins.
func (h *histogram) fall(by int) {
	var low float64
	for _, w := range h.weight[:by+1] {
		low += w
	}
	copy(h.weight[:], h.weight[by:])
	clear(h.weight[bins-by:])
	h.weight[0] = low
}

func (h *histogram) scale(by float64) {
	for i := range h.weight {
		h.weight[i] *= by
	}
	h.total *= by
}

// above is the share of delays that a margin of so many ms does not hold.
func (h *histogram) above(ms int) float64 {
	var late float64
	for _, w := range h.weight[min(max(ms, -1)+1, bins):] {
		late += w
	}
	return late / h.total
}

// margin in ms that all but the given share are held by.
func (h *histogram) margin(share float64) int {
	late, budget := h.total, share*h.total
	for i, w := range h.weight {
		if late -= w; late <= budget {
			return i
		}
	}
	return bins
}

func (d *delays) init() {
	*d = delays{weight: 1, lossGain: 0.1, poor: redundancyMemory}
	for i := range d.minima {
		d.minima[i] = math.MaxInt64
	}
}

// observe takes the delay of packet seq that arrived at at and whose timestamp is
// ts. It lasts packet; redundant says that it carries the sound of the one before.
func (d *delays) observe(at, ts time.Duration, seq int64, redundant bool, packet time.Duration) {
	transit := at - ts
	if !d.started {
		d.started = true
		d.base, d.last, d.epoch = transit, transit, at
		// Begin low: as if a few packets had come without delay.
		d.arrived.add(0, 5)
		d.heard.add(0, 5)
	}
	// RFC 3550 section 6.4.1: J += (|D| - J) / 16.
	d.jitter += ((transit - d.last).Abs() - d.jitter) / 16
	d.last = transit

	d.advance(at)
	d.minima[d.newest] = min(d.minima[d.newest], transit)
	d.base = min(d.base, transit)
	late := transit - d.base
	if late >= stepLeast {
		d.streakOf(transit)
		return
	}
	d.settle(late, packet)
	d.grow()
	d.arrived.add(late, d.weight)
	d.pair(seq, late, redundant, packet)
}

// pair counts when the sound of the packet before seq is there, which is settled
// now: when it came itself, or when seq came that carries it. Two packets that are late
// together are of no use to each other; that is why pairs are counted.
func (d *delays) pair(seq int64, late time.Duration, redundant bool, packet time.Duration) {
	p := &d.pending
	switch steps := seq - p.seq; {
	case !p.ok:
	case steps <= 0: // overtaken by one that has settled it
		return
	case steps == 1 && redundant:
		d.heard.add(min(p.late, late+packet+redundantLate), d.weight)
	default:
		d.heard.add(p.late, d.weight)
		if steps > 1 && redundant {
			d.heard.add(late+packet+redundantLate, d.weight)
		}
	}
	p.ok, p.seq, p.late = true, seq, late
}

// advance begins new seconds as time passes, and raises the base when the second
// that held the minimum is forgotten.
func (d *delays) advance(at time.Duration) {
	if at-d.epoch < second {
		return
	}
	if at-d.epoch > driftSeconds*second {
		d.epoch = at - at%second - driftSeconds*second
	}
	for at-d.epoch >= second {
		d.epoch += second
		d.newest = (d.newest + 1) % driftSeconds
		d.minima[d.newest] = math.MaxInt64
	}
	least := time.Duration(math.MaxInt64)
	for i := range baseSeconds {
		least = min(least, d.minima[(d.newest-i+driftSeconds)%driftSeconds])
	}
	if least != math.MaxInt64 && least > d.base {
		d.rebase(least)
	}
}

// streakOf raises the base at once when so many packets in a row were late.
func (d *delays) streakOf(transit time.Duration) {
	d.late[d.streak] = transit
	d.streak++
	if d.streak < stepPackets {
		return
	}
	for i := range d.minima {
		d.minima[i] = math.MaxInt64
	}
	d.minima[d.newest] = slices.Min(d.late[:])
	d.rebase(d.minima[d.newest])
	d.settle(bins*time.Millisecond, 0)
}

// settle counts the late packets: they were late, and nothing else. next is how late
// the packet behind them was; packet is how long they last.
func (d *delays) settle(next, packet time.Duration) {
	if d.streak == 0 {
		return
	}
	if p := &d.pending; p.ok {
		d.heard.add(p.late, d.weight)
		p.ok = false
	}
	for i := d.streak - 1; i >= 0; i-- {
		late := max(0, d.late[i]-d.base)
		d.grow()
		d.arrived.add(late, d.weight)
		if d.poor < redundancyMemory {
			d.heard.add(min(late, next+packet+redundantLate), d.weight)
		} else {
			d.heard.add(late, d.weight)
		}
		next = late
	}
	d.streak = 0
}

// rebase moves the base up. What was counted was counted from the old one.
func (d *delays) rebase(base time.Duration) {
	d.shift += base - d.base
	d.base = base
	by := int(d.shift / time.Millisecond)
	d.shift -= time.Duration(by) * time.Millisecond
	if by = min(by, bins-1); by > 0 {
		d.arrived.fall(by)
		d.heard.fall(by)
	}
}

// grow makes the next packet count for more than those before it.
func (d *delays) grow() {
	d.weight /= forget
	if d.weight > 1e9 {
		d.arrived.scale(1 / d.weight)
		d.heard.scale(1 / d.weight)
		d.weight = 1
	}
}

// seen reports whether seq was counted.
func (d *delays) seen(seq int64) bool {
	back := d.seq - seq
	return d.counting && back >= 0 && back < 64 && d.window>>back&1 != 0
}

// count takes note that seq came, and of the numbers before it that did not.
func (d *delays) count(seq int64, redundant, sound bool) {
	switch {
	case redundant:
		d.poor = 0
	case sound:
		d.poor = min(d.poor+1, redundancyMemory)
	}
	if !d.counting {
		d.counting, d.seq, d.window = true, seq, 1
		return
	}
	back := d.seq - seq
	if back >= 0 {
		if back < 64 && d.window>>back&1 == 0 {
			d.window |= 1 << back
			d.loss = max(0, d.loss-d.lossGain) // it was not lost after all
		}
		return
	}
	// Each number is judged when it is passed; the first few weigh more. More than
	// a hundred at once are an outage, of which there is nothing to learn.
	for range min(-back-1, 100) {
		d.judge(1)
	}
	d.judge(0)
	d.seq = seq
	if -back < 64 {
		d.window = d.window<<-back | 1
	} else {
		d.window = 1
	}
}

func (d *delays) judge(lost float64) {
	d.lossGain = max(1-forgetLoss, d.lossGain*0.95)
	d.loss += d.lossGain * (lost - d.loss)
}

// need finds the least margin for which at most the share target of the packets
// must be made up.
func (d *delays) need(target float64, least, most time.Duration) time.Duration {
	if !d.started {
		return least
	}
	var ms int
	if d.poor == redundancyMemory {
		ms = d.arrived.margin(target)
	} else {
		ms = max(d.heard.margin(target), d.arrived.margin(lateWithRedundancy))
	}
	return min(max(time.Duration(ms)*time.Millisecond, least), most)
}

// lateBeyond is the share of packets that came later than margin.
func (d *delays) lateBeyond(margin time.Duration) float64 {
	if !d.started {
		return 1
	}
	return d.arrived.above(int(min(margin/time.Millisecond, bins)))
}

// drift is the least-squares slope of the minima over the seconds they are of, in
// parts per million; a source that is faster than us has falling transits.
func (d *delays) drift() float64 {
	var n, sx, sy, sxx, sxy float64
	for i := range driftSeconds - 1 { // the newest second is not over
		t := d.minima[(d.newest-1-i+driftSeconds)%driftSeconds]
		if t == math.MaxInt64 {
			continue
		}
		x, y := -float64(i), float64(t-d.base)/float64(time.Second)
		n, sx, sy, sxx, sxy = n+1, sx+x, sy+y, sxx+x*x, sxy+x*y
	}
	if n < baseSeconds {
		return 0
	}
	return -1e6 * (n*sxy - sx*sy) / (n*sxx - sx*sx)
}
