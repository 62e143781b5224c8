package app

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
)

// pair is a certificate for this machine, signed by itself, and its key.
func pair(t *testing.T, name string, until time.Time) (certPEM, keyPEM []byte) {
	t.Helper()
	return pairFrom(t, name, time.Now().Add(-24*time.Hour), until)
}

func pairFrom(t *testing.T, name string, from, until time.Time) (certPEM, keyPEM []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(until.Unix()), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotBefore: from, NotAfter: until,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})
}

// mount puts a pair where Kubernetes would: into a new folder, to which one symlink is turned.
func mount(t *testing.T, dir string, certPEM, keyPEM []byte) {
	t.Helper()
	version := filepath.Join(dir, "..data_"+rand.Text())
	require.NoError(t, os.Mkdir(version, 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(version, "tls.crt"), certPEM, 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(version, "tls.key"), keyPEM, 0o600))
	turned := filepath.Join(dir, "..turned")
	require.NoError(t, os.Symlink(version, turned))
	require.NoError(t, os.Rename(turned, filepath.Join(dir, "..data")))
}

// shown is the name in the certificate that a server shows a new client.
func shown(t *testing.T, address string) string {
	t.Helper()
	conn, err := (&tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true}}).DialContext(t.Context(), "tcp", address)
	require.NoError(t, err)
	defer conn.Close()
	return conn.(*tls.Conn).ConnectionState().PeerCertificates[0].Subject.CommonName
}

func TestTheCertificateIsRenewedWhileConnectionsAreOpen(t *testing.T) {
	dir := t.TempDir()
	year := time.Now().Add(365 * 24 * time.Hour).Truncate(time.Second)
	firstCert, firstKey := pair(t, "first.example", year)
	mount(t, dir, firstCert, firstKey)
	for _, name := range []string{"tls.crt", "tls.key"} {
		require.NoError(t, os.Symlink(filepath.Join("..data", name), filepath.Join(dir, name)))
	}
	var log bytes.Buffer
	registry := prometheus.NewRegistry()
	cert, err := newCertificate(TLSConfig{CertFile: filepath.Join(dir, "tls.crt"), KeyFile: filepath.Join(dir, "tls.key")},
		registry, slog.New(slog.NewTextHandler(&log, nil)))
	require.NoError(t, err)

	p := port{name: "api", bind: []string{"127.0.0.1"}, tls: cert.tlsConfig(), patience: defaultPatience()}
	h := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "here") })
	server, err := p.listen(h, slog.New(slog.DiscardHandler), make(chan error, 1))
	require.NoError(t, err)
	defer func() { require.NoError(t, server.shutdown(context.Background())) }()
	require.True(t, strings.HasPrefix(server.URL(), "https://127.0.0.1:"))
	address := strings.TrimPrefix(server.URL(), "https://")

	roots := x509.NewCertPool()
	require.True(t, roots.AppendCertsFromPEM(firstCert))
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, ForceAttemptHTTP2: true}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	ask := func() {
		t.Helper()
		req, askErr := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL(), nil)
		require.NoError(t, askErr)
		res, askErr := client.Do(req)
		require.NoError(t, askErr)
		require.Equal(t, 2, res.ProtoMajor)
		_, _ = io.Copy(io.Discard, res.Body)
		require.NoError(t, res.Body.Close())
	}
	ask()
	require.Equal(t, "first.example", shown(t, address))

	secondCert, secondKey := pair(t, "second.example", year.Add(time.Hour))
	mount(t, dir, secondCert, firstKey) // half of it
	cert.note(cert.refresh(time.Now()))
	cert.note(cert.refresh(time.Now()))
	require.Equal(t, "first.example", shown(t, address))
	require.Equal(t, 1, strings.Count(log.String(), "cannot use the new certificate"), "once for each reason")
	require.NotContains(t, log.String(), "PRIVATE KEY")

	mount(t, dir, secondCert, secondKey)
	cert.note(cert.refresh(time.Now()))
	require.Equal(t, "second.example", shown(t, address))
	ask() // over the connection that was there before: this client would not believe the second certificate

	require.NoError(t, os.Remove(filepath.Join(dir, "..data")))
	cert.note(cert.refresh(time.Now()))
	require.Equal(t, "second.example", shown(t, address))
	require.Contains(t, log.String(), "no such file")
	mount(t, dir, secondCert, secondKey)
	cert.note(cert.refresh(time.Now()))
	require.Empty(t, cert.failing)

	expiredCert, expiredKey := pair(t, "expired.example", time.Now().Add(-time.Hour))
	mount(t, dir, expiredCert, expiredKey)
	cert.note(cert.refresh(time.Now()))
	require.Equal(t, "second.example", shown(t, address))
	require.Contains(t, log.String(), "the new certificate expired at")
	require.NoError(t, testutil.GatherAndCompare(registry, strings.NewReader(`
# HELP livekit_connector_tls_certificate_reloads_total Changes of the certificate's files, by whether they were taken; refused ones leave the one before in use.
# TYPE livekit_connector_tls_certificate_reloads_total counter
livekit_connector_tls_certificate_reloads_total{outcome="refused"} 3
livekit_connector_tls_certificate_reloads_total{outcome="taken"} 1
`), "livekit_connector_tls_certificate_reloads_total"))
	require.InDelta(t, year.Add(time.Hour).Unix(), testutil.ToFloat64(cert.expiry), 0)

	_, err = (&tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS11}}).DialContext(t.Context(), "tcp", address)
	require.Error(t, err, "TLS 1.1")
}

