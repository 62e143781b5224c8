// Package whatsapp speaks Meta's WhatsApp Cloud API Calling: the Graph requests of a business (place, pre-accept, accept, reject
// and terminate a call, read a user's call permission or ask for it, read a number's settings) and the webhooks that Meta sends back.
//
// It holds no call state and starts no goroutine of its own. What it knows is what a request may do twice:
//
//   - connect and a permission request are never repeated, by us or by net/http. If Meta may have it, the error wraps
//     [ErrOutcomeUnknown].
//   - pre_accept and accept are repeated byte for byte, a bounded number of times. Repeating them is safe because Meta holds the
//     call to one SDP answer: the second request can only say what the first said. If an earlier try may have been carried out, a
//     refusal that says the call is already in progress is the success whose response was lost.
//   - reject and terminate are repeated until they took or the context ends. A call that is already over is a success.
//
// # When is a call over
//
// Meta publishes no code for "this call has ended"; its reference only lists causes (unknown ID, the user has hung up, reject in
// progress, call completed or failed). So [Client.Terminate] goes by what is left: the body of a terminate holds nothing but a call
// ID, hence a 400, 404, 409 or 410 that is Meta's own (it has a code) and whose code has no other meaning in the table of known
// codes is about that ID, and the call is over. Tokens, permissions, SIP mode, rate limits and 5xx all have codes or statuses of
// their own and stay errors. [Client.Reject] goes by the same rule, except when Meta says that the call is in progress: then it
// lives, and only a terminate ends it. Taking an error for an end costs one more request; taking an end for an error costs nothing
// either, because nothing can be done about it.
//
// # Secrets
//
// Access tokens, phone numbers and SDP do not appear in this package's errors or log lines, also not when Meta quotes them: texts from
// Meta lose known values and whatever looks like a token or a number. Phone number IDs and call IDs may appear.
// The webhook types hold phone numbers and are not for logging.
package whatsapp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// DefaultBaseURL is where Meta serves the Graph API.
const DefaultBaseURL = "https://graph.facebook.com"

const (
	defaultAttemptTimeout = 5 * time.Second
	defaultAttempts       = 3
	defaultUserAgent      = "livekit-connector"
	dialTimeout           = 3 * time.Second // and that of the TLS handshake
)

// Options configure a [Client]. The zero value works.
type Options struct {
	// BaseURL is the scheme and host of the Graph API, with an optional path; empty means DefaultBaseURL. It may hold no user,
	// query or fragment.
	BaseURL string
	// Version is used for credentials that name none, in LiveKit's form ("24.0"). Empty means such credentials are refused.
	Version string
	// Versions lists the versions that may be used; empty means every version from MinVersion up. See ValidateVersion.
	Versions []string
	// HTTPClient sends the requests; nil means one with pooled HTTP/1.1 connections and bounded dialling. A given client is copied
	// and never follows redirects.
	HTTPClient *http.Client
	// DialContext connects to the Graph API, to refuse some addresses for instance, where HTTPClient is nil; nil means a net.Dialer.
	DialContext func(ctx context.Context, network, address string) (net.Conn, error)
	// Logger gets one line per repeated request; nil discards.
	Logger *slog.Logger
	// UserAgent is sent with every request; empty means "livekit-connector".
	UserAgent string
	// AttemptTimeout bounds one HTTP exchange from dialling to the last byte of the response; zero means 5 s. An attempt that may be
	// repeated also takes at most half of the time that its context has left, so that one lost response does not use up all of it.
	AttemptTimeout time.Duration
	// Attempts is how often pre_accept, accept and the GET requests are sent at most; zero means 3.
	Attempts int
	// OnRequest is told of every HTTP exchange: an Action constant, an Outcome constant and how long it took. It is called on the
	// requesting goroutine and must be safe for concurrent use. May be nil.
	OnRequest func(action, outcome string, took time.Duration)
	// Begin is called before every HTTP exchange with the Action constant, for tracing: the returned context is that of the exchange,
	// and the returned function is told the Outcome constant. May be nil.
	Begin func(ctx context.Context, action string) (context.Context, func(outcome string))
	// Renew is asked before every request for the credentials to use instead of those given, because access tokens may change while a
	// call lasts. It returns what it was given if it knows nothing better. It must be safe for concurrent use. May be nil.
	Renew func(Credentials) Credentials
}

// Actions that [Options.OnRequest] names. The first five are Meta's call actions, the others the edges of other requests.
const (
	ActionConnect         = "connect"
	ActionPreAccept       = "pre_accept"
	ActionAccept          = "accept"
	ActionReject          = "reject"
	ActionTerminate       = "terminate"
	ActionCallPermissions = "call_permissions"
	ActionSettings        = "settings"
	ActionMessages        = "messages"
)

