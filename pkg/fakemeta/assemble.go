package fakemeta

import (
	"strings"
	"time"
)

// foreignNumberID is the business number of somebody else whose updates reach the same webhook.
const foreignNumberID = "999000000000009"

// assemble puts updates into one payload: updates of one kind that follow each other share a change, a new account
// entry begins whenever the kind changes. Everything Meta may do to a payload is done here.
func assemble(n *number, mode Delivery, updates []*update) *Payload {
	p := &Payload{Object: "whatsapp_business_account"}
	add := func(c Change) { p.Entry = append(p.Entry, Entry{ID: n.AccountID, Changes: []Change{c}}) }
	if mode.Foreign {
		add(foreignCall())
	}
	var last *Change
	for _, u := range updates {
		v := dress(u.value, mode)
		if last != nil && last.Field == u.field && mergeable(&last.Value, &v) {
			merge(&last.Value, &v)
			continue
		}
		add(Change{Value: v, Field: u.field})
		last = &p.Entry[len(p.Entry)-1].Changes[0]
	}
	if mode.Foreign {
		e := &p.Entry[len(p.Entry)-1]
		e.Changes = append(e.Changes, foreignEvents(n)...)
	}
	if mode.Unknown {
		e := &p.Entry[len(p.Entry)-1]
		e.Changes = append(e.Changes, unknownChanges(n)...)
	}
	return p
}

func mergeable(a, b *Value) bool {
	return len(a.Calls) > 0 && len(b.Calls) > 0 || len(a.Statuses) > 0 && len(b.Statuses) > 0
}

func merge(into, v *Value) {
	into.Calls = append(into.Calls, v.Calls...)
	into.Statuses = append(into.Statuses, v.Statuses...)
	into.Errors = append(into.Errors, v.Errors...)
	for _, c := range v.Contacts {
		known := false
		for _, have := range into.Contacts {
			known = known || have.WaID == c.WaID && have.UserID == c.UserID
		}
		if !known {
			into.Contacts = append(into.Contacts, c)
		}
	}
}

// dress applies the mode to a copy of v: the update itself is sent again when it is repeated.
func dress(v Value, mode Delivery) Value {
	v.Calls = append([]CallEvent(nil), v.Calls...)
	v.Statuses = append([]CallStatus(nil), v.Statuses...)
	v.Contacts = append([]Contact(nil), v.Contacts...)
	if mode.OmitContacts {
		v.Contacts = nil
	}
	for i := range v.Contacts {
		if mode.OmitFrom {
			v.Contacts[i].WaID = ""
		} else {
			v.Contacts[i].UserID = ""
		}
	}
	for i := range v.Calls {
		dressCall(&v.Calls[i], mode)
	}
	for i := range v.Statuses {
		if mode.OmitFrom {
			v.Statuses[i].RecipientID = ""
		} else {
			v.Statuses[i].RecipientUserID = ""
		}
	}
	if mode.Unknown {
		v.Unknown = map[string]any{"since": "2027", "list": []int{1, 2}}
	}
	if mode.ErrorsIn == "call" {
		v.Errors = nil
	}
	return v
}

func dressCall(c *CallEvent, mode Delivery) {
	switch {
	case !mode.OmitFrom:
		c.FromUserID = ""
	case c.Direction == string(Inbound):
		c.From = ""
	default:
		c.To = ""
	}
	if mode.SwapNumbers && c.Direction == string(Outbound) {
		c.From, c.To = c.To, c.From
	}
	if mode.OmitOptional {
		c.Direction, c.From, c.To, c.FromUserID, c.Timestamp = "", "", "", "", ""
	}
	if mode.ErrorsIn == "value" {
		c.Errors = nil
	}
	if mode.Legacy && c.Session != nil {
		c.Connection = legacyConnection(*c.Session)
	}
	if mode.Unknown {
		c.Unknown = map[string]any{"nested": map[string]any{"key": "värde"}}
	}
}

func (n *number) metadata() Metadata {
	return Metadata{DisplayPhoneNumber: n.DisplayNumber, PhoneNumberID: n.PhoneNumberID}
}

// foreignCall is a call that rings at another number of the same account.
func foreignCall() Change {
	v := Value{
		MessagingProduct: "whatsapp",
		Metadata:         Metadata{DisplayPhoneNumber: "15559990000", PhoneNumberID: foreignNumberID},
		Contacts:         []Contact{{Profile: &Profile{Name: "Somebody Else"}, WaID: "15559991111"}},
		Calls: []CallEvent{{
			ID: newCallID(Inbound, "15559991111", "15559990000"), From: "15559991111", To: "15559990000",
			Event: "connect", Timestamp: seconds(time.Now()), Direction: string(Inbound),
			Session: &Session{SDP: "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n", SDPType: "offer"},
		}},
	}
	return Change{Value: v, Field: "calls"}
}

// foreignEvents are about calls that another app handles on the same number.
func foreignEvents(n *number) []Change {
	id := newCallID(Outbound, "15559992222", strings.TrimPrefix(n.DisplayNumber, "+"))
	now := seconds(time.Now())
	v := Value{MessagingProduct: "whatsapp", Metadata: n.metadata()}
	status, end := v, v
	status.Statuses = []CallStatus{{ID: id, Timestamp: now, Type: "call", Status: "RINGING", RecipientID: "15559992222"}}
	end.Calls = []CallEvent{{
		ID: id, From: n.DisplayNumber, To: "15559992222", Event: "terminate", Timestamp: now,
		Direction: string(Outbound), Status: "COMPLETED",
	}}
	return []Change{{Value: status, Field: "calls"}, {Value: end, Field: "calls"}}
}

// unknownChanges are what a later version of the API may send.
func unknownChanges(n *number) []Change {
	v := Value{MessagingProduct: "whatsapp", Metadata: n.metadata()}
	event, field := v, v
	event.Calls = []CallEvent{{
		ID: newCallID(Inbound, "15559993333", n.DisplayNumber), Event: "call_created", Timestamp: seconds(time.Now()),
	}}
	field.Unknown = map[string]any{"kind": "unheard of"}
	return []Change{{Value: event, Field: "calls"}, {Value: field, Field: "calls_next_generation"}}
}
