package fakemeta_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/pkg/fakemeta"
)

// listener is an application's webhook.
type listener struct {
	*httptest.Server
	mu       sync.Mutex
	bodies   []string
	signed   []string
	respond  func(n int) int // status of the n-th request; nil: 200
	arrived  chan struct{}
	verified string // answer to the challenge; empty: the challenge
}

func listen(t *testing.T) *listener {
	t.Helper()
	l := &listener{arrived: make(chan struct{}, 1000)}
	l.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			q := r.URL.Query()
			answer := l.verified
			if answer == "" {
				answer = q.Get("hub.challenge")
			}
			if q.Get("hub.verify_token") != "verify" || q.Get("hub.mode") != "subscribe" {
				w.WriteHeader(http.StatusForbidden)
			}
			_, _ = io.WriteString(w, answer)
			return
		}
		body, _ := io.ReadAll(r.Body)
		l.mu.Lock()
		n := len(l.bodies)
		l.bodies = append(l.bodies, string(body))
		l.signed = append(l.signed, r.Header.Get("X-Hub-Signature-256"))
		l.mu.Unlock()
		if l.respond != nil {
			w.WriteHeader(l.respond(n))
		}
		l.arrived <- struct{}{}
	}))
	t.Cleanup(l.Close)
	return l
}

// wait returns the first n requests.
func (l *listener) wait(t *testing.T, n int) []string {
	t.Helper()
	ctx := patience(t)
	for {
		l.mu.Lock()
		bodies := append([]string(nil), l.bodies...)
		l.mu.Unlock()
		if len(bodies) >= n {
			return bodies
		}
		select {
		case <-l.arrived:
		case <-ctx.Done():
			t.Fatalf("%d of %d webhooks came", len(bodies), n)
		}
	}
}

func startWithListener(t *testing.T, o fakemeta.Options) (*fakemeta.Server, *listener) {
	t.Helper()
	l := listen(t)
	srv := start(t, o)
	require.NoError(t, srv.AddNumber(fakemeta.Number{
		PhoneNumberID: pnid, DisplayNumber: number, AccessToken: token, AppSecret: secret,
		WebhookURL: l.URL, VerifyToken: "verify",
	}))
	return srv, l
}

func event(body string) string {
	for _, name := range []string{`"event":"connect"`, `"event":"terminate"`, "RINGING", "ACCEPTED", "REJECTED"} {
		if strings.Contains(body, name) {
			return strings.TrimSuffix(strings.TrimPrefix(name, `"event":"`), `"`)
		}
	}
	return "?"
}

func order(bodies []string) []string {
	var names []string
	for _, b := range bodies {
		names = append(names, event(b))
	}
	return names
}

func TestWebhookIsSignedOverEscapedBytes(t *testing.T) {
	srv, l := startWithListener(t, fakemeta.Options{})
	srv.User(caller).SetName("José 📞")
	incoming(t, srv)
	body := l.wait(t, 1)[0]
	require.Contains(t, body, `"name":"Jos\u00e9 \ud83d\udcde"`)
	for _, b := range []byte(body) {
		require.Less(t, b, byte(0x80))
	}
	require.Equal(t, fakemeta.Signature([]byte(body), secret), l.signed[0])
	require.Contains(t, body, `"object":"whatsapp_business_account"`)
	require.Contains(t, body, `a=rtcp-fb:111 transport-cc\r\n`)
}

func TestPublishedSignatureVector(t *testing.T) {
	body := vectorBody(t)
	require.Equal(t, "sha256=7dc79b00dd9ea4f14b7c306e16ac9426df7255a0a88f55085fc3626c0674e8bb", fakemeta.Signature(body, "test_app_secret"))
	require.NotEqual(t, fakemeta.Signature(body, "test_app_secret"),
		fakemeta.Signature([]byte(strings.ReplaceAll(string(body), `\u00e9`, "é")), "test_app_secret"))
}

func TestWrongAndMissingSignature(t *testing.T) {
	srv, l := startWithListener(t, fakemeta.Options{})
	srv.SetDelivery(fakemeta.Delivery{WrongSignature: true})
	call := incoming(t, srv)
	body := l.wait(t, 1)[0]
	require.Len(t, l.signed[0], len("sha256=")+64)
	require.NotEqual(t, fakemeta.Signature([]byte(body), secret), l.signed[0])
	srv.SetDelivery(fakemeta.Delivery{NoSignature: true, EscapeSlashes: true})
	require.NoError(t, call.HangUp())
	l.wait(t, 2)
	require.Empty(t, l.signed[1])
}

