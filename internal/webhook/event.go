package webhook

import (
	"slices"
	"time"

	"github.com/livekit-connector/livekit-connector/pkg/whatsapp"
)

// kind is what Meta says of a call. Its text is a metric label.
type kind string

const (
	kindOffer     kind = "connect_inbound"  // a user calls
	kindAnswer    kind = "connect_outbound" // Meta's SDP answer to a dial; not the pick-up
	kindTerminate kind = "terminate"
	kindRinging   kind = "ringing"
	kindAccepted  kind = "accepted" // picked up
	kindRejected  kind = "rejected"
	kindOther     kind = "other" // anything else of a call: SIP's call_created, recordings, transcripts, what comes next
)

var kinds = []kind{kindOffer, kindAnswer, kindTerminate, kindRinging, kindAccepted, kindRejected, kindOther}

// outcome is what became of an event. Its text is a metric label.
type outcome string

const (
	outcomeDone      outcome = "done"           // accepted, connected, reported
	outcomeDuplicate outcome = "duplicate"      // the same was said before
	outcomeTaken     outcome = "taken"          // the application's own handler was faster
	outcomeEnded     outcome = "ended"          // the call is over
	outcomeStale     outcome = "stale"          // too old to be answered
	outcomeNumber    outcome = "foreign_number" // of a number that is not ours
	outcomeOtherApp  outcome = "other_app"      // signed with the secret of another number's app
	outcomeUnknown   outcome = "unknown_call"   // no node holds the call: another app's, or long over
	outcomeIgnored   outcome = "ignored"        // nothing to be done, or nothing that we know
	outcomeRejected  outcome = "rejected"       // a rule says so
	outcomeNoRule    outcome = "no_rule"
	outcomeRefused   outcome = "refused"   // no node takes the call
	outcomeMalformed outcome = "malformed" // no SDP, or something out of bounds
	outcomeFailed    outcome = "failed"
	outcomeLeft      outcome = "left" // not done at shutdown
)

var outcomes = []outcome{
	outcomeDone, outcomeDuplicate, outcomeTaken, outcomeEnded, outcomeStale, outcomeNumber, outcomeOtherApp, outcomeUnknown, outcomeIgnored,
	outcomeRejected, outcomeNoRule, outcomeRefused, outcomeMalformed, outcomeFailed, outcomeLeft,
}

// quiet outcomes are part of every day.
func (o outcome) quiet() bool {
	switch o {
	case outcomeDuplicate, outcomeTaken, outcomeNumber, outcomeUnknown, outcomeIgnored:
		return true
	default:
		return false
	}
}

// again says that the same event, should Meta repeat it, is worth another try. An unknown call is: it may be dialled at
// this moment.
func (o outcome) again() bool { return o == outcomeFailed || o == outcomeUnknown }

// event is one thing that Meta said of one call.
type event struct {
	kind     kind
	callID   string
	number   string    // ID of the business phone number, may be empty
	at       time.Time // Meta's, zero if Meta does not say
	received time.Time
	call     whatsapp.Call // of offers, answers and terminates
	name     string        // what the caller calls himself
}

// passed is an event that needs nothing.
type passed struct {
	event
	outcome outcome
}

const maxCallIDBytes = 512

// eventsOf lists what a webhook says of calls that may be ours, terminates last: a call that ends in the same webhook in
// which it was picked up was picked up. Everything else that it says of calls comes back as passed over. Whether the
// webhook may speak of a number signedFor says.
func (s *Server) eventsOf(
	n *whatsapp.Notification, received time.Time, signedFor func(phoneNumberID string) bool,
) (events []event, others []passed) {
	for _, entry := range n.Entries {
		for _, c := range entry.Changes {
			if c.Field != whatsapp.FieldCalls {
				continue
			}
			for _, e := range changeEvents(&c, received) {
				switch {
				case e.kind == kindOther:
					others = append(others, passed{e, outcomeIgnored})
				case len(e.callID) > maxCallIDBytes:
					e.callID = e.callID[:maxCallIDBytes]
					others = append(others, passed{e, outcomeMalformed})
				case len(s.numbers) > 0 && e.number != "" && !s.numbers[e.number]:
					others = append(others, passed{e, outcomeNumber})
				case !signedFor(e.number):
					others = append(others, passed{e, outcomeOtherApp})
				default:
					events = append(events, e)
				}
			}
		}
	}
	slices.SortStableFunc(events, func(a, b event) int { return order(a) - order(b) })
	return events, others
}

func order(e event) int {
	if e.kind == kindTerminate {
		return 1
	}
	return 0
}

func changeEvents(c *whatsapp.Change, received time.Time) []event {
	events := make([]event, 0, len(c.Calls)+len(c.Statuses))
	for _, call := range c.Calls {
		events = append(events, event{
			kind: callKind(&call), callID: call.ID, number: c.Metadata.PhoneNumberID, at: call.Time, received: received,
			call: call, name: callerName(c.Contacts, &call),
		})
	}
	for _, status := range c.Statuses {
		events = append(events, event{
			kind: statusKind(&status), callID: status.ID, number: c.Metadata.PhoneNumberID, at: status.Time, received: received,
		})
	}
	return events
}

// callKind takes the SDP's word if Meta does not say who called.
func callKind(c *whatsapp.Call) kind {
	switch {
	case c.Event == whatsapp.EventTerminate:
		return kindTerminate
	case c.Event != whatsapp.EventConnect:
		return kindOther
	case c.Direction == whatsapp.BusinessInitiated:
		return kindAnswer
	case c.Direction == "" && c.Session != nil && c.Session.Type == "answer":
		return kindAnswer
	default:
		return kindOffer
	}
}

// statusKind: statuses of messages come under another field, but one that has no type at all may be a call's.
func statusKind(s *whatsapp.Status) kind {
	if !s.IsCall() && s.Type != "" {
		return kindOther
	}
	switch s.Status {
	case whatsapp.StatusRinging:
		return kindRinging
	case whatsapp.StatusAccepted:
		return kindAccepted
	case whatsapp.StatusRejected:
		return kindRejected
	default:
		return kindOther
	}
}

// callerName finds the caller among the contacts, by whichever of his IDs is there.
func callerName(contacts []whatsapp.Contact, call *whatsapp.Call) string {
	for _, c := range contacts {
		if call.From != "" && c.WAID == call.From || call.FromUserID != "" && c.UserID == call.FromUserID || len(contacts) == 1 {
			if c.Name != "" {
				return c.Name
			}
			return c.Username
		}
	}
	return ""
}
