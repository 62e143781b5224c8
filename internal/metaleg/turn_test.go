package metaleg_test

import (
	"net"
	"testing"

	"github.com/pion/logging"
	"github.com/pion/transport/v5"
	"github.com/pion/transport/v5/stdnet"
	"github.com/pion/turn/v5"
	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/internal/metaleg"
)

// turnServer relays for those who know the password. It returns its URL.
func turnServer(t *testing.T, username, password string) string {
	t.Helper()
	const realm = "turn.test"
	conn, err := net.ListenPacket("udp4", "127.0.0.1:0")
	require.NoError(t, err)
	server, err := turn.NewServer(turn.ServerConfig{
		Realm: realm, LoggerFactory: logging.NewDefaultLoggerFactory(),
		AuthHandler: func(ra *turn.RequestAttributes) (string, []byte, bool) {
			return ra.Username, turn.GenerateAuthKey(username, realm, password), ra.Username == username
		},
		PacketConnConfigs: []turn.PacketConnConfig{{
			PacketConn: conn,
			RelayAddressGenerator: &turn.RelayAddressGeneratorStatic{
				RelayAddress: net.IPv4(127, 0, 0, 1), Address: "127.0.0.1",
			},
		}},
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, server.Close()) })
	return "turn:" + conn.LocalAddr().String() + "?transport=udp"
}

// walled is a network that lets nothing out but TURN: what leaves the sockets of host candidates is lost.
type walled struct{ transport.Net }

func (n walled) ListenUDP(network string, addr *net.UDPAddr) (transport.UDPConn, error) {
	conn, err := n.Net.ListenUDP(network, addr)
	return mute{conn}, err
}

type mute struct{ transport.UDPConn }

func (mute) WriteTo(p []byte, _ net.Addr) (int, error) { return len(p), nil }

func TestCallThroughTURN(t *testing.T) {
	c := loopback()
	c.ICEServers = []metaleg.ICEServer{{
		URLs: []string{turnServer(t, "connector", "a password")}, Username: "connector", Credential: "a password",
	}}
	m := newMeta(t, newRelay(t))
	s := newStack(t, c)
	s.SetHost(func() (transport.Net, error) {
		n, err := stdnet.NewNet()
		return walled{n}, err
	})
	l := connect(t, s, m)
	path, ok := l.Path()
	require.True(t, ok)
	require.Equal(t, "relay", path.LocalType)

	e := newEar()
	l.SetSink(e)
	m.say("hello", 5)
	e.waitFor(t, 5)
	l.Open()
	for seq := range uint16(20) {
		require.NoError(t, l.WriteRTP(packet(seq+1, "speech")))
	}
	m.until("20 packets", func() bool { return len(m.heard) >= 20 })
}