func TestVerifyWebhook(t *testing.T) {
	srv, l := startWithListener(t, fakemeta.Options{})
	require.NoError(t, srv.VerifyWebhook(t.Context(), pnid))
	l.verified = `"quoted"`
	require.ErrorContains(t, srv.VerifyWebhook(t.Context(), pnid), "bare challenge")
	require.Error(t, srv.VerifyWebhook(t.Context(), "nobody"))
	require.NoError(t, srv.AddNumber(fakemeta.Number{PhoneNumberID: pnid, DisplayNumber: number, AccessToken: token, WebhookURL: l.URL}))
	require.ErrorContains(t, srv.VerifyWebhook(t.Context(), pnid), "403")
	require.NoError(t, srv.AddNumber(fakemeta.Number{PhoneNumberID: pnid, DisplayNumber: number, AccessToken: token}))
	require.Error(t, srv.VerifyWebhook(t.Context(), pnid))
}

func TestOrdinaryOrder(t *testing.T) {
	srv, l := startWithListener(t, fakemeta.Options{Timing: unhurried()})
	call := outgoing(t, srv)
	require.NoError(t, call.Reject())
	require.Equal(t, []string{"connect", "RINGING", "REJECTED", "terminate"}, order(l.wait(t, 4)))
}

func TestTerminateBeforeConnect(t *testing.T) {
	srv, l := startWithListener(t, fakemeta.Options{})
	srv.SetDelivery(fakemeta.Delivery{Rules: []fakemeta.DeliveryRule{{Event: "connect", After: "terminate"}}})
	call := incoming(t, srv)
	require.NoError(t, call.HangUp())
	require.Equal(t, []string{"terminate", "connect"}, order(l.wait(t, 2)))
}

func TestDuplicatesAndLateRetryOfConnect(t *testing.T) {
	srv, l := startWithListener(t, fakemeta.Options{})
	srv.SetDelivery(fakemeta.Delivery{Rules: []fakemeta.DeliveryRule{
		{Event: "connect", Copies: 1, CopyAfter: "terminate", CopyDelay: 20 * time.Millisecond},
		{Event: "terminate", Copies: 2},
	}})
	call := incoming(t, srv)
	l.wait(t, 1)
	require.NoError(t, call.HangUp())
	bodies := l.wait(t, 5)
	require.Equal(t, []string{"connect", "terminate"}, order(bodies)[:2])
	// Each goes its own way after the first terminate; a retry is the same to the byte.
	require.ElementsMatch(t, []string{bodies[0], bodies[1], bodies[1]}, bodies[2:])
}

func TestDropAndDelay(t *testing.T) {
	srv, l := startWithListener(t, fakemeta.Options{})
	srv.SetDelivery(fakemeta.Delivery{Rules: []fakemeta.DeliveryRule{{Event: "connect", Drop: true}, {Delay: 50 * time.Millisecond}}})
	call := incoming(t, srv)
	begin := time.Now()
	require.NoError(t, call.HangUp())
	require.Equal(t, []string{"terminate"}, order(l.wait(t, 1)))
	require.GreaterOrEqual(t, time.Since(begin), 50*time.Millisecond)
}

func TestUnacknowledgedWebhooksAreRepeated(t *testing.T) {
	srv, l := startWithListener(t, fakemeta.Options{Timing: fakemeta.Timing{WebhookBackoff: 5 * time.Millisecond, WebhookAttempts: 4}})
	l.respond = func(n int) int { return []int{500, 404, 200}[min(n, 2)] }
	incoming(t, srv)
	bodies := l.wait(t, 3)
	require.Equal(t, bodies[0], bodies[2])
	require.Equal(t, l.signed[0], l.signed[2])
}

func TestSlowListenerDoesNotHoldBackWhatFollows(t *testing.T) {
	srv, l := startWithListener(t, fakemeta.Options{Timing: fakemeta.Timing{WebhookHeadStart: 10 * time.Millisecond, WebhookTimeout: limit, WebhookAttempts: 1}})
	release := make(chan struct{})
	defer close(release) // or the listener would not close
	l.respond = func(n int) int {
		if n == 0 {
			<-release
		}
		return 200
	}
	call := incoming(t, srv)
	require.Eventually(t, func() bool { l.mu.Lock(); defer l.mu.Unlock(); return len(l.bodies) == 1 }, limit, time.Millisecond)
	require.NoError(t, call.HangUp())
	require.Equal(t, []string{"connect", "terminate"}, order(l.wait(t, 2)))
}

