package app

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/livekit/protocol/auth"
	"github.com/livekit/protocol/livekit"
	"github.com/stretchr/testify/require"
	"github.com/twitchtv/twirp"
)

// roomList is as much of a livekit-server as the check needs: it verifies the token.
type roomList struct {
	livekit.RoomService
	secret string
}

func (roomList) ListRooms(context.Context, *livekit.ListRoomsRequest) (*livekit.ListRoomsResponse, error) {
	return &livekit.ListRoomsResponse{}, nil
}

func (l roomList) serve(w http.ResponseWriter, r *http.Request) {
	raw := r.Header.Get("Authorization")
	token, err := auth.ParseAPIToken(raw[len("Bearer "):])
	if err == nil {
		_, _, err = token.Verify(l.secret)
	}
	if err != nil {
		http.Error(w, "invalid token: "+raw, http.StatusUnauthorized) // livekit-server answers in plain text too
		return
	}
	livekit.NewRoomServiceServer(l, twirp.WithServerPathPrefix("/twirp")).ServeHTTP(w, r)
}

func checkWithin(t *testing.T, d time.Duration, url, secret string) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	return CheckLiveKit(ctx, &Config{WSURL: url, APIKey: "key", APISecret: Secret(secret), Keys: map[string]Secret{"other": Secret(secret)}})
}

func TestCheckLiveKit(t *testing.T) {
	const secret = "a-secret-of-some-thirty-two-bytes"
	server := httptest.NewServer(http.HandlerFunc(roomList{secret: secret}.serve))
	defer server.Close()
	require.NoError(t, checkWithin(t, 5*time.Second, server.URL, secret))

	err := checkWithin(t, 5*time.Second, server.URL, "hunter2hunter2hunter2hunter2")
	require.ErrorIs(t, err, ErrLiveKitRefused)
	require.ErrorContains(t, err, `says "invalid token: [redacted]\n" about API key key`)
	require.NotContains(t, err.Error(), "hunter2")
	require.NotContains(t, err.Error(), "eyJ", "a token is as good as a secret")
}

func TestCheckLiveKitFindsNoLiveKit(t *testing.T) {
	other := httptest.NewServer(http.NotFoundHandler())
	defer other.Close()
	err := checkWithin(t, 5*time.Second, other.URL, "secret")
	require.ErrorIs(t, err, ErrLiveKitUnreachable)
	require.ErrorContains(t, err, "is no livekit-server")

	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no upstream", http.StatusBadGateway) }))
	defer proxy.Close()
	err = checkWithin(t, 5*time.Second, proxy.URL, "secret")
	require.ErrorIs(t, err, ErrLiveKitUnreachable)
	require.ErrorContains(t, err, "answers with HTTP status 502, which livekit-server did not send")

	closed, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, closed.Close())
	err = checkWithin(t, 10*time.Millisecond, "ws://"+closed.Addr().String(), "secret")
	require.ErrorIs(t, err, ErrLiveKitUnreachable)
	require.ErrorContains(t, err, "connection refused")

	err = checkWithin(t, 5*time.Second, "https://"+other.Listener.Addr().String(), "secret")
	require.ErrorIs(t, err, ErrLiveKitUnreachable)
	require.ErrorContains(t, err, "server gave HTTP response to HTTPS client")

	release := make(chan struct{})
	silent := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	defer silent.Close()
	defer close(release)
	err = checkWithin(t, 50*time.Millisecond, silent.URL, "secret")
	require.ErrorIs(t, err, ErrLiveKitUnreachable)
	require.ErrorContains(t, err, "no answer in time")

	tls := httptest.NewTLSServer(http.NotFoundHandler())
	defer tls.Close()
	err = checkWithin(t, 5*time.Second, tls.URL, "secret")
	require.ErrorIs(t, err, ErrLiveKitUnreachable)
	require.ErrorContains(t, err, "certificate")
}

func TestCheckLiveKitWaitsForOneThatStarts(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	addr := l.Addr().String()
	require.NoError(t, l.Close())
	checked := make(chan error, 1)
	go func() { checked <- checkWithin(t, 20*time.Second, "ws://"+addr, "a-secret-of-some-thirty-two-bytes") }()
	select {
	case err = <-checked:
		t.Fatal("did not wait: ", err)
	case <-time.After(2 * preflightRetry):
	}
	l, err = net.Listen("tcp", addr)
	require.NoError(t, err)
	server := &http.Server{Handler: http.HandlerFunc(roomList{secret: "a-secret-of-some-thirty-two-bytes"}.serve), ReadHeaderTimeout: time.Second}
	go server.Serve(l) //nolint:errcheck // always ErrServerClosed
	defer server.Close()
	require.NoError(t, <-checked)
}
