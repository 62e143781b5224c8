package e2e_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/internal/app"
	"github.com/livekit-connector/livekit-connector/internal/livekittest"
	"github.com/livekit-connector/livekit-connector/internal/logs"
	"github.com/livekit-connector/livekit-connector/pkg/fakemeta"
)

// Further users: two who call, and one whom a rule rejects.
const (
	caller    = "15550003333"
	lateComer = "15550005555"
	pest      = "15550004444"
)

// measured is a gateway whose metrics are all there, those of the process included.
type measured struct {
	*gateway
	sdk sdk
}

// newMeasured starts a connector of which every part that has metrics is switched on.
func newMeasured(t *testing.T, room string) *measured {
	t.Helper()
	told := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(told.Close)
	rules := fmt.Sprintf("rules:\n  - {name: pests, match: {from: %q}, reject: true}\n", pest) + strings.TrimPrefix(into(room), "rules:\n")
	m := &measured{gateway: newGateway(t, room, worldOptions{config: func(c *app.Config) {
		c.MaxActiveCalls = 2
		c.Events.URLs = []string{told.URL}
		c.Webhook.Forward = []app.ForwardConfig{{URL: told.URL}}
	}}, rules)}
	m.registerProcess()
	m.sdk = newGoSDK(m.url, m.livekit.APIKey(), m.livekit.APISecret())
	return m
}

// registerProcess adds what the program itself does.
func (w *world) registerProcess() {
	w.t.Helper()
	w.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	require.NoError(w.t, app.RegisterBuildInfo(w.registry))
	log := logs.NewAsync(io.Discard)
	w.t.Cleanup(func() { require.NoError(w.t, log.Close(patience)) })
	require.NoError(w.t, log.Register(w.registry))
}

// load lets happen to the connector what happens to one in a bad week: calls in both directions, relayed and mixed, some
// of them refused by a rule, for want of room and by Meta, webhooks that are forged, requests of strangers and nonsense.
// Who watches from outside says whether he has seen calls in a mode, "relay" or "mix".
func (m *measured) load(seen func(mode string) bool) {
	m.t.Helper()
	m.forge()
	m.intrude()
	m.beRefusedByMeta()

	m.meta.User(userNumber).SetSpeech(says(speech(m.t, "caller")))
	in, err := m.meta.User(caller).Call(wait(m.t), numberID, fakemeta.WithSpeech(says(speech(m.t, "caller"))))
	require.NoError(m.t, err)
	require.NoError(m.t, in.Wait(wait(m.t), fakemeta.StateActive))
	_, err = m.listener.Wait(wait(m.t), isCaller(livekittest.EventTrackPublished))
	require.NoError(m.t, err)
	s := &scene{world: m.world, room: m.room, listener: m.listener, call: in}
	one, other := newSpeaker(m.t, s, "one"), newSpeaker(m.t, s, "other")

	out := m.dialled()
	require.NoError(m.t, out.PickUp())
	_, err = m.listener.Wait(wait(m.t), livekittest.Is(livekittest.EventTrackPublished, "callee"))
	require.NoError(m.t, err)
	third, err := m.meta.User(lateComer).Call(wait(m.t), numberID)
	require.NoError(m.t, err)
	requireOver(m.t, third) // there is room for two

	voice := speech(m.t, "agent")
	alone := packets(m.t, voice[:2*speechRate])
	m.goesOn(func() { one.say(m.t, alone) }, "relay", seen)
	first, second := packets(m.t, voice[:4*speechRate]), packets(m.t, voice[4*speechRate:8*speechRate])
	m.goesOn(func() {
		atOnce(m.t, func(ctx context.Context) error { return one.play(ctx, first) },
			func(ctx context.Context) error { return other.play(ctx, second) })
	}, "mix", seen)
	require.NoError(m.t, out.HangUp())
	requireOver(m.t, out)
	require.NoError(m.t, in.HangUp())
	requireOver(m.t, in)

	rejected, err := m.meta.User(pest).Call(wait(m.t), numberID)
	require.NoError(m.t, err)
	requireOver(m.t, rejected)
	require.NoError(m.t, m.app.Node().WaitEmpty(wait(m.t)))
}

// goesOn lets something be said, again and again until it is seen which mode that brings about.
func (m *measured) goesOn(say func(), mode string, seen func(mode string) bool) {
	m.t.Helper()
	ctx := wait(m.t)
	for say(); !seen(mode); say() {
		require.NoError(m.t, ctx.Err(), "nobody sees calls in mode %s", mode)
	}
}

// forge sends webhooks that nobody may believe.
func (m *measured) forge() {
	m.t.Helper()
	require.Equal(m.t, http.StatusUnauthorized, m.post([]byte("{}"), func(r *http.Request) { r.Header.Del("X-Hub-Signature-256") }))
	c, body := m.withheld()
	require.NotEqual(m.t, http.StatusOK, m.half(body))
	require.NoError(m.t, c.HangUp())
	requireOver(m.t, c)
	query := url.Values{"hub.mode": {"subscribe"}, "hub.verify_token": {"a guess"}, "hub.challenge": {"1"}}
	require.Equal(m.t, http.StatusForbidden, m.request(http.MethodGet, "/webhook?"+query.Encode(), ""))
}

// intrude asks for what there is not, with tokens that are none.
func (m *measured) intrude() {
	m.t.Helper()
	for _, s := range []sdk{newGoSDK(m.url, m.livekit.APIKey(), "a wrong secret that is long enough for a signature"), newGoSDK(m.url, "nobody", "x")} {
		_, err := s.do(wait(m.t), "dial", dialRequest())
		require.Error(m.t, err)
	}
	_, err := m.sdk.do(wait(m.t), "disconnect", options{"whatsappCallId": "wacid.none", "disconnectReason": "USER_INITIATED"})
	require.Error(m.t, err)
	_, err = m.sdk.do(wait(m.t), "dial", options{})
	require.Error(m.t, err)
	for _, path := range []string{
		"/twirp/livekit.Connector/Surprise", "/twirp/livekit.Connector/" + strings.Repeat("x", 200), "/twirp/x",
		"/connector/v1/calls/wacid.none", "/nothing",
	} {
		require.GreaterOrEqual(m.t, m.request(http.MethodPost, path, "{}"), 400)
		require.GreaterOrEqual(m.t, m.request(http.MethodGet, path, ""), 400)
	}
}

// beRefusedByMeta dials while the Graph API is not well.
func (m *measured) beRefusedByMeta() {
	m.t.Helper()
	for _, f := range []fakemeta.Fault{
		{Action: "connect", Code: 138006},
		{Action: "connect", HTTPStatus: http.StatusInternalServerError},
		{Action: "connect", HTTPStatus: http.StatusTooManyRequests},
		{Action: "connect", DropRequest: true},
	} {
		m.meta.Fail(f)
		_, err := m.sdk.do(wait(m.t), "dial", dialRequest())
		require.Error(m.t, err)
	}
}

func (m *measured) request(method, path, body string) int {
	m.t.Helper()
	req, err := http.NewRequestWithContext(wait(m.t), method, m.url+path, strings.NewReader(body))
	require.NoError(m.t, err)
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	require.NoError(m.t, err)
	require.NoError(m.t, res.Body.Close())
	return res.StatusCode
}
