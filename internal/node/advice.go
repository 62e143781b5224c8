package node

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/livekit-connector/livekit-connector/pkg/whatsapp"
)

// Meta's codes of a refused dial about which there is more to say than Meta does (Meta: calling troubleshooting).
const (
	codeNoPermission = 138006 // the user has not allowed calls
	codeCallLimit    = 138012 // the user was called too often today
	codeCountry      = 138013 // the number's country has no outbound calls
)

// adviceTimeout bounds the questions to Meta that an advice takes. The phone does not ring; somebody waits for the error.
const adviceTimeout = 2 * time.Second

// advice is what a dial's error says beyond Meta's words. Its zero value is none.
type advice struct {
	// text ends the error's message; empty means that there is nothing to add.
	text string
	// meta goes into the error's meta.
	meta map[string]string
}

// The keys of an error's meta by which a program goes on; the values are text.
const (
	// metaRemedy is whatsapp.Remedy's word: what kind of thing would help.
	metaRemedy = "remedy"
	// metaRetryAfter is before when the same request is useless, in RFC 3339.
	metaRetryAfter = "retry_after"
	// metaPermissionRequest is what became of asking the user for permission, one of the values below.
	metaPermissionRequest = "permission_request"
	// metaPermissionMessage is the ID of the message that asked, to match the user's reply with.
	metaPermissionMessage = "permission_request_id"
	// metaPermissionCode is Meta's error code if that message was refused.
	metaPermissionCode = "permission_request_error_code"
)

// The values of metaPermissionRequest.
const (
	requestSent    = "sent"     // the user was asked just now
	requestOff     = "off"      // the configuration does not ask
	requestTooSoon = "too_soon" // Meta allows no further message yet: retry_after
	requestFailed  = "failed"   // the message was refused, or is lost
)

// advise says what to do about a refused dial to user, and does it if the configuration asks for that.
func (n *Node) advise(ctx context.Context, creds whatsapp.Credentials, user string, err error) advice {
	var refused *whatsapp.APIError
	if !errors.As(err, &refused) || refused.Code == 0 {
		return advice{}
	}
	a := advice{meta: map[string]string{metaRemedy: refused.Remedy().String()}}
	if refused.RetryAfter > 0 {
		a.retryAfter(time.Now().Add(refused.RetryAfter))
	}
	ctx, cancel := context.WithTimeout(ctx, adviceTimeout)
	defer cancel()
	switch refused.Code {
	case codeNoPermission:
		n.adviseAsking(ctx, creds, user, &a)
	case codeCallLimit:
		a.text = "this user was called as often as Meta allows in 24 hours"
		if p, err := n.opts.Graph.CallPermission(ctx, creds, user); err == nil {
			calling, _ := p.Action("start_call")
			a.retryAfter(calling.Again())
		}
	case codeCountry:
		a.text = "this business number's country has no outbound calls: dial from a number of another country, or let the user call"
	}
	if at := a.meta[metaRetryAfter]; at != "" && a.text != "" {
		a.text += ", not before " + at
	}
	return a
}

func (a *advice) retryAfter(at time.Time) {
	if !at.IsZero() {
		a.meta[metaRetryAfter] = at.UTC().Format(time.RFC3339)
	}
}

// adviseAsking is about a user who has not allowed calls: he has to be asked, which Meta allows once a day.
func (n *Node) adviseAsking(ctx context.Context, creds whatsapp.Credentials, user string, a *advice) {
	p, err := n.opts.Graph.CallPermission(ctx, creds, user)
	if asking, known := p.Action("send_call_permission_request"); err == nil && known && !asking.Allowed {
		a.meta[metaPermissionRequest] = requestTooSoon
		a.retryAfter(asking.Again())
		a.text = "the user has not allowed calls and was asked already: wait for his reply, or ask again"
		return
	}
	if n.opts.PermissionRequest == "" {
		a.meta[metaPermissionRequest] = requestOff
		a.text = "the user has not allowed calls: send him a call_permission_request message and dial when he has accepted, " +
			"or wait until he calls (whatsapp.permission_request in the connector's configuration sends that message)"
		return
	}
	id, err := n.opts.Graph.RequestPermission(ctx, creds, user, n.opts.PermissionRequest)
	if err == nil {
		a.meta[metaPermissionRequest] = requestSent
		if id != "" {
			a.meta[metaPermissionMessage] = id
		}
		a.text = "the user has not allowed calls and has just been asked: dial when Meta's webhook says call_permission_reply accept"
		return
	}
	n.log.Warn("permission request not sent", "phoneNumberID", creds.PhoneNumberID, "error", err)
	a.meta[metaPermissionRequest] = requestFailed
	var refused *whatsapp.APIError
	if errors.As(err, &refused) && refused.Code != 0 {
		a.meta[metaPermissionCode] = strconv.Itoa(refused.Code)
	}
	a.text = "the user has not allowed calls, and the message that asks him failed: Meta takes it only within 24 hours of his " +
		"last message to you"
}
