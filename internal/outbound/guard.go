package outbound

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"syscall"
	"time"
)

// ErrForbidden is why an address was not connected to. Nothing was sent.
var ErrForbidden = errors.New("the name resolves to an address that no request is sent to")

// metadata are addresses, beside those of the link, at which clouds tell a machine about itself, its credentials included.
var metadata = []netip.Addr{
	netip.MustParseAddr("fd00:ec2::254"),   // Amazon EC2: instance metadata, IPv6
	netip.MustParseAddr("fd20:ce::254"),    // Google Compute Engine: metadata server, IPv6
	netip.MustParseAddr("100.100.100.200"), // Alibaba Cloud ECS: instance metadata
	netip.MustParseAddr("168.63.129.16"),   // Azure: wire server
	netip.MustParseAddr("192.0.0.192"),     // Oracle Cloud: instance metadata, old
}

// embedding are networks whose addresses hold an IPv4 address, and the byte at which it begins.
var embedding = []struct {
	network netip.Prefix
	from    int
}{
	{netip.MustParsePrefix("64:ff9b::/96"), 12}, // RFC 6052 section 2.1
	{netip.MustParsePrefix("2002::/16"), 2},     // RFC 3056 section 2
	{netip.MustParsePrefix("::/96"), 12},        // RFC 4291 section 2.5.5.1
}

// forbidden says whether no name of a server may stand for an address.
func forbidden(addr netip.Addr) bool {
	addr = addr.Unmap().WithZone("")
	switch {
	case !addr.IsValid(), addr.IsUnspecified(), addr.IsLoopback(), addr.IsMulticast(), addr.IsLinkLocalUnicast():
		return true
	case addr.Is4() && (addr.As4()[0] == 0 || addr.As4()[0] >= 240): // "this network" reaches this machine; reserved, broadcast
		return true
	}
	if slices.Contains(metadata, addr) {
		return true
	}
	if addr.Is4() {
		return false
	}
	for _, e := range embedding {
		if e.network.Contains(addr) {
			bytes := addr.As16()
			return forbidden(netip.AddrFrom4([4]byte(bytes[e.from : e.from+4])))
		}
	}
	return false
}

// Guard connects to servers. Where a URL has a name, it refuses addresses of the link, of this machine, of multicast and
// of clouds' metadata, which no name of a receiver may stand for; localhost may be this machine. An address that stands in
// the URL itself is taken as it is: the configuration says so, and redirects are not followed. Private networks are
// allowed, for that is where receivers are.
//
// A proxy of the environment (HTTPS_PROXY) is connected to likewise, but resolves the names itself: what it may reach is
// its own configuration.
type Guard struct {
	// Timeout bounds one connection; zero means none.
	Timeout time.Duration
	// Resolver resolves names; nil means the system's.
	Resolver *net.Resolver
}

// DialContext is that of an http.Transport.
func (g *Guard) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	d := net.Dialer{Timeout: g.Timeout, Resolver: g.Resolver}
	if _, err := netip.ParseAddr(host); err != nil { // a name
		d.Control = func(_, address string, _ syscall.RawConn) error { return permit(host, address) }
	}
	return d.DialContext(ctx, network, address)
}

// permit checks an address just before it is connected to.
func permit(host, address string) error {
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return ErrForbidden
	}
	if host == "localhost" && to.Addr().Unmap().IsLoopback() {
		return nil
	}
	if forbidden(to.Addr()) {
		return fmt.Errorf("%w: %s", ErrForbidden, to.Addr())
	}
	return nil
}

// NewTransport returns a transport behind a Guard, without http.DefaultTransport's globals, that keeps as many connections
// to a server as requests are made to it at once. The timeout bounds connecting and the TLS handshake each.
func NewTransport(atOnce int, timeout time.Duration) *http.Transport {
	guard := &Guard{Timeout: timeout}
	return &http.Transport{
		Proxy: http.ProxyFromEnvironment, DialContext: guard.DialContext, ForceAttemptHTTP2: true,
		MaxIdleConnsPerHost: atOnce, IdleConnTimeout: 90 * time.Second, TLSHandshakeTimeout: timeout,
		MaxResponseHeaderBytes: 64 << 10,
	}
}

// NewClient returns a client that follows no redirect: it could lead anywhere, other machines of the operator's network
// included, and would carry the request with it. A redirect is the answer, then.
func NewClient(transport http.RoundTripper, timeout time.Duration) *http.Client {
	return &http.Client{
		Transport: transport, Timeout: timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}
