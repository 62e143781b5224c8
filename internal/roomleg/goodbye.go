package roomleg

import (
	"reflect"
	"time"

	"github.com/livekit/protocol/livekit"
	lksdk "github.com/livekit/server-sdk-go/v2"
	"github.com/pion/webrtc/v4"
)

const (
	// goodbyeTimeout is some round trips to a busy server.
	goodbyeTimeout = time.Second
	// hangUpPoll is how often awaitClosed looks, and hangUpTicks how often awaitHangUp does after the closing.
	hangUpPoll  = time.Millisecond
	hangUpTicks = 10
)

// sayGoodbye tells the server that we leave and why, and waits until it has understood. Room.DisconnectWithReason alone
// closes the media connection right after it has written that to the signalling connection; when the server notices the
// former first it drops the latter, holds the participant for lost, and tells the others CONNECTION_TIMEOUT some 15 s
// later. To agents that means that their caller may come back.
func (l *Leg) sayGoodbye(reason livekit.DisconnectReason) {
	engine := engineOf(l.room)
	if engine == nil || engine.SendLeaveWithReason(reason) != nil {
		return
	}
	timer := time.NewTimer(l.limits.goodbye)
	defer timer.Stop()
	select {
	case <-l.dismissed:
	case <-timer.C:
	}
}

// engineOf returns what the SDK keeps to itself, nil if it keeps it elsewhere. The methods that sayGoodbye and channelOpen
// need are exported, the way to them is not.
func engineOf(room *lksdk.Room) *lksdk.RTCEngine {
	field := reflect.ValueOf(room).Elem().FieldByName("engine")
	if !field.IsValid() || field.Type() != reflect.TypeFor[*lksdk.RTCEngine]() {
		return nil
	}
	return (*lksdk.RTCEngine)(field.UnsafePointer())
}

// awaitHangUp runs on the goroutine that reads the signalling connection, when the server has ended the participant. The
// SDK then closes the media connection and after it this one from another goroutine; but if this one reads on first,
// finds the server gone and forgets the connection, nobody closes it, and its file descriptor stays until the next
// garbage collection. There is no event for the closing, so it gets some time after that of the media connection.
func (l *Leg) awaitHangUp() {
	timer := time.NewTimer(goodbyeTimeout)
	defer timer.Stop()
	awaitClosed(l.room.LocalParticipant.GetPublisherPeerConnection(), hangUpTicks, timer.C)
}

// awaitClosed waits until the SDK has closed a media connection with its sockets, and some ticks more. It reports whether
// that came before expired. PeerConnection.GracefulClose would wait for more, and does so for ever when it meets the
// SDK's handler of ICE states, which asks for the lock that it holds.
func awaitClosed(connection *webrtc.PeerConnection, more int, expired <-chan time.Time) bool {
	if connection == nil {
		return true
	}
	tick := time.NewTicker(hangUpPoll)
	defer tick.Stop()
	for {
		if connection.ICEConnectionState() == webrtc.ICEConnectionStateClosed {
			if more == 0 {
				return true
			}
			more--
		}
		select {
		case <-tick.C:
		case <-expired:
			return false
		}
	}
}
