package webhook_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/internal/webhook"
	"github.com/livekit-connector/livekit-connector/pkg/whatsapp"
)

func header(name, value string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set(name, value) }
}

func TestVerification(t *testing.T) {
	s := newStand(t)
	const good = "?hub.mode=subscribe&hub.challenge=1158863600&hub.verify_token=" + verifyToken
	get := func(method, query string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		s.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), method, "/webhook"+query, nil))
		return w
	}
	w := get(http.MethodGet, good)
	require.Equal(t, http.StatusOK, w.Code)
	require.Equal(t, "1158863600", w.Body.String())
	require.Equal(t, "text/plain; charset=utf-8", w.Header().Get("Content-Type"))
	require.Equal(t, http.StatusOK, get(http.MethodHead, good).Code)
	for _, bad := range []string{"", strings.Replace(good, verifyToken, "other", 1), strings.Replace(good, "subscribe", "x", 1)} {
		w = get(http.MethodGet, bad)
		require.Equal(t, http.StatusForbidden, w.Code, bad)
		require.Contains(t, w.Body.String(), "webhook.verify_token")
		require.NotContains(t, w.Body.String(), verifyToken)
	}
	for _, method := range []string{http.MethodPut, http.MethodDelete, http.MethodOptions} {
		w = get(method, good)
		require.Equal(t, http.StatusMethodNotAllowed, w.Code)
		require.Equal(t, "GET, POST", w.Header().Get("Allow"))
	}
	require.Equal(t, 2, s.count("webhooks_total", "verified"))
	require.Equal(t, 3, s.count("webhooks_total", "verification_refused"))
	require.Equal(t, 3, s.count("webhooks_total", "method"))
}

func TestVerificationWithoutTokenIsRefused(t *testing.T) {
	s := newStand(t, func(o *webhook.Options) { o.VerifyToken = "" })
	w := httptest.NewRecorder()
	s.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/webhook?hub.mode=subscribe&hub.challenge=1&hub.verify_token=", nil))
	require.Equal(t, http.StatusForbidden, w.Code)
}

func TestForgedWebhooksAreRefused(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStand(t)
		body := envelope(numberID, calls(offer(callID)))
		good := whatsapp.Sign([]byte(body), appSecret)
		for name, test := range map[string]struct {
			signature string
			status    int
			outcome   string
		}{
			"no signature":         {"", http.StatusUnauthorized, "unsigned"},
			"no hash's name":       {good[7:], http.StatusUnauthorized, "unsigned"},
			"another hash":         {strings.Replace(good, "sha256", "sha1", 1), http.StatusUnauthorized, "unsigned"},
			"short":                {good[:len(good)-2], http.StatusUnauthorized, "unsigned"},
			"no hex":               {good[:len(good)-1] + "x", http.StatusForbidden, "forged"},
			"another secret":       {whatsapp.Sign([]byte(body), "another"), http.StatusForbidden, "forged"},
			"the empty secret":     {whatsapp.Sign([]byte(body), ""), http.StatusForbidden, "forged"},
			"of another body":      {whatsapp.Sign([]byte(body+" "), appSecret), http.StatusForbidden, "forged"},
			"of the parsed body":   {whatsapp.Sign([]byte(strings.ReplaceAll(body, `\r`, "\r")), appSecret), http.StatusForbidden, "forged"},
			"SHA-1, as Meta sends": {"sha1=" + strings.Repeat("0", 40), http.StatusUnauthorized, "unsigned"},
		} {
			before := s.count("webhooks_total", test.outcome)
			require.Equal(t, test.status, s.post(body, header(whatsapp.SignatureHeader, test.signature)), name)
			require.Equal(t, before+1, s.count("webhooks_total", test.outcome), name)
		}
		synctest.Wait()
		starts, _, _ := s.nodes.counts()
		require.Zero(t, starts)
		require.Equal(t, 2, strings.Count(s.log.String(), "level=WARN"), "a line a minute for each reason, whoever knocks")
		require.Equal(t, 1, strings.Count(s.log.String(), "not made with any of the configured app secrets"))
		require.Equal(t, http.StatusOK, s.post(body), "and nothing of it is remembered")
		synctest.Wait()
		starts, _, _ = s.nodes.counts()
		require.Equal(t, 1, starts)
	})
}

func TestEveryConfiguredSecretIsGood(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStand(t)
		body := envelope(numberID, statuses(status(callID, "RINGING")))
		require.Equal(t, http.StatusOK, s.post(body, header(whatsapp.SignatureHeader, whatsapp.Sign([]byte(body), "old-secret"))))
		require.Equal(t, http.StatusOK, s.post(body, header(whatsapp.SignatureHeader, strings.ToLower(whatsapp.Sign([]byte(body), appSecret)))))
	})
}

