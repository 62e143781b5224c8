package roomleg

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/livekit/protocol/livekit"
	lksdk "github.com/livekit/server-sdk-go/v2"
	"github.com/pion/webrtc/v4"

	"github.com/livekit-connector/livekit-connector/internal/panics"
	"github.com/livekit-connector/livekit-connector/internal/roomleg/sdklog"
	"github.com/livekit-connector/livekit-connector/media"
)

const (
	// maxKeys is how many keys wait for the room at most. They do so only while the connection to it is away.
	maxKeys = 64
	// channelPoll is how often sendKeys looks whether a new connection takes data. The SDK has no event for it.
	channelPoll = 10 * time.Millisecond
)

// ErrManyKeys is what becomes of a key that is pressed while too many others wait for the room.
var ErrManyKeys = errors.New("roomleg: too many keys wait for the room")

// keyPress waits for its way to the room.
type keyPress struct {
	key  media.Key
	done func(error)
}

// keyEar makes a function fit an atomic pointer.
type keyEar struct{ pressed func(text string) }

// SendKey tells everybody in the room that a key was pressed on the phone, as LiveKit's SIP service does: a reliable data
// packet SipDTMF, which SDKs show as a DTMF event of the participant. It does not wait; done is called once, with nil
// when the packet was handed to the connection. While the connection is away keys wait for it; what it had taken and not
// delivered when it broke is lost if the SDK has to make a new one.
//
// The goroutine that sends exists only while there is something to send, and Leave waits for it.
func (l *Leg) SendKey(k media.Key, done func(error)) {
	if err := l.queueKey(keyPress{k, done}); err != nil {
		done(err)
	}
}

func (l *Leg) queueKey(p keyPress) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.closing || l.finished:
		return fmt.Errorf("send key: %w", ErrNotInRoom)
	case len(l.keys) >= maxKeys:
		return ErrManyKeys
	}
	l.keys = append(l.keys, p)
	if !l.keying {
		l.keying = true
		l.tasks.Go(l.sendKeys)
	}
	return nil
}

// sendKeys sends what waits, in order, and ends when nothing does. What it calls is guarded each by itself, so that
// after a panic it ends as with any other end of the leg.
func (l *Leg) sendKeys() {
	for {
		l.awaitChannel()
		l.mu.Lock()
		if len(l.keys) == 0 || l.finished {
			left := l.keys
			l.keys, l.keying = nil, false
			l.mu.Unlock()
			for _, p := range left {
				l.tell(p, fmt.Errorf("send key: %w", ErrNotInRoom))
			}
			return
		}
		p := l.keys[0]
		l.keys = slices.Delete(l.keys, 0, 1)
		l.mu.Unlock()
		l.tell(p, l.publishKey(p.key))
	}
}

// tell says what became of a key.
func (l *Leg) tell(p keyPress, err error) {
	defer l.guard(panics.Call)
	p.done(err)
}

// awaitChannel waits until the room's connection takes data, or the leg is done. The SDK's word that it is back does not
// say so: after it had to join anew, it gives it before the new connection has shaken hands, and what is handed to a data
// channel that is not open yet is lost without an error.
func (l *Leg) awaitChannel() {
	defer l.guard(panics.Call)
	for l.reconnecting.Load() {
		select {
		case <-l.online:
		case <-l.done:
			return
		}
	}
	if l.channelOpen() {
		return
	}
	tick := time.NewTicker(channelPoll)
	defer tick.Stop()
	for l.reconnecting.Load() || !l.channelOpen() {
		select {
		case <-tick.C:
		case <-l.done:
			return
		}
	}
}

// channelOpen reports whether the room's connection is up and its channel for reliable data open.
func (l *Leg) channelOpen() bool {
	engine := engineOf(l.room)
	if engine == nil {
		return true // cannot be told; the SDK waits for the connection, but not for the channel
	}
	connection := l.room.LocalParticipant.GetPublisherPeerConnection()
	if connection == nil || connection.ICEConnectionState() != webrtc.ICEConnectionStateConnected {
		return false
	}
	channel := engine.GetDataChannel(livekit.DataPacket_RELIABLE)
	return channel != nil && channel.ReadyState() == webrtc.DataChannelStateOpen
}

func (l *Leg) publishKey(k media.Key) (err error) {
	defer l.guardError(&err)
	// An upper-case letter for A to D, as RFC 4733 and LiveKit's agents write them.
	packet := &livekit.SipDTMF{Code: uint32(k), Digit: k.String()}
	if err = l.room.LocalParticipant.PublishDataPacket(packet, lksdk.WithDataPublishReliable(true)); err != nil {
		return fmt.Errorf("send key: %w", sdklog.Error(err))
	}
	return nil
}

// OnKeys says who hears of keys that somebody in the room pressed, as they are printed on a telephone: one, or several
// in one packet. The server hands over what is for everybody, or for this participant. The function is called by
// LiveKit's SDK and must not block. Nil lets keys be.
func (l *Leg) OnKeys(pressed func(text string)) {
	if pressed == nil {
		l.keyEar.Store(nil)
		return
	}
	l.keyEar.Store(&keyEar{pressed})
}

// onData is the SDK's callback for every data packet of others.
func (l *Leg) onData(packet lksdk.DataPacket, _ lksdk.DataReceiveParams) {
	defer l.guard(panics.Call)
	dtmf, ok := packet.(*livekit.SipDTMF)
	ear := l.keyEar.Load()
	if !ok || ear == nil {
		return
	}
	text := dtmf.GetDigit()
	if text == "" { // Code alone cannot tell 0 from nothing, but nobody sends nothing
		text = media.Key(min(dtmf.GetCode(), 0xFF)).String()
	}
	ear.pressed(text)
}
