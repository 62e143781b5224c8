package doctor

import (
	"context"
	"fmt"
	"net"
	"strings"
)

// addresses lists those that calls would offer to Meta.
func (e *examination) addresses(context.Context) []Line {
	interfaces, err := net.Interfaces()
	if err != nil {
		return one(failed("this machine's interfaces cannot be listed: "+err.Error(), "give the program the right to (in a sandbox: AF_NETLINK)"))
	}
	r := &e.o.RTC
	var usable []string
	for _, i := range interfaces {
		if i.Flags&net.FlagUp == 0 || r.KeepInterface != nil && !r.KeepInterface(i.Name) {
			continue
		}
		addrs, err := i.Addrs()
		if err != nil {
			continue // it is gone
		}
		for _, a := range addrs {
			if network, ok := a.(*net.IPNet); ok && r.offers(network.IP) {
				usable = append(usable, fmt.Sprintf("%s (%s)", network.IP, i.Name))
			}
		}
	}
	if len(usable) == 0 {
		return one(failed("no address is left for calls", "mend rtc.interfaces, rtc.ips and rtc.use_ipv6, or give the container a network"))
	}
	return one(good("%s", strings.Join(usable, ", ")))
}

// offers says whether calls would use an address.
func (r *RTC) offers(ip net.IP) bool {
	switch {
	case ip.IsLinkLocalUnicast(), ip.IsLoopback() && !r.Loopback, ip.To4() == nil && !r.IPv6:
		return false
	default:
		return r.KeepIP == nil || r.KeepIP(ip)
	}
}

// ipv6 asks the kernel for a way to the Internet; nothing is sent.
func (e *examination) ipv6(ctx context.Context) []Line {
	if !e.o.RTC.IPv6 {
		return one(skipped("rtc.use_ipv6 is off"))
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "udp6", "[2606:4700:4700::1111]:443")
	if err != nil {
		return one(good("no way to the Internet by IPv6; calls go by IPv4, which Meta always offers"))
	}
	defer conn.Close()
	host, _, _ := net.SplitHostPort(conn.LocalAddr().String())
	return one(good("there is a way to the Internet, from %s", host))
}
