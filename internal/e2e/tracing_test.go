package e2e_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"testing"

	"github.com/livekit/protocol/auth"
	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/internal/logs"
	"github.com/livekit-connector/livekit-connector/internal/tracing/tracetest"
	"github.com/livekit-connector/livekit-connector/pkg/fakemeta"
)

// tree is the names of spans, each under its parent's, of one trace. A name that comes twice under one parent stands there once.
type tree map[string][]string

// treeOf returns the spans of a trace; root is the name that is given to the parent of the first, which is not ours.
func treeOf(t *testing.T, spans []tracetest.Span, trace, parent, root string) tree {
	t.Helper()
	names := map[string]string{parent: root}
	for _, s := range spans {
		if s.Trace == trace {
			names[s.ID] = s.Name
		}
	}
	got := tree{}
	for _, s := range spans {
		if s.Trace != trace {
			continue
		}
		under, known := names[s.Parent]
		require.True(t, known, "%s hangs in the air", s.Name)
		got[under] = append(got[under], s.Name)
	}
	return got
}

// A dial of an application that traces itself: everything that comes of it is in its trace.
func TestDialIsOneTrace(t *testing.T) {
	const trace, caller = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
	c := tracetest.Start(t)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", c.URL())
	w := newWorld(t, worldOptions{})
	a := w.newApplication(nil)

	body, err := json.Marshal(dialRequest())
	require.NoError(t, err)
	token, err := auth.NewAccessToken(w.livekit.APIKey(), w.livekit.APISecret()).SetVideoGrant(&auth.VideoGrant{RoomCreate: true}).ToJWT()
	require.NoError(t, err)
	for bearer, status := range map[string]int{"nobody": http.StatusUnauthorized, token: http.StatusOK} { // strangers are not traced
		req, reqErr := http.NewRequestWithContext(wait(t), http.MethodPost, w.url+"/twirp/livekit.Connector/DialWhatsAppCall", bytes.NewReader(body))
		require.NoError(t, reqErr)
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Authorization", "Bearer "+bearer)
		req.Header.Set("Traceparent", "00-"+trace+"-"+caller+"-01")
		res, doErr := http.DefaultClient.Do(req)
		require.NoError(t, doErr)
		require.NoError(t, res.Body.Close())
		require.Equal(t, status, res.StatusCode)
	}

	call, err := w.meta.User(userNumber).NextCall(wait(t))
	require.NoError(t, err)
	require.NoError(t, a.wait("connect", call.ID()).err)
	require.NoError(t, call.PickUp())
	require.NoError(t, call.Wait(wait(t), fakemeta.StateActive))
	require.NoError(t, w.app.Node().HangUpAll(wait(t)))
	require.NoError(t, w.stop()) // which sends the last spans

	got := treeOf(t, c.Spans(), trace, caller, "caller")
	require.Equal(t, []string{"livekit.Connector/DialWhatsAppCall"}, got["caller"])
	require.Equal(t, []string{"bus StartCall"}, got["livekit.Connector/DialWhatsAppCall"])
	require.Equal(t, []string{"node StartCall"}, got["bus StartCall"])
	require.ElementsMatch(t, []string{"graph connect", "call"}, got["node StartCall"])
	for _, name := range []string{"call setup", "room join", "media connect", "graph terminate"} {
		require.Contains(t, got["call"], name)
	}
	for _, s := range c.Spans() {
		if s.Name == "call" {
			require.Equal(t, logs.ID(call.ID()), s.Attributes["connector.call_id"])
			require.Equal(t, "shutdown", s.Attributes["connector.reason"])
		}
	}
	require.Contains(t, w.log.String(), `"traceID":"`+trace+`"`)
	requireDiscreet(t, c.Text(), w.livekit.APISecret(), call.ID())
}

// A user's call that Meta's webhook tells of.
func TestWebhookIsOneTrace(t *testing.T) {
	c := tracetest.Start(t)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", c.URL())
	g := newGateway(t, "tracing-webhook", worldOptions{}, into("tracing-webhook"))
	call := g.answered()
	g.event("connect_inbound", "done")
	require.NoError(t, call.HangUp())
	g.over(call)
	require.NoError(t, g.stop())

	spans := c.Spans()
	for _, s := range spans {
		if s.Name != "call" {
			continue
		}
		got := treeOf(t, spans, s.Trace, "", "")
		require.Equal(t, tree{
			"": {"webhook"}, "webhook": {"bus StartCall"}, "bus StartCall": {"node StartCall"}, "node StartCall": {"call"}, "call": got["call"],
		}, got)
		for _, name := range []string{"call setup", "room join", "media connect", "track publish", "talk", "graph pre_accept", "graph accept"} {
			require.Contains(t, got["call"], name)
		}
		require.False(t, s.Failed)
		requireDiscreet(t, c.Text(), call.ID())
		return
	}
	t.Fatalf("there is no call among %d spans", len(spans))
}
