package app

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
)

func get(t *testing.T, url string) (status int, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	require.NoError(t, err)
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp.StatusCode, strings.TrimSpace(string(text))
}

func newProbes(t *testing.T) *Probes {
	t.Helper()
	p := NewProbes(slog.New(slog.DiscardHandler))
	t.Cleanup(p.Close)
	return p
}

// found is what a probe says of its checks: "" for one that is fine, else the reason.
func found(t *testing.T, body string) map[string]string {
	t.Helper()
	var report struct {
		Checks map[string]finding `json:"checks"`
	}
	require.NoError(t, json.Unmarshal([]byte(body), &report), body)
	checks := make(map[string]string)
	for name, f := range report.Checks {
		require.Equal(t, f.OK, f.Reason == "", body)
		checks[name] = f.Reason
	}
	return checks
}

// startServers serves until the test ends. Probes are answered whatever else the machine does.
func startServers(t *testing.T, c *Config, probes *Probes) *Servers {
	t.Helper()
	probes.answer = time.Minute
	registry := prometheus.NewRegistry()
	counter := prometheus.NewCounter(prometheus.CounterOpts{Name: "sample_total", Help: "A sample."})
	registry.MustRegister(counter)
	api := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "api "+r.URL.Path) })
	admin := http.NewServeMux()
	RegisterMetrics(admin, registry)
	servers, err := StartServers(c, Served{API: api, Admin: admin, Probes: probes, Registry: registry, Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		require.NoError(t, servers.Shutdown(ctx))
	})
	return servers
}

func TestTheAPIsPort(t *testing.T) {
	probes := newProbes(t)
	full := errors.New("2 of 2 calls, the last to +15550001111")
	var ready error
	probes.AddReady("capacity", func(context.Context) error { return ready })
	probes.AddAlive("loop", func(context.Context) error { return nil })
	servers := startServers(t, &Config{BindAddresses: []string{"127.0.0.1"}}, probes)
	url := servers.API.URL()

	for _, step := range []struct {
		do     func()
		path   string
		status int
		checks map[string]string
	}{
		{func() {}, "/livez", 200, map[string]string{"loop": ""}},
		{func() {}, "/startupz", 503, map[string]string{"started": "still starting"}},
		{func() {}, "/readyz", 503, map[string]string{"started": "still starting", "capacity": ""}},
		{probes.Started, "/startupz", 200, map[string]string{"started": ""}},
		{func() {}, "/readyz", 200, map[string]string{"started": "", "capacity": ""}},
		{func() { ready = full }, "/readyz", 503, map[string]string{"started": "", "capacity": "2 of 2 calls, the last to ***11"}},
		{func() {}, "/livez", 200, map[string]string{"loop": ""}},
	} {
		step.do()
		status, body := get(t, url+step.path)
		require.Equal(t, step.status, status, step.path)
		require.Equal(t, step.checks, found(t, body), step.path)
	}
	for _, path := range []string{"/twirp/livekit.Connector/X", "/"} {
		_, body := get(t, url+path)
		require.Equal(t, "api "+path, body)
	}
	_, body := get(t, url+"/metrics")
	require.Equal(t, "api /metrics", body, "not where the public may be")
	_, body = get(t, servers.Admin.URL()+"/metrics")
	require.Contains(t, body, "sample_total 0")
}

func TestPortsOfTheirOwn(t *testing.T) {
	c := &Config{BindAddresses: []string{"127.0.0.1"}, HealthPort: freePort(t)}
	c.PrometheusPort = c.HealthPort
	probes := newProbes(t)
	probes.Started()
	servers := startServers(t, c, probes)
	_, body := get(t, servers.API.URL()+"/livez")
	require.JSONEq(t, `{"status":"ok","checks":{}}`, body, "a load balancer asks where the requests go")
	_, body = get(t, servers.API.URL()+"/metrics")
	require.Equal(t, "api /metrics", body)

	require.NoError(t, Healthcheck(t.Context(), c))
	own := "http://127.0.0.1:" + strconv.Itoa(c.HealthPort)
	_, body = get(t, own+"/metrics")
	require.Contains(t, body, "sample_total 0")
	status, _ := get(t, own+"/twirp/livekit.Connector/X")
	require.Equal(t, http.StatusNotFound, status)
}

func TestHealthcheckSaysWhy(t *testing.T) {
	probes := newProbes(t)
	probes.AddAlive("loop", func(context.Context) error { return errors.New("stuck for 1m") })
	c := &Config{BindAddresses: []string{"127.0.0.1"}, HealthPort: freePort(t)}
	require.ErrorContains(t, Healthcheck(t.Context(), c), "connection refused")
	startServers(t, c, probes)
	require.ErrorContains(t, Healthcheck(t.Context(), c), `"reason":"stuck for 1m"`)
	require.Error(t, Healthcheck(t.Context(), &Config{}))
}

func TestAPortInUseIsNamed(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer taken.Close()
	c := &Config{BindAddresses: []string{"127.0.0.1"}, PrometheusPort: taken.Addr().(*net.TCPAddr).Port}
	_, err = StartServers(c, Served{
		API: http.NotFoundHandler(), Admin: http.NotFoundHandler(), Probes: newProbes(t), Registry: prometheus.NewRegistry(), Logger: slog.New(slog.DiscardHandler),
	})
	require.ErrorContains(t, err, "listen for metrics")
	require.ErrorContains(t, err, "address already in use")
}

// freePort returns a port on which nothing listens, and which the kernel hands to nobody as long as the test lasts: a
// socket of ours is bound to it. Only where 0 has another meaning.
func freePort(t *testing.T) int {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	require.NoError(t, err)
	t.Cleanup(func() { _ = syscall.Close(fd) })
	require.NoError(t, syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1)) // who listens does so, too
	require.NoError(t, syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	bound, err := syscall.Getsockname(fd)
	require.NoError(t, err)
	return bound.(*syscall.SockaddrInet4).Port
}

// A client may open a connection in reserve and never use it. Shutdown must not wait five seconds for that, as net/http does.
func TestShutdownDoesNotWaitForUnusedConnections(t *testing.T) {
	server := serveOn(t, port{}, http.NotFoundHandler())
	unused := connect(t, server)
	require.Eventually(t, func() bool {
		server.mu.Lock()
		defer server.mu.Unlock()
		return len(server.fresh) == 1
	}, time.Minute, time.Millisecond, "the server knows of it")
	server.closeFresh()
	_, err := unused.Read(make([]byte, 1))
	require.ErrorIs(t, err, io.EOF, "it is closed, though nothing else closes it")

	other := serveOn(t, port{}, http.NotFoundHandler())
	require.NoError(t, other.shutdown(t.Context()))
	require.Eventually(t, func() bool {
		other.mu.Lock()
		defer other.mu.Unlock()
		return other.closing
	}, time.Minute, time.Millisecond, "and the end does so")
}

// One that was accepted just before the listener was closed is told of after the others are gone.
func TestShutdownDoesNotWaitForAConnectionThatCameLast(t *testing.T) {
	servers := startServers(t, &Config{BindAddresses: []string{"127.0.0.1"}}, newProbes(t))
	near, far := net.Pipe()
	defer far.Close()
	servers.API.closeFresh()
	servers.API.watch(near, http.StateNew)
	_, err := near.Write([]byte("x"))
	require.ErrorIs(t, err, io.ErrClosedPipe)
	require.NoError(t, servers.Shutdown(t.Context()))
}
