package app

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/internal/admission"
)

// intrude opens a connection that stays open until the test ends. It fails unless something is answered on it.
func intrude(t *testing.T, port int) error {
	t.Helper()
	conn, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return err // the kernel may tell of the end while it connects
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err = conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		return err
	}
	if _, err = io.WriteString(conn, "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		return err
	}
	_, err = conn.Read(make([]byte, 1))
	return err
}

// Whoever fills the API's port keeps neither probes nor scrapers from theirs, nor do they take each other's places.
func TestPortsAreFloodedEachByItself(t *testing.T) {
	c := &Config{BindAddresses: []string{"127.0.0.1"}, HealthPort: freePort(t), HTTP: HTTPConfig{MaxConnections: 2}}
	c.PrometheusPort = freePort(t)
	servers := startServers(t, c, newProbes(t))
	for range 2 {
		require.NoError(t, intrude(t, servers.API.Port()))
	}
	for range maxBeside - 1 {
		require.NoError(t, intrude(t, c.HealthPort))
	}
	status, _ := get(t, "http://127.0.0.1:"+strconv.Itoa(c.HealthPort)+"/livez")
	require.Equal(t, http.StatusOK, status)
	status, _ = get(t, "http://127.0.0.1:"+strconv.Itoa(c.PrometheusPort)+"/metrics")
	require.Equal(t, http.StatusOK, status)
	require.Error(t, intrude(t, servers.API.Port()))
}

// Both ports speak TLS with one configuration, which net/http adds to: the race detector looks on.
func TestPortsShareACertificate(t *testing.T) {
	certified := httptest.NewTLSServer(http.NotFoundHandler())
	defer certified.Close()
	c := &Config{BindAddresses: []string{"127.0.0.1"}, TLS: TLSConfig{Admin: true}}
	servers, err := StartServers(c, Served{
		API: http.NotFoundHandler(), Admin: http.NotFoundHandler(), Probes: newProbes(t), Registry: prometheus.NewRegistry(),
		TLS: &tls.Config{Certificates: certified.TLS.Certificates, MinVersion: tls.VersionTLS12}, Logger: slog.New(slog.DiscardHandler),
	})
	require.NoError(t, err)
	defer func() { require.NoError(t, servers.Shutdown(t.Context())) }()
	believers := x509.NewCertPool()
	believers.AddCert(certified.Certificate())
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: believers}, ForceAttemptHTTP2: true}}
	defer client.CloseIdleConnections()
	for _, url := range []string{servers.API.URL(), servers.Admin.URL()} {
		require.Contains(t, url, "https://")
		res, err := client.Get(url)
		require.NoError(t, err)
		require.NoError(t, res.Body.Close())
		require.Equal(t, 2, res.ProtoMajor)
	}
}

func TestProxiedConnectionsTakeTwoDescriptors(t *testing.T) {
	c := &Config{HTTP: HTTPConfig{MaxConnections: 7}}
	require.Equal(t, admission.Connections{Max: 7, Files: 1}, c.connections())
	c.ProxyLiveKit = true
	require.Equal(t, admission.Connections{Max: 7, Files: 2}, c.connections())
}

// However many connections are configured, descriptors are left for calls.
func TestConnectionsAreLoweredToWhatThereAreDescriptorsFor(t *testing.T) {
	most, _ := admission.ShareFiles(admission.Connections{Files: 1})
	for configured, want := range map[int]int{0: most, 1: 1, 1 << 30: most} {
		a := &App{config: Config{HTTP: HTTPConfig{MaxConnections: configured}}, log: slog.New(slog.DiscardHandler)}
		require.Positive(t, a.shareFiles())
		require.Equal(t, want, a.config.HTTP.MaxConnections)
	}
}
