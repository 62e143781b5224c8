package relay

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
)

// State is how far a Session got. It only ever grows.
type State int

// The states of a Session, in their order.
const (
	// StateNew: no pair yet.
	StateNew State = iota
	// StateNominated: the business nominated a pair.
	StateNominated
	// StateConnected: DTLS is done, SRTP flows.
	StateConnected
	// StatePeerClosed: the business sent close_notify.
	StatePeerClosed
	// StateFailed: see Session.Err.
	StateFailed
	// StateClosed: Close was called.
	StateClosed
)

// String is the state's name in lower case.
func (s State) String() string {
	switch s {
	case StateNew:
		return "new"
	case StateNominated:
		return "nominated"
	case StateConnected:
		return "connected"
	case StatePeerClosed:
		return "peer closed"
	case StateFailed:
		return "failed"
	case StateClosed:
		return "closed"
	}
	return fmt.Sprintf("State(%d)", int(s))
}

// DTLSRole is what Meta is in the DTLS handshake.
type DTLSRole int

// The roles Meta can take.
const (
	// DTLSRoleNone: Meta does no DTLS at all, and the call dies. So it is with
	// real Meta when the business answered passive.
	DTLSRoleNone DTLSRole = iota
	// DTLSRoleServer: Meta waits for a ClientHello (the business is active).
	DTLSRoleServer
	// DTLSRoleClient: Meta sends the ClientHello over the nominated pair (Meta
	// answered active, or answers a passive business leniently).
	DTLSRoleClient
)

// Errors a Session fails with.
var (
	// ErrFingerprint means that the certificate of the business is not the one its
	// SDP names.
	ErrFingerprint = errors.New("relay: certificate does not match the fingerprint in the SDP")
	// ErrHandshake means that the DTLS handshake ended without keys.
	ErrHandshake = errors.New("relay: DTLS handshake failed")
	// ErrNotConnected is returned by writes before DTLS is done.
	ErrNotConnected = errors.New("relay: not connected")
	// ErrRemoteSet is returned by the second SetRemote: Meta has no ICE restart and
	// no renegotiation.
	ErrRemoteSet = errors.New("relay: remote is already set")
)

// SessionOptions is Meta's own side of one call.
type SessionOptions struct {
	// Ufrag and Pwd go into Meta's SDP. Empty ones are made up, in the form live
	// offers have: 16 and 24 characters, the password ending in "==".
	Ufrag, Pwd string
	// OnRTP and OnRTCP take what the business sent, decrypted, one call at a time
	// per socket. They own what they are given and must not block: they run on the
	// goroutine that reads the socket. Either may be nil.
	OnRTP  func(p *rtp.Packet, arrived time.Time)
	OnRTCP func(packets []rtcp.Packet)
	// OnState is told each new state, except StateClosed. It may be nil.
	OnState func(State)
}

// Remote is what Meta learns from the SDP of the business.
type Remote struct {
	// Ufrag and Pwd of the business. Checks whose USERNAME names another ufrag
	// are refused from now on.
	Ufrag, Pwd string
	// Fingerprint of the certificate: SHA-256, hex with or without colons, any
	// case. Empty accepts none.
	Fingerprint string
	// DTLSRole is what Meta is.
	DTLSRole DTLSRole
	// Candidates of the SDP. A source that is not among them counts as
	// peer-reflexive; none is needed.
	Candidates []netip.AddrPort
}

// Session is the media path of one call. It is safe for concurrent use. The one
// who called NewSession closes it.
type Session struct {
	// Constant after NewSession.
	relay  *Relay
	ufrag  string
	pwd    string
	opts   SessionOptions
	ctx    context.Context //nolint:containedctx // the life of the DTLS goroutine, ended by Close
	cancel context.CancelFunc

	silent    atomic.Bool
	inbox     *inbox // datagrams for DTLS
	keys      atomic.Pointer[keys]
	nominated chan struct{}
	connected chan struct{}
	failed    chan struct{}
	work      sync.WaitGroup // the DTLS goroutine and callbacks under way

	mu     sync.Mutex // guards all below; never held across I/O or a callback
	state  State
	closed bool
	remote *Remote
	pair   path
	err    error
	stats  Stats
	known  map[netip.AddrPort]bool
}

