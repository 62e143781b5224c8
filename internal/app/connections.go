package app

import (
	"net"
	"net/netip"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/livekit-connector/livekit-connector/internal/attempts"
)

// connections bounds how many connections a port holds, in all and from one address. One too many is accepted and closed at
// once, which costs nothing; left waiting in the kernel it would keep everybody else waiting behind it.
type connections struct {
	total, perAddress int
	spared            []netip.Prefix // not counted by address: many clients are behind them

	open    prometheus.Gauge
	refused *prometheus.CounterVec

	mu        sync.Mutex // guards the following fields
	count     int
	byAddress map[netip.Addr]int // by what clientOf returns
}

// Why a connection was closed at once.
const (
	refusedTotal   = "total"
	refusedAddress = "address"
)

// newConnections returns the bounds of the API's port, or with a nil reg those of another, of which nothing is told.
func newConnections(c *HTTPConfig, reg prometheus.Registerer) *connections {
	b := &connections{
		total: c.MaxConnections, perAddress: c.MaxConnectionsPerAddress, byAddress: make(map[netip.Addr]int),
		spared: append(c.proxies(), netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")),
		open: prometheus.NewGauge(prometheus.GaugeOpts{
			Namespace: "livekit_connector", Name: "http_connections", Help: "Connections that the API's port holds, proxied WebSockets among them.",
		}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "livekit_connector", Name: "http_connections_refused_total",
			Help: "Connections to the API's port that were closed at once, by which limit was reached: http.max_connections or http.max_connections_per_address.",
		}, []string{"limit"}),
	}
	for _, limit := range []string{refusedTotal, refusedAddress} {
		b.refused.WithLabelValues(limit)
	}
	if reg != nil {
		reg.MustRegister(b.open, b.refused)
	}
	return b
}

// admit counts a connection, or says which limit is reached.
func (b *connections) admit(addr netip.Addr) (limit string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	client := clientOf(addr)
	switch {
	case b.total > 0 && b.count >= b.total:
		return refusedTotal
	case b.perAddress > 0 && b.byAddress[client] >= b.perAddress && !attempts.Within(b.spared, addr):
		return refusedAddress
	}
	b.count++
	b.byAddress[client]++
	b.open.Set(float64(b.count))
	return ""
}

func (b *connections) leave(addr netip.Addr) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.count--
	client := clientOf(addr)
	if b.byAddress[client]--; b.byAddress[client] == 0 {
		delete(b.byAddress, client)
	}
	b.open.Set(float64(b.count))
}

// clientOf is an address, or the IPv6 /64 that it is in, of which one customer has all.
func clientOf(addr netip.Addr) netip.Addr {
	if p, err := addr.Prefix(64); err == nil { // it fails for IPv4
		return p.Addr()
	}
	return addr
}

// bounded is a listener whose connections count.
type bounded struct {
	net.Listener
	bounds *connections
}

func (l *bounded) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		addr := remoteAddress(c)
		limit := l.bounds.admit(addr)
		if limit == "" {
			return &boundedConn{Conn: c, leave: sync.OnceFunc(func() { l.bounds.leave(addr) })}, nil
		}
		l.bounds.refused.WithLabelValues(limit).Inc()
		if tcp, ok := c.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0) // leaves nothing behind in the kernel
		}
		_ = c.Close() // nothing was asked
	}
}

func remoteAddress(c net.Conn) netip.Addr {
	if tcp, ok := c.RemoteAddr().(*net.TCPAddr); ok {
		return tcp.AddrPort().Addr().Unmap().WithZone("")
	}
	return netip.Addr{}
}

type boundedConn struct {
	net.Conn
	leave func()
}

func (c *boundedConn) Close() error {
	defer c.leave()
	return c.Conn.Close()
}
