package relay

import (
	"net"
	"os"
	"sync"
	"time"
)

// inboxLimit is how many datagrams may wait for the handshake; what comes beyond
// is lost, as it would be in a full socket buffer.
const inboxLimit = 64

// inbox holds the DTLS datagrams of one session until the handshake reads them.
// Its read waits for a datagram, a deadline or the end.
type inbox struct {
	mu       sync.Mutex // guards all below
	queue    [][]byte
	deadline time.Time
	timer    *time.Timer
	closed   bool
	wake     chan struct{} // closed and replaced on every change
}

func newInbox() *inbox { return &inbox{wake: make(chan struct{})} }

// put queues b, which it keeps.
func (i *inbox) put(b []byte) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.closed || len(i.queue) >= inboxLimit {
		return
	}
	i.queue = append(i.queue, b)
	i.wakeLocked()
}

// get copies the oldest datagram into b. It returns os.ErrDeadlineExceeded after
// the deadline and net.ErrClosed after close.
func (i *inbox) get(b []byte) (int, error) {
	for {
		i.mu.Lock()
		wake := i.wake
		switch {
		case i.closed:
			i.mu.Unlock()
			return 0, net.ErrClosed
		case !i.deadline.IsZero() && !time.Now().Before(i.deadline):
			i.mu.Unlock()
			return 0, os.ErrDeadlineExceeded
		case len(i.queue) > 0:
			n := copy(b, i.queue[0])
			i.queue = i.queue[1:]
			i.mu.Unlock()
			return n, nil
		}
		i.mu.Unlock()
		<-wake
	}
}

// setDeadline bounds reads, those under way included; zero takes the bound away.
func (i *inbox) setDeadline(t time.Time) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.deadline = t
	if i.timer != nil {
		i.timer.Stop()
		i.timer = nil
	}
	if !t.IsZero() && !i.closed {
		i.timer = time.AfterFunc(time.Until(t), func() {
			i.mu.Lock()
			defer i.mu.Unlock()
			i.wakeLocked()
		})
	}
	i.wakeLocked()
}

func (i *inbox) close() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.closed = true
	if i.timer != nil {
		i.timer.Stop()
	}
	i.wakeLocked()
}

func (i *inbox) wakeLocked() {
	close(i.wake)
	i.wake = make(chan struct{})
}

// dtlsConn is the net.PacketConn that the DTLS library reads and writes: the
// inbox one way, the nominated pair the other.
type dtlsConn struct{ s *Session }

// ReadFrom gives the next DTLS datagram of the session, whatever pair it came by.
func (c dtlsConn) ReadFrom(b []byte) (int, net.Addr, error) {
	n, err := c.s.inbox.get(b)
	if err != nil {
		return 0, nil, err
	}
	return n, peerAddr{}, nil
}

// WriteTo sends over the nominated pair; without one the datagram is lost.
func (c dtlsConn) WriteTo(b []byte, _ net.Addr) (int, error) {
	if err := c.s.transmit(b); err != nil {
		return 0, err
	}
	return len(b), nil
}

// Close ends reads.
func (c dtlsConn) Close() error { c.s.inbox.close(); return nil }

// LocalAddr is no real address: the session may have several.
func (c dtlsConn) LocalAddr() net.Addr { return peerAddr{} }

// SetDeadline bounds reads; writes do not wait.
func (c dtlsConn) SetDeadline(t time.Time) error { c.s.inbox.setDeadline(t); return nil }

// SetReadDeadline bounds reads.
func (c dtlsConn) SetReadDeadline(t time.Time) error { c.s.inbox.setDeadline(t); return nil }

// SetWriteDeadline does nothing: writes do not wait.
func (c dtlsConn) SetWriteDeadline(time.Time) error { return nil }

// peerAddr stands for whoever the nominated pair leads to.
type peerAddr struct{}

// Network is that of every session.
func (peerAddr) Network() string { return "udp" }

// String names the role, since the address may change.
func (peerAddr) String() string { return "business" }
