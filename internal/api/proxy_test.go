package api_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/livekit/protocol/auth"
	"github.com/livekit/protocol/livekit"
	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/internal/api"
	"github.com/livekit-connector/livekit-connector/proto/connectorpb"
)

// noClient is a node nobody is to ask.
type noClient struct {
	connectorpb.ConnectorInternalClient
}

func target(t *testing.T, raw string) func(*api.Options) {
	t.Helper()
	u, err := url.Parse(raw)
	require.NoError(t, err)
	return func(o *api.Options) { o.ProxyTarget = u }
}

// livekitServer stands in for livekit-server.
func livekitServer(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return server.URL
}

// reply is what a response said, with its body read and closed.
type reply struct {
	StatusCode int
	Header     http.Header
}

func get(t *testing.T, client *http.Client, url string) (reply, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	require.NoError(t, err)
	res, err := client.Do(r)
	require.NoError(t, err)
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	return reply{res.StatusCode, res.Header}, string(text)
}

func TestProxyPassesRequestsAsTheyAre(t *testing.T) {
	var got *http.Request
	var gotBody []byte
	backend := livekitServer(t, func(w http.ResponseWriter, r *http.Request) {
		got = r
		gotBody, _ = io.ReadAll(r.Body)
		w.Header().Set("Access-Control-Allow-Origin", "https://app.example")
		w.WriteHeader(http.StatusTeapot)
		_, _ = io.WriteString(w, "short and stout")
	})
	for _, scheme := range []string{"http", "ws"} {
		s := newStand(t, newNode(), target(t, strings.Replace(backend, "http", scheme, 1)), func(o *api.Options) { o.MaxBodyBytes = 10 })
		front, client := s.listen(t)
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost,
			front+"/twirp/livekit.RoomService/ListRooms?a=1;b=2&access_token=x", strings.NewReader("a body longer than ours may be"))
		require.NoError(t, err)
		r.Header.Set("Authorization", "Bearer abc")
		r.Header.Set("X-Forwarded-For", "203.0.113.7")
		r.Header.Set("X-Forwarded-Proto", "https")
		r.Header.Set("X-Own", "kept")
		res, err := client.Do(r)
		require.NoError(t, err)
		text, err := io.ReadAll(res.Body)
		require.NoError(t, err)
		require.NoError(t, res.Body.Close())

		require.Equal(t, http.StatusTeapot, res.StatusCode)
		require.Equal(t, "short and stout", string(text))
		require.Equal(t, []string{"https://app.example"}, res.Header["Access-Control-Allow-Origin"], "livekit-server's own, once")
		require.Equal(t, "/twirp/livekit.RoomService/ListRooms", got.URL.Path)
		require.Equal(t, "a=1;b=2&access_token=x", got.URL.RawQuery)
		require.Equal(t, "Bearer abc", got.Header.Get("Authorization"))
		require.Equal(t, "203.0.113.7, 127.0.0.1", got.Header.Get("X-Forwarded-For"))
		require.Equal(t, "https", got.Header.Get("X-Forwarded-Proto"))
		require.Equal(t, strings.TrimPrefix(front, "http://"), got.Header.Get("X-Forwarded-Host"))
		require.Equal(t, "kept", got.Header.Get("X-Own"))
		require.Equal(t, "1.1 livekit-connector", got.Header.Get("Via"))
		require.Equal(t, "a body longer than ours may be", string(gotBody))
		require.NotContains(t, s.log.String(), "access_token")
	}
}

func TestProxyLeavesTheConnectorAlone(t *testing.T) {
	backend := livekitServer(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) })
	s := newStand(t, newNode(), target(t, backend))
	front, client := s.listen(t)
	c := livekit.NewConnectorProtobufClient(front, authorized{client: client, token: serverToken(t)})
	_, err := c.DialWhatsAppCall(t.Context(), dial())
	require.NoError(t, err)
	res, text := get(t, client, front+"/settings/regions")
	require.Equal(t, 200, res.StatusCode)
	require.JSONEq(t, `{"regions":[]}`, text)
	for _, path := range []string{"/twirp/livekit.Connector/Other", "//twirp//livekit.Connector/Other"} {
		res, _ = get(t, client, front+path)
		require.Equal(t, 404, res.StatusCode)
	}
	res, _ = get(t, client, front+"/")
	require.Equal(t, http.StatusTeapot, res.StatusCode)
}

func TestProxyHoldsNothingBack(t *testing.T) {
	release := make(chan struct{})
	backend := livekitServer(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "13") // without one, ReverseProxy flushes by itself
		_, _ = io.WriteString(w, "first\n")
		_ = http.NewResponseController(w).Flush()
		select {
		case <-release:
		case <-r.Context().Done():
		}
		_, _ = io.WriteString(w, "second\n")
	})
	s := newStand(t, newNode(), target(t, backend))
	front, client := s.listen(t)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, front+"/stream", nil)
	require.NoError(t, err)
	res, err := client.Do(r)
	require.NoError(t, err)
	defer res.Body.Close()
	lines := bufio.NewReader(res.Body)
	line, err := lines.ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "first\n", line)
	close(release)
	line, err = lines.ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "second\n", line)
}

