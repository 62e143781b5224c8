package whatsapp

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"unicode/utf8"
)

const (
	maxCallbackData = 512 // characters, by Meta's calls reference
	maxPurpose      = 250 // characters, likewise
)

// Capture asks Meta to record or transcribe a call, which Meta announces to both sides first.
type Capture struct {
	// Status is "ENABLED" or "DISABLED".
	Status string `json:"status"`
	// Purpose is required when enabled, at most 250 characters.
	Purpose string `json:"purpose,omitempty"`
	// AnnouncementLanguage is required when enabled, for instance "en_US".
	AnnouncementLanguage string `json:"announcement_language,omitempty"`
}

// ConnectRequest places a call to a WhatsApp user. It prints without its content.
type ConnectRequest struct {
	// To is the user's number, digits with or without a leading plus. To or Recipient is required; with both, Meta takes To.
	To string
	// Recipient is the user's business-scoped ID.
	Recipient string
	// Offer is the SDP offer, with CRLF line ends.
	Offer string
	// BizOpaqueCallbackData comes back in the call's webhooks; optional, at most 512 characters. It is the only way to learn the call
	// ID of a connect with ErrOutcomeUnknown.
	BizOpaqueCallbackData string
	Recording             *Capture // optional
	Transcription         *Capture // optional
}

// AcceptRequest answers a call of a WhatsApp user. It prints without its content.
type AcceptRequest struct {
	CallID string
	// Answer is the SDP answer, with CRLF line ends; after a PreAccept the very same string.
	Answer string
	// BizOpaqueCallbackData comes back in the terminate webhook; optional, at most 512 characters.
	BizOpaqueCallbackData string
	Recording             *Capture // optional
	Transcription         *Capture // optional
}

// Format prints the type alone for every verb: the content is a number and an SDP.
func (ConnectRequest) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, "whatsapp.ConnectRequest{...}")
}

// Format prints the type and the call ID for every verb: the rest is an SDP.
func (r AcceptRequest) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, "whatsapp.AcceptRequest{CallID:"+r.CallID+" ...}")
}

// LogValue returns the type alone.
func (r ConnectRequest) LogValue() slog.Value { return slog.StringValue(fmt.Sprint(r)) }

// LogValue returns the type and the call ID.
func (r AcceptRequest) LogValue() slog.Value { return slog.StringValue(fmt.Sprint(r)) }

// callBody is the body of every call action, as in Meta's calls reference.
type callBody struct {
	MessagingProduct string       `json:"messaging_product"`
	To               string       `json:"to,omitempty"`
	Recipient        string       `json:"recipient,omitempty"`
	CallID           string       `json:"call_id,omitempty"`
	Action           string       `json:"action"`
	Session          *sessionBody `json:"session,omitempty"`
	CallbackData     string       `json:"biz_opaque_callback_data,omitempty"`
	Recording        *Capture     `json:"recording,omitempty"`
	Transcription    *Capture     `json:"transcription,omitempty"`
}

type sessionBody struct {
	Type string `json:"sdp_type"`
	SDP  string `json:"sdp"`
}

// Connect places a call and returns its ID; the SDP answer comes by webhook. It is sent at most once. An error that wraps
// ErrOutcomeUnknown means that the user's phone may ring all the same.
func (c *Client) Connect(ctx context.Context, creds Credentials, req ConnectRequest) (string, error) {
	body := callBody{
		Action: ActionConnect, To: strings.TrimPrefix(req.To, "+"), Recipient: req.Recipient,
		Session: &sessionBody{"offer", req.Offer}, CallbackData: req.BizOpaqueCallbackData,
		Recording: req.Recording, Transcription: req.Transcription,
	}
	r, err := c.callRequest(creds, body)
	if err != nil {
		return "", err
	}
	response, err := c.once(ctx, r)
	if err != nil {
		return "", err
	}
	return firstCallID(response), nil
}

// firstCallID reads calls[0].id of a response to connect; empty if there is none.
func firstCallID(response []byte) string {
	var reply struct {
		Calls flexList[struct {
			ID flexString `json:"id"`
		}] `json:"calls"`
	}
	if json.Unmarshal(response, &reply) != nil || len(reply.Calls) == 0 {
		return ""
	}
	return string(reply.Calls[0].ID)
}

