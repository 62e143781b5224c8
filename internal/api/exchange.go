package api

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/livekit/protocol/livekit"
	"github.com/twitchtv/twirp"

	"github.com/livekit-connector/livekit-connector/internal/logs"
	"github.com/livekit-connector/livekit-connector/internal/panics"
	"github.com/livekit-connector/livekit-connector/internal/tracing"
)

const (
	// headerRequestID is sent by newer SDKs and stays the same when they send a request again.
	headerRequestID = "X-Livekit-Request-Id"
	// headerTimeout is sent by the Go SDK when its context has a deadline; milliseconds.
	headerTimeout = "X-Twirp-Timeout-Ms"

	maxRequestIDBytes = 256
	// bodyTimeout ends a body that trickles in; SDKs have given up by then.
	bodyTimeout = 10 * time.Second
)

// exchange is one request to the connector and its answer. It belongs to the goroutine that serves the request.
type exchange struct {
	http.ResponseWriter
	written bool

	// From the request.
	received  time.Time
	method    string        // RPC name, methodUnknown for none of ours
	apiKey    string        // that signed the token
	requestID string        // X-Livekit-Request-Id, may be empty
	patience  time.Duration // X-Twirp-Timeout-Ms, zero means the caller did not say

	// Of the answer.
	code   twirp.ErrorCode // twirp.NoError for a success
	reason string          // what the caller was told, empty for a success
	callID string
	span   *tracing.Span // nil without tracing, and for whoever has no token
}

// WriteHeader adds to a 408 what keeps OkHttp from sending the request once more (RFC 9110, 15.5.9 allows it to).
func (x *exchange) WriteHeader(status int) {
	x.written = true
	if status == http.StatusRequestTimeout {
		x.Header().Set("Retry-After", "1")
	}
	x.ResponseWriter.WriteHeader(status)
}

func (x *exchange) Write(b []byte) (int, error) {
	x.written = true
	return x.ResponseWriter.Write(b)
}

// Unwrap is for http.ResponseController.
func (x *exchange) Unwrap() http.ResponseWriter { return x.ResponseWriter }

func (x *exchange) fail(err twirp.Error) {
	x.code, x.reason = err.Code(), err.Msg()
	_ = twirp.WriteError(x, err)
}

type exchangeKey struct{}

// exchangeOf returns the exchange that serveConnector put into the context.
func exchangeOf(ctx context.Context) *exchange {
	x, _ := ctx.Value(exchangeKey{}).(*exchange)
	return x
}

// noteError is Twirp's hook for errors it writes itself.
func noteError(ctx context.Context, err twirp.Error) context.Context {
	// Once written, the error is that the answer could not be sent: the caller left, the request succeeded.
	if x := exchangeOf(ctx); x != nil && !x.written {
		x.code, x.reason = err.Code(), err.Msg()
	}
	return ctx
}

// serveConnector does what comes before decoding; Twirp's generated server and calls do the rest.
func (s *Server) serveConnector(w http.ResponseWriter, r *http.Request, path string) {
	if crossOrigin(w, r) {
		return
	}
	x := &exchange{ResponseWriter: w, received: time.Now(), method: methodUnknown}
	defer s.finish(x, r)

	method := strings.TrimPrefix(path, livekit.ConnectorPathPrefix)
	if _, known := grantOf[method]; !known {
		x.fail(badRoute(r, fmt.Sprintf("livekit.Connector has no method %.100q", method)))
		return
	}
	x.method = method
	if r.Method != http.MethodPost {
		x.fail(badRoute(r, fmt.Sprintf("unsupported method %.20q (only POST is allowed)", r.Method)))
		return
	}
	var refused twirp.Error
	if x.apiKey, refused = s.authenticate(x, r, method); refused != nil {
		x.fail(refused)
		return
	}
	body, refused := s.readBody(w, r)
	if refused != nil {
		x.fail(refused)
		return
	}
	if x.requestID = r.Header.Get(headerRequestID); len(x.requestID) > maxRequestIDBytes {
		x.fail(twirp.NewError(twirp.InvalidArgument, fmt.Sprintf("%s must not exceed %d bytes", headerRequestID, maxRequestIDBytes)))
		return
	}
	if ms, err := strconv.ParseInt(r.Header.Get(headerTimeout), 10, 32); err == nil && ms > 0 {
		x.patience = time.Duration(ms) * time.Millisecond
	}

	ctx := s.trace(x, r)
	r = r.WithContext(context.WithValue(ctx, exchangeKey{}, x))
	r.URL = &url.URL{Path: path}
	r.Body = io.NopCloser(bytes.NewReader(body))
	s.twirp.ServeHTTP(x, r)
}

