package whatsapp

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strconv"
	"sync/atomic"
	"time"
)

const (
	maxResponse = 1 << 20  // bytes of a response that are read; no Graph response of ours is near that
	maxDrain    = 64 << 10 // bytes more that are thrown away to keep the connection
)

// request is one Graph request, the same bytes however often it is sent.
type request struct {
	action string
	method string
	url    string
	body   []byte // nil for GET
	token  string
	callID string                   // for the log; may be empty
	clean  func(text string) string // for texts that Meta answers with
	hangup bool                     // already over is a success
}

// failure is what came of an attempt that did not succeed.
type failure struct {
	cause      error // free of secrets; *APIError if there was a response
	outcome    string
	unknown    bool // Meta may have carried the request out
	transient  bool // the same request may succeed in a moment
	retryAfter time.Duration
}

// newRequest checks the credentials and builds the URL of edge. secrets are values that must not come back in an error.
func (c *Client) newRequest(action, edge string, query url.Values, creds Credentials, secrets ...string) (*request, error) {
	if c.renew != nil {
		creds = c.renew(creds)
	}
	version := creds.Version
	if version == "" {
		version = c.version
	}
	if err := ValidateVersion(version, c.versions); err != nil {
		return nil, fmt.Errorf("graph %s: %w", action, err)
	}
	switch creds.PhoneNumberID {
	case "", ".", "..":
		return nil, fmt.Errorf("graph %s: %w: phone number id is missing", action, ErrInvalidRequest)
	}
	if !validToken(creds.AccessToken) {
		return nil, fmt.Errorf("graph %s: %w: access token is missing or holds characters that no token has", action, ErrInvalidRequest)
	}
	r := &request{
		action: action,
		method: http.MethodGet,
		url:    c.base + "/v" + version + "/" + url.PathEscape(creds.PhoneNumberID) + "/" + edge,
		token:  creds.AccessToken,
		clean:  cleaner(creds.PhoneNumberID, append(secrets, creds.AccessToken)...),
	}
	if len(query) > 0 {
		r.url += "?" + query.Encode()
	}
	return r, nil
}

// validToken keeps out what net/http would refuse with an error of its own.
func validToken(token string) bool {
	for _, b := range []byte(token) {
		if b <= ' ' || b >= 0x7f {
			return false
		}
	}
	return token != ""
}

// attempt sends r once and returns the body of a response that is a success. maybe says that an earlier attempt may have been carried
// out.
func (c *Client) attempt(ctx context.Context, r *request, timeout time.Duration, maybe bool) ([]byte, *failure) {
	start := time.Now()
	ctx, ended := c.begin(ctx, r.action)
	body, f := c.exchange(ctx, r, timeout)
	outcome := OutcomeSuccess
	if f != nil {
		if maybe && r.alreadyDone(f) {
			f.outcome = OutcomeAlreadyDone
		}
		outcome = f.outcome
	}
	ended(outcome)
	c.onRequest(r.action, outcome, time.Since(start))
	return body, f
}

func (c *Client) exchange(ctx context.Context, r *request, timeout time.Duration) ([]byte, *failure) {
	if ctx.Err() != nil {
		return nil, &failure{cause: contextError(ctx), outcome: endedOutcome(ctx)}
	}
	attemptCtx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()

	var path trace
	req, err := c.httpRequest(httptrace.WithClientTrace(attemptCtx, path.hooks()), r, &path)
	if err != nil {
		return nil, &failure{cause: err, outcome: OutcomeClientError}
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, transportFailure(ctx, attemptCtx, err, path.mayHaveSent(err))
	}
	defer resp.Body.Close()
	body, err := readBody(resp.Body)
	if err != nil {
		return nil, transportFailure(ctx, attemptCtx, err, true)
	}
	return r.judgeResponse(resp, body)
}

func (c *Client) httpRequest(ctx context.Context, r *request, path *trace) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, r.method, r.url, bytes.NewReader(r.body))
	if err != nil {
		// Its text would hold the URL.
		return nil, fmt.Errorf("%w: base URL and phone number id make no URL", ErrInvalidRequest)
	}
	if r.body == nil {
		req.Body, req.GetBody, req.ContentLength = nil, nil, 0
	} else {
		rewind := req.GetBody
		req.GetBody = func() (io.ReadCloser, error) {
			// net/http asks for the body again when it replays a request. Over HTTP/1 it does so for a POST only if nothing of it was
			// written to a connection that had gone stale. Over HTTP/2 it also does so after some stream errors, with the request sent.
			if path.sentOverHTTP2() {
				return nil, errors.New("connection refused the stream")
			}
			return rewind()
		}
		req.Header.Set("Content-Type", "application/json")
	}
	req.Header.Set("Authorization", "Bearer "+r.token)
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", c.userAgent)
	return req, nil
}

// readBody reads a bounded body and drains a bounded rest, so that the connection can be used again.
func readBody(body io.Reader) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(body, maxResponse+1))
	if err != nil {
		return nil, fmt.Errorf("read response: %w", err)
	}
	if len(b) > maxResponse {
		_, _ = io.CopyN(io.Discard, body, maxDrain)
		return nil, nil // no response of Graph: judged as an empty one
	}
	return b, nil
}

// graphReply is what every response of Graph has in common.
type graphReply struct {
	object  bool // a JSON object at all
	failed  bool // holds an error
	refused bool // says success:false
}

