package main

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/internal/app"
)

// do runs the program and returns what a shell would see.
func do(environ []string, args ...string) (code int, stdout, stderr string) {
	var out, errs bytes.Buffer
	code = run(args, app.Env{Environ: environ, ReadFile: os.ReadFile}, &out, &errs)
	return code, out.String(), errs.String()
}

func complete(url string) []string {
	return []string{"LIVEKIT_URL=" + url, "LIVEKIT_API_KEY=key", "LIVEKIT_API_SECRET=hunter2hunter2hunter2hunter2hunter2"}
}

func TestProblemsAreListedOneALine(t *testing.T) {
	code, stdout, stderr := do([]string{"CONNECTOR_PRT=1"}, "--config-body", "{max_active_cals: 1, port: x}")
	require.Equal(t, exitUsage, code)
	require.Empty(t, stdout)
	require.Equal(t, `warning: $CONNECTOR_PRT: unknown variable, did you mean CONNECTOR_PORT?
--config-body:1: max_active_cals: unknown key, did you mean max_active_calls?
--config-body:1: port: want a whole number, got "x"
ws_url: is missing: the URL of livekit-server, such as ws://127.0.0.1:7880 (set it in the file, with $LIVEKIT_WS_URL or with --ws-url)
api_key: is missing (set it in the file, with $LIVEKIT_API_KEY or with --api-key)
api_secret: is missing (set it in the file, with $LIVEKIT_API_SECRET or with --api-secret)
livekit-connector --help lists every setting.
`, stderr)
}

func TestConfigShowsOriginsAndNoSecrets(t *testing.T) {
	code, stdout, stderr := do(complete("wss://lk.example.com"), "config", "--port=9000")
	require.Equal(t, exitOK, code)
	require.Empty(t, stderr)
	require.Contains(t, stdout, "\nport: 9000 # --port\n")
	require.Contains(t, stdout, "api_secret: '[redacted]' # $LIVEKIT_API_SECRET\n")
	require.NotContains(t, stdout, "hunter2")
}

func TestHelpAndVersionNeedNoConfiguration(t *testing.T) {
	for _, args := range [][]string{{"--help"}, {"help"}, {"-h"}} {
		code, stdout, stderr := do(nil, args...)
		require.Equal(t, exitOK, code)
		require.Contains(t, stdout, "Usage:")
		require.Empty(t, stderr)
	}
	for _, args := range [][]string{{"--version"}, {"version"}} {
		code, stdout, _ := do(nil, args...)
		require.Equal(t, exitOK, code)
		require.Regexp(t, `(?s)^livekit-connector \S+\ncommit +\S+\ngo +go\S+ .*\nlibopus +`, stdout)
	}
}

func TestCheckAndStartNeedLiveKit(t *testing.T) {
	refusing := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, `{"code":"unauthenticated","msg":"invalid API key: key"}`, http.StatusUnauthorized)
	}))
	defer refusing.Close()
	other := httptest.NewServer(http.NotFoundHandler())
	defer other.Close()
	for url, want := range map[string]string{refusing.URL: "LiveKit refuses the credentials", other.URL: "is no livekit-server"} {
		for _, command := range []string{"check", "run"} {
			code, stdout, stderr := do(complete(url), command, "--port=0", "--bind-addresses=127.0.0.1")
			require.Equal(t, exitLiveKit, code)
			require.Empty(t, stdout)
			require.Contains(t, stderr, want)
			require.NotContains(t, stderr, "hunter2")
		}
	}
}

// It would end the process, tests included, if nobody took it.
func TestSIGHUPIsTaken(t *testing.T) {
	received := reloads()
	require.NoError(t, syscall.Kill(os.Getpid(), syscall.SIGHUP))
	require.Equal(t, syscall.SIGHUP, <-received)
}

// A LiveKit that takes connections and says nothing holds the start up for seconds. A signal need not wait for that.
func TestSignalDuringTheStart(t *testing.T) {
	asked, over := make(chan struct{}), make(chan struct{})
	silent := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		close(asked)
		<-over
	}))
	defer silent.Close()
	defer close(over)
	c := app.DefaultConfig()
	c.WSURL, c.APIKey, c.APISecret = silent.URL, "key", "hunter2hunter2hunter2hunter2hunter2"
	stops := make(chan os.Signal, 1)
	go func() { <-asked; stops <- syscall.SIGTERM }()
	stopped, err := preflightUnless(&c, stops)
	require.NoError(t, err)
	require.Equal(t, syscall.SIGTERM, stopped)
}

func TestConfigShowsHostsOnly(t *testing.T) {
	code, stdout, stderr := do(complete("wss://lk.example.com"), "config", "--events.urls=https://example.com/hooks/hunter2,https://plain.example.com:8443",
		"--webhook.forward=[{url: 'https://bot.example.com?key=hunter2', secret: hunter2, fields: [messages]}]")
	require.Equal(t, exitOK, code, stderr)
	require.NotContains(t, stdout, "hunter2")
	for _, shown := range []string{"- https://example.com/...\n", "- https://plain.example.com:8443\n", "url: https://bot.example.com/...\n"} {
		require.Contains(t, stdout, shown)
	}
}

func TestHelpListsEveryExitCode(t *testing.T) {
	_, stdout, _ := do(nil, "--help")
	_, codes, _ := strings.Cut(stdout, "Exit codes:")
	for _, code := range []int{exitOK, exitFailed, exitUsage, exitLiveKit, exitRejected, exitUnmatched, exitCallsLeft, exitInterrupted} {
		require.Regexp(t, fmt.Sprintf(`\b%d\b`, code), codes)
	}
}

func TestHealthcheckNeedsOnlyThePort(t *testing.T) {
	code, _, stderr := do(nil, "healthcheck", "--health-port=1")
	require.Equal(t, exitFailed, code, "Docker reserves 2")
	require.Contains(t, stderr, "ask for health")
}
