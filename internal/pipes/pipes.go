// Package pipes is a network without sockets for tests: in a bubble of testing/synctest time passes while both of its ends wait.
package pipes

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
)

// Network is a net.Listener, and what clients dial it by..
type Network struct {
	dialled chan net.Conn
	closed  chan struct{}
	closing sync.Once
	dials   atomic.Int32
}

// New returns a network on which nobody listens yet.
func New() *Network { return &Network{dialled: make(chan net.Conn), closed: make(chan struct{})} }

// Dial connects to whoever accepts next, whatever the address; it is for http.Transport's DialContext.
func (n *Network) Dial(ctx context.Context, _, _ string) (net.Conn, error) {
	near, far := net.Pipe()
	select {
	case n.dialled <- far:
		n.dials.Add(1)
		return near, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Dials is how many connections were made.
func (n *Network) Dials() int { return int(n.dials.Load()) }

// Accept implements net.Listener.
func (n *Network) Accept() (net.Conn, error) {
	select {
	case conn := <-n.dialled:
		return conn, nil
	case <-n.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener. Connections stay. Idempotent.
func (n *Network) Close() error {
	n.closing.Do(func() { close(n.closed) })
	return nil
}

// Addr implements net.Listener.
func (n *Network) Addr() net.Addr { return new(net.TCPAddr) }
