package livekittest

import (
	"context"
	"time"

	"github.com/livekit/protocol/livekit"
)

// EventType says what an Event reports.
type EventType string

// What a Participant reports. "Others" are the other participants of its room.
const (
	EventJoined            EventType = "joined"             // another participant came, or was there when we came
	EventLeft              EventType = "left"               // another participant left, with Reason
	EventTrackPublished    EventType = "track published"    // another's track appeared
	EventTrackUnpublished  EventType = "track unpublished"  // another's track went
	EventTrackSubscribed   EventType = "track subscribed"   // we hear another's track from now on
	EventTrackUnsubscribed EventType = "track unsubscribed" // we no longer hear it
	EventTrackMuted        EventType = "track muted"
	EventTrackUnmuted      EventType = "track unmuted"
	EventAttributes        EventType = "attributes changed" // of another, Attributes holds the changed ones
	EventSpeaking          EventType = "speaking"           // another began or stopped to speak, see Speaking
	EventData              EventType = "data"               // a data packet from another
	EventHeard             EventType = "heard"              // another subscribed our track TrackSID for the first time
	EventReconnecting      EventType = "reconnecting"       // we lost the server
	EventReconnected       EventType = "reconnected"        // we have it again
	EventDisconnected      EventType = "disconnected"       // we are out of the room for good, with Reason
)

// Event is one thing that happened to a Participant or that it saw.
type Event struct {
	Type EventType
	Time time.Time
	// Identity is the other participant's, empty for events of our own connection.
	Identity   string
	TrackSID   string
	TrackName  string
	Source     livekit.TrackSource
	Speaking   bool
	Attributes map[string]string
	Reason     livekit.DisconnectReason
	// Data is the packet of an EventData: *livekit.UserPacket, *livekit.SipDTMF or another of LiveKit's messages.
	Data any
}

// Is returns a matcher for Wait: events of that type, about that participant unless identity is empty.
func Is(t EventType, identity string) func(Event) bool {
	return func(e Event) bool { return e.Type == t && (identity == "" || e.Identity == identity) }
}

// Events returns all events so far, in order.
func (p *Participant) Events() []Event {
	events, _ := p.events.snapshot(0)
	return events
}

// Wait returns the first event, past or to come, that match accepts.
func (p *Participant) Wait(ctx context.Context, match func(Event) bool) (Event, error) {
	return p.events.wait(ctx, match)
}

// Count returns how many events so far match accepts.
func (p *Participant) Count(match func(Event) bool) int {
	n := 0
	for _, e := range p.Events() {
		if match(e) {
			n++
		}
	}
	return n
}
