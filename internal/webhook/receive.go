package webhook

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
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
	// All small ones together, and what is small of large ones, may be maxUnproved bytes, of which those from addresses that
	// have not proved themselves lately leave the reserve to the others. Each counts for requestBytes at least: that is about
	// what a request takes whose body does not come.
	maxUnproved  = 64 << 20
	reserve      = 16 << 20
	requestBytes = 16 << 10
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
	refuseLimited = &refusal{
		http.StatusTooManyRequests, webhookLimited,
		"too many requests from this address were not signed with a configured app secret: try again later",
	}
	refuseBusy    = &refusal{http.StatusServiceUnavailable, webhookBusy, "too many bodies are being read: send it again"}
	refuseFull    = &refusal{http.StatusServiceUnavailable, webhookFull, "too many events wait to be done: send it again"}
	refuseClosing = &refusal{http.StatusServiceUnavailable, webhookClosing, "shutting down: send it again"}
)

// ServeHTTP answers Meta: the verification request and webhooks. It never waits for what a webhook is about.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	began := time.Now()
	var refused *refusal
	outcome := webhookTaken
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		if refused = s.limited(w, r); refused == nil { // a token that somebody chose may be guessed, a signature not
			outcome, refused = webhookVerified, s.verify(w, r)
		}
	case http.MethodPost:
		outcome, refused = s.post(w, r, began)
	default:
		w.Header().Set("Allow", "GET, POST")
		refused = refuseMethod
	}
	if refused = s.weigh(w, r, refused); refused != nil {
		outcome = refused.outcome
		if refused != refuseLimited { // of which the limiter tells the log
			s.logRefusal(refused, r)
		}
		http.Error(w, refused.text, refused.status)
	}
	s.metrics.webhook(outcome, time.Since(began))
}

// post reads a webhook and takes it if it is Meta's.
func (s *Server) post(w http.ResponseWriter, r *http.Request, began time.Time) (outcome string, _ *refusal) {
	body, free, refused := s.read(w, r)
	defer free()
	if refused != nil {
		return "", refused
	}
	return s.take(r, body, began)
}

// limited is the answer to a client that failed too often, nil for others.
func (s *Server) limited(w http.ResponseWriter, r *http.Request) *refusal {
	after, refused := s.opts.Attempts.Refused(attempts.PlaceWebhook, s.opts.Attempts.Client(r))
	if !refused {
		return nil
	}
	w.Header().Set("Retry-After", strconv.Itoa(int(after.Round(time.Second)/time.Second)))
	w.Header().Set("Connection", "close") // the body may not have been read
	return refuseLimited
}

// weigh counts whether the client proved itself, and returns the answer to one that did not: another if that happened too often.
// What is signed is never limited.
func (s *Server) weigh(w http.ResponseWriter, r *http.Request, refused *refusal) *refusal {
	switch refused {
	case nil, refuseFull, refuseClosing:
		s.opts.Attempts.Proved(s.opts.Attempts.Client(r))
		return refused
	case refuseLimited:
		return refused
	}
	if limited := s.limited(w, r); limited != nil {
		return limited
	}
	s.opts.Attempts.Failed(s.opts.Attempts.Client(r))
	return refused
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

// read returns the body as it came, and what to call when it is not held any more. What is certainly not Meta's is not read at
// all, nor is what is large from where others failed too often.
func (s *Server) read(w http.ResponseWriter, r *http.Request) (body []byte, free func(), _ *refusal) {
	free = func() {}
	if e := r.Header.Get("Content-Encoding"); e != "" && !strings.EqualFold(e, "identity") {
		return nil, free, refuseEncoding
	}
	if !signatureShaped(r.Header.Get(whatsapp.SignatureHeader)) {
		return nil, free, refuseUnsigned
	}
	if r.ContentLength > whatsapp.MaxWebhookSize {
		return nil, free, refuseSize
	}
	if r.ContentLength > smallBody {
		if limited := s.limited(w, r); limited != nil {
			return nil, free, limited
		}
	}
	conn := http.NewResponseController(w)
	_ = conn.SetReadDeadline(time.Now().Add(bodyTimeout)) // not every ResponseWriter can; then the server's own must do
	from := &unproved{from: http.MaxBytesReader(w, r.Body, whatsapp.MaxWebhookSize), all: &s.unproved, most: maxUnproved}
	if !s.opts.Attempts.Trusted(s.opts.Attempts.Client(r)) {
		from.most -= reserve
	}
	body, refused, err := s.readAll(w, r, from)
	switch {
	case refused != nil:
		return nil, from.free, refused
	case errors.Is(err, errTooMany):
		return nil, from.free, refuseBusy
	case errors.As(err, new(*http.MaxBytesError)):
		return nil, from.free, refuseSize
	case err != nil:
		return nil, from.free, refuseTruncated
	}
	_ = conn.SetReadDeadline(time.Time{})
	return body, from.free, nil
}

var errTooMany = errors.New("webhook: too many bodies are being read")

// readAll is io.ReadAll, or errTooMany once there is no room for it, or a refusal once the body of a client that may not send
// such turns out to be large.
func (s *Server) readAll(w http.ResponseWriter, r *http.Request, from *unproved) ([]byte, *refusal, error) {
	body, err := io.ReadAll(io.LimitReader(from, smallBody+1))
	if err != nil || len(body) <= smallBody {
		return body, nil, err
	}
	if r.ContentLength < 0 { // else it was asked for
		if limited := s.limited(w, r); limited != nil {
			return nil, limited, nil
		}
	}
	select {
	case s.large <- struct{}{}:
		defer func() { <-s.large }()
	default:
		return nil, nil, errTooMany
	}
	whole := bytes.NewBuffer(body)
	_, err = whole.ReadFrom(from.from) // what is large has bounds of its own
	return whole.Bytes(), nil, err
}

// unproved is a body of which nobody knows yet whether it is Meta's. It counts for what was read of it.
type unproved struct {
	from io.Reader
	all  *atomic.Int64 // what all count for
	most int64         // what they may be with this one
	held int64         // what this one counts for
}

// Read returns errTooMany if there is no room for more.
func (u *unproved) Read(p []byte) (int, error) {
	if u.held == 0 && !u.hold(requestBytes) {
		return 0, errTooMany
	}
	n, err := u.from.Read(p)
	if n > 0 && !u.hold(int64(n)) {
		return n, errTooMany
	}
	return n, err
}

func (u *unproved) hold(n int64) bool {
	u.held += n
	return u.all.Add(n) <= u.most
}

func (u *unproved) free() { u.all.Add(-u.held) }

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
	if first, more := s.refusals[refused.outcome].Due(time.Now()); first {
		s.log.Warn("webhook refused", "reason", refused.text, "status", refused.status, "from", s.opts.Attempts.Client(r).String(), "refusedBefore", more)
		return
	}
	s.log.Debug("webhook refused", "outcome", refused.outcome, "from", s.opts.Attempts.Client(r).String())
}