func readReply(body []byte) graphReply {
	var reply struct {
		Error   json.RawMessage `json:"error"`
		Success json.RawMessage `json:"success"`
	}
	if json.Unmarshal(body, &reply) != nil || bytes.Equal(bytes.TrimSpace(body), []byte("null")) {
		return graphReply{}
	}
	return graphReply{
		object:  true,
		failed:  len(reply.Error) > 0 && string(reply.Error) != "null",
		refused: saysFalse(reply.Success),
	}
}

// judgeResponse tells a success from a failure. Only a 2xx with a JSON object that holds no error and no success:false is a success.
func (r *request) judgeResponse(resp *http.Response, body []byte) ([]byte, *failure) {
	reply := readReply(body)
	readable := resp.StatusCode >= 200 && resp.StatusCode <= 299 && reply.object && !reply.failed
	switch {
	case readable && !reply.refused && r.action == ActionConnect && firstCallID(body) == "":
		return nil, &failure{cause: ErrNoCallID, outcome: OutcomeUpstreamError, unknown: true}
	case readable && !reply.refused:
		return body, nil
	}
	e := newAPIError(resp.StatusCode, body, retryAfter(resp.Header.Get("Retry-After")), r.clean)
	if readable {
		e.refused = true
		e.Message = "success is false"
	}
	return nil, &failure{
		cause: e, outcome: r.outcome(e), unknown: e.unknownOutcome(), transient: e.transient(), retryAfter: e.RetryAfter,
	}
}

func (r *request) outcome(e *APIError) string {
	switch {
	case r.hangup && r.alreadyOver(e):
		return OutcomeAlreadyOver
	case e.rateLimited():
		return OutcomeRateLimited
	case e.HTTPStatus >= 400 && e.HTTPStatus < 500, e.HTTPStatus < 300 && (e.refused || e.Code != 0):
		return OutcomeClientError
	default:
		return OutcomeUpstreamError
	}
}

// alreadyOver is the rule of the package comment.
func (r *request) alreadyOver(e *APIError) bool {
	return e.aboutCall() && (r.action == ActionTerminate || !e.saysActive())
}

func saysFalse(success json.RawMessage) bool {
	if len(success) == 0 || string(success) == "null" {
		return false // not said: the status says it
	}
	var v flexBool
	_ = v.UnmarshalJSON(success)
	return !bool(v)
}

// transportFailure describes an exchange that brought no response. mayHaveSent is false only if Meta certainly has nothing of it.
func transportFailure(ctx, attemptCtx context.Context, err error, mayHaveSent bool) *failure {
	f := &failure{unknown: mayHaveSent, transient: true, outcome: OutcomeTransport}
	var timeout net.Error
	switch {
	case ctx.Err() != nil:
		f.cause, f.outcome, f.transient = contextError(ctx), endedOutcome(ctx), false
	case attemptCtx.Err() != nil:
		f.cause, f.outcome = fmt.Errorf("no response in time: %w", context.DeadlineExceeded), OutcomeTimeout
	case errors.As(err, &timeout) && timeout.Timeout():
		f.cause, f.outcome = withoutURL(err), OutcomeTimeout
	default:
		f.cause = withoutURL(err)
	}
	return f
}

// withoutURL unwraps net/http's error, whose text is the whole URL, query and all.
func withoutURL(err error) error {
	var withURL *url.Error
	for errors.As(err, &withURL) {
		err = withURL.Err
	}
	return err
}

// contextError is the cause of a context that has ended; errors.Is also finds Canceled or DeadlineExceeded in it.
func contextError(ctx context.Context) error {
	if cause := context.Cause(ctx); !errors.Is(cause, ctx.Err()) {
		return fmt.Errorf("%w: %w", ctx.Err(), cause)
	}
	return ctx.Err()
}

func endedOutcome(ctx context.Context) string {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return OutcomeTimeout
	}
	return OutcomeCanceled
}

// maxRetryAfter is the longest pause a response can ask for.
const maxRetryAfter = time.Minute

// retryAfter reads the header of RFC 9110 section 10.2.3: seconds or a date. Nonsense is 0.
func retryAfter(header string) time.Duration {
	if header == "" {
		return 0
	}
	if seconds, err := strconv.ParseInt(header, 10, 32); err == nil {
		return min(max(0, time.Duration(seconds)*time.Second), maxRetryAfter)
	}
	at, err := http.ParseTime(header)
	if err != nil {
		return 0
	}
	return min(max(0, time.Until(at)), maxRetryAfter)
}

// trace watches how far a request came. Hooks run on goroutines of net/http.
type trace struct {
	wanted atomic.Bool // net/http went to look for a connection, so hooks are called at all
	got    atomic.Bool // it had one
	http2  atomic.Bool
	wrote  atomic.Bool // headers were written
}

func (t *trace) hooks() *httptrace.ClientTrace {
	return &httptrace.ClientTrace{
		GetConn: func(string) { t.wanted.Store(true) },
		GotConn: func(info httptrace.GotConnInfo) {
			if secure, ok := info.Conn.(*tls.Conn); ok && secure.ConnectionState().NegotiatedProtocol == "h2" {
				t.http2.Store(true)
			}
			t.got.Store(true)
		},
		WroteHeaders: func() { t.wrote.Store(true) },
	}
}

func (t *trace) sentOverHTTP2() bool { return t.http2.Load() && t.wrote.Load() }

// mayHaveSent is false only with proof: no connection was ever had. A RoundTripper that calls no hooks proves it by a dial error.
func (t *trace) mayHaveSent(err error) bool {
	if t.wanted.Load() {
		return t.got.Load()
	}
	var dial *net.OpError
	if errors.As(err, &dial) && dial.Op == "dial" {
		return false
	}
	var dns *net.DNSError
	return !errors.As(err, &dns)
}
