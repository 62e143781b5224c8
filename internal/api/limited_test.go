package api_test

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/livekit/protocol/auth"
	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/internal/api"
	"github.com/livekit-connector/livekit-connector/internal/attempts"
)

func from(address string) func(*http.Request) {
	return func(r *http.Request) { r.RemoteAddr = address + ":4711" }
}

func TestClientsWithWrongTokensAreLimited(t *testing.T) {
	s := newStand(t, newNode(), func(o *api.Options) {
		o.Attempts = attempts.New(attempts.Options{PerAddress: 4, Logger: slog.New(slog.DiscardHandler)})
	})
	forged := func(r *http.Request) {
		r.Header.Set("Authorization", "Bearer "+sign(t, key, otherSecret, &auth.VideoGrant{RoomCreate: true}))
	}
	const stranger, friend = "198.51.100.7", "192.0.2.1"
	post := func(change ...func(*http.Request)) *httptest.ResponseRecorder {
		return s.post(t, encodings[0], disconnectMethod, disconnect(), change...)
	}
	for range 2 {
		require.Equal(t, http.StatusUnauthorized, post(from(stranger), forged).Code)
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/connector/v1/calls", nil)
		from(stranger)(r)
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		require.Equal(t, http.StatusUnauthorized, w.Code)
	}
	w := post(from(stranger), forged)
	require.Equal(t, http.StatusTooManyRequests, w.Code)
	require.Equal(t, "application/json", w.Header().Get("Content-Type"))
	require.Equal(t, "15", w.Header().Get("Retry-After"))
	require.JSONEq(t, `{"code":"resource_exhausted","meta":{"limit":"failed_attempts"},"msg":"too many requests with a wrong `+
		`access token came from this address: try again in 15 s, and check the API key and its secret"}`, w.Body.String())

	for range 20 {
		require.Equal(t, http.StatusOK, post(from(friend)).Code)
		require.Equal(t, http.StatusUnauthorized, post(from(friend), forged).Code)
	}
	require.Equal(t, http.StatusOK, post(from(friend)).Code, "it proved itself")
}

func TestKeysMayBeKeptFromNumbers(t *testing.T) {
	var asked [][2]string
	s := newStand(t, newNode(), func(o *api.Options) {
		o.Permitted = func(apiKey, number string) bool {
			asked = append(asked, [2]string{apiKey, number})
			return apiKey == otherKey
		}
	})
	other := func(r *http.Request) {
		r.Header.Set("Authorization", "Bearer "+sign(t, otherKey, otherSecret, &auth.VideoGrant{RoomCreate: true}))
	}
	w := s.post(t, encodings[0], dialMethod, dial())
	require.Equal(t, http.StatusForbidden, w.Code)
	require.Contains(t, w.Body.String(), `"code":"permission_denied"`)
	require.Equal(t, http.StatusForbidden, s.post(t, encodings[1], acceptMethod, accept()).Code)
	require.Equal(t, http.StatusOK, s.post(t, encodings[0], dialMethod, dial(), other).Code)
	require.Equal(t, http.StatusOK, s.post(t, encodings[0], acceptMethod, accept(), other).Code)
	require.Equal(t, [2]string{key, dial().WhatsappPhoneNumberId}, asked[0])

	for apiKey, want := range map[string]int{sign(t, key, secret, &auth.VideoGrant{RoomCreate: true}): http.StatusForbidden} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/connector/v1/permissions?phone_number_id=100&user=15550001111", nil)
		r.Header.Set("Authorization", "Bearer "+apiKey)
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		require.Equal(t, want, w.Code, w.Body.String())
	}
}
