package main

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/internal/app"
)

// adminPort plays a connector's /drain, with so many calls left at each request.
type adminPort struct {
	mu      sync.Mutex
	left    []int
	methods []string
	// end closes the port after the last of left.
	end func()
}

func (p *adminPort) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.methods = append(p.methods, r.Method+" "+r.URL.Path)
	if r.Method == http.MethodDelete {
		w.WriteHeader(http.StatusConflict)
		fmt.Fprint(w, `{"error":"it is stopping"}`)
		return
	}
	calls := p.left[0]
	if len(p.left) > 1 {
		p.left = p.left[1:]
	} else if p.end != nil {
		p.end()
	}
	fmt.Fprintf(w, `{"draining":true,"stopping":false,"calls":%d,"oldest_call_seconds":75}`, calls)
}

// drains runs the command and returns what a shell would see.
func drains(ctx context.Context, environ []string, args ...string) (code int, stdout, stderr string) {
	var out, errs bytes.Buffer
	code = drainCommand(ctx, args, app.Env{Environ: environ}, &out, &errs)
	return code, out.String(), errs.String()
}

func TestDrainWaitsForTheLastCall(t *testing.T) {
	p := &adminPort{left: []int{2, 1, 0}}
	server := httptest.NewServer(p)
	defer server.Close()
	code, stdout, stderr := drains(t.Context(), nil, "--url", server.URL)
	require.Equal(t, exitOK, code, stderr)
	require.Equal(t, "draining: 2 calls left, the oldest 1m15s old\ndraining: 1 call left, the oldest 1m15s old\ndrained: no call is left\n", stdout)
	require.Equal(t, []string{"POST /drain", "GET /drain", "GET /drain"}, p.methods)

	p.left = []int{1, 0}
	code, stdout, _ = drains(t.Context(), []string{"CONNECTOR_ADMIN_PORT=" + server.URL[strings.LastIndexByte(server.URL, ':')+1:]}, "--json")
	require.Equal(t, exitOK, code)
	require.Equal(t, 2, strings.Count(stdout, "\n"), stdout)
	require.Contains(t, stdout, `{"draining":true,"stopping":false,"calls":0,"oldest_call_seconds":75}`)
}

func TestDrainThatDoesNotWait(t *testing.T) {
	p := &adminPort{left: []int{3}}
	server := httptest.NewServer(p)
	defer server.Close()
	code, stdout, _ := drains(t.Context(), nil, "--url", server.URL+"/", "--timeout=0s")
	require.Equal(t, exitOK, code)
	require.Contains(t, stdout, "3 calls left")
	code, _, stderr := drains(t.Context(), nil, "--url", server.URL, "--timeout=1ms")
	require.Equal(t, exitCallsLeft, code)
	require.Contains(t, stderr, "calls are left after 1ms: 3 calls left")
	code, _, stderr = drains(t.Context(), nil, "--url", server.URL, "--cancel")
	require.Equal(t, exitFailed, code)
	require.Contains(t, stderr, "it is stopping")
	stopped, stop := context.WithCancel(t.Context())
	stop()
	code, _, _ = drains(stopped, nil, "--url", server.URL)
	require.Equal(t, exitInterrupted, code)
}

func TestDrainThatBeginsLater(t *testing.T) {
	p := &adminPort{left: []int{0}}
	server := httptest.NewServer(p)
	defer server.Close()
	stopped, stop := context.WithCancel(t.Context())
	stop()
	code, _, stderr := drains(stopped, nil, "--url", server.URL, "--delay", "1h")
	require.Equal(t, exitInterrupted, code)
	require.Contains(t, stderr, "nothing has changed")
	require.Empty(t, p.methods, "the connector takes calls for all of the delay")
	code, stdout, stderr := drains(t.Context(), nil, "--url", server.URL, "--delay=1ms")
	require.Equal(t, exitOK, code, stderr)
	require.Equal(t, "drained: no call is left\n", stdout)
}

func TestDrainOfAConnectorThatEnds(t *testing.T) {
	p := &adminPort{left: []int{2}}
	server := httptest.NewServer(p)
	p.end = func() { _ = server.Listener.Close() }
	server.Config.SetKeepAlivesEnabled(false)
	defer server.Close()
	code, stdout, stderr := drains(t.Context(), nil, "--url", server.URL)
	require.Equal(t, exitOK, code, stderr)
	require.Contains(t, stdout, "the connector has ended")
}

func TestDrainSaysWhatIsWrong(t *testing.T) {
	other := httptest.NewServer(http.NotFoundHandler())
	defer other.Close()
	for _, tt := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"--url", "http://127.0.0.1:1"}, exitFailed, "no connector answers at http://127.0.0.1:1: dial tcp 127.0.0.1:1: connect: connection refused"},
		{[]string{"--url", other.URL}, exitFailed, "404 Not Found and is no connector's admin port"},
		{[]string{"--url", "127.0.0.1:8085"}, exitUsage, "--url: want the URL of an admin port"},
		{[]string{"--url", other.URL + "/drain"}, exitUsage, "--url: want the URL of an admin port"},
		{[]string{"--timeout", "30"}, exitUsage, `--timeout: want a duration such as 30s or 5m, got "30"`},
		{[]string{"--delay=-1s"}, exitUsage, `--delay: want a duration such as 30s or 5m, got "-1s"`},
		{[]string{"now"}, exitUsage, `want flags only, got "now"`},
		{[]string{"--tiemout=5m"}, exitUsage, "--tiemout"},
	} {
		code, _, stderr := drains(t.Context(), nil, tt.args...)
		require.Equal(t, tt.code, code, stderr)
		require.Contains(t, stderr, tt.want)
	}
	code, stdout, _ := do(nil, "drain", "--help")
	require.Equal(t, exitOK, code)
	for _, flag := range drainFlags[:5] {
		require.Contains(t, stdout, "--"+flag.Name)
	}
}