// echo upgrades and sends everything back.
func echo(t *testing.T) string {
	upgrader := websocket.Upgrader{Subprotocols: []string{"lk"}}
	return livekitServer(t, func(w http.ResponseWriter, r *http.Request) {
		conn, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer conn.Close()
		_ = conn.WriteMessage(websocket.TextMessage, []byte(r.URL.RequestURI()+" "+r.Header.Get("Authorization")))
		for {
			kind, data, err := conn.ReadMessage()
			if err != nil {
				return
			}
			if err := conn.WriteMessage(kind, data); err != nil {
				return
			}
		}
	})
}

func dialSocket(t *testing.T, front string) *websocket.Conn {
	t.Helper()
	dialer := websocket.Dialer{Subprotocols: []string{"lk"}}
	conn, res, err := dialer.DialContext(t.Context(), "ws"+strings.TrimPrefix(front, "http")+"/rtc?access_token=x&sdk=go",
		http.Header{"Authorization": {"Bearer t"}})
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	require.Equal(t, "lk", conn.Subprotocol())
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(10*time.Second)))
	_, hello, err := conn.ReadMessage()
	require.NoError(t, err)
	require.Equal(t, "/rtc?access_token=x&sdk=go Bearer t", string(hello))
	return conn
}

func TestProxyCarriesWebSockets(t *testing.T) {
	backend := echo(t)
	s := newStand(t, newNode(), target(t, strings.Replace(backend, "http", "ws", 1)))
	front, _ := s.listen(t)
	conn := dialSocket(t, front)
	defer conn.Close()
	for _, size := range []int{0, 1, 70_000} {
		want := strings.Repeat("a", size)
		require.NoError(t, conn.WriteMessage(websocket.BinaryMessage, []byte(want)))
		kind, got, err := conn.ReadMessage()
		require.NoError(t, err)
		require.Equal(t, websocket.BinaryMessage, kind)
		require.Equal(t, want, string(got))
	}
}

func TestCloseEndsWebSockets(t *testing.T) {
	s := newStand(t, newNode(), target(t, echo(t)))
	front, client := s.listen(t)
	conn := dialSocket(t, front)
	defer conn.Close()
	require.NoError(t, s.Close())
	_, _, err := conn.ReadMessage()
	require.Error(t, err)
	var timeout net.Error
	require.False(t, errors.As(err, &timeout) && timeout.Timeout(), "closed, not silent")

	_, text := get(t, client, front+"/rtc")
	require.Contains(t, text, "shutting down")
	require.NoError(t, s.Close(), "a second time is nothing")
}

func TestProxyWithoutALivekitServer(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	addr := listener.Addr().String()
	require.NoError(t, listener.Close())
	s := newStand(t, newNode(), target(t, "ws://"+addr))
	w := s.send(t, http.MethodGet, "/rtc?access_token=x", header("Origin", "https://app.example"))
	requireFailure(t, failure{503, "unavailable", "cannot be reached: connection refused", nil}, w)
	require.Equal(t, "*", w.Header().Get("Access-Control-Allow-Origin"))
	require.NotContains(t, w.Body.String(), addr)
	require.Contains(t, s.log.String(), "livekit-server not reached")
	require.NotContains(t, s.log.String(), "access_token")
}

func TestProxyWhenLivekitServerBreaksOff(t *testing.T) {
	s := newStand(t, newNode(), target(t, livekitServer(t, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })))
	requireFailure(t, failure{503, "unavailable", "connection failed", nil}, s.send(t, http.MethodPost, "/x"))
}

func TestProxyDoesNotLoop(t *testing.T) {
	// The target is set to the connector's own address, which is known only once it listens.
	var front *api.Server
	own := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { front.ServeHTTP(w, r) }))
	t.Cleanup(own.Close)
	s := newStand(t, newNode(), target(t, own.URL))
	front = s.Server
	res, text := get(t, own.Client(), own.URL+"/rtc")
	require.Equal(t, http.StatusServiceUnavailable, res.StatusCode)
	require.Equal(t, "application/json", res.Header.Get("Content-Type"))
	require.Contains(t, text, "proxy loop")

	// Another proxy's name in Via is none of ours.
	backend := livekitServer(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Header["Via"]) })
	other := newStand(t, newNode(), target(t, backend))
	w := other.send(t, http.MethodGet, "/", header("Via", "2.0 Caddy"))
	require.Equal(t, "[2.0 Caddy 1.1 livekit-connector]", w.Body.String())
}

func TestProxyTargetsThatCannotBe(t *testing.T) {
	for raw, want := range map[string]string{"ftp://host": `scheme "ftp"`, "//host": `scheme ""`, "http:///path": "names no host"} {
		opts := api.Options{Client: noClient{}, Registry: held{}, Keys: auth.NewSimpleKeyProvider(key, secret)}
		target(t, raw)(&opts)
		_, err := api.New(opts)
		require.ErrorContains(t, err, want)
	}
}
