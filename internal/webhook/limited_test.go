package webhook_test

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/internal/attempts"
	"github.com/livekit-connector/livekit-connector/internal/webhook"
	"github.com/livekit-connector/livekit-connector/pkg/whatsapp"
)

// Who cannot sign is refused unread after a while; what Meta signs is taken, however much of it there is, and whoever else
// comes by the same address.
func TestStrangersAreLimitedAndMetaIsNot(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStand(t, func(o *webhook.Options) {
			o.Attempts = attempts.New(attempts.Options{PerAddress: 10, Logger: slog.New(slog.DiscardHandler)})
		})
		body := envelope(numberID)
		send := func(from, method, signature string, body *strings.Reader) *httptest.ResponseRecorder {
			r := httptest.NewRequestWithContext(t.Context(), method, "/webhook?hub.mode=subscribe&hub.verify_token=guess", body)
			r.RemoteAddr = from + ":4711"
			r.Header.Set(whatsapp.SignatureHeader, signature)
			w := httptest.NewRecorder()
			s.ServeHTTP(w, r)
			return w
		}
		post := func(from, secret string) int {
			return send(from, http.MethodPost, whatsapp.Sign([]byte(body), secret), strings.NewReader(body)).Code
		}
		const stranger, meta, proxy = "198.51.100.7", "173.252.88.66", "10.0.0.1"
		for range 5 {
			require.Equal(t, http.StatusForbidden, post(stranger, "guessed"))
			require.Equal(t, http.StatusForbidden, send(stranger, http.MethodGet, "", strings.NewReader("")).Code)
		}
		unread := strings.NewReader(body)
		w := send(stranger, http.MethodPost, whatsapp.Sign([]byte(body), "guessed"), unread)
		require.Equal(t, http.StatusTooManyRequests, w.Code)
		require.Equal(t, "6", w.Header().Get("Retry-After"))
		require.Equal(t, len(body), unread.Len())
		require.Equal(t, http.StatusTooManyRequests, send(stranger, http.MethodGet, "", strings.NewReader("")).Code)
		require.Equal(t, 2, s.count("webhooks_total", "limited"))
		for range 200 {
			require.Equal(t, http.StatusOK, post(meta, appSecret))
		}
		require.Equal(t, http.StatusOK, post(proxy, appSecret))
		for range 50 {
			require.Equal(t, http.StatusForbidden, post(proxy, "guessed"))
		}
		require.Equal(t, http.StatusOK, post(proxy, appSecret))
		time.Sleep(6 * time.Second) // fake time
		require.Equal(t, http.StatusForbidden, post(stranger, "guessed"), "one more")
	})
}
