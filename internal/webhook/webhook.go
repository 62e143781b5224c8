// Package webhook is the gateway for Meta's webhooks: it verifies them, answers them at once, and turns what they say of
// calls into requests to nodes. An inbound call is accepted as the dispatch rules say, Meta's SDP answer is handed to the
// call that was dialled, and what Meta says of a call's ringing, pick-up and end reaches the call.
//
// # What Meta does, and what is done about it
//
//	repeats webhooks             an event of a call counts once (memory)
//	sends them in any order      a terminate that came first is remembered; the connect behind it is not answered
//	batches them                 all entries, changes, calls and statuses are read; terminates are done last
//	tells everybody everything   other numbers and unknown calls are passed over quietly
//	repeats them hours later     a connect older than Options.MaxAge is not answered
//	waits 20 s for an answer     nothing is waited for: events go into a queue
//	repeats what was refused     a full queue answers 503, as do too many bodies at once, or 429 for large ones from where
//	                             others guess; nothing else that is signed is ever refused
//
// # Order
//
// Events of one call are done one after the other, as they came; those of different calls do not wait for each other,
// because accepting a call may take half a minute. One thing overtakes: the end of a call whose Accept is on its way, so
// that nobody waits in a room for a caller who is gone.
//
// Webhooks may also be passed on as they came, to a bot that answers text messages for instance (forward.go).
package webhook

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/livekit-connector/livekit-connector/internal/attempts"
	"github.com/livekit-connector/livekit-connector/internal/logs"
	"github.com/livekit-connector/livekit-connector/internal/panics"
	"github.com/livekit-connector/livekit-connector/internal/route"
	"github.com/livekit-connector/livekit-connector/internal/rules"
	"github.com/livekit-connector/livekit-connector/internal/tracing"
	"github.com/livekit-connector/livekit-connector/pkg/whatsapp"
	"github.com/livekit-connector/livekit-connector/proto/connectorpb"
)

// Defaults of Options.
const (
	DefaultQueueSize = 10_000
	DefaultMaxAge    = time.Minute
)

// maxForeign bounds how many numbers are remembered that have no credentials.
const maxForeign = 1000

// Nodes is the way to the nodes; *route.Client is one. Errors are those that package route describes.
type Nodes interface {
	Start(ctx context.Context, req *connectorpb.StartCallRequest, answerBy time.Time) (*connectorpb.StartCallResponse, error)
	Connect(ctx context.Context, req *connectorpb.ConnectCallRequest, answerBy time.Time) error
	Report(ctx context.Context, req *connectorpb.ReportCallRequest, answerBy time.Time) error
	// Held says whether a node holds the call, or is about to.
	Held(ctx context.Context, callID string) (bool, error)
}

var _ Nodes = (*route.Client)(nil)

// Graph is what the gateway itself says to Meta; *whatsapp.Client is one.
type Graph interface {
	// Reject declines a call that was not accepted. It may repeat until ctx ends.
	Reject(ctx context.Context, creds whatsapp.Credentials, callID string) error
}

// Options are what a Server is made of.
type Options struct {
	// Nodes and Graph are required.
	Nodes Nodes
	Graph Graph
	// Decide says what to do with an inbound call. Nil leaves inbound calls to somebody else.
	Decide func(rules.Call) rules.Outcome
	// Credentials returns those of a business phone number; the ID is empty if Meta did not name it. An inbound call of
	// a number without credentials is somebody else's. Required.
	Credentials func(phoneNumberID string) (whatsapp.Credentials, bool)
	// AppSecrets returns the secrets of which one must have signed a webhook. Required.
	AppSecrets func() []string
	// NumberSecrets returns those of AppSecrets of which one must have signed what is said of a number, or none if any of
	// AppSecrets may: who knows the secret of one number's app has no say about the calls of another. Nil means any.
	NumberSecrets func(phoneNumberID string) []string
	// VerifyToken is what Meta's verification request must hold. Empty refuses all of them.
	VerifyToken string
	// APIKey is the LiveKit API key in whose name calls are accepted. Required.
	APIKey string
	// PhoneNumberIDs are the numbers whose events count. Empty means all.
	PhoneNumberIDs []string
	// RejectUnmatched rejects inbound calls for which there is no rule, or of which Meta says too little to ask the rules;
	// else they ring on, for somebody else.
	RejectUnmatched bool
	// RejectRefused rejects inbound calls that no node takes, for want of room or because the request was wrong.
	RejectRefused bool
	// SetupTimeout is how long an inbound call may take until it is answered. Zero means route.WaitBudget.
	SetupTimeout time.Duration
	// MaxAge is how old a connect may be and still be answered. Zero means DefaultMaxAge.
	MaxAge time.Duration
	// QueueSize bounds the events that were taken and are not done. Zero means DefaultQueueSize.
	QueueSize int
	// Forwards get every webhook as it came.
	Forwards []Forward
	// ForwardTransport sends them. Nil means one of the Server's own.
	ForwardTransport http.RoundTripper
	// Attempts limits requests without a good signature or verify token; nil limits none.
	Attempts *attempts.Limiter
	// Panics counts mistakes that cost an event; may be nil.
	Panics *panics.Counter
	// Tracer follows events; nil does not.
	Tracer *tracing.Tracer
	// Logger gets a line per event that did something. Nil discards.
	Logger *slog.Logger
	// Registerer gets the metrics. Nil keeps them unregistered.
	Registerer prometheus.Registerer
}

