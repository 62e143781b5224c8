package whatsapp

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"time"
)

var (
	// ErrOutcomeUnknown is wrapped by errors after which Meta may have carried the request out: it was sent, and no word or no
	// definite word came back. A connect with this error must not be repeated, its call ID may still come by webhook.
	ErrOutcomeUnknown = errors.New("whatsapp: outcome unknown")
	// ErrNoCallID is wrapped when Meta took a connect but named no call. The outcome is unknown too.
	ErrNoCallID = errors.New("whatsapp: response names no call")
	// ErrCallOver is wrapped by errors of pre_accept and accept when Meta says that the call has ended or is not known.
	ErrCallOver = errors.New("whatsapp: call is over")
	// ErrInvalidRequest is wrapped by errors about arguments; nothing was sent.
	ErrInvalidRequest = errors.New("whatsapp: invalid request")
)

// Remedy is what to do about a failure that Meta reported.
type Remedy int

// Remedies. The zero value is not one.
const (
	// RemedyRetry: the same thing may work within seconds or minutes; for a failed call that means a new call with a new SDP.
	RemedyRetry Remedy = iota + 1
	// RemedyOperator: nothing works until somebody changes the account, the number, the token or the network.
	RemedyOperator
	// RemedyPermission: the user has to permit calls first.
	RemedyPermission
	// RemedyGiveUp: this request, or a call to this user, will not work today.
	RemedyGiveUp
)

// String returns the remedy in lower case, as for a log.
func (r Remedy) String() string {
	switch r {
	case RemedyRetry:
		return "retry"
	case RemedyOperator:
		return "operator"
	case RemedyPermission:
		return "permission"
	case RemedyGiveUp:
		return "give_up"
	default:
		return "unknown"
	}
}

// remedies are the codes of Meta's Calling API troubleshooting page and the Graph codes that every Cloud API request can meet.
var remedies = map[int]Remedy{
	1:      RemedyRetry,      // unknown Graph error, documented as possibly temporary
	2:      RemedyRetry,      // Graph temporarily down
	3:      RemedyOperator,   // app lacks the capability
	4:      RemedyRetry,      // app rate limit
	10:     RemedyOperator,   // app lacks a permission
	17:     RemedyRetry,      // token rate limit
	33:     RemedyOperator,   // business phone number deleted
	100:    RemedyGiveUp,     // invalid parameter; SDP problems are in the details
	102:    RemedyOperator,   // session of the token ended
	190:    RemedyOperator,   // access token expired or malformed
	368:    RemedyOperator,   // blocked for a policy violation
	613:    RemedyRetry,      // call_permissions rate limit
	2500:   RemedyOperator,   // path not understood: base URL
	2635:   RemedyOperator,   // version no longer served
	80007:  RemedyRetry,      // business account rate limit
	130429: RemedyRetry,      // Cloud API throughput
	131000: RemedyRetry,      // something went wrong
	131005: RemedyOperator,   // access denied
	131008: RemedyGiveUp,     // parameter missing
	131009: RemedyGiveUp,     // parameter value; voice_call button not supported for the sender's country
	131016: RemedyRetry,      // service unavailable
	131030: RemedyOperator,   // recipient not on the allow-list of a test number
	131031: RemedyOperator,   // account locked
	131042: RemedyOperator,   // payment issue
	131044: RemedyOperator,   // no valid payment method
	131045: RemedyOperator,   // number not registered properly
	131055: RemedyOperator,   // number is SIP-enabled, Graph calls are refused
	131056: RemedyRetry,      // rate limit of this pair of numbers
	133010: RemedyOperator,   // number not registered
	138000: RemedyOperator,   // calling not enabled on the number
	138001: RemedyGiveUp,     // receiver cannot be called
	138002: RemedyRetry,      // 1000 concurrent calls
	138003: RemedyGiveUp,     // a call with this user is going on; nothing helps while it does
	138004: RemedyRetry,      // connection error: once more, with a new offer
	138005: RemedyRetry,      // call initiation rate limit
	138006: RemedyPermission, // no approved call permission
	138007: RemedyGiveUp,     // connect timeout: we answered or applied the SDP too late
	138008: RemedyGiveUp,     // SDP refused (no longer documented, still seen)
	138009: RemedyGiveUp,     // permission request limit
	138011: RemedyGiveUp,     // permission request without a conversation
	138012: RemedyGiveUp,     // 100 connected calls to this user in 24 h; the details name the next time
	138013: RemedyOperator,   // outbound calls not available in the number's country
	138014: RemedyOperator,   // calling suspended for quality
	138015: RemedyOperator,   // cannot enable calling: messaging limit too low
	138017: RemedyGiveUp,     // permanent permission exists already
	138018: RemedyOperator,   // cannot enable calling: no app subscribed to calls
	138019: RemedyRetry,      // WhatsApp client failed to set the call up: a new call
	138020: RemedyRetry,      // WhatsApp client could not reach the relay: a new call
	138021: RemedyOperator,   // our media did not arrive: look at the network
	138022: RemedyRetry,      // the client sent no media: a new call
	138023: RemedyOperator,   // accepted, but no media was signalled: look at the network
}

