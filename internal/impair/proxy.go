package impair

import (
	"container/heap"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// ProxyOptions say how a Proxy works.
type ProxyOptions struct {
	// Target is where datagrams of clients go. Required.
	Target netip.AddrPort
	// Front is where clients send to. Zero means a free port of loopback.
	Front netip.AddrPort
	// Up is the network from clients to Target, Down the one back. Each client has its own, with the same Seed.
	Up, Down Model
	Seed     uint64
	// MediaOnly lets all through untouched that is not RTP or RTCP by its first byte (RFC 7983 section 7): STUN and
	// DTLS, whose repeats would make a connection slow to come up.
	MediaOnly bool
}

// ProxyStats count datagrams.
type ProxyStats struct {
	Forwarded, Lost, Doubled uint64
}

// Proxy carries UDP between clients and a target over a bad network. Each client has a socket of its own towards the
// target. It is for hundreds of packets a second.
type Proxy struct {
	options ProxyOptions
	front   *net.UDPConn

	mu      sync.Mutex // guards the models in options, clients and closed
	clients map[netip.AddrPort]*client
	closed  bool

	wg                       sync.WaitGroup
	forwarded, lost, doubled atomic.Uint64
}

// client is one address in front of the proxy.
type client struct {
	back     *net.UDPConn
	up, down *lane
}

// Listen starts a proxy. Close ends it.
func Listen(o ProxyOptions) (*Proxy, error) {
	if !o.Target.IsValid() {
		return nil, errors.New("listen: no target")
	}
	if !o.Front.IsValid() {
		o.Front = netip.AddrPortFrom(loopback(o.Target), 0)
	}
	front, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(o.Front))
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	p := &Proxy{options: o, front: front, clients: make(map[netip.AddrPort]*client)}
	p.wg.Go(p.readFront)
	return p, nil
}

func loopback(like netip.AddrPort) netip.Addr {
	if like.Addr().Unmap().Is4() {
		return netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	return netip.IPv6Loopback()
}

// Addr is where clients send to.
func (p *Proxy) Addr() netip.AddrPort { return p.front.LocalAddr().(*net.UDPAddr).AddrPort() }

// Impair changes the network for clients that have not sent anything yet.
func (p *Proxy) Impair(up, down Model) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.options.Up, p.options.Down = up, down
}

// Stats returns the counts of both directions together.
func (p *Proxy) Stats() ProxyStats {
	return ProxyStats{Forwarded: p.forwarded.Load(), Lost: p.lost.Load(), Doubled: p.doubled.Load()}
}

// Close ends the proxy and waits for its goroutines. What is on its way is lost. Idempotent.
func (p *Proxy) Close() error {
	p.mu.Lock()
	closed := p.closed
	p.closed = true
	var errs []error
	if !closed {
		errs = append(errs, p.front.Close())
		for _, c := range p.clients {
			errs = append(errs, c.back.Close())
			c.up.close()
			c.down.close()
		}
	}
	p.mu.Unlock()
	p.wg.Wait()
	return errors.Join(errs...)
}

const maxDatagram = 1 << 16

func (p *Proxy) readFront() {
	buf := make([]byte, maxDatagram)
	for {
		n, from, err := p.front.ReadFromUDPAddrPort(buf)
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			continue // an ICMP error of a client that is gone
		}
		if c := p.client(from); c != nil {
			p.carry(c.up, buf[:n])
		}
	}
}

// client finds or makes that of an address; nil when the proxy is closed or has no socket for it.
func (p *Proxy) client(from netip.AddrPort) *client {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c := p.clients[from]; c != nil || p.closed {
		return c
	}
	back, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(p.options.Target))
	if err != nil {
		return nil
	}
	c := &client{back: back}
	c.up = newLane(New(p.options.Up, p.options.Seed), func(b []byte) { _, _ = back.Write(b) })
	c.down = newLane(New(p.options.Down, ^p.options.Seed), func(b []byte) { _, _ = p.front.WriteToUDPAddrPort(b, from) })
	p.clients[from] = c
	p.wg.Go(c.up.run)
	p.wg.Go(c.down.run)
	p.wg.Go(func() { p.readBack(c) })
	return c
}

func (p *Proxy) readBack(c *client) {
	buf := make([]byte, maxDatagram)
	for {
		n, err := c.back.Read(buf)
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			continue
		}
		p.carry(c.down, buf[:n])
	}
}

// carry sends a datagram on its way.
func (p *Proxy) carry(l *lane, datagram []byte) {
	const firstMedia, lastMedia = 128, 191
	whole := p.options.MediaOnly && (len(datagram) == 0 || datagram[0] < firstMedia || datagram[0] > lastMedia)
	switch l.take(datagram, whole) {
	case 0:
		p.lost.Add(1)
	case 1:
		p.forwarded.Add(1)
	default:
		p.forwarded.Add(1)
		p.doubled.Add(1)
	}
}

// lane is one direction of one client: what is on its way, and who delivers it.
type lane struct {
	epoch time.Time
	write func([]byte)
	wake  chan struct{} // holds one: there is something new first in line
	stop  chan struct{}

	mu      sync.Mutex // guards all below
	network *Network
	queue   queue
}

func newLane(n *Network, write func([]byte)) *lane {
	return &lane{epoch: time.Now(), write: write, network: n, wake: make(chan struct{}, 1), stop: make(chan struct{})}
}

func (l *lane) close() { close(l.stop) }

// take puts a datagram on its way and says how often it will arrive. With whole it arrives at once.
func (l *lane) take(datagram []byte, whole bool) int {
	l.mu.Lock()
	now := time.Since(l.epoch)
	arrivals := []time.Duration{now}
	if !whole {
		arrivals = l.network.Send(now)
	}
	for _, at := range arrivals {
		heap.Push(&l.queue, parcel{at: at, order: l.queue.count, data: append([]byte(nil), datagram...)})
		l.queue.count++
	}
	l.mu.Unlock()
	select {
	case l.wake <- struct{}{}:
	default:
	}
	return len(arrivals)
}

// run delivers until close.
func (l *lane) run() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		next, wait := l.next()
		if next != nil {
			l.write(next)
			continue
		}
		if wait > 0 {
			timer.Reset(wait)
		}
		select {
		case <-timer.C:
		case <-l.wake:
		case <-l.stop:
			return
		}
	}
}

// next is the datagram that is due, or how long the first one takes; zero if there is none.
func (l *lane) next() (datagram []byte, wait time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.queue.parcels) == 0 {
		return nil, 0
	}
	if wait = l.queue.parcels[0].at - time.Since(l.epoch); wait > 0 {
		return nil, wait
	}
	return heap.Pop(&l.queue).(parcel).data, 0
}

type parcel struct {
	at    time.Duration
	order int
	data  []byte
}

// queue is a heap of parcels, the first to arrive on top.
type queue struct {
	parcels []parcel
	count   int // parcels ever
}

func (q *queue) Len() int { return len(q.parcels) }
func (q *queue) Less(i, j int) bool {
	a, b := q.parcels[i], q.parcels[j]
	return a.at < b.at || a.at == b.at && a.order < b.order
}
func (q *queue) Swap(i, j int) { q.parcels[i], q.parcels[j] = q.parcels[j], q.parcels[i] }
func (q *queue) Push(x any)    { q.parcels = append(q.parcels, x.(parcel)) }
func (q *queue) Pop() any {
	last := len(q.parcels) - 1
	p := q.parcels[last]
	q.parcels = q.parcels[:last]
	return p
}