func (o *Options) check() error {
	var errs []error
	for name, missing := range map[string]bool{
		"nodes": o.Nodes == nil, "graph": o.Graph == nil, "credentials": o.Credentials == nil, "app secrets": o.AppSecrets == nil,
		"api key": o.APIKey == "",
	} {
		if missing {
			errs = append(errs, errors.New(name+" are missing"))
		}
	}
	if o.QueueSize < 0 || o.MaxAge < 0 || o.SetupTimeout < 0 {
		errs = append(errs, errors.New("a bound is negative"))
	}
	return errors.Join(errs...)
}

// Server is the http.Handler of the webhook's path. Make it with New, end it with Close.
type Server struct {
	opts     Options
	log      *slog.Logger
	numbers  map[string]bool // empty: all
	metrics  *metrics
	queue    *queue
	forwards *forwards
	refusals map[string]*logs.Occasionally // by outcome; never written after New
	large    chan struct{}                 // holds an element for each large body that is being read
	unproved atomic.Int64                  // bytes that requests count for of which it is not known yet whether they are Meta's

	mu      sync.Mutex      // guards the following field
	foreign map[string]bool // numbers whose want of credentials was logged

	closing sync.Once
	closed  error // what Close returned
}

// New makes a Server and starts what forwards. Close ends it.
func New(opts Options) (*Server, error) {
	if err := opts.check(); err != nil {
		return nil, fmt.Errorf("make webhook gateway: %w", err)
	}
	if opts.MaxAge == 0 {
		opts.MaxAge = DefaultMaxAge
	}
	if opts.SetupTimeout == 0 {
		opts.SetupTimeout = route.WaitBudget
	}
	if opts.QueueSize == 0 {
		opts.QueueSize = DefaultQueueSize
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Server{
		opts: opts, log: opts.Logger, numbers: make(map[string]bool),
		refusals: make(map[string]*logs.Occasionally, len(webhookOutcomes)), large: make(chan struct{}, largeBodies),
		foreign: make(map[string]bool),
	}
	for _, o := range webhookOutcomes {
		s.refusals[o] = new(logs.Occasionally)
	}
	for _, id := range opts.PhoneNumberIDs {
		s.numbers[id] = true
	}
	s.queue = newQueue(opts.QueueSize, s.do)
	s.forwards = newForwards(&opts)
	var err error
	if s.metrics, err = newMetrics(opts.Registerer, s.queue.length, s.forwards.length); err != nil {
		return nil, fmt.Errorf("make webhook gateway: %w", err)
	}
	s.forwards.start(s.metrics, s.log)
	return s, nil
}

// Close refuses further webhooks with 503 and waits until everything that was taken is done and passed on. When ctx ends
// it gives up what has not been begun, says in the log and the metrics what that was, and waits for what has: at most
// SetupTimeout for a call that is being accepted and then route.Budget to tell its node of its end, 37 s by default, and no
// longer than the calls that are being accepted live. It returns an error if something was left. Closing again does nothing.
func (s *Server) Close(ctx context.Context) error {
	s.closing.Do(func() { s.closed = s.close(ctx) })
	return s.closed
}

func (s *Server) close(ctx context.Context) error {
	var left, unsent int
	var both sync.WaitGroup
	both.Go(func() { left = s.closeQueue(ctx) })
	both.Go(func() { unsent = s.forwards.close(ctx) })
	both.Wait()
	if left == 0 && unsent == 0 {
		return nil
	}
	return fmt.Errorf("the time to shut down is over: %d events of calls were not done, %d webhooks not passed on", left, unsent)
}

func (s *Server) closeQueue(ctx context.Context) (left int) {
	for _, e := range s.queue.close(ctx) {
		s.metrics.event(&e, outcomeLeft)
		s.log.Error("webhook event left undone at shutdown", "callID", e.callID, "event", e.kind)
		left++
	}
	return left
}

// do has one event done; it is the queue's.
func (s *Server) do(ctx context.Context, l *lane, e event) (again bool) {
	began := time.Now()
	ctx, span := s.opts.Tracer.StartConsumer(ctx, "webhook", e.received)
	defer span.End()
	o := s.process(ctx, l, e)
	span.Set(tracing.KeyEvent, string(e.kind))
	span.Set(tracing.KeyOutcome, string(o))
	s.note(o, e, time.Since(began))
	return o.again()
}

// note counts and logs what became of an event.
func (s *Server) note(o outcome, e event, took time.Duration) {
	s.metrics.event(&e, o)
	level := slog.LevelInfo
	if o.quiet() {
		level = slog.LevelDebug
	}
	s.log.Log(context.Background(), level, "webhook event", "callID", e.callID, "event", e.kind, "outcome", o, "duration", took)
}