// Meta signs the escaped form of its JSON.
func TestPublishedSignatureIsGood(t *testing.T) {
	bubble(t, func(t *testing.T) {
		body, err := os.ReadFile("../../testdata/webhook/signed-body.json")
		require.NoError(t, err)
		s := newStand(t, func(o *webhook.Options) { o.AppSecrets = func() []string { return []string{"test_app_secret"} } })
		require.Equal(t, http.StatusOK, s.post(string(body), header(whatsapp.SignatureHeader,
			"sha256=7dc79b00dd9ea4f14b7c306e16ac9426df7255a0a88f55085fc3626c0674e8bb")))
	})
}

func TestGzipIsRefused(t *testing.T) {
	s := newStand(t)
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	_, _ = io.WriteString(z, envelope(numberID, calls(offer(callID))))
	require.NoError(t, z.Close())
	w := s.request(zipped.String(), header("Content-Encoding", "gzip"))
	require.Equal(t, http.StatusUnsupportedMediaType, w.Code)
	require.Contains(t, w.Body.String(), "Content-Encoding")
	require.Equal(t, http.StatusOK, s.post(zipped.String()), "signed bytes that nobody can read are nobody's fault")
	require.Equal(t, 1, s.count("webhooks_total", "unknown"))
	require.Equal(t, http.StatusOK, s.post(envelope(numberID), header("Content-Encoding", "identity")))
}

func TestHugeBodiesAreRefused(t *testing.T) {
	s := newStand(t)
	largest := `{"object":"whatsapp_business_account","x":"` + strings.Repeat("x", whatsapp.MaxWebhookSize) + `"}`
	require.Equal(t, http.StatusRequestEntityTooLarge, s.post(largest))
	require.Equal(t, http.StatusRequestEntityTooLarge, s.post(largest, func(r *http.Request) { r.ContentLength = -1 }), "in chunks")
	require.Equal(t, http.StatusRequestEntityTooLarge, s.post("", header(whatsapp.SignatureHeader, whatsapp.Sign(nil, "x")),
		func(r *http.Request) { r.ContentLength = 1 << 40 }), "not even begun")
	require.Equal(t, 3, s.count("webhooks_total", "too_large"))
	fits := largest[:42] + `"}`
	fits = fits[:len(fits)-2] + strings.Repeat("x", whatsapp.MaxWebhookSize-len(fits)) + `"}`
	require.Len(t, fits, whatsapp.MaxWebhookSize)
	require.Equal(t, http.StatusOK, s.post(fits))
}

// What a stranger may have us hold is bounded, and takes no place from what Meta sends every day.
func TestOnlySoManyLargeBodiesAreReadAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStand(t)
		large := `{"object":"whatsapp_business_account","x":"` + strings.Repeat("x", 100<<10) + `"}`
		const half = 90 << 10
		var ends []*io.PipeWriter
		codes := make(chan int, 100)
		for range 100 {
			body, w := io.Pipe()
			ends = append(ends, w)
			go func() {
				codes <- s.post(large, func(r *http.Request) { r.Body, r.ContentLength = body, -1 })
				_ = body.Close()
			}()
			go func() { _, _ = io.WriteString(w, large[:half]) }()
		}
		synctest.Wait()
		require.Len(t, codes, 84)
		for range 84 {
			require.Equal(t, http.StatusServiceUnavailable, <-codes)
		}
		require.Equal(t, 84, s.count("webhooks_total", "busy"))
		require.Equal(t, http.StatusServiceUnavailable, s.post(large))
		require.Equal(t, http.StatusOK, s.post(envelope(numberID)), "one of the usual size")
		for _, w := range ends {
			_, _ = io.WriteString(w, large[half:]) // at once where nobody reads
			_ = w.Close()
		}
		for range 16 {
			require.Equal(t, http.StatusOK, <-codes)
		}
		require.Equal(t, http.StatusOK, s.post(large))
	})
}

