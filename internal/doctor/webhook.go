package doctor

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/livekit-connector/livekit-connector/pkg/whatsapp"
)

// webhook does what Meta does with the callback URL: it verifies it, sends a signed webhook, and one without a signature,
// which has to be refused. If no connector listens on the API's port yet, the doctor does so meanwhile; Meta's own webhooks
// of these seconds get a 503, after which Meta sends them again.
func (e *examination) webhook(ctx context.Context) []Line {
	w := &e.o.Webhook
	if w.Path == "" {
		return one(skipped("webhook.path is not set: your application gets Meta's webhooks"))
	}
	port := e.apiPort()
	var stand *standIn
	if port.listener != nil {
		listener := port.listener
		if e.o.CertFile != "" {
			pair, err := tls.LoadX509KeyPair(e.o.CertFile, e.o.KeyFile)
			if err != nil {
				return one(skipped("see tls"))
			}
			listener = tls.NewListener(listener, &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}})
		}
		stand = newStandIn(w, listener)
		defer stand.close()
	}
	where := w.PublicURL
	if where == "" {
		if port.url == "" {
			return one(doubtful("not tried: webhook.public_url is not set, and no connector listens on this machine", "set webhook.public_url or give --webhook-url"))
		}
		if strings.HasPrefix(port.url, "https:") { // its certificate is for another name
			return one(doubtful("not tried: webhook.public_url is not set", "set it, or give --webhook-url, to the callback URL of Meta's dashboard"))
		}
		where = port.url + w.Path
	}
	lines := e.tryWebhook(ctx, where)
	if len(lines) > 0 {
		return lines
	}
	switch {
	case w.PublicURL == "":
		return one(doubtful("the connector on this machine answers as it should, but nobody knows whether Meta reaches it",
			"set webhook.public_url, or give --webhook-url, to the callback URL of Meta's dashboard"))
	case stand != nil && !stand.reached.Load():
		return one(doubtful(place(where)+" answers as it should, but it is not this machine that does", "fine behind a load balancer; else mend where the URL leads"))
	case stand != nil:
		return one(good("%s leads here (no connector listens yet: the doctor answered)", place(where)))
	default:
		return one(good("%s: verification, a signed and an unsigned webhook are answered as they should be", place(where)))
	}
}

// tryWebhook returns what is wrong with the answers.
func (e *examination) tryWebhook(ctx context.Context, where string) []Line {
	w := &e.o.Webhook
	at, err := url.Parse(where)
	if err != nil {
		return one(failed("the public URL is no URL", "set webhook.public_url to the callback URL of Meta's dashboard"))
	}
	if line, bad := e.verify(ctx, at); bad {
		return one(line)
	}
	if len(w.AppSecrets) == 0 {
		return one(doubtful(place(where)+" takes the verify token, but there is no app secret to sign with", "set app_secret of the number, or webhook.app_secrets"))
	}
	for i, secret := range w.AppSecrets {
		var status int
		status, err = e.post(ctx, where, whatsapp.Sign([]byte(whatsapp.NothingHappened), secret))
		switch {
		case err != nil:
			return one(failed(fmt.Sprintf("%s does not answer a POST: %s", place(where), err), "look at the proxies before the connector"))
		case status == http.StatusUnauthorized, status == http.StatusForbidden:
			return one(failed(fmt.Sprintf("%s refuses a webhook that is signed with app secret %d of %d (HTTP %d)", place(where), i+1, len(w.AppSecrets), status),
				"have the connector that listens there run with the same app secrets as this configuration; or a proxy before it changes the body"))
		case status != http.StatusOK:
			return one(failed(fmt.Sprintf("%s answers a signed webhook with HTTP %d", place(where), status), "look at that server's log and at the proxies before it"))
		}
	}
	status, err := e.post(ctx, where, "")
	switch {
	case err != nil:
		return one(failed(fmt.Sprintf("%s does not answer a POST: %s", place(where), err), "look at the proxies before the connector"))
	case status < 300:
		return one(failed(place(where)+" takes webhooks without a signature: anybody could feign calls", "let Meta's URL lead to the connector, which refuses them, and not to another program"))
	}
	return nil
}

