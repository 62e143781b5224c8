package node

import (
	"net"
	"testing"

	"github.com/livekit/psrpc"
	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/internal/metaleg"
)

// TestWithoutAPortNoCallBegins holds the range of UDP ports to one that is taken: that is as if there were no room, for calls
// both ways.
func TestWithoutAPortNoCallBegins(t *testing.T) {
	taken, err := net.ListenUDP("udp4", nil) // on all addresses
	require.NoError(t, err)
	defer taken.Close()
	port := uint16(taken.LocalAddr().(*net.UDPAddr).Port)
	stack, err := metaleg.New(metaleg.Config{
		IPv4Only: true, IncludeLoopback: true, KeepInterface: func(name string) bool { return name == "lo" },
		PortMin: port, PortMax: port,
	})
	require.NoError(t, err)
	s := newStandWith(t, func(o *Options) { o.Meta = stack })

	_, err = s.StartCall(wait(t), dialRequest())
	requireCode(t, psrpc.ResourceExhausted, err)
	_, err = s.StartCall(wait(t), acceptRequest(offer(t)))
	requireCode(t, psrpc.ResourceExhausted, err)
	require.Empty(t, s.asked, "nothing of either is said to Meta")
	require.Zero(t, s.Calls())
}