// One that is issued in advance waits for its time, and is taken then without another change of the files.
func TestACertificateIsNotShownBeforeItsTime(t *testing.T) {
	now := time.Now().Truncate(time.Second)
	day := 24 * time.Hour
	c := TLSConfig{CertFile: filepath.Join(t.TempDir(), "tls.crt"), KeyFile: filepath.Join(t.TempDir(), "tls.key")}
	put := func(name string, from, until time.Time) {
		certPEM, keyPEM := pairFrom(t, name, from, until)
		require.NoError(t, os.WriteFile(c.CertFile, certPEM, 0o600))
		require.NoError(t, os.WriteFile(c.KeyFile, keyPEM, 0o600))
	}
	put("first.example", now.Add(-day), now.Add(10*day))
	var log bytes.Buffer
	cert, err := newCertificate(c, prometheus.NewRegistry(), slog.New(slog.NewTextHandler(&log, nil)))
	require.NoError(t, err)
	names := func() string { return cert.current.Load().Leaf.Subject.CommonName }
	put("early.example", now.Add(day), now.Add(20*day))
	for range 2 {
		require.ErrorContains(t, cert.refresh(now), "the new certificate is not valid before")
		require.Equal(t, "first.example", names())
	}
	require.NoError(t, cert.refresh(now.Add(day)))
	require.Equal(t, "early.example", names())

	require.NotContains(t, log.String(), "not valid yet")
	put("next.example", now.Add(30*day), now.Add(40*day))
	require.NoError(t, cert.refresh(now.Add(25*day)), "the one before is no better")
	require.Equal(t, "next.example", names())
	require.Contains(t, log.String(), "not valid yet")
}

func TestACertificateThatIsNoneIsToldAtStart(t *testing.T) {
	name := filepath.Join(t.TempDir(), "x")
	require.NoError(t, os.WriteFile(name, []byte("hush"), 0o600))
	_, err := newCertificate(TLSConfig{CertFile: name, KeyFile: name}, prometheus.NewRegistry(), slog.New(slog.DiscardHandler))
	require.ErrorContains(t, err, "tls.cert_file and tls.key_file are no pair")
	require.NotContains(t, err.Error(), "hush")
	_, err = newCertificate(TLSConfig{CertFile: name + "y", KeyFile: name}, prometheus.NewRegistry(), slog.New(slog.DiscardHandler))
	require.ErrorContains(t, err, "tls.cert_file")
}
