// Package jitter keeps the RTP packets of one source that came late, twice or in
// the wrong order until each is due, and says how long that should be.
//
// It is pure: it is told the time, starts nothing, decodes nothing, and allocates
// nothing after New.
//
// # Timeline
//
// Sequence numbers and timestamps are unwrapped into one line that never turns
// back: a source that restarts, jumps or changes its SSRC continues on it where
// its packets arrived, as if it had paused in between. Timestamps decide what a
// hole in the line is. A timestamp that moves on between consecutive sequence
// numbers is a pause of the source (DTX, RFC 7587 section 3.1.3); missing
// sequence numbers are a loss, as long as the timestamps say.
//
// # Delay
//
// The relative delay of a packet is how much later it came than the fastest
// packet of the last ten seconds would have. That base is a minimum, so it follows
// the drift of the source's clock and forgets a route that is gone. The relative
// delays are counted in a histogram that forgets over some five seconds; Need reads
// from it the least margin that keeps the share of sound made up below the target.
package jitter

import (
	"slices"
	"time"

	"github.com/pion/rtp"
)

// Options say what a Buffer holds. Zero values take the defaults.
type Options struct {
	// ClockRate is that of the timestamps, in ticks per second. Default 48000.
	ClockRate uint32
	// Duration measures a payload in ticks; an error marks it as garbage. Required.
	Duration func(payload []byte) (ticks uint32, err error)
	// Redundant reports whether a payload also carries the sound of the packet
	// before it. Nil means that none does.
	Redundant func(payload []byte) bool
	// TargetLoss is the share of packets, 0 to 1, that may come too late for their
	// turn. Default 0.01.
	TargetLoss float64
	// MinNeed and MaxNeed bound what Need returns. Defaults 1 ms and 300 ms.
	MinNeed, MaxNeed time.Duration
}

const (
	// maxPackets is how many packets are held: 2.5 s of 20 ms.
	maxPackets = 128
	// maxPayload is the longest payload held: what an Ethernet frame can bring.
	maxPayload = 1500
	// maxTicks bounds a packet's duration: 120 ms (RFC 6716 section 3.2.5).
	maxTicks = 120
)

// Packet is one held packet, in the unwrapped numbering of the line.
type Packet struct {
	Seq   int64         // unwrapped sequence number
	Time  int64         // unwrapped timestamp in ticks
	Ticks int64         // duration in ticks; zero for a packet without payload
	At    time.Duration // when it arrived
	// Fresh marks the first packet of another stream: what the decoder remembers of
	// the sound before does not belong to it.
	Fresh bool
	// Redundant says that the payload also carries the sound before it.
	Redundant bool
	// Len is the payload's length in bytes.
	Len int

	head int16 // of the payload's blocks
	own  numbering
}

// numbering is what a packet says of itself.
type numbering struct {
	ssrc, timestamp uint32
	sequence        uint16
	payloadType     uint8
	marker          bool
}

// Stats count since New.
type Stats struct {
	Packets   uint64 // given to Put
	Duplicate uint64 // that were there already
	Late      uint64 // that came after their turn
	Garbage   uint64 // whose payload is none of the codec
	Stray     uint64 // of no stream: one wild number, stragglers of a former SSRC
	Discarded uint64 // thrown out for want of room
	Restarts  uint64 // streams begun after the first
	// Jitter is the interarrival jitter of RFC 3550 section 6.4.1.
	Jitter time.Duration
	// DriftPPM is how much faster the source's clock runs than ours.
	DriftPPM float64
	// Loss is the present share of lost packets, 0 to 1.
	Loss float64
}

// Buffer holds the packets of one source. Not safe for concurrent use.
type Buffer struct {
	opt    Options
	order  order
	delay  delays
	held   []Packet // by Seq
	mem    slab
	stats  Stats
	passed struct {
		ok        bool
		seq, time int64
	}
}

