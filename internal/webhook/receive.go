package webhook

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/livekit-connector/livekit-connector/internal/attempts"
	"github.com/livekit-connector/livekit-connector/pkg/whatsapp"
)

const (
	// bodyTimeout ends a body that trickles in; Meta has given up by then.
	bodyTimeout = 20 * time.Second
	// Whether a body is Meta's shows only when all of it was read, so what anybody may have us hold is bounded: smallBody
	// for a request, which nearly all of Meta's fit into, and more than that for largeBodies of them at once.
	smallBody   = 64 << 10
	largeBodies = 16
)

// refusal is why a request is not taken.
type refusal struct {
	status  int
	outcome string
	text    string // for whoever reads Meta's log or tries with curl
}

var (
	refuseMethod = &refusal{http.StatusMethodNotAllowed, webhookMethod, "only GET and POST are answered here"}
	refuseVerify = &refusal{
		http.StatusForbidden, webhookVerifyRefused,
		"verification refused: hub.verify_token is not webhook.verify_token of the connector's configuration",
	}
	refuseEncoding = &refusal{
		http.StatusUnsupportedMediaType, webhookEncoded,
		"the body must come without Content-Encoding: the signature covers the bytes that Meta sent",
	}
	refuseSize = &refusal{
		http.StatusRequestEntityTooLarge, webhookTooLarge, fmt.Sprintf("the body must not exceed %d bytes", whatsapp.MaxWebhookSize),
	}
	refuseTruncated = &refusal{http.StatusBadRequest, webhookTruncated, "the body could not be read to its end"}
	refuseUnsigned  = &refusal{http.StatusUnauthorized, webhookUnsigned, "no " + whatsapp.SignatureHeader + " of the form sha256=<64 hex digits>"}
	refuseForged    = &refusal{
		http.StatusForbidden, webhookForged,
		"the signature was not made with any of the configured app secrets, or the body was changed on its way",
	}
	refuseBusy    = &refusal{http.StatusServiceUnavailable, webhookBusy, "too many large bodies are being read: send it again"}
	refuseFull    = &refusal{http.StatusServiceUnavailable, webhookFull, "too many events wait to be done: send it again"}
	refuseClosing = &refusal{http.StatusServiceUnavailable, webhookClosing, "shutting down: send it again"}
)

// ServeHTTP answers Meta: the verification request and webhooks. It never waits for what a webhook is about.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	began := time.Now()
	if s.limited(w, r) {
		s.metrics.webhook(webhookLimited, time.Since(began))
		return
	}
	var refused *refusal
	outcome := webhookTaken
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		outcome, refused = webhookVerified, s.verify(w, r)
	case http.MethodPost:
		var body []byte
		if body, refused = s.read(w, r); refused == nil {
			outcome, refused = s.take(r, body, began)
		}
	default:
		w.Header().Set("Allow", "GET, POST")
		refused = refuseMethod
	}
	s.weigh(r, refused)
	if refused != nil {
		outcome = refused.outcome
		s.logRefusal(refused, r)
		http.Error(w, refused.text, refused.status)
	}
	s.metrics.webhook(outcome, time.Since(began))
}

// limited refuses a client that failed too often unread. Meta's signed webhooks never get here.
func (s *Server) limited(w http.ResponseWriter, r *http.Request) bool {
	after, refused := s.opts.Attempts.Refused(attempts.PlaceWebhook, s.opts.Attempts.Client(r))
	if !refused {
		return false
	}
	w.Header().Set("Retry-After", strconv.Itoa(int(after.Round(time.Second)/time.Second)))
	w.Header().Set("Connection", "close") // the body is not read
	http.Error(w, "too many requests from this address were not signed with a configured app secret: try again later", http.StatusTooManyRequests)
	return true
}

// weigh counts whether the client proved itself. What says nothing of that, such as a body that was too large, does not count.
func (s *Server) weigh(r *http.Request, refused *refusal) {
	switch refused {
	case nil, refuseFull, refuseClosing:
		s.opts.Attempts.Proved(s.opts.Attempts.Client(r))
	case refuseVerify, refuseUnsigned, refuseForged, refuseEncoding, refuseMethod:
		s.opts.Attempts.Failed(s.opts.Attempts.Client(r))
	}
}

