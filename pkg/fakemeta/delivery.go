package fakemeta

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"time"
)

// Signature returns the X-Hub-Signature-256 header of body under an app secret. It covers the bytes as they are on
// the wire, escapes included.
func Signature(body []byte, appSecret string) string {
	mac := hmac.New(sha256.New, []byte(appSecret))
	mac.Write(body)
	return "sha256=" + hex.EncodeToString(mac.Sum(nil))
}

// Delivery says how webhooks are delivered, and how badly. The zero value is Meta on a good day: every update once,
// in a request of its own, those of one call begun in order, those of different calls in parallel.
type Delivery struct {
	// Rules change what happens to single events; the first that matches counts.
	Rules []DeliveryRule `json:"rules,omitempty"`
	// BatchWindow collects the updates of a number for this long and sends them in one request.
	BatchWindow time.Duration `json:"batch_window,omitempty"`
	// Foreign adds, around every update, a call of another business number and another app's call IDs.
	Foreign bool `json:"foreign,omitempty"`
	// Unknown adds events, fields and keys that no documentation names.
	Unknown bool `json:"unknown,omitempty"`
	// OmitContacts leaves contacts out. OmitFrom leaves every phone number of the user out: only his
	// business-scoped user ID remains, as for people with a username.
	OmitContacts bool `json:"omit_contacts,omitempty"`
	OmitFrom     bool `json:"omit_from,omitempty"`
	// OmitOptional leaves of a call's event its ID, event, SDP and end alone: no direction, numbers or time.
	OmitOptional bool `json:"omit_optional,omitempty"`
	// SwapNumbers exchanges from and to of outbound calls, as one sample of Meta's has it.
	SwapNumbers bool `json:"swap_numbers,omitempty"`
	// OtherTypes writes times as integers and durations and error codes as strings.
	OtherTypes bool `json:"other_types,omitempty"`
	// ErrorsIn is where a terminate has its errors: "call", "value", or both, which is what Meta was seen to send, if empty.
	ErrorsIn string `json:"errors_in,omitempty"`
	// Legacy adds the older connection object beside session.
	Legacy bool `json:"legacy,omitempty"`
	// EscapeSlashes writes "/" as "\/".
	EscapeSlashes bool `json:"escape_slashes,omitempty"`
	// WrongSignature signs with another secret, NoSignature leaves the header out.
	WrongSignature bool `json:"wrong_signature,omitempty"`
	NoSignature    bool `json:"no_signature,omitempty"`
	// ConnectBeforeResponse delivers the connect webhook of an outbound call, and waits for its acknowledgement (a
	// second at most), before the HTTP request that placed the call is answered.
	ConnectBeforeResponse bool `json:"connect_before_response,omitempty"`
	// Parallel drops the order of the updates of one call: all requests go out as soon as there is something to say.
	Parallel bool `json:"parallel,omitempty"`
}

// DeliveryRule changes the delivery of one kind of update.
type DeliveryRule struct {
	// Event is "connect", "terminate", "RINGING", "ACCEPTED", "REJECTED" or "message". Empty: every one.
	Event string `json:"event,omitempty"`
	// CallID limits the rule to one call. Empty: all.
	CallID string `json:"call_id,omitempty"`
	// Drop never delivers it.
	Drop bool `json:"drop,omitempty"`
	// Delay holds it back. Updates with a Delay or After leave the order of their call.
	Delay time.Duration `json:"delay,omitempty"`
	// After holds it back until that event of the same call was delivered and answered: {Event: "connect", After:
	// "terminate"} is the user who hung up at once.
	After string `json:"after,omitempty"`
	// Copies is how many more times it is sent, CopyDelay after the first, and not before CopyAfter was delivered.
	// {Event: "connect", Copies: 1, CopyAfter: "terminate"} is the late retry of a connect.
	Copies    int           `json:"copies,omitempty"`
	CopyDelay time.Duration `json:"copy_delay,omitempty"`
	CopyAfter string        `json:"copy_after,omitempty"`
}

func (d *Delivery) rule(u *update) DeliveryRule {
	for _, r := range d.Rules {
		if (r.Event == "" || r.Event == u.event) && (r.CallID == "" || r.CallID == u.callID) {
			return r
		}
	}
	return DeliveryRule{}
}

// update is one thing to say about one call.
type update struct {
	event  string // as in DeliveryRule.Event
	callID string
	index  int // the call's number on this server, zero: no call
	number *number
	field  string // "calls" or "messages"
	value  Value
}

// SetDelivery changes how webhooks are delivered from now on.
func (s *Server) SetDelivery(d Delivery) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.delivery = d
}

func (s *Server) currentDelivery() Delivery {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.delivery
}
