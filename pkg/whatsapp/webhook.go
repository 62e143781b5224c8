package whatsapp

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// MaxWebhookSize is the most that Meta puts into one webhook, in bytes.
const MaxWebhookSize = 3 << 20

// ErrWebhook is wrapped by Parse's errors.
var ErrWebhook = errors.New("whatsapp: not a webhook of a WhatsApp business account")

// Fields of a change that matter to calls. Others are kept and may be ignored.
const (
	FieldCalls    = "calls"    // call events and call statuses
	FieldMessages = "messages" // permission replies
)

// Events of a call. Others ("call_created" of SIP mode, recordings and transcripts becoming available) are kept and may be ignored.
const (
	EventConnect   = "connect"   // inbound: the user's offer; outbound: Meta's answer, which is not a pick-up
	EventTerminate = "terminate" // the call is over
)

// Directions of a call, in Meta's words.
const (
	UserInitiated     = "USER_INITIATED"     // inbound
	BusinessInitiated = "BUSINESS_INITIATED" // outbound
)

// Statuses of an outbound call before its end. StatusAccepted is the only sign of a pick-up.
const (
	StatusRinging  = "RINGING"
	StatusAccepted = "ACCEPTED"
	StatusRejected = "REJECTED"
)

// Statuses of a terminated call. Neither tells whether it was answered: see Call.Answered.
const (
	StatusCompleted = "COMPLETED"
	StatusFailed    = "FAILED"
)

// Notification is one webhook. Meta repeats webhooks, sends them in any order, batches them, and also sends what other apps and other
// numbers of the same business account do: compare Metadata.PhoneNumberID.
type Notification struct {
	Entries []Entry
}

// Entry is what happened in one business account.
type Entry struct {
	ID      string // of the business account
	Changes []Change
}

// Change is a batch of events of one kind and one phone number.
type Change struct {
	Field    string // a Field constant, or one that is not known here
	Metadata Metadata
	Contacts []Contact
	Calls    []Call    // each has an ID and an event; everything else may be absent
	Statuses []Status  // each has an ID and a status
	Messages []Message // each has an ID
	Errors   []Failure // see Call.Errors for those of a call
}

// Metadata says which business phone number a change is about.
type Metadata struct {
	PhoneNumberID string
	DisplayNumber string // digits
}

// Contact is what Meta says of a user. Any field may be empty.
type Contact struct {
	WAID         string // phone number, digits; absent for users who hide it
	UserID       string // business-scoped ID
	ParentUserID string // likewise, scoped to a group of businesses
	Name         string
	Username     string
}

// Call is one event of a call. Everything but ID and Event may be zero.
type Call struct {
	ID                    string // opaque
	Event                 string // an Event constant, or one that is not known here
	Direction             string
	From, To              string // phone numbers; absent for users who hide theirs
	FromUserID            string // business-scoped IDs of the user
	FromParentUserID      string
	ToUserID              string
	Time                  time.Time
	Session               *Session // of a connect; nil if there is none
	BizOpaqueCallbackData string
	DeeplinkPayload       string // of a wa.me/call link
	CTAPayload            string // of a call button

	Status          string        // of a terminate
	StartTime       time.Time     // of a terminate: pick-up, zero if there was none
	EndTime         time.Time     // of a terminate that was answered
	Duration        time.Duration // of a terminate that was answered, in whole seconds
	TerminateReason string        // not documented, seldom there
	// Errors are those in the call, or, in a change with one terminated call, those that Meta put beside it.
	Errors []Failure
}

// Answered reports whether the call of a terminate event had been picked up. Status does not tell: it is COMPLETED for a call that rang
// in vain too.
func (c Call) Answered() bool { return !c.StartTime.IsZero() }

// Session is an SDP.
type Session struct {
	Type string // "offer" or "answer"
	SDP  string
}

// Status is one step of an outbound call, or, with another Type than "call", of a message.
type Status struct {
	ID                    string // of the call
	Type                  string
	Status                string // a Status constant, or one that is not known here
	Time                  time.Time
	RecipientID           string // phone number; may be absent
	RecipientUserID       string // business-scoped ID
	BizOpaqueCallbackData string
}

// IsCall reports whether the status is one of a call.
func (s Status) IsCall() bool { return s.Type == "call" }

// Message is a message of a user, of which only permission replies are read.
type Message struct {
	ID              string
	From            string // phone number; may be absent
	FromUserID      string // business-scoped ID
	Time            time.Time
	Type            string
	ContextID       string           // the request or the call that it answers; empty if the user acted on his own
	PermissionReply *PermissionReply // nil if it is another message
}

// PermissionReply is a user's word on whether the business may call.
type PermissionReply struct {
	Accepted   bool
	Permanent  bool
	Expiration time.Time // of a temporary permission; no webhook comes when it passes
	Automatic  bool      // given by a call of the user, or taken away after calls he did not answer
}

// Failure is an error in a webhook.
type Failure struct {
	Code    int
	Title   string
	Message string
	Details string
}

// Remedy says what to do about the failure. RemedyRetry means a new call.
func (f Failure) Remedy() Remedy { return remedyFor(f.Code, 0) }

// Parse reads a webhook whose signature was verified. It fails, with ErrWebhook, only for what is not JSON or not from a WhatsApp
// business account. Fields that are missing, unknown or of another type than documented are zero or left out; so are calls without ID
// or event, statuses without ID or status, and messages without ID.
func Parse(body []byte) (*Notification, error) {
	if !json.Valid(body) {
		return nil, fmt.Errorf("%w: no JSON", ErrWebhook)
	}
	envelope, _ := flexObject[struct {
		Object flexString             `json:"object"`
		Entry  flexList[entryPayload] `json:"entry"`
	}](bytes.TrimSpace(body))
	if envelope.Object != "whatsapp_business_account" {
		return nil, fmt.Errorf("%w: another object", ErrWebhook)
	}
	n := &Notification{}
	for _, e := range envelope.Entry {
		entry := Entry{ID: string(e.ID)}
		for _, c := range e.Changes {
			entry.Changes = append(entry.Changes, c.change())
		}
		n.Entries = append(n.Entries, entry)
	}
	return n, nil
}