// verify answers the request by which Meta makes sure that the URL is ours, whenever somebody saves it.
func (s *Server) verify(w http.ResponseWriter, r *http.Request) *refusal {
	challenge, err := whatsapp.ChallengeResponse(r.URL.Query(), s.opts.VerifyToken)
	if err != nil {
		return refuseVerify
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff") // the challenge is text of whoever asks
	_, _ = io.WriteString(w, challenge)                 //nolint:gosec // G705: text/plain, for who knows the token
	s.log.Info("webhook verified by Meta")
	return nil
}

// read returns the body as it came. What is certainly not Meta's is not read at all.
func (s *Server) read(w http.ResponseWriter, r *http.Request) ([]byte, *refusal) {
	if e := r.Header.Get("Content-Encoding"); e != "" && !strings.EqualFold(e, "identity") {
		return nil, refuseEncoding
	}
	if !signatureShaped(r.Header.Get(whatsapp.SignatureHeader)) {
		return nil, refuseUnsigned
	}
	if r.ContentLength > whatsapp.MaxWebhookSize {
		return nil, refuseSize
	}
	conn := http.NewResponseController(w)
	_ = conn.SetReadDeadline(time.Now().Add(bodyTimeout)) // not every ResponseWriter can; then the server's own must do
	body, err := s.readAll(http.MaxBytesReader(w, r.Body, whatsapp.MaxWebhookSize))
	switch {
	case errors.Is(err, errTooMany):
		return nil, refuseBusy
	case errors.As(err, new(*http.MaxBytesError)):
		return nil, refuseSize
	case err != nil:
		return nil, refuseTruncated
	}
	_ = conn.SetReadDeadline(time.Time{})
	return body, nil
}

var errTooMany = errors.New("webhook: too many large bodies are being read")

// readAll is io.ReadAll, or errTooMany once a body turns out to be large.
func (s *Server) readAll(from io.Reader) ([]byte, error) {
	body, err := io.ReadAll(io.LimitReader(from, smallBody+1))
	if err != nil || len(body) <= smallBody {
		return body, err
	}
	select {
	case s.large <- struct{}{}:
		defer func() { <-s.large }()
	default:
		return nil, errTooMany
	}
	whole := bytes.NewBuffer(body)
	_, err = whole.ReadFrom(from)
	return whole.Bytes(), err
}

func signatureShaped(header string) bool {
	digits, ok := strings.CutPrefix(header, "sha256=")
	return ok && len(digits) == 64
}

// take verifies a webhook and puts what it says into the queue. Whatever is signed gets a 200, known or not: Meta
// repeats everything else for days, and in the end stops sending.
func (s *Server) take(r *http.Request, body []byte, began time.Time) (outcome string, _ *refusal) {
	signature := r.Header.Get(whatsapp.SignatureHeader)
	if whatsapp.VerifySignature(body, signature, s.opts.AppSecrets()...) != nil {
		return "", refuseForged
	}
	outcome = webhookTaken
	n, err := whatsapp.Parse(body)
	if err != nil {
		outcome, n = webhookUnknown, new(whatsapp.Notification)
		s.log.Debug("webhook is signed, but not of a WhatsApp business account", "error", err)
	}
	events, passed := s.eventsOf(n, began, s.signedFor(body, signature))
	repeated, err := s.queue.admit(events)
	switch {
	case errors.Is(err, errFull):
		return "", refuseFull
	case err != nil:
		return "", refuseClosing
	}
	for _, e := range repeated {
		s.note(outcomeDuplicate, e, 0)
	}
	for _, p := range passed {
		s.note(p.outcome, p.event, 0)
	}
	if string(body) != whatsapp.NothingHappened {
		s.forwards.add(r.Header, body, n)
	}
	return outcome, nil
}

// signedFor returns what says whether a webhook that some app secret signed may speak of a number.
func (s *Server) signedFor(body []byte, signature string) func(phoneNumberID string) bool {
	known := make(map[string]bool)
	return func(id string) bool {
		if s.opts.NumberSecrets == nil {
			return true
		}
		signed, ok := known[id]
		if !ok {
			secrets := s.opts.NumberSecrets(id)
			signed = len(secrets) == 0 || whatsapp.VerifySignature(body, signature, secrets...) == nil
			known[id] = signed
		}
		return signed
	}
}

// logRefusal says what an operator can mend, and not a line per request: anybody can send such. Each reason has its turn:
// a wrong app secret must not drown among requests of strangers.
func (s *Server) logRefusal(refused *refusal, r *http.Request) {
	if first, more := s.refusals[refused.outcome].due(time.Now()); first {
		s.log.Warn("webhook refused", "reason", refused.text, "status", refused.status, "from", s.opts.Attempts.Client(r).String(), "refusedBefore", more)
		return
	}
	s.log.Debug("webhook refused", "outcome", refused.outcome, "from", s.opts.Attempts.Client(r).String())
}

// occasionally says yes once a minute, and counts how often it said no.
type occasionally struct {
	mu   sync.Mutex // guards the following fields
	last time.Time
	more int
}

func (o *occasionally) due(now time.Time) (yes bool, before int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.last.IsZero() && now.Sub(o.last) < time.Minute {
		o.more++
		return false, 0
	}
	before, o.more, o.last = o.more, 0, now
	return true, before
}
