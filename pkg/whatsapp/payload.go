package whatsapp

import (
	"time"
)

// The payload types are the JSON of a webhook, as tolerant as the flex types make it. A call's older "connection" object is not read.

type entryPayload struct {
	ID      flexString              `json:"id"`
	Changes flexList[changePayload] `json:"changes"`
}

type changePayload struct {
	Field flexString `json:"field"`
	Value struct {
		Metadata struct {
			PhoneNumberID flexString `json:"phone_number_id"`
			DisplayNumber flexString `json:"display_phone_number"`
		} `json:"metadata"`
		Contacts flexList[contactPayload] `json:"contacts"`
		Calls    flexList[callPayload]    `json:"calls"`
		Statuses flexList[statusPayload]  `json:"statuses"`
		Messages flexList[messagePayload] `json:"messages"`
		Errors   flexList[failurePayload] `json:"errors"`
	} `json:"value"`
}

type contactPayload struct {
	WAID         flexString `json:"wa_id"`
	UserID       flexString `json:"user_id"`
	ParentUserID flexString `json:"parent_user_id"`
	Profile      struct {
		Name     flexString `json:"name"`
		Username flexString `json:"username"`
	} `json:"profile"`
}

type callPayload struct {
	ID               flexString `json:"id"`
	Event            flexString `json:"event"`
	Direction        flexString `json:"direction"`
	From             flexString `json:"from"`
	To               flexString `json:"to"`
	FromUserID       flexString `json:"from_user_id"`
	FromParentUserID flexString `json:"from_parent_user_id"`
	ToUserID         flexString `json:"to_user_id"`
	Time             flexTime   `json:"timestamp"`
	Session          struct {
		Type flexString `json:"sdp_type"`
		SDP  flexString `json:"sdp"`
	} `json:"session"`
	CallbackData    flexString               `json:"biz_opaque_callback_data"`
	DeeplinkPayload flexString               `json:"deeplink_payload"`
	CTAPayload      flexString               `json:"cta_payload"`
	Status          flexString               `json:"status"`
	StartTime       flexTime                 `json:"start_time"`
	EndTime         flexTime                 `json:"end_time"`
	Duration        flexInt                  `json:"duration"`
	TerminateReason flexString               `json:"terminate_reason"`
	Errors          flexList[failurePayload] `json:"errors"`
}

type statusPayload struct {
	ID              flexString `json:"id"`
	Type            flexString `json:"type"`
	Status          flexString `json:"status"`
	Time            flexTime   `json:"timestamp"`
	RecipientID     flexString `json:"recipient_id"`
	RecipientUserID flexString `json:"recipient_user_id"`
	CallbackData    flexString `json:"biz_opaque_callback_data"`
}

type messagePayload struct {
	ID         flexString `json:"id"`
	From       flexString `json:"from"`
	FromUserID flexString `json:"from_user_id"`
	Time       flexTime   `json:"timestamp"`
	Type       flexString `json:"type"`
	Context    struct {
		ID flexString `json:"id"`
	} `json:"context"`
	Interactive struct {
		Type  flexString `json:"type"`
		Reply struct {
			Response   flexString `json:"response"`
			Permanent  flexBool   `json:"is_permanent"`
			Expiration flexTime   `json:"expiration_timestamp"`
			Source     flexString `json:"response_source"`
		} `json:"call_permission_reply"`
	} `json:"interactive"`
}

type failurePayload struct {
	Code    flexInt    `json:"code"`
	Title   flexString `json:"title"`
	Message flexString `json:"message"`
	Data    errorData  `json:"error_data"`
}

func (p changePayload) change() Change {
	value := p.Value
	c := Change{
		Field: string(p.Field),
		Metadata: Metadata{
			PhoneNumberID: string(value.Metadata.PhoneNumberID),
			DisplayNumber: string(value.Metadata.DisplayNumber),
		},
		Errors: failures(value.Errors),
	}
	for _, contact := range value.Contacts {
		c.Contacts = append(c.Contacts, Contact{
			WAID: string(contact.WAID), UserID: string(contact.UserID), ParentUserID: string(contact.ParentUserID),
			Name: string(contact.Profile.Name), Username: string(contact.Profile.Username),
		})
	}
	for _, call := range value.Calls {
		if call.ID != "" && call.Event != "" {
			c.Calls = append(c.Calls, call.call())
		}
	}
	for _, s := range value.Statuses {
		if s.ID != "" && s.Status != "" {
			c.Statuses = append(c.Statuses, s.status())
		}
	}
	for _, m := range value.Messages {
		if m.ID != "" {
			c.Messages = append(c.Messages, m.message())
		}
	}
	c.attributeErrors()
	return c
}

// attributeErrors gives the errors beside the calls to the one call that ended without errors of its own. Meta's documentation puts
// them beside the call, its traffic in both places.
func (c *Change) attributeErrors() {
	var ended *Call
	for i := range c.Calls {
		if c.Calls[i].Event != EventTerminate {
			continue
		}
		if ended != nil {
			return // two: nobody can tell whose they are
		}
		ended = &c.Calls[i]
	}
	if ended != nil && len(ended.Errors) == 0 {
		ended.Errors = c.Errors
	}
}

func (p callPayload) call() Call {
	c := Call{
		ID: string(p.ID), Event: string(p.Event), Direction: string(p.Direction),
		From: string(p.From), To: string(p.To),
		FromUserID: string(p.FromUserID), FromParentUserID: string(p.FromParentUserID), ToUserID: string(p.ToUserID),
		Time:                  time.Time(p.Time),
		BizOpaqueCallbackData: string(p.CallbackData), DeeplinkPayload: string(p.DeeplinkPayload), CTAPayload: string(p.CTAPayload),
		Status: string(p.Status), StartTime: time.Time(p.StartTime), EndTime: time.Time(p.EndTime),
		TerminateReason: string(p.TerminateReason),
		Errors:          failures(p.Errors),
	}
	if p.Duration > 0 && p.Duration < 1e9 {
		c.Duration = time.Duration(p.Duration) * time.Second
	}
	if p.Session.SDP != "" {
		c.Session = &Session{Type: string(p.Session.Type), SDP: string(p.Session.SDP)}
	}
	return c
}

func (p statusPayload) status() Status {
	return Status{
		ID: string(p.ID), Type: string(p.Type), Status: string(p.Status), Time: time.Time(p.Time),
		RecipientID: string(p.RecipientID), RecipientUserID: string(p.RecipientUserID),
		BizOpaqueCallbackData: string(p.CallbackData),
	}
}

func (p messagePayload) message() Message {
	m := Message{
		ID: string(p.ID), From: string(p.From), FromUserID: string(p.FromUserID), Time: time.Time(p.Time),
		Type: string(p.Type), ContextID: string(p.Context.ID),
	}
	if reply := p.Interactive.Reply; p.Interactive.Type == "call_permission_reply" {
		m.PermissionReply = &PermissionReply{
			Accepted: reply.Response == "accept", Permanent: bool(reply.Permanent),
			Expiration: time.Time(reply.Expiration), Automatic: reply.Source == "automatic",
		}
	}
	return m
}

func failures(list []failurePayload) []Failure {
	var out []Failure
	for _, p := range list {
		out = append(out, Failure{int(p.Code), string(p.Title), string(p.Message), string(p.Data.Details)})
	}
	return out
}
