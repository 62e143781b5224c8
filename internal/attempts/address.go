package attempts

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// Client is the address that a request came from: of the connection, or what a trusted proxy says. X-Forwarded-For is read
// from its end, where the nearest proxy writes: everything before the first address that is no proxy of ours may be
// invented. The address is invalid if the connection has none.
func (l *Limiter) Client(r *http.Request) netip.Addr {
	var proxies []netip.Prefix
	if l != nil {
		proxies = l.opts.Proxies
	}
	return ClientOf(r, proxies)
}

// ClientOf is Client by the given proxies.
func ClientOf(r *http.Request, proxies []netip.Prefix) netip.Addr {
	peer := addressOf(r.RemoteAddr)
	if !Within(proxies, peer) {
		return peer
	}
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for _, hop := range slices.Backward(hops) {
		addr := addressOf(strings.TrimSpace(hop))
		if !addr.IsValid() {
			return peer
		}
		peer = addr
		if !Within(proxies, peer) {
			return peer
		}
	}
	return peer
}

// addressOf reads an address with or without a port.
func addressOf(text string) netip.Addr {
	if ap, err := netip.ParseAddrPort(text); err == nil {
		return ap.Addr().Unmap()
	}
	addr, err := netip.ParseAddr(strings.Trim(text, "[]"))
	if err != nil {
		return netip.Addr{}
	}
	return addr.Unmap()
}

// Within says whether one of the networks has an address.
func Within(networks []netip.Prefix, addr netip.Addr) bool {
	addr = addr.Unmap().WithZone("")
	return slices.ContainsFunc(networks, func(p netip.Prefix) bool { return p.Contains(addr) })
}