// NewSession starts to answer checks for a new call.
func (r *Relay) NewSession(o SessionOptions) (*Session, error) {
	if o.Ufrag == "" {
		o.Ufrag = randomText(12)
	}
	if o.Pwd == "" {
		o.Pwd = randomText(16)
	}
	s := &Session{
		relay:     r,
		ufrag:     o.Ufrag,
		pwd:       o.Pwd,
		opts:      o,
		inbox:     newInbox(),
		nominated: make(chan struct{}),
		connected: make(chan struct{}),
		failed:    make(chan struct{}),
		known:     make(map[netip.AddrPort]bool),
	}
	s.stats.Times.Created = time.Now()
	s.ctx, s.cancel = context.WithCancel(context.Background())

	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		s.cancel()
		return nil, ErrClosed
	}
	if r.ufrags[s.ufrag] != nil {
		s.cancel()
		return nil, errors.New("relay: ufrag is in use")
	}
	r.ufrags[s.ufrag] = s
	return s, nil
}

// randomText is n random bytes in base64: what Meta's ufrags and passwords are.
func randomText(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return base64.StdEncoding.EncodeToString(b)
}

// Ufrag is Meta's own user name fragment.
func (s *Session) Ufrag() string { return s.ufrag }

// Pwd is Meta's own ICE password.
func (s *Session) Pwd() string { return s.pwd }

// Fingerprint is that of Meta's certificate, SHA-256, as SDP wants it after
// "sha-256 ".
func (s *Session) Fingerprint() string { return s.relay.cert.fingerprint }

// SetRemote gives Meta the SDP of the business and lets DTLS begin. ClientHellos
// that came earlier were dropped, so the business has to repeat them.
func (s *Session) SetRemote(remote Remote) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrClosed
	}
	if s.remote != nil {
		return ErrRemoteSet
	}
	remote.Fingerprint = plainHex(remote.Fingerprint)
	s.remote = &remote
	s.stats.Times.RemoteSet = time.Now()
	s.stats.PeerReflexive = 0
	for addr := range s.known {
		s.countSourceLocked(addr)
	}
	if remote.DTLSRole != DTLSRoleNone {
		s.work.Go(s.secure)
	}
	return nil
}

// plainHex removes what may differ between two writings of one fingerprint.
func plainHex(fingerprint string) string {
	return strings.ToUpper(strings.ReplaceAll(strings.TrimSpace(fingerprint), ":", ""))
}

// Connected is closed when DTLS is done and SRTP can flow.
func (s *Session) Connected() <-chan struct{} { return s.connected }

// Failed is closed when the session failed; Err then says why.
func (s *Session) Failed() <-chan struct{} { return s.failed }

// Err is why the session failed: ErrFingerprint, ErrHandshake with its cause, or
// nil. A business that closes DTLS does not make it fail.
func (s *Session) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// State is how far the session got.
func (s *Session) State() State {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state
}

// Silence makes Meta vanish: from now on the session answers nothing, sends
// nothing, not even a close_notify, and hears nothing.
func (s *Session) Silence() { s.silent.Store(true) }

// Close sends close_notify if DTLS was up, forgets the call and waits for its
// goroutine and for callbacks under way; after it none runs. It must not be
// called from a callback. Later calls do nothing.
func (s *Session) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		s.work.Wait()
		return nil
	}
	s.closed = true
	s.state = StateClosed
	s.mu.Unlock()

	s.cancel()
	s.work.Wait()
	s.relay.forget(s)
	return nil
}

// enter reserves the session for one callback; false means that it is closed.
func (s *Session) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.silent.Load() {
		return false
	}
	s.work.Add(1)
	return true
}

func (s *Session) leave() { s.work.Done() }

// advance moves to a later state and reports whether that was news.
func (s *Session) advance(to State) {
	s.mu.Lock()
	news := to > s.state
	if news {
		s.state = to
	}
	s.mu.Unlock()
	if news && s.opts.OnState != nil {
		s.opts.OnState(to)
	}
}

// fail records the first error and tells the state.
func (s *Session) fail(err error) {
	s.mu.Lock()
	first := s.err == nil && !s.closed
	if first {
		s.err = err
	}
	s.mu.Unlock()
	if !first {
		return
	}
	s.relay.log.Info("relay session failed", "error", err)
	s.advance(StateFailed)
	close(s.failed)
}
