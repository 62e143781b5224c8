package app

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
)

// serveOn serves h on a loopback port until the test ends.
func serveOn(t *testing.T, p port, h http.Handler) *HTTPServer {
	t.Helper()
	p.name, p.bind = "api", []string{"127.0.0.1"}
	server, err := p.listen(timed(h, p.patience), slog.New(slog.DiscardHandler), make(chan error, 1))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, server.shutdown(context.Background())) })
	return server
}

func connect(t *testing.T, s *HTTPServer) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.URL(), "http://"))
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	require.NoError(t, conn.SetDeadline(time.Now().Add(time.Minute))) // it only ends a test that hangs
	return conn
}

// soon is patience that a test has time for; it waits for what happens, not for so long.
func soon() patience {
	return patience{header: 50 * time.Millisecond, body: 50 * time.Millisecond, answer: 50 * time.Millisecond, idle: 50 * time.Millisecond}
}

// A client that sends its request, or reads its answer, byte by byte does not keep its connection.
func TestSlowClientsAreCutOff(t *testing.T) {
	refusing := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "who are you", http.StatusUnauthorized) })
	for name, begin := range map[string]string{
		"says nothing": "", "half a head": "GET /livez HTTP/1.1\r\nHost: x\r\nX-A",
		"half a body, of which nothing is read": "POST /twirp/x HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{",
		"chunks without an end":                 "POST /twirp/x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n",
		"asks no more":                          "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn := connect(t, serveOn(t, port{patience: soon()}, refusing))
			_, err := io.WriteString(conn, begin)
			require.NoError(t, err)
			_, err = io.Copy(io.Discard, conn) // ends when the server has closed
			if err != nil {
				require.ErrorIs(t, err, syscall.ECONNRESET)
			}
		})
	}
	t.Run("does not read", func(t *testing.T) {
		t.Parallel()
		ended := make(chan error, 1)
		p := defaultPatience() // the head is to be served, however late it is read
		p.answer = soon().answer
		conn := connect(t, serveOn(t, port{patience: p}, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, err := io.Copy(w, endless{})
			ended <- err
		})))
		_, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		require.NoError(t, err)
		select {
		case err = <-ended:
			var timeout net.Error
			require.ErrorAs(t, err, &timeout)
			require.True(t, timeout.Timeout())
		case <-time.After(time.Minute): // it only ends a test that hangs
			t.Fatal("the answer waits for a client that does not read it")
		}
	})
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

func TestHeadsAreBounded(t *testing.T) {
	conn := connect(t, serveOn(t, port{patience: defaultPatience()}, http.NotFoundHandler()))
	_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\nX-A: "+strings.Repeat("a", 70<<10)+"\r\n\r\n") // the end of it may come too late
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	require.NoError(t, err)
	defer res.Body.Close()
	require.Equal(t, http.StatusRequestHeaderFieldsTooLarge, res.StatusCode)
}

// One too many is closed at once; others stay, and their places are free when they go.
func TestConnectionsAreBounded(t *testing.T) {
	registry := prometheus.NewRegistry()
	bounds := newConnections(&HTTPConfig{MaxConnections: 2, MaxConnectionsPerAddress: 1}, registry)
	server := serveOn(t, port{patience: defaultPatience(), bounds: bounds}, http.NotFoundHandler())
	ask := func(conn net.Conn) error {
		if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			return err
		}
		res, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, res.Body)
		return errors.Join(err, res.Body.Close())
	}
	another := func() error { // the kernel may tell of the end while it connects
		conn, err := net.Dial("tcp", strings.TrimPrefix(server.URL(), "http://"))
		if err != nil {
			return err
		}
		return errors.Join(conn.SetDeadline(time.Now().Add(time.Minute)), ask(conn), conn.Close())
	}
	first, second := connect(t, server), connect(t, server) // this machine is not counted by address
	require.NoError(t, ask(first))
	require.NoError(t, ask(second))
	require.Error(t, another())
	require.NoError(t, ask(first))
	require.InDelta(t, 1, testutil.ToFloat64(bounds.refused.WithLabelValues(refusedTotal)), 0)
	require.NoError(t, first.Close())
	require.Eventually(t, func() bool { return another() == nil }, time.Minute, time.Millisecond, "as soon as the server has noticed")
}

func TestConnectionsAreBoundedByAddress(t *testing.T) {
	bounds := newConnections(&HTTPConfig{MaxConnectionsPerAddress: 1, TrustedProxies: []string{"10.0.0.0/8"}}, nil)
	stranger, proxy := addressOf(t, "198.51.100.7"), addressOf(t, "10.1.2.3")
	require.Empty(t, bounds.admit(stranger))
	require.Equal(t, refusedAddress, bounds.admit(stranger))
	require.Empty(t, bounds.admit(addressOf(t, "198.51.100.8")))
	require.Empty(t, bounds.admit(proxy))
	require.Empty(t, bounds.admit(proxy))
	bounds.leave(stranger)
	require.Empty(t, bounds.admit(stranger))
	require.InDelta(t, 4, testutil.ToFloat64(bounds.open), 0)

	require.Empty(t, bounds.admit(addressOf(t, "2001:db8:1:2::1")))
	require.Equal(t, refusedAddress, bounds.admit(addressOf(t, "2001:db8:1:2:ffff::9")), "one customer has the whole /64")
	require.Empty(t, bounds.admit(addressOf(t, "2001:db8:1:3::1")))
	bounds.leave(addressOf(t, "2001:db8:1:2::1"))
	require.Empty(t, bounds.admit(addressOf(t, "2001:db8:1:2:ffff::9")))
}

func addressOf(t *testing.T, text string) netip.Addr {
	t.Helper()
	addr, err := netip.ParseAddr(text)
	require.NoError(t, err)
	return addr
}
