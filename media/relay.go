package media

import (
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"time"

	"github.com/pion/rtp"
)

// Relay carries one RTP source on as one continuous stream: phone to room.
//
// It gives every packet the stream's own SSRC, payload type, sequence number and
// timestamp and nothing else: header extensions, contributing sources and
// padding of the other side mean nothing on this one. What the source lost stays
// lost in the numbering, and what it reordered stays reordered, because the
// receiver's jitter buffer conceals both better than we could. There is no timer,
// no buffer and no allocation in it.
type Relay struct {
	dst          Writer
	payloadTypes []uint8
	epoch        time.Time

	// Owned by the goroutine that calls WriteRTP.
	in        follower
	out       rtp.Packet
	seqOffset uint16
	tsOffset  uint32
	endSeq    uint16 // the sequence number after the newest written
	endTS     uint32 // the timestamp after the newest written
	newestAt  time.Duration

	counters relayCounters
	delays   delayCounter
}

type relayCounters struct {
	relayed, filtered, empty, duplicate, stray, restarts, writeErrors atomic.Uint64
}

// RelayStats counts packets since the relay was made.
type RelayStats struct {
	Relayed     uint64 // handed to the destination
	Filtered    uint64 // of a payload type that is not relayed
	Empty       uint64 // without payload: probes and padding
	Duplicate   uint64 // twice, or too late to have a place
	Stray       uint64 // of no stream we know, or a straggler of a former one
	Restarts    uint64 // times the source began anew, the first time included
	WriteErrors uint64 // refused by the destination, of those relayed
}

// NewRelay returns a relay to dst. Only packets of the given payload types are
// carried on, all of them if none is given. A packet left out leaves no hole in
// the numbering. The relay owns nothing that would have to be closed.
func NewRelay(dst Writer, payloadTypes ...uint8) *Relay {
	return &Relay{
		dst:          dst,
		payloadTypes: payloadTypes,
		epoch:        time.Now(),
		out:          rtp.Packet{Header: rtp.Header{Version: 2, PayloadType: OpusPayloadType, SSRC: rand.Uint32()}},
		endSeq:       uint16(rand.Uint32()),
		endTS:        rand.Uint32(),
	}
}

// WriteRTP carries p on, or drops it and counts why. It returns the destination's
// error. Not safe for concurrent use: one source, one caller.
func (r *Relay) WriteRTP(p *rtp.Packet) error {
	if len(r.payloadTypes) > 0 && !slices.Contains(r.payloadTypes, p.PayloadType) {
		r.counters.filtered.Add(1)
		r.leaveOut(&p.Header)
		return nil
	}
	if len(p.Payload) == 0 {
		r.counters.empty.Add(1)
		r.leaveOut(&p.Header)
		return nil
	}
	now := time.Since(r.epoch)
	v, _, _ := r.in.next(&p.Header, now)
	switch v {
	case duplicate:
		r.counters.duplicate.Add(1)
		return nil
	case stray:
		r.counters.stray.Add(1)
		return nil
	case restarted:
		r.counters.restarts.Add(1)
		r.align(&p.Header, now)
	case inOrder, reordered:
	}
	r.out.SequenceNumber = p.SequenceNumber + r.seqOffset
	r.out.Timestamp = p.Timestamp + r.tsOffset
	r.out.Marker = p.Marker
	r.out.Payload = p.Payload
	if v != reordered {
		r.endSeq, r.endTS, r.newestAt = r.out.SequenceNumber+1, r.out.Timestamp+durationTicks(p.Payload), now
	}
	sample := r.counters.relayed.Add(1)%delayRelayEvery == 0
	err := r.dst.WriteRTP(&r.out)
	r.out.Payload = nil
	if sample {
		r.delays.observe(time.Since(r.epoch) - now)
	}
	if err != nil {
		r.counters.writeErrors.Add(1)
	}
	return err
}

// Stats returns the counters. Safe to call from any goroutine.
func (r *Relay) Stats() RelayStats {
	c := &r.counters
	return RelayStats{
		Relayed: c.relayed.Load(), Filtered: c.filtered.Load(), Empty: c.empty.Load(),
		Duplicate: c.duplicate.Load(), Stray: c.stray.Load(), Restarts: c.restarts.Load(),
		WriteErrors: c.writeErrors.Load(),
	}
}

// leaveOut closes the hole of a packet that is not relayed.
func (r *Relay) leaveOut(h *rtp.Header) {
	if r.in.skip(h) {
		r.seqOffset--
	}
}

// align makes a new stream of the source follow the last one: the next sequence
// number, and a timestamp that moved on by the time that really passed, in whole
// frames, so that the receiver sees a pause and not a rush.
func (r *Relay) align(h *rtp.Header, now time.Duration) {
	var pause uint32
	if r.counters.relayed.Load() > 0 {
		elapsed := now - r.newestAt - FrameDuration
		pause = uint32(max(0, ticksOf(elapsed)/FrameSamples)) * FrameSamples
	}
	r.seqOffset = r.endSeq - h.SequenceNumber
	r.tsOffset = r.endTS + pause - h.Timestamp
}

// durationTicks is OpusDuration with the usual frame for what it cannot read.
func durationTicks(payload []byte) uint32 {
	ticks, err := OpusDuration(payload)
	if err != nil {
		return FrameSamples
	}
	return ticks
}