// Outcomes of one HTTP exchange, as [Options.OnRequest] names them.
const (
	OutcomeSuccess       = "success"        // Meta did it
	OutcomeAlreadyDone   = "already_done"   // pre_accept or accept that took before, though its response was lost
	OutcomeAlreadyOver   = "already_over"   // reject or terminate of a call that has ended
	OutcomeClientError   = "client_error"   // Meta refused: another 4xx, or success:false
	OutcomeRateLimited   = "rate_limited"   // Meta refused for now: 429 or a rate limit's code
	OutcomeUpstreamError = "upstream_error" // 5xx, a redirect, or a response that is not Graph's
	OutcomeTimeout       = "timeout"        // no response in time
	OutcomeCanceled      = "canceled"       // the caller gave up
	OutcomeTransport     = "transport"      // no connection, or it broke
)

// Actions returns every action that [Options.OnRequest] can be told, so that metrics exist before the first request.
func Actions() []string {
	return []string{
		ActionConnect, ActionPreAccept, ActionAccept, ActionReject, ActionTerminate, ActionCallPermissions, ActionSettings,
		ActionMessages,
	}
}

// Outcomes returns every outcome that [Options.OnRequest] can be told, so that metrics exist before the first request.
func Outcomes() []string {
	return []string{
		OutcomeSuccess, OutcomeAlreadyDone, OutcomeAlreadyOver, OutcomeClientError, OutcomeRateLimited, OutcomeUpstreamError, OutcomeTimeout,
		OutcomeCanceled, OutcomeTransport,
	}
}

// Client sends calling requests to the Graph API for any number of phone numbers; each request names its [Credentials]. It is safe
// for concurrent use and needs no closing; CloseIdleConnections frees its sockets.
type Client struct {
	base           string // no trailing slash
	version        string
	versions       []string
	http           *http.Client
	log            *slog.Logger
	userAgent      string
	attemptTimeout time.Duration
	attempts       int
	onRequest      func(action, outcome string, took time.Duration)
	begin          func(ctx context.Context, action string) (context.Context, func(outcome string))
	renew          func(Credentials) Credentials // may be nil
}

// NewClient returns a client, or every problem of opts joined. It sends nothing.
func NewClient(opts Options) (*Client, error) {
	base, err := parseBaseURL(opts.BaseURL)
	problems := []error{err}
	for _, v := range opts.Versions {
		if _, ok := versionMajor(v); !ok {
			problems = append(problems, fmt.Errorf("whatsapp: allowed version %q is not of the form 24.0", v))
		}
	}
	if opts.Version != "" {
		problems = append(problems, ValidateVersion(opts.Version, opts.Versions))
	}
	if opts.AttemptTimeout < 0 || opts.Attempts < 0 {
		problems = append(problems, errors.New("whatsapp: attempts and their timeout must not be negative"))
	}
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}

	c := &Client{
		base:           base,
		version:        opts.Version,
		versions:       opts.Versions,
		log:            opts.Logger,
		userAgent:      opts.UserAgent,
		attemptTimeout: opts.AttemptTimeout,
		attempts:       opts.Attempts,
		onRequest:      opts.OnRequest,
		renew:          opts.Renew,
		begin:          opts.Begin,
	}
	c.http = &http.Client{Transport: newTransport(opts.DialContext)}
	if opts.HTTPClient != nil {
		given := *opts.HTTPClient
		c.http = &given
	}
	// A redirect would carry a number or an SDP to another place, or turn a POST into a GET.
	c.http.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	if c.log == nil {
		c.log = slog.New(slog.DiscardHandler)
	}
	if c.userAgent == "" {
		c.userAgent = defaultUserAgent
	}
	if c.attemptTimeout == 0 {
		c.attemptTimeout = defaultAttemptTimeout
	}
	if c.attempts == 0 {
		c.attempts = defaultAttempts
	}
	if c.begin == nil {
		c.begin = func(ctx context.Context, _ string) (context.Context, func(string)) { return ctx, func(string) {} }
	}
	if c.onRequest == nil {
		c.onRequest = func(string, string, time.Duration) {}
	}
	return c, nil
}

// CloseIdleConnections closes the connections that no request is using.
func (c *Client) CloseIdleConnections() { c.http.CloseIdleConnections() }

// newTransport is HTTP/1.1 on purpose: with HTTP/2 all calls would share one TCP connection, and when that dies silently every request
// of that moment waits for its timeout.
func newTransport(dial func(ctx context.Context, network, address string) (net.Conn, error)) *http.Transport {
	if dial == nil {
		dial = (&net.Dialer{Timeout: dialTimeout, KeepAlive: 30 * time.Second}).DialContext
	}
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	return &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            dial,
		TLSHandshakeTimeout:    dialTimeout,
		Protocols:              &protocols,
		MaxIdleConns:           128,
		MaxIdleConnsPerHost:    64,
		IdleConnTimeout:        60 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
	}
}

// parseBaseURL does not repeat the URL in its errors: somebody may have written a password into it.
func parseBaseURL(raw string) (string, error) {
	if raw == "" {
		return DefaultBaseURL, nil
	}
	u, err := url.Parse(raw)
	switch {
	case err != nil:
		return "", errors.New("whatsapp: base URL does not parse")
	case (u.Scheme != "https" && u.Scheme != "http") || u.Host == "":
		return "", errors.New("whatsapp: base URL must be http:// or https:// with a host")
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return "", errors.New("whatsapp: base URL must not hold a user, a query or a fragment")
	}
	return strings.TrimRight(u.String(), "/"), nil
}