// verify is the request that Meta sends when somebody saves the callback URL (Meta: webhooks, getting started).
func (e *examination) verify(ctx context.Context, at *url.URL) (Line, bool) {
	challenge := rand.Text()
	asking := *at
	asking.RawQuery = url.Values{
		"hub.mode": {"subscribe"}, "hub.verify_token": {e.o.Webhook.VerifyToken}, "hub.challenge": {challenge},
	}.Encode()
	a, err := e.get(ctx, asking.String(), nil)
	switch where := place(at.String()); {
	case err != nil:
		return failed(fmt.Sprintf("%s does not answer: %s", where, err),
			"open the way from the Internet to the connector's port, or mend webhook.public_url; a router that does not lead its own network back in (hairpin) looks the same from here"), true
	case a.status == http.StatusForbidden:
		return failed(where+" refuses the verify token",
			"have the connector that listens there run with the same webhook.verify_token as this configuration and Meta's dashboard"), true
	case a.status == http.StatusNotFound:
		return failed(fmt.Sprintf("nothing takes webhooks at %s%s (HTTP 404)", where, at.Path), "let the URL's path end up as webhook.path, "+e.o.Webhook.Path), true
	case a.status != http.StatusOK:
		return failed(fmt.Sprintf("%s answers the verification with HTTP %d", where, a.status), "look at the proxies before the connector"), true
	case strings.TrimSpace(string(a.body)) != challenge:
		return failed(where+" answers the verification with another text than it was sent", "let the URL lead to the connector's webhook.path"), true
	}
	return Line{}, false
}

// post sends a webhook in which nothing happened, signed or not.
func (e *examination) post(ctx context.Context, where, signature string) (status int, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, where, strings.NewReader(whatsapp.NothingHappened))
	if err != nil {
		return 0, errors.New("the URL makes no request")
	}
	req.Header.Set("Content-Type", "application/json")
	if signature != "" {
		req.Header.Set(whatsapp.SignatureHeader, signature)
	}
	a, err := e.do(req)
	return a.status, err
}

// standIn answers for a connector that does not listen yet.
type standIn struct {
	webhook *Webhook
	server  *http.Server
	stopped chan struct{}
	reached atomic.Bool // by a verification with our token
}

func newStandIn(w *Webhook, l net.Listener) *standIn {
	s := &standIn{webhook: w, stopped: make(chan struct{})}
	s.server = &http.Server{Handler: s, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 5 * time.Second}
	go func() {
		defer close(s.stopped)
		_ = s.server.Serve(l) // ends with ErrServerClosed
	}()
	return s
}

func (s *standIn) close() {
	_ = s.server.Close()
	<-s.stopped
}

// ServeHTTP answers as a connector does, except that it takes no webhook in which something happened.
func (s *standIn) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.URL.Path != s.webhook.Path:
		http.NotFound(w, r)
	case r.Method == http.MethodGet:
		challenge, err := whatsapp.ChallengeResponse(r.URL.Query(), s.webhook.VerifyToken)
		if err != nil {
			http.Error(w, "verification refused", http.StatusForbidden)
			return
		}
		s.reached.Store(true)
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		_, _ = io.WriteString(w, challenge) //nolint:gosec // G705: text/plain, for who knows the token
	default:
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, whatsapp.MaxWebhookSize))
		switch {
		case err != nil || whatsapp.VerifySignature(body, r.Header.Get(whatsapp.SignatureHeader), s.webhook.AppSecrets...) != nil:
			http.Error(w, "the signature was not made with any of the configured app secrets", http.StatusForbidden)
		case !bytes.Equal(body, []byte(whatsapp.NothingHappened)):
			http.Error(w, "no connector listens yet: send it again", http.StatusServiceUnavailable)
		default:
			w.WriteHeader(http.StatusOK)
		}
	}
}
