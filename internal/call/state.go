package call

import "fmt"

// State is where a call stands.
type State uint8

// The states of a call.
const (
	StateUnknown State = iota
	// StateOffered is an inbound call whose caller hears ringing; Meta knows nothing of us yet.
	StateOffered
	// StatePreAccepted is an inbound call for which Meta has our SDP answer; the caller still hears ringing.
	StatePreAccepted
	// StateDialing is an outbound call that Meta took, without an SDP answer yet.
	StateDialing
	// StateRinging is an outbound call with Meta's SDP answer applied; nobody has picked up.
	StateRinging
	// StateActive is a call that was answered: the only state in which audio flows.
	StateActive
	// StateEnding is a call that has a reason to end and is being taken down.
	StateEnding
	// StateEnded is terminal: nothing of the call is left.
	StateEnded
)

var stateNames = [...]string{"unknown", "offered", "pre-accepted", "dialing", "ringing", "active", "ending", "ended"}

func (s State) String() string {
	if int(s) < len(stateNames) {
		return stateNames[s]
	}
	return "unknown"
}

// Event is what moves a call from state to state.
type Event uint8

// The events of a call.
const (
	EventUnknown Event = iota
	// EventPreAccepted is Meta's 200 to pre_accept.
	EventPreAccepted
	// EventAccepted is Meta's 200 to accept.
	EventAccepted
	// EventAnswer is Meta's SDP answer, applied.
	EventAnswer
	// EventPickedUp is the user's answer to an outbound call.
	EventPickedUp
	// EventEnd is any reason to end.
	EventEnd
	// EventClosed is the end of the teardown.
	EventClosed
)

var eventNames = [...]string{"unknown", "pre-accepted", "accepted", "answer", "picked up", "end", "closed"}

func (e Event) String() string {
	if int(e) < len(eventNames) {
		return eventNames[e]
	}
	return "unknown"
}

// StateError says that a call in State cannot take Event.
type StateError struct {
	State State
	Event Event
}

func (e *StateError) Error() string {
	return fmt.Sprintf("call: %s in state %s", e.Event, e.State)
}

// next knows every legal move of a call.
func next(s State, e Event) (State, error) {
	switch {
	case s == StateUnknown || s == StateEnded:
	case e == EventEnd:
		return StateEnding, nil
	case s == StateEnding && e == EventClosed:
		return StateEnded, nil
	case s == StateOffered && e == EventPreAccepted:
		return StatePreAccepted, nil
	case s == StatePreAccepted && e == EventAccepted:
		return StateActive, nil
	case s == StateDialing && e == EventAnswer:
		return StateRinging, nil
	case s == StateRinging && e == EventPickedUp:
		return StateActive, nil
	}
	return s, &StateError{State: s, Event: e}
}
