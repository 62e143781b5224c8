package doctor

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/pion/stun/v4"
)

// stunRepeats is when a binding request is sent (RFC 8489 section 6.2.1, with fewer repetitions).
var stunRepeats = []time.Duration{0, 300 * time.Millisecond, 600 * time.Millisecond, 1200 * time.Millisecond}

// mapped is what servers see of one socket of ours.
type mapped struct {
	local   netip.AddrPort
	answers []stunAnswer // of those that answered
	silent  []string     // servers that did not
	asked   int          // servers that something was sent to
	err     error        // no socket, no server
}

type stunAnswer struct {
	server string
	addr   netip.AddrPort // as the server sees us
	took   time.Duration
}

// servers are those to ask: the configured ones, then those of the command line.
func (e *examination) servers() []string {
	var all []string
	for _, s := range slices.Concat(e.o.RTC.STUN, e.o.STUN) {
		if !slices.Contains(all, s) {
			all = append(all, s)
		}
	}
	return all
}

// askSTUN sends from one socket to all servers, so that their answers can be compared.
func (e *examination) askSTUN(ctx context.Context) mapped {
	ctx, cancel := context.WithTimeout(ctx, e.o.bounds.stun)
	defer cancel()
	conn, err := e.listenUDP()
	if err != nil {
		return mapped{err: err}
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	m := mapped{}
	waiting := map[[stun.TransactionIDSize]byte]string{}
	to := map[string]*net.UDPAddr{}
	requests := map[string]*stun.Message{}
	for _, server := range e.servers() {
		addr, err := resolveUDP4(ctx, server)
		if err != nil {
			m.silent, m.err = append(m.silent, server), err
			continue
		}
		request, err := stun.Build(stun.TransactionID, stun.BindingRequest, stun.Fingerprint)
		if err != nil {
			return mapped{err: err}
		}
		waiting[request.TransactionID], to[server], requests[server] = server, addr, request
	}
	m.asked, m.local = len(to), e.localAddr(conn, to)
	began := time.Now()
	sending := make(chan struct{})
	go func() {
		defer close(sending)
		for _, after := range stunRepeats {
			if !sleepUntil(ctx, began.Add(after)) {
				return
			}
			for server, addr := range to {
				_, _ = conn.WriteToUDP(requests[server].Raw, addr) // lost ones are sent again
			}
		}
	}()
	m.collect(conn, waiting, began)
	cancel()
	<-sending
	for _, server := range waiting {
		m.silent = append(m.silent, server)
	}
	return m
}

// collect reads until every server has answered or the deadline comes.
func (m *mapped) collect(conn *net.UDPConn, waiting map[[stun.TransactionIDSize]byte]string, began time.Time) {
	buf := make([]byte, 1500)
	for len(waiting) > 0 {
		n, _, err := conn.ReadFromUDPAddrPort(buf)
		if n == 0 && err != nil {
			if errors.Is(err, net.ErrClosed) || isTimeout(err) {
				return
			}
			continue // ICMP of one server
		}
		answer := &stun.Message{Raw: slices.Clone(buf[:n])}
		if answer.Decode() != nil || answer.Type != stun.BindingSuccess {
			continue
		}
		server, ok := waiting[answer.TransactionID]
		var seen stun.XORMappedAddress
		if !ok || seen.GetFrom(answer) != nil {
			continue
		}
		delete(waiting, answer.TransactionID)
		if ip, ok := netip.AddrFromSlice(seen.IP); ok {
			m.answers = append(m.answers, stunAnswer{server, netip.AddrPortFrom(ip.Unmap(), uint16(seen.Port)), time.Since(began)})
		}
	}
}

func isTimeout(err error) bool {
	timeout, ok := errors.AsType[net.Error](err)
	return ok && timeout.Timeout()
}

func sleepUntil(ctx context.Context, at time.Time) bool {
	timer := time.NewTimer(time.Until(at))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// listenUDP opens a socket as a call would: from the port range, if there is one.
func (e *examination) listenUDP() (*net.UDPConn, error) {
	first, last := e.o.RTC.PortMin, e.o.RTC.PortMax
	if last == 0 {
		return net.ListenUDP("udp4", nil)
	}
	var err error
	for range 20 { // some are calls' at the moment
		var conn *net.UDPConn
		if conn, err = net.ListenUDP("udp4", &net.UDPAddr{Port: first + rand.IntN(last-first+1)}); err == nil { //nolint:gosec // G404: any port will do
			return conn, nil
		}
	}
	return nil, err
}

// localAddr is the address from which the socket sends to the Internet.
func (e *examination) localAddr(conn *net.UDPConn, to map[string]*net.UDPAddr) netip.AddrPort {
	port := uint16(0)
	if udp, ok := conn.LocalAddr().(*net.UDPAddr); ok {
		port = uint16(udp.Port)
	}
	for _, addr := range to {
		probe, err := net.DialUDP("udp4", nil, addr) // sends nothing
		if err != nil {
			continue
		}
		local, ok := probe.LocalAddr().(*net.UDPAddr)
		_ = probe.Close()
		if ip, isIP := netip.AddrFromSlice(local.IP); ok && isIP {
			return netip.AddrPortFrom(ip.Unmap(), port)
		}
	}
	return netip.AddrPort{}
}

func resolveUDP4(ctx context.Context, server string) (*net.UDPAddr, error) {
	host, port, err := net.SplitHostPort(server)
	if err != nil {
		return nil, err
	}
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip4", host)
	if err != nil {
		return nil, err
	}
	number, err := net.DefaultResolver.LookupPort(ctx, "udp", port)
	if err != nil {
		return nil, err
	}
	return net.UDPAddrFromAddrPort(netip.AddrPortFrom(addrs[0].Unmap(), uint16(number))), nil
}

const udpRemedy = "open outgoing UDP in the firewall: to Meta's media relays (ports 3478, 3480, 3482, 3484, 40012 of AS32934) as well; where that cannot be, set a TURN server in rtc.ice_servers"

// stun says whether UDP gets out and what the Internet sees of it.
func (e *examination) stun(context.Context) []Line {
	if len(e.servers()) == 0 {
		return one(skipped("no server to ask: --stun none"))
	}
	m := e.mappings()
	switch {
	case len(m.answers) > 0:
	case m.asked == 0 && m.err != nil:
		return one(doubtful(fmt.Sprintf("not tried: %s: %s", strings.Join(e.servers(), ", "), cause(m.err)),
			"see dns, or name a STUN server that this machine finds by --stun or in rtc.ice_servers"))
	default:
		return one(failed("UDP does not come back: no answer from "+strings.Join(m.silent, ", "), udpRemedy))
	}
	var lines []Line
	if len(m.silent) > 0 && slices.ContainsFunc(m.silent, func(s string) bool { return slices.Contains(e.o.RTC.STUN, s) }) {
		lines = append(lines, doubtful("no answer from "+strings.Join(m.silent, ", "), "mend or remove it in rtc.ice_servers"))
	}
	first := m.answers[0]
	public := first.addr.Addr()
	nat := e.o.RTC.NAT1To1IPs
	if len(nat) > 0 && !slices.Contains(nat, public.String()) {
		lines = append(lines, doubtful(fmt.Sprintf("rtc.nat_1_to_1_ips does not hold the public address %s that %s sees", public, first.server),
			"mend it, or remove it: Meta learns the address from our packets in any case"))
		return lines
	}
	return append(lines, good("UDP gets out; public address %s, says %s after %s", public, first.server, first.took.Round(time.Millisecond)))
}

// nat compares what two servers see of one socket (RFC 5780 section 4.3). Every kind is good for calls, because Meta learns
// the address from our packets.
func (e *examination) nat(context.Context) []Line {
	if len(e.servers()) == 0 {
		return one(skipped("no server to ask: --stun none"))
	}
	m := e.mappings()
	if len(m.answers) == 0 {
		return one(skipped("see stun"))
	}
	first := m.answers[0]
	for _, other := range m.answers[1:] {
		if other.addr != first.addr {
			return one(good("symmetric: each destination sees another port; calls work, as Meta learns the address from our packets"))
		}
	}
	switch {
	case first.addr == m.local:
		return one(good("none: the public address is this machine's own"))
	case first.addr.Addr() == m.local.Addr():
		return one(good("ports are changed, addresses are not"))
	case len(m.answers) < 2:
		return one(good("there is one; its kind cannot be told by a single server"))
	default:
		return one(good("there is one, and every destination sees the same port"))
	}
}
