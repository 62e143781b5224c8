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

	// Share of packets by relative delay. Forgetting is done by giving each new
	// packet more weight than the one before.
	hist   [bins]float64
	total  float64
	weight float64
	shift  time.Duration // rest of moving the histogram by whole bins

	counting bool
	seq      int64  // newest counted
	window   uint64 // bit i: seq-i came
	loss     float64
	lossGain float64
	poor     int           // packets since one with redundancy
	packet   time.Duration // duration of the newest
}

func (d *delays) init() {
	*d = delays{weight: 1, lossGain: 0.1, poor: redundancyMemory}
	for i := range d.minima {
		d.minima[i] = math.MaxInt64
	}
}

// observe takes the delay of a packet that arrived at at and whose timestamp is ts.
func (d *delays) observe(at, ts time.Duration) {
	transit := at - ts
	if !d.started {
		d.started = true
		d.base, d.last, d.epoch = transit, transit, at
		// Begin low: as if a few packets had come without delay.
		d.hist[0], d.total = 5, 5
	}
	// RFC 3550 section 6.4.1: J += (|D| - J) / 16.
	d.jitter += ((transit - d.last).Abs() - d.jitter) / 16
	d.last = transit

	d.advance(at)
	d.minima[d.newest] = min(d.minima[d.newest], transit)
	d.base = min(d.base, transit)
	if transit-d.base >= stepLeast {
		d.streakOf(transit)
		return
	}
	d.settle()
	d.add(transit - d.base)
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
	d.settle()
}

// settle counts the late packets: they were late, and nothing else.
func (d *delays) settle() {
	for _, t := range d.late[:d.streak] {
		d.add(max(0, t-d.base))
	}
	d.streak = 0
}

// rebase moves the base up. What was counted was counted from the old one.
func (d *delays) rebase(base time.Duration) {
	d.shift += base - d.base
	d.base = base
	by := int(d.shift / time.Millisecond)
	d.shift -= time.Duration(by) * time.Millisecond
	if by == 0 {
		return
	}
	by = min(by, bins-1)
	var low float64
	for _, w := range d.hist[:by+1] {
		low += w
	}
	copy(d.hist[:], d.hist[by:])
	clear(d.hist[bins-by:])
	d.hist[0] = low
}

// add counts a relative delay.
func (d *delays) add(late time.Duration) {
	bin := int((late + time.Millisecond - 1) / time.Millisecond) // a margin of bin ms holds it
	d.weight /= forget
	d.hist[min(bin, bins-1)] += d.weight
	d.total += d.weight
	if d.weight < 1e9 {
		return
	}
	for i := range d.hist {
		d.hist[i] /= d.weight
	}
	d.total /= d.weight
	d.weight = 1
}

// seen reports whether seq was counted.
func (d *delays) seen(seq int64) bool {
	back := d.seq - seq
	return d.counting && back >= 0 && back < 64 && d.window>>back&1 != 0
}

// count takes note that seq came, and of the numbers before it that did not.
func (d *delays) count(seq int64, redundant bool, packet time.Duration) {
	switch {
	case redundant:
		d.poor = 0
	case packet > 0:
		d.poor = min(d.poor+1, redundancyMemory)
	}
	if packet > 0 {
		d.packet = packet
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
	late, budget := d.total, target*d.total
	if d.poor == redundancyMemory {
		for i := range bins {
			late -= d.hist[i]
			if late <= budget {
				return min(max(time.Duration(i)*time.Millisecond, least), most)
			}
		}
		return most
	}
	// With redundancy: what is late or lost is made up if the next is late, too.
	// The next one comes a packet's duration later.
	packet := int((d.packet + time.Millisecond - 1) / time.Millisecond)
	next := d.total
	for i := range bins {
		late -= d.hist[i]
		if i >= packet {
			next -= d.hist[i-packet]
		}
		missing := late/d.total + d.loss
		if late <= lateWithRedundancy*d.total && missing*next <= budget {
			return min(max(time.Duration(i)*time.Millisecond, least), most)
		}
	}
	return most
}

// lateBeyond is the share of packets that came later than margin.
func (d *delays) lateBeyond(margin time.Duration) float64 {
	if !d.started {
		return 1
	}
	var late float64
	for _, w := range d.hist[min(max(margin/time.Millisecond, -1)+1, bins):] {
		late += w
	}
	return late / d.total
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
