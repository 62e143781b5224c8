package webhook_test

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/internal/attempts"
	"github.com/livekit-connector/livekit-connector/internal/webhook"
	"github.com/livekit-connector/livekit-connector/pkg/whatsapp"
)

// Who cannot sign is told so no more after a while, and nothing large of his is read; what Meta signs is taken, however much of
// it there is, and whoever else comes by the same address.
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
		w := send(stranger, http.MethodPost, whatsapp.Sign([]byte(body), "guessed"), strings.NewReader(body))
		require.Equal(t, http.StatusTooManyRequests, w.Code)
		require.Equal(t, "6", w.Header().Get("Retry-After"))
		require.Equal(t, http.StatusTooManyRequests, send(stranger, http.MethodPost, "", strings.NewReader(body)).Code, "without a signature")
		require.Equal(t, http.StatusTooManyRequests, send(stranger, http.MethodGet, "", strings.NewReader("")).Code)
		large := strings.Repeat("x", 100<<10)
		unread := strings.NewReader(large)
		require.Equal(t, http.StatusTooManyRequests, send(stranger, http.MethodPost, whatsapp.Sign([]byte(large), "guessed"), unread).Code)
		require.Equal(t, len(large), unread.Len())
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/webhook", io.MultiReader(unread)) // in chunks
		r.RemoteAddr = stranger + ":4711"
		r.Header.Set(whatsapp.SignatureHeader, whatsapp.Sign([]byte(large), "guessed"))
		w = httptest.NewRecorder()
		s.ServeHTTP(w, r)
		require.Equal(t, http.StatusTooManyRequests, w.Code)
		require.Greater(t, unread.Len(), 30<<10)
		require.Equal(t, 5, s.count("webhooks_total", "limited"))
		require.Equal(t, http.StatusOK, post(stranger, appSecret), "Meta, by the same proxy")
		time.Sleep(time.Hour) // fake time; what was proved is long ago
		for range 10 {
			require.Equal(t, http.StatusForbidden, post(stranger, "guessed"))
		}
		require.Equal(t, http.StatusTooManyRequests, post(stranger, "guessed"))
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

// Bodies that do not come are failures, too.
func TestWhoSendsHalfIsLimited(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStand(t, func(o *webhook.Options) {
			o.Attempts = attempts.New(attempts.Options{PerAddress: 3, Logger: slog.New(slog.DiscardHandler)})
		})
		half := func() int {
			return s.post(envelope(numberID), func(r *http.Request) { r.Body = io.NopCloser(iotest.ErrReader(io.ErrUnexpectedEOF)) })
		}
		for range 3 {
			require.Equal(t, http.StatusBadRequest, half())
		}
		require.Equal(t, http.StatusTooManyRequests, half())
		require.Equal(t, http.StatusOK, s.post(envelope(numberID)))
	})
}

// Strangers may hold so much and no more, and leave room for who proved himself.
func TestBodiesOfStrangersAreBoundedTogether(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStand(t, func(o *webhook.Options) {
			o.Attempts = attempts.New(attempts.Options{Logger: slog.New(slog.DiscardHandler)})
		})
		by := func(address string) func(*http.Request) {
			return func(r *http.Request) { r.RemoteAddr = address + ":4711" }
		}
		const stranger, meta = "198.51.100.7", "173.252.88.66"
		require.Equal(t, http.StatusOK, s.post(envelope(numberID), by(meta)))
		var ends []*io.PipeWriter
		codes := make(chan int, 4000)
		const room = 48 << 20 / (16 << 10)
		for range room + 10 {
			body, w := io.Pipe()
			ends = append(ends, w)
			go func() {
				codes <- s.post(envelope(numberID), by(stranger), func(r *http.Request) { r.Body, r.ContentLength = body, -1 })
			}()
		}
		synctest.Wait()
		require.Len(t, codes, 10)
		for range 10 {
			require.Equal(t, http.StatusServiceUnavailable, <-codes)
		}
		require.Equal(t, http.StatusServiceUnavailable, s.post(envelope(numberID), by(stranger)))
		require.Equal(t, http.StatusOK, s.post(envelope(numberID), by(meta)))
		for _, w := range ends {
			_ = w.CloseWithError(io.ErrUnexpectedEOF)
		}
		for range room {
			require.Equal(t, http.StatusBadRequest, <-codes)
		}
		require.Equal(t, http.StatusOK, s.post(envelope(numberID), by(stranger)), "all was given back")
	})
}
