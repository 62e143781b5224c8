package fakemeta

import (
	"math"
	"strconv"
	"time"
)

// parties returns from and to as webhooks name them: from is the caller.
func (c *Call) parties() (from, to string) {
	if c.direction == Inbound {
		return c.user.waID, c.number.business()
	}
	return c.number.business(), c.user.waID
}

// callEvent is what connect and terminate have in common.
func (c *Call) callEvent(name string, at time.Time) CallEvent {
	e := CallEvent{ID: c.id, Event: name, Timestamp: seconds(at), Direction: string(c.direction)}
	e.From, e.To = c.parties()
	if c.direction == Inbound {
		e.FromUserID = c.user.id
		e.DeeplinkPayload, e.CTAPayload = c.options.deeplink, c.options.cta
	}
	c.mu.Lock()
	e.BizOpaqueCallbackData = c.opaque
	c.mu.Unlock()
	return e
}

func (c *Call) value() Value {
	return Value{MessagingProduct: "whatsapp", Metadata: c.number.metadata(), Contacts: []Contact{c.user.contact()}}
}

func (c *Call) post(event string, v Value) <-chan struct{} {
	c.note(MomentWebhook, event)
	return c.server.dispatcher.send(&update{event: event, callID: c.id, index: c.index, number: c.number, field: "calls", value: v})
}

func (c *Call) sendConnect(s Session) {
	e := c.callEvent("connect", c.created)
	if c.direction == Outbound {
		e.Timestamp = seconds(time.Now())
	}
	e.Session = &s
	v := c.value()
	v.Calls = []CallEvent{e}
	answered := c.post("connect", v)
	select {
	case c.announced <- answered:
	default:
	}
}

// say sends a status of an outbound call.
func (c *Call) say(status string) {
	c.mu.Lock()
	opaque := c.opaque
	c.mu.Unlock()
	v := c.value()
	v.Statuses = []CallStatus{{
		ID: c.id, Timestamp: seconds(time.Now()), Type: "call", Status: status,
		RecipientID: c.user.waID, RecipientUserID: c.user.id, BizOpaqueCallbackData: opaque,
	}}
	c.post(status, v)
}

// sendTerminate says how the call ended. Times and duration are there only if it was answered; their absence, not
// the status, tells a missed call.
func (c *Call) sendTerminate() {
	e := c.callEvent("terminate", time.Now())
	c.mu.Lock()
	end := c.ending
	c.mu.Unlock()
	e.Status = "COMPLETED"
	if end.Code != 0 {
		e.Status = "FAILED"
		e.Errors = callErrors(end.Code)
	}
	if since, d, ok := c.talk(); ok {
		n := wholeSeconds(d)
		e.Duration = &n
		e.StartTime = seconds(since)
		e.EndTime = strconv.FormatInt(since.Unix()+int64(n), 10)
	}
	v := c.value()
	v.Calls = []CallEvent{e}
	v.Errors = e.Errors
	c.post("terminate", v)
}

// wholeSeconds is how webhooks count.
func wholeSeconds(d time.Duration) int { return int(math.Floor(d.Seconds())) }
