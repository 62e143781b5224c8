package fakemeta

import "errors"

// State is where a call stands from Meta's point of view.
type State uint8

// The states. An inbound call (from the user to the business) runs Offered, PreAccepted (optional), Active,
// Ended; an outbound one Dialing, Ringing, Active, Ended.
const (
	// StateOffered: the user's phone rings back, the offer went out in a connect webhook.
	StateOffered State = iota + 1
	// StatePreAccepted: the business gave its answer, ICE and DTLS may run, the caller still hears ringing.
	StatePreAccepted
	// StateDialing: the business' offer was taken, the phone does not ring yet.
	StateDialing
	// StateRinging: the user's phone rings.
	StateRinging
	// StateActive: accepted by the business, or picked up by the user.
	StateActive
	// StateEnded: over; nothing moves it any more.
	StateEnded
)

// String returns the state's name in lower case.
func (s State) String() string {
	switch s {
	case StateOffered:
		return "offered"
	case StatePreAccepted:
		return "pre-accepted"
	case StateDialing:
		return "dialing"
	case StateRinging:
		return "ringing"
	case StateActive:
		return "active"
	case StateEnded:
		return "ended"
	default:
		return "none"
	}
}

// event is something that moves a call.
type event uint8

const (
	evPreAccept event = iota + 1 // the business: pre_accept
	evAccept                     // the business: accept
	evReject                     // the business: reject
	evTerminate                  // the business: terminate
	evRing                       // the network: the phone starts to ring
	evPickUp                     // the user picks up
	evDecline                    // the user declines
	evHangUp                     // the user hangs up
	evExpire                     // the accept window or the ringing ran out
	evFail                       // the client or the relay gave up
)

// Verdicts of next, also the wording of the Graph error's details.
var (
	errCallActive    = errors.New("call is already in progress")
	errCallEnded     = errors.New("call has already ended")
	errNotInbound    = errors.New("action is only valid for a user initiated call")
	errNotTheirs     = errors.New("the phone is not ringing")
	errImpossible    = errors.New("event is not possible in this state")
	errAnswerChanged = errors.New("SDP does not match the SDP of pre_accept")
)

// next is the whole life of a call: the state that follows when ev happens in s. When ev is not allowed there, it
// returns s unchanged and the reason.
func next(s State, ev event) (State, error) {
	if s == StateEnded {
		return s, errCallEnded
	}
	switch ev {
	case evPreAccept, evAccept, evReject:
		return nextBusiness(s, ev)
	case evTerminate, evHangUp, evFail:
		return StateEnded, nil
	case evRing:
		if s == StateDialing {
			return StateRinging, nil
		}
		return s, errImpossible
	case evPickUp, evDecline:
		switch {
		case s == StateActive:
			return s, errCallActive
		case s != StateRinging:
			return s, errNotTheirs
		case ev == evPickUp:
			return StateActive, nil
		}
		return StateEnded, nil
	case evExpire:
		if s == StateActive {
			return s, errCallActive
		}
		return StateEnded, nil
	}
	return s, errImpossible
}

// nextBusiness is next for what the business may do to a call that rings at its side.
func nextBusiness(s State, ev event) (State, error) {
	switch s {
	case StateOffered, StatePreAccepted:
	case StateActive:
		return s, errCallActive
	default:
		return s, errNotInbound
	}
	switch ev {
	case evPreAccept:
		return StatePreAccepted, nil
	case evAccept:
		return StateActive, nil
	default:
		return StateEnded, nil
	}
}
