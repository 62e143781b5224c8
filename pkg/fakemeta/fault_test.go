package fakemeta_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/pkg/fakemeta"
)

func TestEveryCodeCanBeInjected(t *testing.T) {
	srv := start(t, fakemeta.Options{})
	codes := fakemeta.Codes()
	require.GreaterOrEqual(t, len(codes), 35)
	for _, c := range codes {
		srv.Fail(fakemeta.Fault{Action: "connect", Code: c, Subcode: 7})
		status, got := action(t, srv, map[string]any{"action": "connect", "to": caller, "session": session("offer", goodOffer(t))})
		require.Equal(t, fakemeta.CodeStatus(c), status)
		require.Equal(t, c, code(got))
		require.InDelta(t, 7, got["error"].(map[string]any)["error_subcode"], 0)
	}
	require.Zero(t, srv.ActiveCalls(), "an injected refusal does nothing")
	require.Equal(t, 400, fakemeta.CodeStatus(1))
}

func TestFaults(t *testing.T) {
	srv := start(t, fakemeta.Options{})
	call := incoming(t, srv)
	accept := map[string]any{"action": "accept", "call_id": call.ID(), "session": session("answer", goodAnswer(t))}
	post := func() (*http.Response, error) {
		accept["messaging_product"] = "whatsapp"
		raw, err := json.Marshal(accept)
		require.NoError(t, err)
		req, err := http.NewRequestWithContext(patience(t), http.MethodPost, srv.GraphURL()+"/v24.0/"+pnid+"/calls", strings.NewReader(string(raw)))
		require.NoError(t, err)
		req.Header = http.Header{"Authorization": {"Bearer " + token}, "Content-Type": {"application/json"}}
		return (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	}
	lost := func() {
		t.Helper()
		res, err := post()
		if err == nil {
			res.Body.Close()
		}
		require.Error(t, err)
	}

	srv.Fail(fakemeta.Fault{Action: "terminate", Code: 138004})
	srv.Fail(fakemeta.Fault{CallID: "wacid.other", Code: 138004})
	srv.Fail(fakemeta.Fault{Action: "accept", DropRequest: true})
	lost()
	require.Equal(t, fakemeta.StateOffered, call.State(), "a dropped request did nothing")

	srv.Fail(fakemeta.Fault{Action: "accept", HTTPStatus: 503, Times: 2})
	for range 2 {
		status, got := action(t, srv, accept)
		require.Equal(t, 503, status)
		require.Equal(t, fakemeta.CodeSomethingWentWrong, code(got))
	}
	srv.Fail(fakemeta.Fault{Action: "accept", Body: "<html>oops", HTTPStatus: 502})
	status, got := action(t, srv, accept)
	require.Equal(t, 502, status)
	require.Equal(t, "<html>oops", got["raw"])
	srv.Fail(fakemeta.Fault{Action: "accept", Body: "{}", Delay: 30 * time.Millisecond, DelayBefore: 30 * time.Millisecond})
	begin := time.Now()
	status, _ = action(t, srv, accept)
	require.Equal(t, 200, status)
	require.GreaterOrEqual(t, time.Since(begin), 30*time.Millisecond)
	require.Equal(t, fakemeta.StateOffered, call.State())

	srv.Fail(fakemeta.Fault{Action: "accept", DropResponse: true})
	lost()
	require.Equal(t, fakemeta.StateActive, call.State(), "the response was lost, not the request")
	status, got = action(t, srv, accept)
	require.Equal(t, 400, status)
	require.Contains(t, details(got), "already in progress")

	srv.ClearFaults()
	srv.Fail(fakemeta.Fault{Action: "terminate", Code: 138004, Details: "half done", Processed: true, Times: -1})
	status, got = action(t, srv, map[string]any{"action": "terminate", "call_id": call.ID()})
	require.Equal(t, 500, status)
	require.Equal(t, "half done", details(got))
	over(t, call)
}