// Who knows the secret of one number's app has no say about another number's calls.
func TestSecretOfAnotherNumbersAppIsNotEnough(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStand(t, func(o *webhook.Options) {
			o.NumberSecrets = func(id string) []string {
				if id == numberID {
					return []string{appSecret, "general"}
				}
				return nil
			}
			o.AppSecrets = func() []string { return []string{appSecret, "theirs", "general"} }
		})
		for i, test := range []struct {
			number, secret string
			counts         bool
		}{
			{numberID, appSecret, true},
			{numberID, "general", true},
			{numberID, "theirs", false},
			{otherNumber, "theirs", true},
			{otherNumber, appSecret, true},
		} {
			body := envelope(test.number, statuses(status(fmt.Sprint("wacid.", i), "RINGING")))
			require.Equal(t, http.StatusOK, s.post(body, header(whatsapp.SignatureHeader, whatsapp.Sign([]byte(body), test.secret))))
			synctest.Wait()
			require.Equal(t, test.counts, len(s.nodes.said(fmt.Sprint("wacid.", i))) == 1, i)
		}
		require.Equal(t, 1, s.count("webhook_events_total", "ringing", "other_app"))
	})
}

func TestTruncatedBodyIsRefused(t *testing.T) {
	s := newStand(t)
	server := httptest.NewServer(s)
	defer server.Close()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", server.Listener.Addr().String())
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, conn.SetDeadline(time.Now().Add(time.Minute)))
	body := envelope(numberID, calls(offer(callID)))
	_, err = fmt.Fprintf(conn, "POST /webhook HTTP/1.1\r\nHost: x\r\n%s: %s\r\nContent-Length: %d\r\n\r\n%s",
		whatsapp.SignatureHeader, whatsapp.Sign([]byte(body), appSecret), len(body), body[:len(body)/2])
	require.NoError(t, err)
	require.NoError(t, conn.(*net.TCPConn).CloseWrite())
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	require.NoError(t, err)
	defer res.Body.Close()
	require.Equal(t, http.StatusBadRequest, res.StatusCode)
	require.Equal(t, 1, s.count("webhooks_total", "truncated"))
	// One that is cut and whose length fits is not what was signed.
	require.Equal(t, http.StatusForbidden, s.post(body[:100], header(whatsapp.SignatureHeader, whatsapp.Sign([]byte(body), appSecret))))
}

// Whatever is signed gets a 200: Meta repeats everything else.
func TestContentThatNobodyKnowsIsTaken(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStand(t)
		for _, body := range []string{
			``, `null`, `{}`, `[]`, `"x"`, "\xff\xfe", `{"object":"page","entry":[]}`, `{"object":"whatsapp_business_account"`,
		} {
			require.Equal(t, http.StatusOK, s.post(body), body)
		}
		require.Equal(t, 8, s.count("webhooks_total", "unknown"))
		for _, body := range []string{
			`{"object":"whatsapp_business_account"}`,
			`{"object":"whatsapp_business_account","entry":{"id":1}}`,
			`{"object":"whatsapp_business_account","entry":[null,7,{"changes":[{"field":"calls","value":7},{"field":7,"value":{"calls":[{"id":"a"}]}}]}]}`,
			`{"object":"whatsapp_business_account","entry":[{"changes":[{"field":"account_update","value":{"event":"ACCOUNT_RESTRICTION"}}]}]}`,
			envelope(numberID, calls(object{"id": callID, "event": "call_created"}, object{"id": callID, "event": "call_recording_available"})),
			envelope(numberID, statuses(status(callID, "SOMETHING_NEW"), object{"id": "wamid.B", "type": "message", "status": "ACCEPTED"})),
		} {
			require.Equal(t, http.StatusOK, s.post(body), body)
		}
		synctest.Wait()
		starts, connects, reports := s.nodes.counts()
		require.Zero(t, starts+connects+reports)
		require.Equal(t, 4, s.count("webhook_events_total", "other", "ignored"))
	})
}

func TestReplayedWebhookIsDoneOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStand(t)
		body := envelope(numberID, calls(offer(callID)))
		for range 5 {
			require.Equal(t, http.StatusOK, s.post(body))
			synctest.Wait()
		}
		starts, _, _ := s.nodes.counts()
		require.Equal(t, 1, starts)
		require.Equal(t, 4, s.count("webhook_events_total", "connect_inbound", "duplicate"))
	})
}

func TestConcurrentCopiesAreDoneOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStand(t)
		body := envelope(numberID, calls(offer(callID)))
		var posting sync.WaitGroup
		for range 100 {
			posting.Go(func() { s.post(body) })
		}
		posting.Wait()
		synctest.Wait()
		starts, _, _ := s.nodes.counts()
		require.Equal(t, 1, starts)
		require.Equal(t, 100, s.count("webhooks_total", "taken"))
	})
}

func TestOptionsAreChecked(t *testing.T) {
	_, err := webhook.New(webhook.Options{QueueSize: -1})
	for _, part := range []string{"nodes", "graph", "credentials", "app secrets", "api key", "negative"} {
		require.ErrorContains(t, err, part)
	}
}