// PreAccept gives Meta the SDP answer before the call is accepted, so that ICE and DTLS are up by then. The caller hears ringing on.
func (c *Client) PreAccept(ctx context.Context, creds Credentials, callID, answer string) error {
	return c.answer(ctx, creds, callBody{Action: ActionPreAccept, CallID: callID, Session: &sessionBody{"answer", answer}})
}

// Accept accepts a call. Media may be sent when it has returned nil. An error that wraps ErrCallOver needs no Terminate; one that wraps
// ErrOutcomeUnknown does, unless the call goes on.
func (c *Client) Accept(ctx context.Context, creds Credentials, req AcceptRequest) error {
	return c.answer(ctx, creds, callBody{
		Action: ActionAccept, CallID: req.CallID, Session: &sessionBody{"answer", req.Answer},
		CallbackData: req.BizOpaqueCallbackData, Recording: req.Recording, Transcription: req.Transcription,
	})
}

func (c *Client) answer(ctx context.Context, creds Credentials, body callBody) error {
	r, err := c.callRequest(creds, body)
	if err != nil {
		return err
	}
	_, err = c.repeat(ctx, r, c.attempts, judgeAnswer)
	return err
}

// Reject declines a call that was neither accepted nor pre-accepted. It repeats until ctx ends; a call that is already over is a
// success, one that is in progress is an error.
func (c *Client) Reject(ctx context.Context, creds Credentials, callID string) error {
	return c.hangUp(ctx, creds, callBody{Action: ActionReject, CallID: callID})
}

// Terminate ends a call in any state. It repeats until Meta took it or ctx ends, so ctx should have a deadline; a call that is already
// over is a success.
func (c *Client) Terminate(ctx context.Context, creds Credentials, callID string) error {
	return c.hangUp(ctx, creds, callBody{Action: ActionTerminate, CallID: callID})
}

func (c *Client) hangUp(ctx context.Context, creds Credentials, body callBody) error {
	r, err := c.callRequest(creds, body)
	if err != nil {
		return err
	}
	r.hangup = true
	_, err = c.repeat(ctx, r, untilDone, judgeHangup)
	return err
}

// callRequest checks and marshals a call action.
func (c *Client) callRequest(creds Credentials, body callBody) (*request, error) {
	if err := body.validate(); err != nil {
		return nil, fmt.Errorf("graph %s: %w", body.Action, err)
	}
	r, err := c.newRequest(body.Action, "calls", nil, creds, body.To, body.Recipient)
	if err != nil {
		return nil, err
	}
	body.MessagingProduct = "whatsapp"
	r.method, r.callID = http.MethodPost, body.CallID
	if r.body, err = json.Marshal(body); err != nil {
		return nil, fmt.Errorf("graph %s: marshal body: %w", body.Action, err)
	}
	return r, nil
}

// validate finds what Meta would refuse anyway, before a number or an SDP is on its way.
func (b *callBody) validate() error {
	switch {
	case b.Action == ActionConnect && b.To == "" && b.Recipient == "":
		return fmt.Errorf("%w: to and recipient are both missing", ErrInvalidRequest)
	case b.Action != ActionConnect && b.CallID == "":
		return fmt.Errorf("%w: call id is missing", ErrInvalidRequest)
	case b.Session != nil && b.Session.SDP == "":
		return fmt.Errorf("%w: sdp is missing", ErrInvalidRequest)
	case utf8.RuneCountInString(b.CallbackData) > maxCallbackData:
		return fmt.Errorf("%w: biz_opaque_callback_data is longer than %d characters", ErrInvalidRequest, maxCallbackData)
	}
	if err := b.Recording.Validate("recording"); err != nil {
		return err
	}
	return b.Transcription.Validate("transcription")
}

// Validate finds what Meta would refuse, and calls it name. The error wraps ErrInvalidRequest. A nil Capture is valid.
func (c *Capture) Validate(name string) error {
	switch {
	case c == nil, c.Status == "DISABLED":
		return nil
	case c.Status != "ENABLED":
		return fmt.Errorf("%w: %s.status must be ENABLED or DISABLED", ErrInvalidRequest, name)
	case c.Purpose == "" || c.AnnouncementLanguage == "":
		return fmt.Errorf("%w: %s needs a purpose and an announcement_language", ErrInvalidRequest, name)
	case utf8.RuneCountInString(c.Purpose) > maxPurpose:
		return fmt.Errorf("%w: %s.purpose is longer than %d characters", ErrInvalidRequest, name, maxPurpose)
	}
	return nil
}
