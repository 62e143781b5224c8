package e2e_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/internal/app"
)

// certificateFor writes a certificate of this machine and its key, httptest's, and returns who believes it.
func certificateFor(t *testing.T, c *app.TLSConfig) *x509.CertPool {
	t.Helper()
	certified := httptest.NewTLSServer(http.NotFoundHandler())
	defer certified.Close()
	secret, err := x509.MarshalPKCS8PrivateKey(certified.TLS.Certificates[0].PrivateKey)
	require.NoError(t, err)
	dir := t.TempDir()
	c.CertFile, c.KeyFile = filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	for name, block := range map[string]*pem.Block{
		c.CertFile: {Type: "CERTIFICATE", Bytes: certified.Certificate().Raw}, c.KeyFile: {Type: "PRIVATE KEY", Bytes: secret},
	} {
		require.NoError(t, os.WriteFile(name, pem.EncodeToMemory(block), 0o600))
	}
	believers := x509.NewCertPool()
	believers.AddCert(certified.Certificate())
	return believers
}

// The API's port by TLS, as strangers find it: they are refused, and after a while not told why; what is the operator's is not there.
func TestGatewayStrangersAtTheAPIsPort(t *testing.T) {
	t.Parallel()
	var believers *x509.CertPool
	w := newWorld(t, worldOptions{config: func(c *app.Config) {
		believers = certificateFor(t, &c.TLS)
		c.HTTP.MaxFailures = 6
		c.Webhook.Path, c.Webhook.VerifyToken, c.Webhook.AppSecrets = "/webhook", verifyToken, []app.Secret{appSecret}
	}})
	require.True(t, strings.HasPrefix(w.url, "https://127.0.0.1:"))
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: believers}, ForceAttemptHTTP2: true}}
	defer client.CloseIdleConnections()
	ask := func(method, path, token, body string) (status int, answer string) {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, method, w.url+path, bytes.NewReader([]byte(body)))
		require.NoError(t, err)
		req.Header.Set("Content-Type", "application/json")
		if token != "" {
			req.Header.Set("Authorization", "Bearer "+token)
		}
		res, err := client.Do(req)
		require.NoError(t, err)
		defer res.Body.Close()
		text, err := io.ReadAll(res.Body)
		require.NoError(t, err)
		return res.StatusCode, string(text)
	}
	status, _ := ask(http.MethodGet, "/livez", "", "")
	require.Equal(t, http.StatusOK, status)
	for _, path := range []string{"/metrics", "/debug/pprof/", "/drain", "/log/level"} {
		status, _ = ask(http.MethodGet, path, "", "")
		require.Equal(t, http.StatusNotFound, status, path)
	}
	for range 2 {
		status, _ = ask(http.MethodPost, "/twirp/livekit.Connector/DialWhatsAppCall", "guessed", "{}")
		require.Equal(t, http.StatusUnauthorized, status)
		status, _ = ask(http.MethodGet, "/connector/v1/calls", "guessed", "")
		require.Equal(t, http.StatusUnauthorized, status)
		status, _ = ask(http.MethodPost, "/webhook", "", `{"object":"whatsapp_business_account"}`)
		require.Equal(t, http.StatusUnauthorized, status)
	}
	limited := func(path, token string) (answer string) { // one attempt in ten seconds is allowed still
		until(t, func() string {
			status, answer = ask(http.MethodPost, path, token, "{}")
			if status != http.StatusTooManyRequests {
				return answer
			}
			return ""
		})
		return answer
	}
	require.Contains(t, limited("/twirp/livekit.Connector/DialWhatsAppCall", "guessed"), `"code":"resource_exhausted"`)
	limited("/webhook", "")
	status, _ = ask(http.MethodGet, "/livez", "", "")
	require.Equal(t, http.StatusOK, status)

	metrics := w.metrics() // the admin port speaks http
	require.Contains(t, metrics, `livekit_connector_requests_limited_total{for="api"} 1`)
	require.Contains(t, metrics, `livekit_connector_requests_limited_total{for="webhook"} 1`)
	require.Contains(t, metrics, `livekit_connector_panics_total{where="call"} 0`)
	require.Contains(t, metrics, "livekit_connector_tls_certificate_expiry_timestamp_seconds ")
}
