package metaleg

import (
	"github.com/pion/rtp"

	"github.com/livekit-connector/livekit-connector/media"
)

const (
	// pressesKept is how many presses are remembered, so that what comes late of one is not taken for another one.
	pressesKept = 8
	// farBehind, in ticks of media.EventRate, is how far back a timestamp lies that belongs to another numbering: no
	// packet is overtaken by seconds.
	farBehind = 5 * media.EventRate
	// longest is the longest duration that a packet can tell. A key that is held longer is told of in segments, each
	// with a timestamp of its own (RFC 4733 section 2.5.1.3).
	longest = 0xFFFF
	// segmentSlack is how much of the end of a segment may be lost, in ticks of media.EventRate.
	segmentSlack = media.EventRate
)

// presses tells from the packets of RTP events (RFC 4733) when a key is pressed. All packets of a press have the
// timestamp of its beginning, so whichever comes first is the press, and the others are repetitions: the updates while
// the key is held, and the end, which is sent three times. Its zero value waits for the first. Not safe for concurrent
// use.
type presses struct {
	started bool
	ssrc    uint32
	newest  press
	ended   bool   // the end of newest came
	held    uint16 // longest duration of newest that came

	kept  [pressesKept]press // ring, newest included
	count int                // presses ever kept
}

type press struct {
	timestamp uint32
	key       media.Key
}

// take reads one event that begins at timestamp and reports whether it is a press that is new. ticks is how many ticks
// the stream's clock has in one of media.EventRate.
func (p *presses) take(h *rtp.Header, timestamp uint32, e media.KeyEvent, ticks uint32) bool {
	this := press{timestamp, e.Key}
	ahead := int32(timestamp - p.newest.timestamp)
	switch {
	case !p.started, h.SSRC != p.ssrc:
		*p = presses{started: true, ssrc: h.SSRC}
	case this == p.newest:
		p.ended, p.held = p.ended || e.End, max(p.held, e.Duration)
		return false
	case p.knows(this):
		return false
	case ahead < -int32(farBehind*ticks):
		*p = presses{started: true, ssrc: h.SSRC}
	case ahead < 0: // all of it was overtaken by the next one
		p.keep(this)
		return true
	case p.continues(h, this, uint32(ahead), ticks):
		p.follow(this, e)
		return false
	}
	p.follow(this, e)
	return true
}

// follow makes this the newest press.
func (p *presses) follow(this press, e media.KeyEvent) {
	p.newest, p.ended, p.held = this, e.End, e.Duration
	p.keep(this)
}

// continues reports whether this is a further segment of the newest press, ahead ticks after it.
func (p *presses) continues(h *rtp.Header, this press, ahead, ticks uint32) bool {
	return this.key == p.newest.key && !h.Marker && !p.ended &&
		p.held >= longest-segmentSlack && ahead <= (longest+segmentSlack)*ticks
}

func (p *presses) keep(this press) {
	p.kept[p.count%pressesKept] = this
	p.count++
}

func (p *presses) knows(this press) bool {
	for i := range min(p.count, pressesKept) {
		if p.kept[i] == this {
			return true
		}
	}
	return false
}

// keySink makes a function fit an atomic pointer.
type keySink struct{ pressed func(media.Key) }

// SetKeys says who hears of keys that are pressed on the phone: each press once, by its first packet that comes, whatever
// is lost, repeated or reordered of it. Nil lets them be. The function is called by the goroutine that reads packets and
// must not block. A press that began before is not told of.
func (l *Leg) SetKeys(pressed func(media.Key)) {
	if pressed == nil {
		l.keys.Store(nil)
		return
	}
	l.keys.Store(&keySink{pressed})
}

// TakesKeys reports whether Meta's description has telephone-event/8000, so that RTP events may be written to it. For an
// outbound call it is known once SetAnswer succeeded.
func (l *Leg) TakesKeys() bool { return l.track.event.Load() != 0 }

// receiveEvents finds the presses in a packet of RTP events.
func (l *Leg) receiveEvents(p *rtp.Packet) {
	l.counters.events.Add(1)
	ticks := l.Codec().ClockRate() / media.EventRate
	timestamp := p.Timestamp
	rest := p.Payload
	for first := true; first || len(rest) > 0; first = false {
		e, after, ok := media.ParseKeyEvent(rest)
		if !ok {
			l.counters.malformed.Add(1)
			return
		}
		if fresh := l.incoming.presses.take(&p.Header, timestamp, e, ticks); fresh {
			l.press(e.Key)
		}
		rest, timestamp = after, timestamp+uint32(e.Duration)*ticks
	}
}

func (l *Leg) press(k media.Key) {
	if !k.Valid() { // a hook flash or another event of telephony
		l.counters.otherEvents.Add(1)
		return
	}
	l.counters.presses.Add(1)
	if sink := l.keys.Load(); sink != nil {
		sink.pressed(k)
	}
}
