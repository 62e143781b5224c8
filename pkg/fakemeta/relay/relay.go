// Package relay is Meta's media relay, as a business sees it: ICE-lite, DTLS and
// SRTP behind one UDP address that many calls share.
//
// A Relay owns one UDP socket per listen address. Packets find their Session by
// the USERNAME of a STUN check first, then by the remote address which that check
// taught (so all calls of one business go to the same address and port, as they
// do at Meta). The Relay never sends a check of its own, never changes the pair
// unless the business nominates another, and does no DTLS before
// Session.SetRemote.
//
// One goroutine reads each socket; a session with a DTLS role has one more for
// the handshake. Callbacks run on those goroutines, without any lock held.
package relay

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// maxDatagram is larger than any datagram of a call; longer ones are cut off and
// then fail their integrity check.
const maxDatagram = 2048

// Options says where a Relay listens.
type Options struct {
	// Addrs are the addresses to bind, in the order in which the SDP lists them;
	// port 0 picks a free one. Empty means 127.0.0.1:0.
	Addrs []netip.AddrPort
	// Logger takes what happens to sessions; nil discards it. Neither addresses
	// of users, ICE passwords nor keys are logged.
	Logger *slog.Logger
}

// Relay is a set of UDP sockets and the sessions behind them. It is safe for
// concurrent use. The one who called Listen closes it.
type Relay struct {
	log  *slog.Logger
	cert certificate

	sockets []*socket
	readers sync.WaitGroup
	strays  atomic.Uint64

	mu      sync.RWMutex // guards all below
	closed  bool
	ufrags  map[string]*Session
	remotes map[path]*Session
}

// socket is one bound UDP socket. Constant after Listen.
type socket struct {
	conn *net.UDPConn
	addr netip.AddrPort
}

// path is a pair as ICE knows it: a socket of ours and an address of theirs.
type path struct {
	local  *socket
	remote netip.AddrPort
}

// ErrClosed is returned by methods of a closed Relay or Session.
var ErrClosed = errors.New("relay: closed")

// Listen binds the sockets and starts to read them.
func Listen(o Options) (*Relay, error) {
	if len(o.Addrs) == 0 {
		o.Addrs = []netip.AddrPort{netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 0)}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	cert, err := newCertificate(time.Now())
	if err != nil {
		return nil, fmt.Errorf("create certificate: %w", err)
	}
	r := &Relay{
		log:     o.Logger,
		cert:    cert,
		ufrags:  make(map[string]*Session),
		remotes: make(map[path]*Session),
	}
	for _, addr := range o.Addrs {
		s, err := bind(addr)
		if err != nil {
			return nil, errors.Join(err, r.Close())
		}
		r.sockets = append(r.sockets, s)
	}
	for _, s := range r.sockets {
		r.readers.Go(func() { r.read(s) })
	}
	return r, nil
}

// readBuffer holds some seconds of twenty calls, in which a busy machine may not let the reader run. The system's default
// holds a quarter of a second.
const readBuffer = 4 << 20

func bind(addr netip.AddrPort) (*socket, error) {
	network := "udp4"
	if addr.Addr().Is6() && !addr.Addr().Is4In6() {
		network = "udp6"
	}
	conn, err := net.ListenUDP(network, net.UDPAddrFromAddrPort(addr))
	if err != nil {
		return nil, fmt.Errorf("bind relay socket: %w", err)
	}
	_ = conn.SetReadBuffer(readBuffer) // as much as the system allows
	bound := conn.LocalAddr().(*net.UDPAddr).AddrPort()
	return &socket{conn: conn, addr: netip.AddrPortFrom(bound.Addr().Unmap(), bound.Port())}, nil
}

// Addrs are the bound addresses, in the order of Options.Addrs: the candidates of
// every session's SDP.
func (r *Relay) Addrs() []netip.AddrPort {
	addrs := make([]netip.AddrPort, len(r.sockets))
	for i, s := range r.sockets {
		addrs[i] = s.addr
	}
	return addrs
}

// Fingerprint is the SHA-256 fingerprint of the relay's certificate in the form
// SDP wants after "sha-256 ": hex pairs with colons.
func (r *Relay) Fingerprint() string { return r.cert.fingerprint }

// Strays counts the datagrams that belonged to no session: unknown user name,
// unknown source, no known protocol.
func (r *Relay) Strays() uint64 { return r.strays.Load() }

// Close closes all sessions, then the sockets, and waits for their goroutines. It
// must not be called from a callback. Later calls do nothing.
func (r *Relay) Close() error {
	r.mu.Lock()
	r.closed = true
	sessions := make([]*Session, 0, len(r.ufrags))
	for _, s := range r.ufrags {
		sessions = append(sessions, s)
	}
	r.mu.Unlock()

	var errs []error
	for _, s := range sessions {
		errs = append(errs, s.Close())
	}
	for _, s := range r.sockets {
		if err := s.conn.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			errs = append(errs, fmt.Errorf("close relay socket: %w", err))
		}
	}
	r.readers.Wait()
	return errors.Join(errs...)
}

// read is the goroutine of one socket.
func (r *Relay) read(local *socket) {
	buf := make([]byte, maxDatagram)
	for {
		n, from, err := local.conn.ReadFromUDPAddrPort(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			// An ICMP answer to something we sent: the socket still works.
			continue
		}
		remote := netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
		r.dispatch(path{local, remote}, buf[:n], time.Now())
	}
}

// dispatch tells the protocols apart by their first byte (RFC 7983, section 7).
func (r *Relay) dispatch(p path, b []byte, now time.Time) {
	switch {
	case len(b) > 0 && b[0] <= 3:
		r.check(p, b, now)
		return
	case len(b) >= dtlsHeader && b[0] >= 20 && b[0] <= 63, len(b) >= rtpHeader && b[0] >= 128 && b[0] <= 191:
	default:
		r.strays.Add(1)
		return
	}
	r.mu.RLock()
	s := r.remotes[p]
	r.mu.RUnlock()
	if s == nil || !s.enter() {
		r.strays.Add(1)
		return
	}
	defer s.leave()
	if b[0] <= 63 {
		s.handleDTLS(b, now)
		return
	}
	s.handleSRTP(b, now)
}

// certificate is a key pair and its fingerprint.
type certificate struct {
	pair        tls.Certificate
	fingerprint string
}

// forget removes all that leads to s.
func (r *Relay) forget(s *Session) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ufrags[s.ufrag] == s {
		delete(r.ufrags, s.ufrag)
	}
	for p, owner := range r.remotes {
		if owner == s {
			delete(r.remotes, p)
		}
	}
}

// learn makes s the owner of what comes over p and returns who owned it before,
// if that was another live session.
func (r *Relay) learn(p path, s *Session) *Session {
	r.mu.Lock()
	defer r.mu.Unlock()
	before := r.remotes[p]
	if r.ufrags[s.ufrag] == s {
		r.remotes[p] = s
	}
	if before == nil || before == s || r.ufrags[before.ufrag] != before {
		return nil
	}
	return before
}
