package fakemeta

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/livekit-connector/livekit-connector/pkg/fakemeta/relay"
)

// Errors of this package that a caller may want to tell apart.
var (
	// ErrClosed is returned when the server or a subscription is closed.
	ErrClosed = errors.New("fakemeta: closed")
	// ErrBusy is returned when user and business are in a call already.
	ErrBusy = errors.New("fakemeta: there is a call between the two already")
	// ErrOverloaded is returned when a number has as many calls as it may have.
	ErrOverloaded = errors.New("fakemeta: number has too many calls")
	// ErrUnknownNumber is returned for a phone number ID that nobody added.
	ErrUnknownNumber = errors.New("fakemeta: unknown phone number ID")
)

// SetupMode is what Meta's answer to an outbound call says in a=setup when the offer said actpass. Published
// sources contradict each other, so a client must cope with all three.
type SetupMode string

// The modes. SetupActpass is illegal in an answer and was reported all the same; Meta then waits for a ClientHello.
const (
	SetupActive  SetupMode = "active"
	SetupPassive SetupMode = "passive"
	SetupActpass SetupMode = "actpass"
)

// Options configures a Server. The zero value listens on free ports of 127.0.0.1 and is strict.
type Options struct {
	// Addr is where the Graph API listens. Empty: 127.0.0.1:0.
	Addr string
	// ControlAddr is where the control API listens. Empty: nowhere.
	ControlAddr string
	// RelayAddrs are the media addresses, IPv4 first, IPv6 second; they become the candidates of every call.
	// Empty: 127.0.0.1:0.
	RelayAddrs []netip.AddrPort
	// DeadIPv6 adds the preferred IPv6 candidate that live offers have, at an address that leads nowhere.
	DeadIPv6 bool
	// Dialect is how offers and answers are written.
	Dialect Dialect
	// AnswerSetup is a=setup of answers. Empty: active, as in Meta's documentation.
	AnswerSetup SetupMode

	Timing Timing
	// Logger takes one line per moment of a call and per request. Nil: silence.
	Logger *slog.Logger
	// WebhookClient delivers webhooks. Nil: one without proxies.
	WebhookClient *http.Client

	// DefaultPermission is what a user who was never asked has granted.
	DefaultPermission Permission
	// MinVersion is the oldest Graph version that is served. Zero: 17.0.
	MinVersion float64
	// MaxCalls is how many calls a number may have at once. Zero: 1000.
	MaxCalls int
	// AllowSecondCall lets the same user and number have several calls.
	AllowSecondCall bool
	// SDPErrorCode is the code for a session description that breaks a rule. Zero: 138008, which is what was seen in
	// the wild; Meta's table of 2026 says 100.
	SDPErrorCode int
	// MissedIsFailure ends an inbound call that nobody answered as FAILED 138007 instead of COMPLETED.
	MissedIsFailure bool
	// TerminateEndedOK answers terminate for a call that has ended with success instead of an error.
	TerminateEndedOK bool
	// LenientPassive lets Meta send the ClientHello when an inbound call is answered with setup:passive. Real Meta
	// does not.
	LenientPassive bool
	// AnyPtime takes packet durations other than 20 ms in an SDP.
	AnyPtime bool
	// OneWay takes recvonly, sendonly and inactive in an SDP, and then carries audio in that way only.
	OneWay bool

	// Ringback lets audio come while the phone of a dialled user rings, as some operators' tones do: the handset begins to
	// speak then. Audio is no pick-up.
	Ringback bool

	// Speech is what handsets say, unless their user or their call has words of its own.
	Speech Speech
	// KeepEnded is how many ended calls Call and Calls still find. Zero: 200.
	KeepEnded int
}

// Server is a Meta: Graph API, webhooks, relay and the handsets of all users.
type Server struct {
	// Constant after Start.
	opts       Options
	timing     Timing
	log        *slog.Logger
	ctx        context.Context //nolint:containedctx // the lifetime of the calls
	cancel     context.CancelFunc
	dispatcher *dispatcher
	newSession func(relay.SessionOptions) (session, error)
	addrs      []netip.AddrPort
	closers    []func() error // in the order in which they run
	graphURL   string
	controlURL string
	calling    sync.WaitGroup // one per call

	mu            sync.Mutex // guards all below
	closed        bool
	numbers       map[string]*number
	users         map[string]*User
	calls         map[string]*Call // those that live
	ended         []*Call          // the last KeepEnded ones
	tombstones    map[string]struct{}
	buried        []string // IDs of tombstones, oldest first
	lastIndex     int
	faults        []*Fault
	delivery      Delivery
	subscriptions map[*Subscription]struct{}
}

