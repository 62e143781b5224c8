package fakemeta

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf16"
	"unicode/utf8"
)

// Payload is the body of one webhook request.
type Payload struct {
	Object string  `json:"object"`
	Entry  []Entry `json:"entry"`
}

// Entry is what happened to one WhatsApp Business Account.
type Entry struct {
	ID      string   `json:"id"`
	Changes []Change `json:"changes"`
}

// Change is one update. Field is "calls" or "messages".
type Change struct {
	Value Value  `json:"value"`
	Field string `json:"field"`
}

// Value is the content of a change.
type Value struct {
	MessagingProduct string            `json:"messaging_product"`
	Metadata         Metadata          `json:"metadata"`
	Contacts         []Contact         `json:"contacts,omitempty"`
	Calls            []CallEvent       `json:"calls,omitempty"`
	Statuses         []CallStatus      `json:"statuses,omitempty"`
	Messages         []json.RawMessage `json:"messages,omitempty"`
	Errors           []CallError       `json:"errors,omitempty"`
	Unknown          map[string]any    `json:"x_unknown_field,omitempty"` // a key that no documentation names
}

// Metadata names the business number that the update is for.
type Metadata struct {
	DisplayPhoneNumber string `json:"display_phone_number"`
	PhoneNumberID      string `json:"phone_number_id"`
}

// Contact is the user. WaID is missing for users who are known to the business by their user ID alone.
type Contact struct {
	Profile *Profile `json:"profile,omitempty"`
	WaID    string   `json:"wa_id,omitempty"`
	UserID  string   `json:"user_id,omitempty"`
}

// Profile is what the user shows of himself.
type Profile struct {
	Name     string `json:"name,omitempty"`
	Username string `json:"username,omitempty"`
}

// CallEvent is an element of calls: connect or terminate.
type CallEvent struct {
	ID                    string            `json:"id"`
	From                  string            `json:"from,omitempty"`
	FromUserID            string            `json:"from_user_id,omitempty"`
	To                    string            `json:"to,omitempty"`
	Event                 string            `json:"event"`
	Timestamp             string            `json:"timestamp,omitempty"`
	Direction             string            `json:"direction,omitempty"`
	Session               *Session          `json:"session,omitempty"`
	Connection            *LegacyConnection `json:"connection,omitempty"`
	BizOpaqueCallbackData string            `json:"biz_opaque_callback_data,omitempty"`
	DeeplinkPayload       string            `json:"deeplink_payload,omitempty"`
	CTAPayload            string            `json:"cta_payload,omitempty"`
	StartTime             string            `json:"start_time,omitempty"`
	EndTime               string            `json:"end_time,omitempty"`
	Duration              *int              `json:"duration,omitempty"` // seconds
	Status                string            `json:"status,omitempty"`
	Errors                []CallError       `json:"errors,omitempty"`
	Unknown               map[string]any    `json:"x_unknown_field,omitempty"`
}

// Session carries an SDP.
type Session struct {
	SDP     string `json:"sdp"`
	SDPType string `json:"sdp_type"`
}

// LegacyConnection is an older form of Session that may still stand beside it: JSON in JSON.
type LegacyConnection struct {
	WebRTC struct {
		SDP string `json:"sdp"`
	} `json:"webrtc"`
}

// CallStatus is an element of statuses: RINGING, ACCEPTED or REJECTED, for outbound calls alone.
type CallStatus struct {
	ID                    string `json:"id"`
	Timestamp             string `json:"timestamp"`
	Type                  string `json:"type"`
	Status                string `json:"status"`
	RecipientID           string `json:"recipient_id,omitempty"`
	RecipientUserID       string `json:"recipient_user_id,omitempty"`
	BizOpaqueCallbackData string `json:"biz_opaque_callback_data,omitempty"`
}

// CallError says why a call failed.
type CallError struct {
	Code      int           `json:"code"`
	Title     string        `json:"title"`
	Message   string        `json:"message"`
	ErrorData CallErrorData `json:"error_data"`
}

// CallErrorData carries the specifics of a CallError.
type CallErrorData struct {
	Details string `json:"details"`
}

func callErrors(code int) []CallError {
	if code == 0 {
		return nil
	}
	text := codeMessage(code)
	return []CallError{{Code: code, Title: text, Message: text, ErrorData: CallErrorData{Details: text}}}
}

// seconds writes a time as Meta does: Unix seconds in a string.
func seconds(t time.Time) string { return strconv.FormatInt(t.Unix(), 10) }

// legacyConnection builds the old form of a session.
func legacyConnection(s Session) *LegacyConnection {
	inner, _ := json.Marshal(map[string]string{"sdp": s.SDP, "type": s.SDPType}) // strings always marshal
	c := &LegacyConnection{}
	c.WebRTC.SDP = string(inner)
	return c
}

// encode writes a payload as Meta does: everything outside ASCII as \u escapes with lower-case digits, so that the
// signature covers the escaped form. With slashes, "/" becomes "\/" too, as older documentation has it.
func encode(p *Payload, slashes bool) ([]byte, error) {
	var plain bytes.Buffer
	enc := json.NewEncoder(&plain)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(p); err != nil {
		return nil, fmt.Errorf("encode webhook: %w", err)
	}
	return escape(bytes.TrimRight(plain.Bytes(), "\n"), slashes), nil
}

// The values whose types Meta's documentation and its traffic do not agree on. A quotation mark within a text is escaped,
// so no text matches.
var (
	timeText   = regexp.MustCompile(`"(timestamp|start_time|end_time)":"([0-9]+)"`)
	plainCount = regexp.MustCompile(`"(duration|code)":([0-9]+)`)
)

// otherTypes writes times as integers, counts and codes as strings.
func otherTypes(body []byte) []byte {
	body = timeText.ReplaceAll(body, []byte(`"$1":$2`))
	return plainCount.ReplaceAll(body, []byte(`"$1":"$2"`))
}

func escape(plain []byte, slashes bool) []byte {
	var b strings.Builder
	b.Grow(len(plain) + 64)
	for len(plain) > 0 {
		r, n := utf8.DecodeRune(plain)
		plain = plain[n:]
		switch {
		case r == '/' && slashes:
			b.WriteString(`\/`)
		case r < utf8.RuneSelf:
			b.WriteByte(byte(r))
		default:
			for _, unit := range utf16.AppendRune(nil, r) {
				fmt.Fprintf(&b, `\u%04x`, unit)
			}
		}
	}
	return []byte(b.String())
}
