package metaleg_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/pion/logging"
	"github.com/pion/transport/v5"
	"github.com/pion/transport/v5/stdnet"
	"github.com/pion/turn/v5"
	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/internal/metaleg"
)

// turnServer relays for those who know the password and come by one transport: udp, tcp or tls. It returns its URL.
func turnServer(t *testing.T, by, username, password string) string {
	t.Helper()
	const realm = "turn.test"
	relays := &turn.RelayAddressGeneratorStatic{RelayAddress: net.IPv4(127, 0, 0, 1), Address: "127.0.0.1"}
	config := turn.ServerConfig{
		Realm: realm, LoggerFactory: logging.NewDefaultLoggerFactory(),
		AuthHandler: func(ra *turn.RequestAttributes) (string, []byte, bool) {
			return ra.Username, turn.GenerateAuthKey(username, realm, password), ra.Username == username
		},
	}
	var url string
	if by == "udp" {
		conn, err := net.ListenPacket("udp4", "127.0.0.1:0")
		require.NoError(t, err)
		config.PacketConnConfigs = []turn.PacketConnConfig{{PacketConn: conn, RelayAddressGenerator: relays}}
		url = "turn:" + conn.LocalAddr().String() + "?transport=udp"
	} else {
		listener, err := net.Listen("tcp4", "127.0.0.1:0")
		require.NoError(t, err)
		url = "turn:" + listener.Addr().String() + "?transport=tcp"
		if by == "tls" {
			url = "turns:" + listener.Addr().String() + "?transport=tcp"
			listener = tls.NewListener(listener, &tls.Config{Certificates: []tls.Certificate{trusted(t)}, MinVersion: tls.VersionTLS12})
		}
		config.ListenerConfigs = []turn.ListenerConfig{{Listener: listener, RelayAddressGenerator: relays}}
	}
	server, err := turn.NewServer(config)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, server.Close()) })
	return url
}

// certificate is for 127.0.0.1 and signs itself. There is one in a process, because the system's roots are read once.
var certificate = sync.OnceValues(func() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
})

// trusted returns a certificate that the system trusts, as an operator makes it do so: Pion takes roots from there alone.
func trusted(t *testing.T) tls.Certificate {
	t.Helper()
	c, err := certificate()
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), "roots.pem")
	require.NoError(t, os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate[0]}), 0o600))
	t.Setenv("SSL_CERT_FILE", file)
	return c
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
	for _, by := range []string{"udp", "tcp", "tls"} {
		t.Run(by, func(t *testing.T) { callThroughTURN(t, by) })
	}
}

func callThroughTURN(t *testing.T, by string) {
	t.Helper()
	c := loopback()
	c.ICEServers = []metaleg.ICEServer{{
		URLs: []string{turnServer(t, by, "connector", "a password")}, Username: "connector", Credential: "a password",
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