// New makes a Buffer.
func New(o Options) *Buffer {
	if o.ClockRate == 0 {
		o.ClockRate = 48000
	}
	if o.TargetLoss <= 0 {
		o.TargetLoss = 0.01
	}
	if o.MinNeed <= 0 {
		o.MinNeed = time.Millisecond
	}
	if o.MaxNeed <= 0 {
		o.MaxNeed = 300 * time.Millisecond
	}
	b := &Buffer{opt: o, held: make([]Packet, 0, maxPackets)}
	b.mem.init()
	b.delay.init()
	b.order.clock = int64(o.ClockRate)
	return b
}

// Reset empties the buffer for another source, and forgets all but its options.
func (b *Buffer) Reset() {
	b.held = b.held[:0]
	b.mem.init()
	b.delay.init()
	b.order = order{clock: b.order.clock}
	b.stats = Stats{}
	b.passed.ok = false
}

// Put takes a packet that arrived at at. It copies the payload.
func (b *Buffer) Put(p *rtp.Packet, at time.Duration) {
	b.stats.Packets++
	ticks, ok := b.measure(p.Payload)
	if !ok {
		b.stats.Garbage++
		return // its place stays a hole, like that of a lost packet
	}
	seq, ts, v := b.order.place(&p.Header, int64(ticks), at, b.delay.base)
	switch v {
	case stray:
		b.stats.Stray++
		return
	case fresh:
		b.stats.Restarts++
	case following:
	}
	if b.passed.ok && seq <= b.passed.seq {
		b.tooLate(seq, ts, ticks, at)
		return
	}
	i, found := slices.BinarySearchFunc(b.held, seq, func(q Packet, seq int64) int { return int(q.Seq - seq) })
	if found {
		b.stats.Duplicate++
		return
	}
	redundant := ticks > 0 && b.opt.Redundant != nil && b.opt.Redundant(p.Payload)
	if ticks > 0 {
		b.delay.observe(at, b.order.duration(ts), seq, redundant, b.order.duration(int64(ticks)))
	}
	b.delay.count(seq, redundant, ticks > 0)
	if b.passed.ok && ticks > 0 && ts < b.passed.time-b.order.ticks(overlap) {
		b.stats.Late++ // numbered anew, but of a time that was played
		return
	}
	i = b.makeRoom(i, len(p.Payload))
	q := Packet{
		Seq: seq, Time: ts, Ticks: int64(ticks), At: at, Fresh: v == fresh, Redundant: redundant,
		Len: len(p.Payload), head: b.mem.store(p.Payload),
		own: numbering{
			ssrc: p.SSRC, timestamp: p.Timestamp, sequence: p.SequenceNumber,
			payloadType: p.PayloadType, marker: p.Marker,
		},
	}
	b.held = slices.Insert(b.held, i, q)
}

// measure returns the duration of a payload in ticks, zero for none.
func (b *Buffer) measure(payload []byte) (ticks uint32, ok bool) {
	if len(payload) == 0 {
		return 0, true
	}
	ticks, err := b.opt.Duration(payload)
	ok = err == nil && ticks > 0 && ticks <= maxTicks*b.opt.ClockRate/1000 && len(payload) <= maxPayload
	return ticks, ok
}

// overlap is how much of a packet's time may have been played already: clocks of
// sources are rounded.
const overlap = 5 * time.Millisecond

// tooLate takes note of a packet whose turn is over: what its delay was is what the
// next ones may have.
func (b *Buffer) tooLate(seq, ts int64, ticks uint32, at time.Duration) {
	if b.delay.seen(seq) {
		b.stats.Duplicate++
		return
	}
	b.stats.Late++
	if ticks > 0 {
		b.delay.observe(at, b.order.duration(ts), seq, false, 0)
	}
	b.delay.count(seq, false, false)
}