func TestForeignAndUnknown(t *testing.T) {
	srv, l := startWithListener(t, fakemeta.Options{})
	srv.SetDelivery(fakemeta.Delivery{Foreign: true, Unknown: true})
	sub := srv.Events()
	call := incoming(t, srv)
	body := l.wait(t, 1)[0]
	e, err := sub.Next(patience(t))
	require.NoError(t, err)
	numbers, ours, fields := map[string]bool{}, 0, map[string]bool{}
	for _, entry := range e.Payload.Entry {
		for _, c := range entry.Changes {
			numbers[c.Value.Metadata.PhoneNumberID] = true
			fields[c.Field] = true
		}
	}
	for _, c := range e.Calls() {
		if c.ID == call.ID() {
			ours++
		}
	}
	require.Len(t, numbers, 2)
	require.Len(t, fields, 2)
	require.Equal(t, 1, ours)
	require.Len(t, e.Statuses(), 1)
	require.Contains(t, body, "x_unknown_field")
}

func TestWhatMayBeMissing(t *testing.T) {
	srv, l := startWithListener(t, fakemeta.Options{Timing: unhurried(), AllowSecondCall: true})
	srv.SetDelivery(fakemeta.Delivery{OmitContacts: true, OmitFrom: true, Legacy: true})
	call, err := srv.User(caller).Call(t.Context(), pnid, fakemeta.WithDeeplinkPayload("shop-7"), fakemeta.WithCTAPayload("cta-1"), fakemeta.WithDialect(fakemeta.DialectDocs))
	require.NoError(t, err)
	body := l.wait(t, 1)[0]
	require.NotContains(t, body, `"contacts"`)
	require.NotContains(t, body, `"`+caller+`"`)
	require.Contains(t, body, `"from_user_id":"US.`)
	require.Contains(t, body, `"connection":{"webrtc":{"sdp":"{\"sdp\":`)
	require.Contains(t, body, "shop-7")
	require.Contains(t, body, "cta-1")
	require.Contains(t, call.Offer(), "a=extmap:1 ")
	srv.SetDelivery(fakemeta.Delivery{OmitFrom: true})
	outgoing(t, srv)
	for _, b := range l.wait(t, 3)[1:] {
		require.NotContains(t, b, `"`+caller+`"`)
		require.Contains(t, b, `"user_id":"US.`)
	}
}

func TestTypesAndPlacesThatMetaDoesNotAgreeOn(t *testing.T) {
	srv, l := startWithListener(t, fakemeta.Options{Timing: unhurried(), AllowSecondCall: true})
	said := func(d fakemeta.Delivery) (connect, terminate string) {
		before := len(l.wait(t, 0))
		srv.SetDelivery(d)
		call, err := srv.User(caller).Call(t.Context(), pnid)
		require.NoError(t, err)
		require.NoError(t, call.Fail(138019))
		bodies := l.wait(t, before+2)[before:]
		return bodies[0], bodies[1]
	}
	connect, terminate := said(fakemeta.Delivery{})
	require.Regexp(t, `"timestamp":"\d+"`, connect)
	require.Equal(t, 2, strings.Count(terminate, `"code":138019`), "in the call and beside it")

	connect, terminate = said(fakemeta.Delivery{OtherTypes: true, ErrorsIn: "value"})
	require.Regexp(t, `"timestamp":\d+`, connect)
	require.Equal(t, 1, strings.Count(terminate, `"code":"138019"`))
	require.Regexp(t, `"errors":\[[^]]*\]\},"field"`, terminate)

	connect, terminate = said(fakemeta.Delivery{OmitOptional: true, OmitContacts: true, ErrorsIn: "call"})
	for _, key := range []string{"timestamp", "direction", "from", "to"} {
		require.NotContains(t, connect+terminate, `"`+key+`":`)
	}
	require.Equal(t, 1, strings.Count(terminate, `"code":138019`))
}

func TestNobodyListens(t *testing.T) {
	srv := start(t, fakemeta.Options{Timing: fakemeta.Timing{WebhookBackoff: time.Millisecond, WebhookAttempts: 3}})
	require.NoError(t, srv.AddNumber(fakemeta.Number{PhoneNumberID: pnid, DisplayNumber: number, AccessToken: token, WebhookURL: "http://127.0.0.1:1/"}))
	call := incoming(t, srv)
	require.NoError(t, call.HangUp())
	over(t, call)
}

func vectorBody(t *testing.T) []byte {
	t.Helper()
	b, err := os.ReadFile("../../testdata/webhook/signed-body.json")
	require.NoError(t, err)
	return b
}
