package metaleg_test

import (
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/pion/transport/v5"
	"github.com/pion/transport/v5/stdnet"
	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/internal/metaleg"
)

// rationed is a machine with one UDP port to give, of that number. Behind it are others, so that no test takes another's.
type rationed struct {
	transport.Net

	port  int
	taken *atomic.Bool
}

func (n rationed) ListenUDP(network string, addr *net.UDPAddr) (transport.UDPConn, error) {
	if addr.Port != n.port || !n.taken.CompareAndSwap(false, true) {
		return nil, syscall.EADDRINUSE
	}
	conn, err := n.Net.ListenUDP(network, &net.UDPAddr{IP: addr.IP})
	return &ration{UDPConn: conn, port: n.port, giveBack: sync.OnceFunc(func() { n.taken.Store(false) })}, err
}

// ration is its socket.
type ration struct {
	transport.UDPConn

	port     int
	giveBack func()
}

func (r *ration) LocalAddr() net.Addr { return &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: r.port} }

func (r *ration) Close() error {
	defer r.giveBack()
	return r.UDPConn.Close()
}

func TestPortRange(t *testing.T) {
	const port = 5004
	c := loopback()
	c.PortMin, c.PortMax = port, port
	s := newStack(t, c)
	var taken atomic.Bool
	s.SetHost(func() (transport.Net, error) {
		host, err := stdnet.NewNet()
		return rationed{host, port, &taken}, err
	})
	first, offer, err := s.Offer(t.Context())
	require.NoError(t, err)
	require.Regexp(t, fmt.Sprintf(`a=candidate:\d+ 1 udp \d+ 127.0.0.1 %d typ host`, port), offer)
	_, _, err = s.Offer(t.Context())
	require.ErrorIs(t, err, metaleg.ErrNoAddress, "the range is used up")
	require.NoError(t, first.Close())
	second, _, err := s.Offer(t.Context())
	require.NoError(t, err, "a closed leg gives its port back")
	require.NoError(t, second.Close())
}
