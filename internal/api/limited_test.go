package api_test

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/livekit/protocol/auth"
	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/internal/api"
	"github.com/livekit-connector/livekit-connector/internal/attempts"
)

func from(address string) func(*http.Request) {
	return func(r *http.Request) { r.RemoteAddr = address + ":4711" }
}

func TestClientsWithWrongTokensAreLimited(t *testing.T) {
	limit := func(o *api.Options) {
		o.Attempts = attempts.New(attempts.Options{PerAddress: 4, Logger: slog.New(slog.DiscardHandler)})
	}
	inBubble(t, newNode(), func(t *testing.T, s *stand) {
		token := func(apiSecret string, grant *auth.VideoGrant, change ...func(*auth.AccessToken)) func(*http.Request) {
			return bearer(sign(t, key, apiSecret, grant, change...))
		}
		good, forged := token(secret, &auth.VideoGrant{RoomCreate: true}), token(otherSecret, &auth.VideoGrant{RoomCreate: true})
		const stranger, friend, guest = "198.51.100.7", "192.0.2.1", "203.0.113.5"
		post := func(change ...func(*http.Request)) *httptest.ResponseRecorder {
			return s.post(t, encodings[0], disconnectMethod, disconnect(), change...)
		}
		read := func(change ...func(*http.Request)) int {
			r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/connector/v1/calls", nil)
			for _, c := range change {
				c(r)
			}
			w := httptest.NewRecorder()
			s.ServeHTTP(w, r)
			return w.Code
		}
		for range 2 {
			require.Equal(t, http.StatusUnauthorized, post(from(stranger), forged).Code)
			require.Equal(t, http.StatusUnauthorized, read(from(stranger)))
		}
		w := post(from(stranger), forged)
		require.Equal(t, http.StatusTooManyRequests, w.Code)
		require.Equal(t, "application/json", w.Header().Get("Content-Type"))
		require.Equal(t, "15", w.Header().Get("Retry-After"))
		require.JSONEq(t, `{"code":"resource_exhausted","meta":{"limit":"failed_attempts"},"msg":"too many requests with a wrong `+
			`access token came from this address: try again in 15 s, and check the API key and its secret"}`, w.Body.String())
		require.Equal(t, http.StatusTooManyRequests, read(from(stranger)))
		require.Equal(t, http.StatusOK, post(from(stranger), good).Code, "what is properly signed is never limited")

		require.Equal(t, http.StatusOK, post(from(friend), good).Code)
		for range 20 {
			require.Equal(t, http.StatusUnauthorized, post(from(friend), forged).Code)
		}
		require.Equal(t, http.StatusOK, post(from(friend), good).Code, "it proved itself")

		participant := token(secret, &auth.VideoGrant{RoomJoin: true, Room: "room-a"}, identity("guest"))
		for range 4 {
			require.Equal(t, http.StatusForbidden, post(from(guest), participant).Code)
			require.Equal(t, http.StatusForbidden, read(from(guest), participant))
			require.Equal(t, http.StatusUnauthorized, post(from(guest), forged).Code)
		}
		require.Equal(t, http.StatusTooManyRequests, post(from(guest), forged).Code, "a participant's token proves nothing")
	}, limit)
}

// Strangers do not write the log.
func TestRefusalsAreLoggedOnceAMinuteForEachReason(t *testing.T) {
	inBubble(t, newNode(), func(t *testing.T, s *stand) {
		for range 5 {
			s.post(t, encodings[0], dialMethod, dial(), header("Authorization", ""))
			s.post(t, encodings[0], "HangUp", dial())
			s.post(t, encodings[0], dialMethod, dial(), bearer(sign(t, key, secret, &auth.VideoGrant{RoomJoin: true})))
			r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/connector/v2", nil)
			s.ServeHTTP(httptest.NewRecorder(), r)
		}
		require.Equal(t, 3, strings.Count(s.log.String(), "\n"))
		require.Equal(t, 3, strings.Count(s.log.String(), `"level":"WARN","msg":"api request refused"`))
		<-time.After(time.Minute)
		s.post(t, encodings[0], dialMethod, dial(), header("Authorization", ""))
		require.Equal(t, 4, strings.Count(s.log.String(), "\n"))
		require.Contains(t, s.log.String(), `"from":"192.0.2.1","refusedBefore":4}`)
	})
}

func TestKeysMayBeKeptFromNumbers(t *testing.T) {
	var asked [][2]string
	permitted := func(o *api.Options) {
		o.Permitted = func(apiKey, number string) bool {
			asked = append(asked, [2]string{apiKey, number})
			return apiKey == otherKey
		}
	}
	inBubble(t, newNode(), func(t *testing.T, s *stand) {
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
	}, permitted)
}
