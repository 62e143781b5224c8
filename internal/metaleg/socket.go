package metaleg

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"

	"github.com/pion/transport/v5"
)

// First bytes of what shares a socket (RFC 9443 section 2): STUN methods start
// with 0 to 3, DTLS records with 20 to 63.
const (
	stunFirst     = 1  // a binding success response is 0x0101
	dtlsFirst     = 20 //
	dtlsLast      = 63 //
	dtlsHandshake = 22 // record type of handshake messages
	clientHello   = 1  // handshake type, the byte after the record header
	dtlsHeader    = 13 // bytes (RFC 6347 section 4.1)
)

// network is the host's network for one leg. Its sockets see what passes and take
// note of the two things that Pion's timers are too slow for: an answer to an ICE
// check, and a ClientHello that nobody answers.
type network struct {
	transport.Net

	answered chan struct{} // holds one: a check was answered
	dtls     atomic.Bool   // Meta sent something of DTLS
	hello    atomic.Pointer[hello]
}

// hello is the last ClientHello that left.
type hello struct {
	conn     *net.UDPConn
	to       netip.AddrPort
	datagram []byte
}

func newNetwork(host func() (transport.Net, error)) (*network, error) {
	n, err := host()
	if err != nil {
		return nil, fmt.Errorf("list network interfaces: %w", err)
	}
	return &network{Net: n, answered: make(chan struct{}, 1)}, nil
}

// ListenUDP implements transport.Net.
func (n *network) ListenUDP(family string, addr *net.UDPAddr) (transport.UDPConn, error) {
	conn, err := n.Net.ListenUDP(family, addr)
	if err != nil {
		return nil, err // Pion looks into it: is the port taken, or the address gone?
	}
	udp, ok := conn.(*net.UDPConn)
	if !ok {
		return conn, nil
	}
	return &socket{UDPConn: udp, network: n}, nil
}

// repeatHello sends the last ClientHello again, as it was, unless Meta has said
// anything by DTLS. It does nothing for a relayed path, whose datagrams are
// wrapped.
func (n *network) repeatHello() {
	if h := n.hello.Load(); h != nil && !n.dtls.Load() {
		// A closed socket is the end of the leg and a full one no reason to stop.
		_, _ = h.conn.WriteToUDPAddrPort(h.datagram, h.to)
	}
}

// socket is one UDP socket of a leg.
type socket struct {
	*net.UDPConn
	network *network
}

// ReadFromAddrPort and WriteToAddrPort are what Pion's ICE prefers to ReadFrom and
// WriteTo: without an allocation per packet.

// ReadFromAddrPort implements ice.AddrPortReaderWriter.
func (s *socket) ReadFromAddrPort(b []byte) (int, netip.AddrPort, error) {
	n, from, err := s.ReadFromUDPAddrPort(b)
	if n > 1 {
		switch first := b[0]; {
		case first == stunFirst && b[1] == stunFirst:
			select {
			case s.network.answered <- struct{}{}:
			default:
			}
		case first >= dtlsFirst && first <= dtlsLast:
			s.network.dtls.Store(true)
		}
	}
	return n, from, err // a socket like any other
}

// WriteToAddrPort implements ice.AddrPortReaderWriter.
func (s *socket) WriteToAddrPort(b []byte, to netip.AddrPort) (int, error) {
	if len(b) > dtlsHeader && b[0] == dtlsHandshake && b[dtlsHeader] == clientHello {
		s.network.hello.Store(&hello{s.UDPConn, to, bytes.Clone(b)})
	}
	return s.WriteToUDPAddrPort(b, to) // a socket like any other
}