// makeRoom throws the oldest packets out until one of n bytes fits, and returns
// where i has moved.
func (b *Buffer) makeRoom(i, n int) int {
	for len(b.held) > 0 && (len(b.held) == maxPackets || !b.mem.fits(n)) {
		b.stats.Discarded++
		b.drop()
		i = max(0, i-1)
	}
	return i
}

// Front returns the oldest packet, or nil. It is valid until the next Put or Pop.
func (b *Buffer) Front() *Packet {
	if len(b.held) == 0 {
		return nil
	}
	return &b.held[0]
}

// Payload copies the payload of p into dst[:0] and returns it.
func (b *Buffer) Payload(p *Packet, dst []byte) []byte {
	return b.mem.load(dst[:0], p.head, p.Len)
}

// Pop drops the oldest packet: it is played.
func (b *Buffer) Pop() {
	if len(b.held) == 0 {
		return
	}
	p := b.held[0]
	b.drop()
	b.Pass(p.Seq, p.Time+p.Ticks)
}

func (b *Buffer) drop() {
	b.mem.release(b.held[0].head)
	b.held = slices.Delete(b.held, 0, 1)
}

// Pass closes the line up to seq and time, in ticks: packets from before come late.
func (b *Buffer) Pass(seq, time int64) {
	if b.passed.ok {
		seq, time = max(seq, b.passed.seq), max(time, b.passed.time)
	}
	b.passed.ok, b.passed.seq, b.passed.time = true, seq, time
}

// Each hands out all held packets with a payload, oldest first, in the source's
// own numbering. buf is room for a payload; the packet is valid during the call.
func (b *Buffer) Each(buf []byte, yield func(p *rtp.Packet)) {
	var out rtp.Packet
	for i := range b.held {
		p := &b.held[i]
		if p.Ticks == 0 {
			continue
		}
		out.Header = rtp.Header{
			Version: 2, Marker: p.own.marker, PayloadType: p.own.payloadType,
			SequenceNumber: p.own.sequence, Timestamp: p.own.timestamp, SSRC: p.own.ssrc,
		}
		out.Payload = b.Payload(p, buf)
		yield(&out)
	}
}

// Len is the number of held packets.
func (b *Buffer) Len() int { return len(b.held) }

// Held is how much sound the held packets are.
func (b *Buffer) Held() time.Duration {
	var ticks int64
	for i := range b.held {
		ticks += b.held[i].Ticks
	}
	return b.order.duration(ticks)
}

// Need is the least margin between the moment the fastest packet arrives and the
// moment it is needed that keeps what has to be made up below the target: late
// packets where the source sends no redundancy; where it does, packets that are
// late or lost and whose next one is late, too. The margin then tends to a
// packet and some, which is what it takes to have that next one (RFC 7587 section
// 3.1.2 leaves it to the receiver to wait for it).
func (b *Buffer) Need() time.Duration {
	return b.delay.need(b.opt.TargetLoss, b.opt.MinNeed, b.opt.MaxNeed)
}

// Margin is how long before now the fastest packet with time ts would have come.
func (b *Buffer) Margin(now time.Duration, ts int64) time.Duration {
	return now - b.delay.base - b.order.duration(ts)
}

// Settled is false while the newest packets all came so late that either a longer
// delay has begun or a short outage is about to end: then Margin may tell too much.
func (b *Buffer) Settled() bool { return b.delay.streak == 0 }

// RatherLost tells whether a packet that is not there margin after the fastest one
// would have been is lost more often than late.
func (b *Buffer) RatherLost(margin time.Duration) bool {
	return b.delay.lateBeyond(margin) < b.delay.loss
}

// Duration converts ticks of the source's clock.
func (b *Buffer) Duration(ticks int64) time.Duration { return b.order.duration(ticks) }

// Stats returns the counts so far.
func (b *Buffer) Stats() Stats {
	s := b.stats
	s.Jitter, s.DriftPPM, s.Loss = b.delay.jitter, b.delay.drift(), b.delay.loss
	return s
}