// tombstoneLimit bounds how many ended call IDs are told apart from unknown ones.
const tombstoneLimit = 100_000

// Start opens all sockets. Close the server to release them.
func Start(o Options) (*Server, error) {
	s := newServer(o)
	r, err := relay.Listen(relay.Options{Addrs: s.opts.RelayAddrs, Logger: s.log})
	if err != nil {
		s.cancel()
		return nil, fmt.Errorf("start relay: %w", err)
	}
	s.addrs = r.Addrs()
	s.newSession = func(so relay.SessionOptions) (session, error) { return r.NewSession(so) }
	s.closers = append(s.closers, r.Close)
	if s.graphURL, err = s.listen(s.opts.Addr, http.HandlerFunc(s.serveGraph)); err != nil {
		return nil, errors.Join(fmt.Errorf("start Graph API: %w", err), s.Close())
	}
	if o.ControlAddr != "" {
		if s.controlURL, err = s.listen(o.ControlAddr, s.Control()); err != nil {
			return nil, errors.Join(fmt.Errorf("start control API: %w", err), s.Close())
		}
	}
	return s, nil
}

// newServer builds a server without any socket.
func newServer(o Options) *Server {
	if o.Addr == "" {
		o.Addr = "127.0.0.1:0"
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.AnswerSetup == "" {
		o.AnswerSetup = SetupActive
	}
	if o.MinVersion == 0 {
		o.MinVersion = 17
	}
	if o.MaxCalls == 0 {
		o.MaxCalls = 1000
	}
	if o.SDPErrorCode == 0 {
		o.SDPErrorCode = CodeSDPInvalid
	}
	if o.KeepEnded == 0 {
		o.KeepEnded = 200
	}
	s := &Server{
		opts: o, timing: o.Timing.withDefaults(), log: o.Logger,
		numbers: map[string]*number{}, users: map[string]*User{}, calls: map[string]*Call{},
		tombstones: map[string]struct{}{}, subscriptions: map[*Subscription]struct{}{},
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	client := o.WebhookClient
	if client == nil {
		transport := &http.Transport{MaxIdleConnsPerHost: 16, IdleConnTimeout: time.Minute}
		s.closers = append(s.closers, func() error { transport.CloseIdleConnections(); return nil })
		client = &http.Client{Transport: transport}
	}
	s.dispatcher = newDispatcher(client, s.timing, o.Logger, s.currentDelivery, s.publish)
	return s
}

// listen serves h on addr and returns its URL.
func (s *Server) listen(addr string, h http.Handler) (string, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(s.ctx, "tcp", addr)
	if err != nil {
		return "", err
	}
	hs := &http.Server{
		Handler: h, ReadHeaderTimeout: 10 * time.Second,
		BaseContext: func(net.Listener) context.Context { return s.ctx },
		ErrorLog:    slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		_ = hs.Serve(l) // ends with ErrServerClosed
	}()
	s.closers = append([]func() error{func() error {
		err := hs.Close()
		<-stopped
		return err
	}}, s.closers...)
	return "http://" + l.Addr().String(), nil
}

// Close hangs up all calls without a webhook, stops deliveries, closes the sockets and waits for everything. Later
// calls do nothing.
func (s *Server) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	s.mu.Unlock()
	s.dispatcher.close()
	s.cancel()
	s.calling.Wait()
	var errs []error
	for _, c := range s.closers {
		errs = append(errs, c())
	}
	s.mu.Lock()
	subs := s.subscriptions
	s.subscriptions = map[*Subscription]struct{}{}
	s.mu.Unlock()
	for sub := range subs {
		sub.once.Do(func() { close(sub.done) })
	}
	return errors.Join(errs...)
}

// GraphURL returns the base of Graph requests, such as "http://127.0.0.1:4711", without a version.
func (s *Server) GraphURL() string { return s.graphURL }

// ControlURL returns the base of the control API, empty if there is none.
func (s *Server) ControlURL() string { return s.controlURL }

// RelayAddrs returns the media addresses.
func (s *Server) RelayAddrs() []netip.AddrPort { return append([]netip.AddrPort(nil), s.addrs...) }

func (s *Server) sdpPolicy(n *number) sdpPolicy {
	return sdpPolicy{anyPtime: s.opts.AnyPtime, anyDirection: s.opts.OneWay, additional: n.additionalCodecs()}
}