func remedyFor(code, httpStatus int) Remedy {
	if r, ok := remedies[code]; ok {
		return r
	}
	switch {
	case code >= 200 && code <= 299: // Graph's range of missing permissions
		return RemedyOperator
	case httpStatus == http.StatusTooManyRequests, httpStatus == http.StatusRequestTimeout, httpStatus >= 500:
		return RemedyRetry
	case httpStatus == http.StatusUnauthorized, httpStatus == http.StatusForbidden:
		return RemedyOperator
	default:
		return RemedyGiveUp
	}
}

// APIError is an error that Meta answered with, or an answer that is not Meta's at all (Code 0). Its texts come from Meta, cut and
// cleaned of tokens and phone numbers.
type APIError struct {
	HTTPStatus int
	Code       int           // Graph's code; 0 if the body held no error object
	Subcode    int           // 0 if absent; Meta reuses subcodes for unrelated things
	Type       string        // e.g. "OAuthException"
	Message    string        // Meta's one-line message
	Details    string        // error_data.details: why an SDP was refused, when to try again
	TraceID    string        // fbtrace_id, which Meta's support asks for
	Transient  bool          // Graph's is_transient
	RetryAfter time.Duration // from the response header; 0 if absent

	refused bool // a 2xx that says success:false
}

// Error returns status, code, texts and trace ID in one line.
func (e *APIError) Error() string {
	var b strings.Builder
	if e.Code == 0 {
		fmt.Fprintf(&b, "whatsapp: graph answered HTTP %d without an error object", e.HTTPStatus)
	} else {
		fmt.Fprintf(&b, "whatsapp: graph error %d (HTTP %d", e.Code, e.HTTPStatus)
		if e.Subcode != 0 {
			fmt.Fprintf(&b, ", subcode %d", e.Subcode)
		}
		b.WriteByte(')')
	}
	for _, text := range []string{e.Message, e.Details} {
		if text != "" {
			b.WriteString(": ")
			b.WriteString(text)
		}
	}
	if e.TraceID != "" {
		fmt.Fprintf(&b, " [fbtrace_id %s]", e.TraceID)
	}
	return b.String()
}

// Remedy says what to do about the error, by its code and, for codes that are not known, by its HTTP status.
func (e *APIError) Remedy() Remedy {
	if _, known := remedies[e.Code]; !known && e.Transient {
		return RemedyRetry
	}
	return remedyFor(e.Code, e.HTTPStatus)
}

// rateLimited reports a refusal that is about the moment, not the request: nothing was carried out.
func (e *APIError) rateLimited() bool {
	switch e.Code {
	case 4, 17, 613, 80007, 130429, 131056, 138002, 138005:
		return true
	default:
		return e.HTTPStatus == http.StatusTooManyRequests
	}
}

// verdict reports whether the error is a calling code, the word of the part of Meta that knows the call. That is definite even with
// status 500, which Meta documents for 138004 and 138007.
func (e *APIError) verdict() bool { return e.Code/1000 == 138 }

// unknownOutcome reports whether the request may have been carried out all the same: a server error without a calling code, or a 2xx
// that cannot be read.
func (e *APIError) unknownOutcome() bool {
	if e.verdict() || e.rateLimited() {
		return false
	}
	garbled := e.HTTPStatus < 300 && e.Code == 0 && !e.refused
	return garbled || e.HTTPStatus >= 500 || e.HTTPStatus == http.StatusRequestTimeout
}

// transient reports whether the very same request may succeed in a moment.
func (e *APIError) transient() bool { return e.rateLimited() || e.unknownOutcome() || e.Transient }

