package app

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"strconv"
	"testing"
	"testing/synctest"
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

// checkURL asks with patience.
func checkURL(t *testing.T, url, secret string) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	return checkUntil(ctx, url, secret)
}

func checkUntil(ctx context.Context, url, secret string) error {
	return CheckLiveKit(ctx, &Config{WSURL: url, APIKey: "key", APISecret: Secret(secret), Keys: map[string]Secret{"other": Secret(secret)}})
}

func TestCheckLiveKit(t *testing.T) {
	const secret = "a-secret-of-some-thirty-two-bytes"
	server := httptest.NewServer(http.HandlerFunc(roomList{secret: secret}.serve))
	defer server.Close()
	require.NoError(t, checkURL(t, server.URL, secret))

	err := checkURL(t, server.URL, "hunter2hunter2hunter2hunter2")
	require.ErrorIs(t, err, ErrLiveKitRefused)
	require.ErrorContains(t, err, `says "invalid token: [redacted]\n" about API key key`)
	require.NotContains(t, err.Error(), "hunter2")
	require.NotContains(t, err.Error(), "eyJ", "a token is as good as a secret")
}

func TestCheckLiveKitFindsNoLiveKit(t *testing.T) {
	other := httptest.NewServer(http.NotFoundHandler())
	defer other.Close()
	err := checkURL(t, other.URL, "secret")
	require.ErrorIs(t, err, ErrLiveKitUnreachable)
	require.ErrorContains(t, err, "is no livekit-server")

	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no upstream", http.StatusBadGateway) }))
	defer proxy.Close()
	err = checkURL(t, proxy.URL, "secret")
	require.ErrorIs(t, err, ErrLiveKitUnreachable)
	require.ErrorContains(t, err, "answers with HTTP status 502, which livekit-server did not send")

	err = checkURL(t, "https://"+other.Listener.Addr().String(), "secret")
	require.ErrorIs(t, err, ErrLiveKitUnreachable)
	require.ErrorContains(t, err, "server gave HTTP response to HTTPS client")

	tls := httptest.NewTLSServer(http.NotFoundHandler())
	defer tls.Close()
	err = checkURL(t, tls.URL, "secret")
	require.ErrorIs(t, err, ErrLiveKitUnreachable)
	require.ErrorContains(t, err, "certificate")
}

// The clock stands still while the kernel is asked: the time that there is passes between two attempts.
func TestCheckLiveKitTellsWhyItDidNotCome(t *testing.T) {
	where := "ws://127.0.0.1:" + strconv.Itoa(freePort(t))
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 3*preflightRetry+preflightRetry/2)
		defer cancel()
		err := checkUntil(ctx, where, "secret")
		require.ErrorIs(t, err, ErrLiveKitUnreachable)
		require.ErrorContains(t, err, "connection refused")
		require.ErrorIs(t, ctx.Err(), context.DeadlineExceeded, "it was tried until then")
	})
}

// late is a context whose deadline passes when a test says so.
type late struct {
	context.Context //nolint:containedctx // it is one itself

	passed chan struct{}
}

func (l late) Done() <-chan struct{} { return l.passed }

func (l late) Err() error {
	select {
	case <-l.passed:
		return context.DeadlineExceeded
	default:
		return nil
	}
}

func TestCheckLiveKitDoesNotWaitForASilentOne(t *testing.T) {
	deadline, release := late{t.Context(), make(chan struct{})}, make(chan struct{})
	silent := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		close(deadline.passed)
		<-release
	}))
	defer silent.Close()
	defer close(release)
	err := checkUntil(deadline, silent.URL, "secret")
	require.ErrorIs(t, err, ErrLiveKitUnreachable)
	require.ErrorContains(t, err, "no answer in time")
}

func TestCheckLiveKitWaitsForOneThatStarts(t *testing.T) {
	const secret = "a-secret-of-some-thirty-two-bytes"
	addr := "127.0.0.1:" + strconv.Itoa(freePort(t))
	tries := make(chan struct{}, 1000)
	ctx, cancel := context.WithTimeout(httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
		GetConn: func(string) { tries <- struct{}{} },
	}), time.Minute)
	defer cancel()
	checked := make(chan error, 1)
	go func() { checked <- checkUntil(ctx, "ws://"+addr, secret) }()
	for range 3 {
		select {
		case err := <-checked:
			t.Fatal("did not wait: ", err)
		case <-tries:
		}
	}
	l, err := net.Listen("tcp", addr)
	require.NoError(t, err)
	server := &http.Server{Handler: http.HandlerFunc(roomList{secret: secret}.serve), ReadHeaderTimeout: time.Minute}
	go server.Serve(l) //nolint:errcheck // always ErrServerClosed
	defer server.Close()
	require.NoError(t, <-checked)
}
