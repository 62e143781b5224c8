package roomleg

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	lksdk "github.com/livekit/server-sdk-go/v2"
	"github.com/pion/rtp"

	"github.com/livekit-connector/livekit-connector/internal/clock"
	"github.com/livekit-connector/livekit-connector/media"
)

// A subscriber hears our track only some time after it appeared: the server collects changes for 150 ms before it
// negotiates, and what it forwards before the subscriber has applied that answer is lost, up to ten packets of it (Pion
// reads them to find out whose they are). So the caller's first words are held back until the server says that the track
// is subscribed, and a little longer.
const (
	// preRoll is how much of the newest audio is kept meanwhile. Measured from Publish to "subscribed" on one machine: 180 ms;
	// over a network some round trips come to that. The listeners' jitter buffers catch up with what comes at once.
	preRoll = time.Second
	// earlyRoll is how much is kept before Publish: the first word can be faster than Meta's word that the call is answered.
	earlyRoll = 300 * time.Millisecond
	// settle is how long after "subscribed" the subscriber gets to apply the answer.
	settle = 100 * time.Millisecond
	// settleAll is the same when there are several: the server tells of the first only. A libwebrtc agent was 200 ms faster
	// than another participant, who missed as much of the caller.
	settleAll = 300 * time.Millisecond
	// holdLimit ends the waiting for a subscriber: there may be none, or only hidden ones, of which we are not told.
	holdLimit = time.Second

	preRollTicks   = uint32(preRoll / time.Millisecond * media.ClockRate / 1000)
	earlyRollTicks = uint32(earlyRoll / time.Millisecond * media.ClockRate / 1000)
	preRollPackets = 64 // a bound for senders whose timestamps do not advance
)

// The gate of a voice.
const (
	gateEarly int32 = iota // before Publish: a little is kept
	gateHeld               // published, nobody hears yet: kept in the pre-roll
	gateOpen               // straight to the track
	gateShut               // after Leave, or a Publish that failed: dropped
)

// voice is the way of the phone's packets to the room's track. One goroutine writes, any may move the gate.
type voice struct {
	track *lksdk.LocalTrack
	bound chan struct{} // closed when the track has a connection for the first time
	bind  func()        // closes bound, once

	gate         atomic.Int32
	clock        clock.Watch // started with the voice
	heldSince    clock.Moment
	subscribedAt clock.Moment
	listeners    atomic.Int32 // other participants that are not hidden

	held []*rtp.Packet // the writer's own, oldest first

	sent, unpublished, unbound, overflowed atomic.Uint64

	firstHeard        clock.Moment // somebody subscribed for the first time, on whatever connection
	firstOut, lastOut clock.Moment // of what was sent
}

// Stats counts the phone's packets.
type Stats struct {
	// Sent were handed to the room's connection.
	Sent uint64
	// Unpublished came after Leave and were dropped.
	Unpublished uint64
	// Unbound came while there was no connection to the room. LiveKit's SDK takes such packets without a word.
	Unbound uint64
	// Overflowed were pushed out of the pre-roll by newer ones: nobody had subscribed for too long, or the connection
	// was away.
	Overflowed uint64
	// Listening is how many tracks of the room are heard now.
	Listening int
	// Refused is how many tracks were not heard, by reason.
	Refused map[Refusal]uint64
}

// counts are of a whole leg.
type counts struct {
	refused [RefusedCodec + 1]atomic.Uint64
}

func newVoice(track *lksdk.LocalTrack) *voice {
	v := &voice{track: track, clock: clock.Start(), bound: make(chan struct{})}
	v.bind = sync.OnceFunc(func() { close(v.bound) })
	track.OnBind(v.bind)
	return v
}

func (v *voice) shut() { v.gate.Store(gateShut) }

// hold makes the next packets wait for a subscriber. The gate moves last: it publishes the times to the writer.
func (v *voice) hold(now time.Time) {
	v.subscribedAt.Clear()
	v.clock.Set(&v.heldSince, now)
	v.gate.Store(gateHeld)
}

// holdAgain is hold for a track that lost its subscribers, with the connection.
func (v *voice) holdAgain(now time.Time) {
	if g := v.gate.Load(); g == gateHeld || g == gateOpen {
		v.hold(now)
	}
}

func (v *voice) subscribed(now time.Time) {
	v.clock.First(&v.subscribedAt, now)
	v.clock.First(&v.firstHeard, now)
}

// WriteRTP sends one packet of the phone to the room. It keeps neither p nor its payload, and allocates nothing once
// somebody has subscribed. Sequence numbers and timestamps pass through, SSRC and payload type become the track's.
func (l *Leg) WriteRTP(p *rtp.Packet) error { return l.voice.write(p) }

func (v *voice) write(p *rtp.Packet) error {
	switch v.gate.Load() {
	case gateShut:
		v.unpublished.Add(1)
		v.held = nil
		return nil
	case gateEarly:
		v.keep(p, earlyRollTicks)
		return nil
	case gateHeld:
		if !v.due(time.Now()) || !v.gate.CompareAndSwap(gateHeld, gateOpen) {
			v.keep(p, preRollTicks)
			return nil
		}
	}
	if v.held != nil {
		held := v.held
		v.held = nil
		for _, h := range held {
			if err := v.send(h); err != nil {
				return err
			}
		}
	}
	return v.send(p)
}

// due reports whether the holding is over.
func (v *voice) due(now time.Time) bool {
	if !v.track.IsBound() {
		return false
	}
	if at := v.clock.Time(&v.subscribedAt); !at.IsZero() {
		rest := settle
		if v.listeners.Load() > 1 {
			rest = settleAll
		}
		return now.Sub(at) >= rest
	}
	return v.listeners.Load() == 0 || now.Sub(v.clock.Time(&v.heldSince)) >= holdLimit
}

// keep adds to the pre-roll and shortens it to a length in ticks.
func (v *voice) keep(p *rtp.Packet, length uint32) {
	v.held = append(v.held, &rtp.Packet{
		Header: rtp.Header{
			Version: 2, Marker: p.Marker, SequenceNumber: p.SequenceNumber, Timestamp: p.Timestamp,
		},
		Payload: slices.Clone(p.Payload),
	})
	tooLong := func() bool { // a packet that comes late may be older than the first one
		return len(v.held) > 1 && int32(p.Timestamp-v.held[0].Timestamp) >= int32(length)
	}
	for len(v.held) > preRollPackets || tooLong() {
		v.held = slices.Delete(v.held, 0, 1)
		v.overflowed.Add(1)
	}
}

func (v *voice) send(p *rtp.Packet) error {
	if !v.track.IsBound() {
		v.unbound.Add(1)
		return nil
	}
	v.sent.Add(1)
	now := time.Now()
	v.clock.Set(&v.lastOut, now) // before the first one: see View
	v.clock.First(&v.firstOut, now)
	return v.track.WriteRTP(p, nil)
}

// Stats returns the counts so far.
func (l *Leg) Stats() Stats {
	l.mu.Lock()
	listening := len(l.listeners)
	l.mu.Unlock()
	refused := make(map[Refusal]uint64, len(Refusals))
	for _, r := range Refusals {
		refused[r] = l.counts.refused[r].Load()
	}
	return Stats{
		Refused: refused,
		Sent:    l.voice.sent.Load(), Unpublished: l.voice.unpublished.Load(), Unbound: l.voice.unbound.Load(),
		Overflowed: l.voice.overflowed.Load(), Listening: listening,
	}
}