// graphNoObject is the subcode Graph adds to code 100 when the object in the path, so the phone number ID, does not exist or may
// not be used. It is never about a call.
const graphNoObject = 33

// aboutCall reports whether the error can only be about the call ID, in a request that holds nothing else. See the package comment.
func (e *APIError) aboutCall() bool {
	switch e.HTTPStatus {
	case http.StatusBadRequest, http.StatusNotFound, http.StatusConflict, http.StatusGone:
	default:
		return false
	}
	if e.Code == 0 || e.Subcode == graphNoObject || e.Transient || (e.Code >= 200 && e.Code <= 299) {
		return false
	}
	switch remedies[e.Code] {
	case RemedyRetry, RemedyOperator, RemedyPermission:
		return false
	default:
		return true
	}
}

// Meta's reference names these states in words only. The patterns decide nothing that would hang up on a caller: see judgeAnswer.
var (
	activeText = regexp.MustCompile(`\b(in[ _-]?progress|already (been )?(pre[ _-]?)?(accepted|active|answered|connected))\b`)
	rejectText = regexp.MustCompile(`\breject(ion)?\b[^.]*\bin[ _-]?progress\b`)
	overText   = regexp.MustCompile(`\b(ended|terminated|completed|finished|expired|failed|hung up|rejected|no longer|not found|` +
		`does not exist)\b`)
	noCallText = regexp.MustCompile(`\b(unknown|invalid|no such) call\b|\bcall[ _-]?id\b[^.]*\b(unknown|invalid)\b|` +
		`\b(unknown|invalid|no such) call[ _-]?id\b`)
	callText = regexp.MustCompile(`\bcall\b|\bcall[ _-]?id\b`)
	sdpText  = regexp.MustCompile(`\b(sdp|fingerprint|ice|dtls|codec)\b`)
)

func (e *APIError) text() string { return strings.ToLower(e.Message + " " + e.Details) }

// saysActive reports whether Meta says the call is in progress.
func (e *APIError) saysActive() bool {
	return e.aboutCall() && activeText.MatchString(e.text()) && !rejectText.MatchString(e.text())
}

// saysOver reports whether Meta says the call has ended or is unknown. A complaint about the SDP is neither.
func (e *APIError) saysOver() bool {
	if !e.aboutCall() || e.saysSDP() || e.saysActive() {
		return false
	}
	text := e.text()
	return rejectText.MatchString(text) || noCallText.MatchString(text) || (callText.MatchString(text) && overText.MatchString(text))
}

// saysSDP reports whether Meta refused the SDP, which it says by 138008 or by code 100 with the reason in words.
func (e *APIError) saysSDP() bool {
	return e.Code == sdpRefused || (e.aboutCall() && sdpText.MatchString(e.text()))
}

const sdpRefused = 138008

// newAPIError reads an error response tolerantly. clean takes out what must not be repeated.
func newAPIError(status int, body []byte, retryAfter time.Duration, clean func(string) string) *APIError {
	var reply struct {
		Error struct {
			Message   flexString `json:"message"`
			Type      flexString `json:"type"`
			Code      flexInt    `json:"code"`
			Subcode   flexInt    `json:"error_subcode"`
			Transient flexBool   `json:"is_transient"`
			TraceID   flexString `json:"fbtrace_id"`
			UserMsg   flexString `json:"error_user_msg"`
			Data      errorData  `json:"error_data"`
		} `json:"error"`
	}
	// What does not fit stays zero; that is the whole error handling there is for an error body.
	_ = json.Unmarshal(body, &reply)
	e := reply.Error
	details := string(e.Data.Details)
	if details == "" {
		details = string(e.UserMsg)
	}
	return &APIError{
		HTTPStatus: status,
		Code:       int(e.Code),
		Subcode:    int(e.Subcode),
		Type:       clean(string(e.Type)),
		Message:    clean(string(e.Message)),
		Details:    clean(details),
		TraceID:    cut(string(e.TraceID), 64),
		Transient:  bool(e.Transient),
		RetryAfter: retryAfter,
	}
}

// errorData is an object with details, or, in some samples, a plain string.
type errorData struct {
	Details flexString
}

func (d *errorData) UnmarshalJSON(b []byte) error {
	var object struct {
		Details flexString `json:"details"`
	}
	if json.Unmarshal(b, &object) == nil {
		d.Details = object.Details
		return nil
	}
	return d.Details.UnmarshalJSON(b)
}
