package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/twitchtv/twirp"
)

// viaName is this proxy in the Via header (RFC 9110, 7.6.3). All connectors use the same: none has a reason to stand
// behind another, so a request that has been through any of them goes round in circles.
const viaName = "livekit-connector"

// proxy passes requests to livekit-server as they are, WebSockets included.
type proxy struct {
	log       *slog.Logger
	transport *http.Transport
	reverse   *httputil.ReverseProxy

	mu      sync.Mutex
	closed  bool
	cancels map[*http.Request]context.CancelFunc // of the exchanges under way
	ongoing sync.WaitGroup                       // counts them; nothing is added once closed
}

func newProxy(target *url.URL, connections int, log *slog.Logger) (*proxy, error) {
	to := *target
	switch strings.ToLower(to.Scheme) {
	case "http", "ws":
		to.Scheme = "http"
	case "https", "wss":
		to.Scheme = "https"
	default:
		return nil, fmt.Errorf("proxy target has the scheme %q, not http, https, ws or wss", to.Scheme)
	}
	if to.Host == "" {
		return nil, errors.New("proxy target names no host")
	}
	to.User, to.RawQuery, to.Fragment = nil, "", ""

	p := &proxy{
		log:     log,
		cancels: make(map[*http.Request]context.CancelFunc),
		transport: &http.Transport{
			DialContext:           (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
			TLSHandshakeTimeout:   5 * time.Second,
			ExpectContinueTimeout: time.Second,
			ForceAttemptHTTP2:     true,
			MaxIdleConnsPerHost:   64,
			// One connection that speaks HTTP/2 has many requests, each of which could take a descriptor for one of its own.
			MaxConnsPerHost: connections,
			IdleConnTimeout: 90 * time.Second,
			// Bodies pass as they are, compressed or not.
			DisableCompression: true,
		},
	}
	p.reverse = &httputil.ReverseProxy{
		Transport:      p.transport,
		FlushInterval:  -1, // livekit-server streams; hold nothing back
		ErrorLog:       slog.NewLogLogger(log.Handler(), slog.LevelWarn),
		Rewrite:        func(r *httputil.ProxyRequest) { rewrite(r, &to) },
		ModifyResponse: noteRefusal,
		ErrorHandler:   p.fail,
	}
	return p, nil
}

// rewrite sets the target. What proxies before us said about the client stays: livekit-server reads its address from
// X-Forwarded-For.
func rewrite(r *httputil.ProxyRequest, target *url.URL) {
	r.SetURL(target)
	r.Out.URL.RawQuery = r.In.URL.RawQuery // ReverseProxy drops parameters that it cannot parse
	r.Out.Header["X-Forwarded-For"] = r.In.Header["X-Forwarded-For"]
	r.SetXForwarded()
	for _, name := range []string{"X-Forwarded-Host", "X-Forwarded-Proto"} {
		if before := r.In.Header.Values(name); len(before) > 0 {
			r.Out.Header[name] = before
		}
	}
	r.Out.Header.Add("Via", fmt.Sprintf("%d.%d %s", r.In.ProtoMajor, r.In.ProtoMinor, viaName))
}

// ServeHTTP returns when the exchange, or the WebSocket, is over.
func (p *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	for _, via := range r.Header.Values("Via") {
		if strings.Contains(via, " "+viaName) {
			p.log.WarnContext(r.Context(), "proxy loop")
			_ = twirp.WriteError(w, twirp.NewError(twirp.Unavailable,
				"proxy loop: the URL that the connector has for livekit-server leads back to the connector; give it livekit-server's own"))
			return
		}
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	r = r.WithContext(ctx)
	unhurried(w, r)
	if !p.begin(r, cancel) {
		_ = twirp.WriteError(w, errClosed)
		return
	}
	defer p.end(r)
	p.reverse.ServeHTTP(w, r)
}

// unhurried takes off the deadlines that a server around us may have set: an exchange with livekit-server may last, in both
// directions, as long as something is going on.
func unhurried(w http.ResponseWriter, r *http.Request) {
	conn := http.NewResponseController(w)
	_ = conn.SetWriteDeadline(time.Time{})
	_ = conn.SetReadDeadline(time.Time{})
	if r.Body != nil && r.Body != http.NoBody {
		r.Body = &livelyBody{ReadCloser: r.Body, conn: conn}
	}
}

// bodyPause is how long a body that is proxied may pause.
const bodyPause = 30 * time.Second

// livelyBody ends with an error when its client pauses for too long.
type livelyBody struct {
	io.ReadCloser
	conn *http.ResponseController
}

func (b *livelyBody) Read(p []byte) (int, error) {
	_ = b.conn.SetReadDeadline(time.Now().Add(bodyPause)) // not every ResponseWriter can
	n, err := b.ReadCloser.Read(p)
	if errors.Is(err, io.EOF) {
		_ = b.conn.SetReadDeadline(time.Time{}) // the answer may take longer
	}
	return n, err
}

func (p *proxy) begin(r *http.Request, cancel context.CancelFunc) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	p.cancels[r] = cancel
	p.ongoing.Add(1)
	return true
}

func (p *proxy) end(r *http.Request) {
	p.mu.Lock()
	delete(p.cancels, r)
	p.mu.Unlock()
	p.ongoing.Done()
}

func (p *proxy) isClosed() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.closed
}

func (p *proxy) close() {
	p.mu.Lock()
	p.closed = true
	for _, cancel := range p.cancels {
		cancel() // takes no lock of ours
	}
	p.mu.Unlock()
	p.ongoing.Wait()
	p.transport.CloseIdleConnections()
}

// fail answers when livekit-server does not. Nothing of the URL is told or logged: its query may hold an access token.
func (p *proxy) fail(w http.ResponseWriter, r *http.Request, err error) {
	ctx := r.Context()
	if p.isClosed() {
		_ = twirp.WriteError(w, errClosed)
		return
	}
	if errors.Is(err, context.Canceled) {
		return // the client left
	}
	reason := proxyReason(err)
	p.log.WarnContext(ctx, "livekit-server not reached", "reason", reason, "error", err)
	if crossOrigin(w, r) {
		return
	}
	_ = twirp.WriteError(w, twirp.NewError(twirp.Unavailable, "livekit-server behind the connector cannot be reached: "+reason))
}

func proxyReason(err error) string {
	var dns *net.DNSError
	var timeout net.Error
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused"
	case errors.As(err, &dns):
		return "its name does not resolve"
	case errors.As(err, &timeout) && timeout.Timeout():
		return "timeout"
	default:
		return "connection failed"
	}
}
