package call

import (
	"errors"
	"sync/atomic"

	"github.com/livekit-connector/livekit-connector/internal/panics"
	"github.com/livekit-connector/livekit-connector/media"
)

// KeyMode says what becomes of keys that the room presses for the phone.
type KeyMode uint8

const (
	// KeysOff drops them: Meta documents no way for keys towards a phone.
	KeysOff KeyMode = iota
	// KeysEvents sends them as RTP events (RFC 4733) in the audio's stream, if Meta negotiated telephone-event.
	KeysEvents
	// KeysTones sends them as tones in the audio.
	KeysTones
)

// KeyOutcome is what became of a key.
type KeyOutcome uint8

const (
	// KeySent says that the room, or the phone, got it.
	KeySent KeyOutcome = iota
	// KeyEarly says that it was pressed before the call was answered.
	KeyEarly
	// KeyDropped says that too many waited, the call was over, or there was no connection.
	KeyDropped
	// KeyOff says that the room pressed it and KeysOff lets none through.
	KeyOff
	// KeyInvalid says that what the room sent is on no telephone. It counts once, however much of it there was.
	KeyInvalid
	// KeyUnsupported says that Meta has not negotiated telephone-event.
	KeyUnsupported
	keyOutcomes
)

// KeyOutcomes are all the values that an outcome takes, for label sets.
var KeyOutcomes = []KeyOutcome{KeySent, KeyEarly, KeyDropped, KeyOff, KeyInvalid, KeyUnsupported}

func (o KeyOutcome) String() string {
	switch o {
	case KeySent:
		return "sent"
	case KeyEarly:
		return "early"
	case KeyDropped:
		return "dropped"
	case KeyOff:
		return "off"
	case KeyInvalid:
		return "invalid"
	case KeyUnsupported:
		return "unsupported"
	default:
		return "unknown"
	}
}

// KeyCounts are keys by what became of them.
type KeyCounts [keyOutcomes]uint64

// keyCounters count the keys of a call, by KeyOutcome. The line to the phone counts those that it says by itself.
type keyCounters struct {
	toRoom, toPhone [keyOutcomes]atomic.Uint64
}

// passKeys lets keys go both ways, from now on until the legs are gone.
func (c *Call) passKeys(room RoomLeg) {
	c.opts.Meta.SetKeys(func(k media.Key) {
		defer c.opts.Panics.Recover(panics.Call, c.log, c.broken)
		c.keyFromPhone(room, k)
	})
	room.OnKeys(func(text string) {
		defer c.opts.Panics.Recover(panics.Call, c.log, c.broken)
		c.keysForPhone(text)
	})
}

// keyFromPhone hands a key on to the room. It runs on the goroutine that reads Meta's packets, so it does not wait. Like
// LiveKit's SIP service it tells nobody of a key that was pressed before the call was answered, or after its end. Which
// key it is gets into no log: it may be part of a PIN.
func (c *Call) keyFromPhone(room RoomLeg, k media.Key) {
	if !c.Answered() {
		c.keys.toRoom[KeyEarly].Add(1)
		return
	}
	room.SendKey(k, func(err error) {
		if err != nil {
			c.keys.toRoom[KeyDropped].Add(1)
			c.log.Warn("key from the phone did not reach the room", "error", err)
			return
		}
		c.keys.toRoom[KeySent].Add(1)
	})
}

// keysForPhone takes what somebody in the room keyed in, one or several keys.
func (c *Call) keysForPhone(text string) {
	count := func(o KeyOutcome, n int) { c.keys.toPhone[o].Add(uint64(n)) }
	keys, err := media.ParseKeys(text)
	form := media.KeyEvents
	if c.opts.Keys == KeysTones {
		form = media.KeyTones
	}
	switch {
	case err != nil:
		count(KeyInvalid, 1)
		c.log.Debug("what the room keyed in is on no telephone", "error", err)
	case c.opts.Keys == KeysOff:
		count(KeyOff, len(keys))
	case !c.Answered():
		count(KeyEarly, len(keys))
	case c.opts.Keys == KeysEvents && !c.opts.Meta.TakesKeys():
		count(KeyUnsupported, len(keys))
		c.log.Debug("meta negotiated no telephone-event for keys from the room")
	default:
		err = c.line.SendKeys(keys, form)
		if err == nil {
			return
		}
		count(KeyDropped, len(keys))
		if !errors.Is(err, media.ErrLineShut) { // over, or just about to begin
			c.log.Warn("keys from the room did not reach the phone", "error", err)
		}
	}
}

// keyCounts fills in what became of keys so far. What the line says to the phone it has counted already.
func (h *Heard) keyCounts(k *keyCounters) {
	for o := range keyOutcomes {
		h.KeysToRoom[o], h.KeysToPhone[o] = k.toRoom[o].Load(), k.toPhone[o].Load()
	}
	h.KeysToPhone[KeySent] += h.ToPhone.Keys
	h.KeysToPhone[KeyDropped] += h.ToPhone.KeysCut
}

// attributes are for a log: outcomes that there were, or nothing.
func (k *KeyCounts) attributes() (a []any) {
	for _, o := range KeyOutcomes {
		if n := k[o]; n > 0 {
			a = append(a, o.String(), n)
		}
	}
	return a
}
