package api_test

import (
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/gorilla/websocket"
	"github.com/livekit/protocol/auth"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/internal/api"
	"github.com/livekit-connector/livekit-connector/internal/attempts"
)

const (
	// foreignKey is one that the livekit-server of these tests knows and the connector does not.
	foreignKey, foreignSecret = "foreignkey", "secret-of-foreignkey-0123456789ab"

	stranger, friend = "198.51.100.7", "192.0.2.1"
	listRooms        = "/twirp/livekit.RoomService/ListRooms"
)

// guarded is a livekit-server that tells who may come in, as the real one does: a WebSocket gets its text back.
func guarded(t *testing.T) string {
	t.Helper()
	secrets := map[string]string{key: secret, foreignKey: foreignSecret}
	var upgrader websocket.Upgrader
	return livekitServer(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodOptions || r.URL.Path == "/" {
			return
		}
		raw, bearer := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		if !bearer {
			raw = r.FormValue("access_token")
		}
		token, err := auth.ParseAPIToken(raw)
		if err == nil {
			_, _, err = token.Verify(secrets[token.APIKey()])
		}
		switch {
		case err != nil:
			w.WriteHeader(http.StatusUnauthorized)
		case websocket.IsWebSocketUpgrade(r):
			conn, upgradeErr := upgrader.Upgrade(w, r, nil)
			if upgradeErr != nil {
				return
			}
			defer conn.Close()
			if kind, text, readErr := conn.ReadMessage(); readErr == nil {
				_ = conn.WriteMessage(kind, text)
			}
		case r.URL.Path == "/forbidden":
			w.WriteHeader(http.StatusUnauthorized) // so livekit-server says of a token that permits something else
		default:
			_, _ = io.Copy(w, r.Body)
		}
	})
}

// newGuarded is a connector before that server, where an address may fail once in a minute.
func newGuarded(t *testing.T) *stand {
	t.Helper()
	return newStand(t, newNode(), target(t, guarded(t)), func(o *api.Options) {
		o.Attempts = attempts.New(attempts.Options{PerAddress: 1, Logger: slog.New(slog.DiscardHandler), Registerer: o.Registerer})
	})
}

func inQuery(token string) string { return "/rtc?access_token=" + url.QueryEscape(token) }

func TestGuessingAtLivekitServerIsLimited(t *testing.T) {
	grant := &auth.VideoGrant{RoomList: true}
	forged, good, foreign := sign(t, key, otherSecret, grant), sign(t, key, secret, grant), sign(t, foreignKey, foreignSecret, grant)
	for name, guess := range map[string]struct {
		path   string
		header string
	}{
		"forged":          {listRooms, "Bearer " + forged},
		"forged in query": {inQuery(forged), ""},
		"no token":        {listRooms, ""},
		"no JWT":          {listRooms, "Bearer guessed"},
		"no bearer":       {listRooms, "Basic " + good},
		"elsewhere":       {"/whip/v1", "Bearer " + forged},
	} {
		t.Run(name, func(t *testing.T) {
			s := newGuarded(t)
			guessing := header("Authorization", guess.header)
			require.Equal(t, http.StatusUnauthorized, s.send(t, http.MethodPost, guess.path, from(stranger), guessing).Code, "livekit-server's answer")
			w := s.send(t, http.MethodPost, guess.path, from(stranger), guessing)
			require.Equal(t, http.StatusTooManyRequests, w.Code)
			require.Contains(t, w.Body.String(), `"code":"resource_exhausted"`)
			require.Contains(t, w.Body.String(), `"limit":"failed_attempts"`)
			require.Equal(t, "application/json", w.Header().Get("Content-Type"))
			require.NotEmpty(t, w.Header().Get("Retry-After"))
			require.Equal(t, "*", w.Header().Get("Access-Control-Allow-Origin"), "a browser is to see why")
			require.Equal(t, http.StatusTooManyRequests, s.send(t, http.MethodGet, "/rtc/validate", from(stranger)).Code)
			require.Equal(t, http.StatusTooManyRequests, s.post(t, encodings[0], disconnectMethod, disconnect(), from(stranger), bearer(forged)).Code,
				"here it has no attempts left either")
			require.NoError(t, testutil.GatherAndCompare(s.reg, strings.NewReader(`
# HELP livekit_connector_requests_limited_total Requests that proved nothing and were answered 429 because their address had failed to prove itself too often, by what they were for.
# TYPE livekit_connector_requests_limited_total counter
livekit_connector_requests_limited_total{for="api"} 1
livekit_connector_requests_limited_total{for="livekit"} 2
livekit_connector_requests_limited_total{for="webhook"} 0
`), "livekit_connector_requests_limited_total"))

			require.Equal(t, http.StatusOK, s.send(t, http.MethodPost, listRooms, from(stranger), bearer(good)).Code, "what is signed is never limited")
			require.Equal(t, http.StatusOK, s.send(t, http.MethodGet, inQuery(good), from(stranger)).Code)
			require.Equal(t, http.StatusOK, s.send(t, http.MethodGet, "/", from(stranger)).Code, "livekit-server's probe")
			require.Equal(t, http.StatusOK, s.send(t, http.MethodOptions, "/rtc/validate", from(stranger)).Code)
			require.Equal(t, http.StatusOK, s.send(t, http.MethodPost, listRooms, from(friend), bearer(foreign)).Code)
			require.Equal(t, http.StatusUnauthorized, s.send(t, http.MethodPost, listRooms, from(friend), bearer(forged)).Code, "somebody else")
		})
	}
}

// A key of livekit-server's that the connector does not have costs nothing, nor does a token for something else.
func TestWhatLivekitServerDecidesIsNoAttempt(t *testing.T) {
	s := newGuarded(t)
	foreign := bearer(sign(t, foreignKey, foreignSecret, &auth.VideoGrant{RoomJoin: true}))
	ours := bearer(sign(t, key, secret, &auth.VideoGrant{RoomJoin: true}))
	for range 20 {
		require.Equal(t, http.StatusOK, s.send(t, http.MethodPost, listRooms, from(stranger), foreign).Code)
		require.Equal(t, http.StatusUnauthorized, s.send(t, http.MethodPost, "/forbidden", from(stranger), ours).Code)
	}
}

// WebSockets are limited as they begin, and those with a token are carried, also beside somebody who guesses.
func TestWebSocketsOfGuessersAreLimited(t *testing.T) {
	s := newGuarded(t)
	front, _ := s.listen(t)
	grant := &auth.VideoGrant{RoomJoin: true, Room: "a"}
	open := func(token string) (*websocket.Conn, int) {
		conn, res, err := websocket.DefaultDialer.DialContext(t.Context(), "ws"+strings.TrimPrefix(front, "http")+inQuery(token), nil)
		require.NotNil(t, res, err)
		require.NoError(t, res.Body.Close())
		return conn, res.StatusCode
	}
	_, status := open(sign(t, key, otherSecret, grant))
	require.Equal(t, http.StatusUnauthorized, status)
	_, status = open(sign(t, key, otherSecret, grant))
	require.Equal(t, http.StatusTooManyRequests, status)
	conn, status := open(sign(t, key, secret, grant, identity("guest")))
	require.Equal(t, http.StatusSwitchingProtocols, status)
	defer conn.Close()
	require.NoError(t, conn.WriteMessage(websocket.TextMessage, []byte("hello")))
	_, text, err := conn.ReadMessage()
	require.NoError(t, err)
	require.Equal(t, "hello", string(text))
}