// readBody reads the whole body before Twirp does, because Twirp hides why it could not.
func (s *Server) readBody(w http.ResponseWriter, r *http.Request) ([]byte, twirp.Error) {
	// Not every ResponseWriter can; then the http.Server's own ReadTimeout has to do.
	conn := http.NewResponseController(w)
	_ = conn.SetReadDeadline(time.Now().Add(bodyTimeout))
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, s.maxBodyBytes))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return nil, twirp.NewError(twirp.InvalidArgument, fmt.Sprintf("request body must not exceed %d bytes", tooLarge.Limit))
	case err != nil:
		return nil, twirp.NewError(twirp.Malformed, "request body could not be read to its end")
	}
	_ = conn.SetReadDeadline(time.Time{})
	return body, nil
}

// finish answers for a panic, counts and logs. It is deferred.
func (s *Server) finish(x *exchange, r *http.Request) {
	ctx := r.Context()
	if v := recover(); v != nil {
		s.panics.Caught(panics.API, s.log.With("method", x.method, "callID", x.callID), v)
		x.code, x.reason = twirp.Internal, errInternal.Msg()
		if !x.written {
			x.fail(errInternal)
		}
	}
	took := time.Since(x.received)
	s.metrics.observe(x.method, x.code, took)
	x.endTrace()
	attrs := []slog.Attr{
		slog.String("method", x.method),
		slog.String("code", codeLabel(x.code)),
		slog.Duration("duration", took),
	}
	if x.callID != "" {
		attrs = append(attrs, slog.String("callID", x.callID))
	}
	// Every text is ours, or Meta's with its secrets taken out.
	if x.reason != "" {
		attrs = append(attrs, slog.String("error", x.reason))
	}
	// Whose secret is wrong is known by the address alone.
	if x.apiKey == "" || x.code == twirp.PermissionDenied {
		attrs = append(attrs, slog.String("from", s.attempts.Client(r).String()))
	}
	if id := x.span.TraceID(); id != "" {
		attrs = append(attrs, slog.String("traceID", id))
	}
	level := slog.LevelInfo
	if x.code == twirp.NoError && slices.Contains(readMethods, x.method) {
		level = slog.LevelDebug // dashboards look again and again, and change nothing
	}
	if turn := s.refusals[x.code]; turn != nil && x.apiKey == "" { // anybody can send such
		if first, more := turn.Due(time.Now()); first {
			s.log.LogAttrs(ctx, slog.LevelWarn, "api request refused", append(attrs, slog.Int("refusedBefore", more))...)
			return
		}
		level = slog.LevelDebug
	}
	s.log.LogAttrs(ctx, level, "api request", attrs...)
}

// newRefusals are the answers that whoever has no token can get. Each has its turn in the log: a wrong API secret must not drown
// among requests of strangers.
func newRefusals() map[twirp.ErrorCode]*logs.Occasionally {
	refusals := make(map[twirp.ErrorCode]*logs.Occasionally)
	for _, code := range []twirp.ErrorCode{twirp.BadRoute, twirp.Unauthenticated, twirp.PermissionDenied, twirp.ResourceExhausted} {
		refusals[code] = new(logs.Occasionally)
	}
	return refusals
}
