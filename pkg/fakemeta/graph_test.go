package fakemeta_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/pkg/fakemeta"
	"github.com/livekit-connector/livekit-connector/testdata"
)

func vector(t *testing.T, name string) string {
	t.Helper()
	b, err := testdata.SDP.ReadFile("sdp/" + name + ".sdp")
	require.NoError(t, err)
	return string(b)
}

// Session descriptions of a business that pass.
func goodAnswer(t *testing.T) string { return vector(t, "17-uic-answer-pion-v4.2.26-to-01") }

func goodOffer(t *testing.T) string { return vector(t, "07-bic-offer-business-metadocs-reference") }

func incoming(t *testing.T, srv *fakemeta.Server) *fakemeta.Call {
	t.Helper()
	c, err := srv.User(caller).Call(t.Context(), pnid)
	require.NoError(t, err)
	return c
}

// outgoing places a call that must be taken.
func outgoing(t *testing.T, srv *fakemeta.Server) *fakemeta.Call {
	t.Helper()
	status, answer := action(t, srv, map[string]any{"action": "connect", "to": caller, "session": session("offer", goodOffer(t))})
	require.Equal(t, http.StatusOK, status, "%v", answer)
	require.NotContains(t, answer, "session", "the SDP answer never comes in the response")
	c, err := srv.User(caller).NextCall(patience(t))
	require.NoError(t, err)
	return c
}

func TestDoorsOfTheGraphAPI(t *testing.T) {
	srv := start(t, fakemeta.Options{})
	require.NoError(t, srv.AddNumber(fakemeta.Number{PhoneNumberID: "2", DisplayNumber: "15550009999", AccessToken: "other"}))
	good := http.Header{"Authorization": {"Bearer " + token}, "Content-Type": {"application/json"}}
	with := func(key, value string) http.Header {
		h := good.Clone()
		h.Set(key, value)
		return h
	}
	calls := "/v24.0/" + pnid + "/calls"
	for _, tt := range []struct {
		name, method, path, body string
		header                   http.Header
		status, code             int
	}{
		{"no version", "POST", "/" + pnid + "/calls", "{}", good, 400, 2500},
		{"version without v", "POST", "/24.0/" + pnid + "/calls", "{}", good, 400, 2500},
		{"version without minor", "POST", "/v24/" + pnid + "/calls", "{}", good, 400, 2500},
		{"version too old", "POST", "/v16.0/" + pnid + "/calls", "{}", good, 400, 2635},
		{"no token", "POST", calls, "{}", http.Header{"Content-Type": {"application/json"}}, 401, 190},
		{"basic auth", "POST", calls, "{}", with("Authorization", "Basic x"), 401, 190},
		{"wrong token", "POST", calls, "{}", with("Authorization", "Bearer wrong"), 401, 190},
		{"token of another number", "POST", calls, "{}", with("Authorization", "Bearer other"), 403, 200},
		{"phone number instead of its ID", "POST", "/v24.0/" + number + "/calls", "{}", good, 400, 100},
		{"form instead of JSON", "POST", calls, "action=connect", with("Content-Type", "application/x-www-form-urlencoded"), 400, 100},
		{"broken JSON", "POST", calls, "{", good, 400, 100},
		{"wrong type", "POST", calls, `{"action":1}`, good, 400, 100},
		{"a state to read", "GET", calls, "", good, 400, 100},
		{"unknown endpoint", "POST", "/v24.0/" + pnid + "/phone", "{}", good, 400, 100},
		{"huge body", "POST", calls, strings.Repeat(" ", 1<<20+1), good, 400, 100},
		{"not for WhatsApp", "POST", calls, `{"action":"terminate","call_id":"x"}`, good, 400, 100},
	} {
		t.Run(tt.name, func(t *testing.T) {
			status, answer := request(t, srv, tt.method, tt.path, tt.body, tt.header)
			require.Equal(t, tt.status, status, "%v", answer)
			require.Equal(t, tt.code, code(answer), "%v", answer)
			e := answer["error"].(map[string]any)
			require.NotEmpty(t, e["message"])
			require.NotEmpty(t, e["fbtrace_id"])
			require.Equal(t, "OAuthException", e["type"])
		})
	}
	status, _ := request(t, srv, "POST", "/v17.0/"+pnid+"/calls", "{}", good)
	require.Equal(t, 400, status)
}

func TestRequestsThatTheCallEndpointRefuses(t *testing.T) {
	srv := start(t, fakemeta.Options{})
	call := incoming(t, srv)
	answer, offer := goodAnswer(t), goodOffer(t)
	enabled := func(purpose, language string) map[string]any {
		return map[string]any{"status": "ENABLED", "purpose": purpose, "announcement_language": language}
	}
	for _, tt := range []struct {
		name   string
		fields map[string]any
		says   string
	}{
		{"no action", map[string]any{"call_id": call.ID()}, "action is required"},
		{"unknown action", map[string]any{"action": "answer", "call_id": call.ID()}, "action must be"},
		{"upper case action", map[string]any{"action": "ACCEPT", "call_id": call.ID()}, "lower case"},
		{"no call", map[string]any{"action": "accept", "session": session("answer", answer)}, "call_id is required"},
		{"unknown call", map[string]any{"action": "accept", "call_id": "wacid.X", "session": session("answer", answer)}, "unknown"},
		{"no session", map[string]any{"action": "accept", "call_id": call.ID()}, "session.sdp is required"},
		{"empty SDP", map[string]any{"action": "pre_accept", "call_id": call.ID(), "session": session("answer", " ")}, "session.sdp is required"},
		{"offer as the tables say", map[string]any{"action": "pre_accept", "call_id": call.ID(), "session": session("offer", answer)}, "must be answer"},
		{"accept with an offer", map[string]any{"action": "accept", "call_id": call.ID(), "session": session("offer", answer)}, "must be answer"},
		{"connect with an answer", map[string]any{"action": "connect", "to": caller, "session": session("answer", offer)}, "must be offer"},
		{"connect to nobody", map[string]any{"action": "connect", "session": session("offer", offer)}, "to or recipient"},
		{"connect to +1…", map[string]any{"action": "connect", "to": "+" + caller, "session": session("offer", offer)}, "digits only"},
		{"connect without SDP", map[string]any{"action": "connect", "to": "15550003333"}, "session.sdp is required"},
		{"long callback data", map[string]any{"action": "terminate", "call_id": call.ID(), "biz_opaque_callback_data": strings.Repeat("x", 513)}, "512"},
		{"recording without purpose", map[string]any{"action": "accept", "call_id": call.ID(), "recording": enabled("", "en_US")}, "recording.purpose"},
		{"recording for too many reasons", map[string]any{"action": "accept", "call_id": call.ID(), "recording": enabled(strings.Repeat("x", 251), "en_US")}, "recording.purpose"},
		{"transcription without language", map[string]any{"action": "accept", "call_id": call.ID(), "transcription": enabled("x", "")}, "transcription.announcement_language"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			status, got := action(t, srv, tt.fields)
			require.Equal(t, 400, status, "%v", got)
			require.Equal(t, 100, code(got))
			require.Contains(t, details(got), tt.says)
		})
	}
	require.Equal(t, fakemeta.StateOffered, call.State(), "nothing of that moved the call")
}

func TestConnectByRecipientOrNumber(t *testing.T) {
	srv := start(t, fakemeta.Options{AllowSecondCall: true})
	user := srv.User(caller)
	for _, fields := range []map[string]any{
		{"recipient": user.ID()}, {"to": caller, "recipient": "US.nobody"}, {"to": json.Number(caller)}, {"to": nil, "recipient": user.ID()},
	} {
		fields["action"], fields["session"] = "connect", session("offer", goodOffer(t))
		status, got := action(t, srv, fields)
		require.Equal(t, 200, status, "%v", got)
		_, err := user.NextCall(patience(t))
		require.NoError(t, err)
	}
	status, got := action(t, srv, map[string]any{"action": "connect", "recipient": "US.nobody", "session": session("offer", goodOffer(t))})
	require.Equal(t, 400, status)
	require.Equal(t, fakemeta.CodeUncallable, code(got))
}

func TestBrokenSDPIsRefusedWithTheReason(t *testing.T) {
	for wanted, configured := range map[int]int{138008: 0, 100: 100} {
		srv := start(t, fakemeta.Options{SDPErrorCode: configured})
		call := incoming(t, srv)
		for _, act := range []string{"pre_accept", "accept"} {
			wrong := strings.Replace(goodAnswer(t), "a=sendrecv", "a=recvonly", 1)
			status, got := action(t, srv, map[string]any{"action": act, "call_id": call.ID(), "session": session("answer", wrong)})
			require.Equal(t, 400, status)
			require.Equal(t, wanted, code(got))
			require.Equal(t, "direction must be sendrecv", details(got))
		}
		wrong := strings.Replace(goodOffer(t), "a=setup:actpass", "a=setup:holdconn", 1)
		status, got := action(t, srv, map[string]any{"action": "connect", "to": "15550004444", "session": session("offer", wrong)})
		require.Equal(t, 400, status)
		require.Equal(t, wanted, code(got))
		require.Equal(t, fakemeta.StateOffered, call.State())
		require.Equal(t, 1, srv.ActiveCalls())
	}
}

func TestStatesOfAnInboundCall(t *testing.T) {
	srv := start(t, fakemeta.Options{})
	call := incoming(t, srv)
	do := func(act, sdp string) (int, string) {
		fields := map[string]any{"action": act, "call_id": call.ID()}
		if sdp != "" {
			fields["session"] = session("answer", sdp)
		}
		status, got := action(t, srv, fields)
		return status, details(got)
	}
	answer := goodAnswer(t)
	ok := func(act, sdp string) {
		t.Helper()
		status, why := do(act, sdp)
		require.Equal(t, 200, status, why)
	}
	no := func(act, sdp, says string) {
		t.Helper()
		status, why := do(act, sdp)
		require.Equal(t, 400, status)
		require.Contains(t, why, says)
	}
	ok("pre_accept", answer)
	ok("pre_accept", answer) // a repetition is no harm
	require.Equal(t, fakemeta.StatePreAccepted, call.State())
	no("accept", strings.Replace(answer, "o=- 4692733322165509142", "o=- 4692733322165509143", 1), "does not match")
	ok("accept", answer)
	no("accept", answer, "already in progress")
	no("pre_accept", answer, "already in progress")
	no("reject", "", "already in progress")
	ok("terminate", "")
	over(t, call)
	no("terminate", "", "already ended")
	no("reject", "", "already ended")
	no("accept", answer, "already ended")

	call = incoming(t, srv)
	ok("accept", answer) // without pre_accept
	require.NoError(t, call.HangUp())
	require.Error(t, call.HangUp())

	call = incoming(t, srv)
	ok("reject", "")
	over(t, call)
	require.Equal(t, "business", call.Report().EndedBy)

	lenient := start(t, fakemeta.Options{TerminateEndedOK: true})
	srv, call = lenient, incoming(t, lenient)
	ok("terminate", "")
	ok("terminate", "")
	no("reject", "", "already ended")
}

func TestOutboundCallsCannotBeAccepted(t *testing.T) {
	srv := start(t, fakemeta.Options{})
	call := outgoing(t, srv)
	for _, act := range []string{"pre_accept", "accept", "reject"} {
		status, got := action(t, srv, map[string]any{"action": act, "call_id": call.ID(), "session": session("answer", goodAnswer(t))})
		require.Equal(t, 400, status)
		require.Contains(t, details(got), "user initiated")
	}
}

func TestCallsOfOtherNumbersAreUnknown(t *testing.T) {
	srv := start(t, fakemeta.Options{})
	require.NoError(t, srv.AddNumber(fakemeta.Number{PhoneNumberID: "2", DisplayNumber: "15550009999", AccessToken: token}))
	call := incoming(t, srv)
	status, got := graph(t, srv, "POST", "/v24.0/2/calls", `{"messaging_product":"whatsapp","action":"terminate","call_id":"`+call.ID()+`"}`)
	require.Equal(t, 400, status)
	require.Contains(t, details(got), "unknown")
}

func TestWhoMayBeCalled(t *testing.T) {
	connect := func(t *testing.T, srv *fakemeta.Server) (int, int) {
		t.Helper()
		status, got := action(t, srv, map[string]any{"action": "connect", "to": caller, "session": session("offer", goodOffer(t))})
		return status, code(got)
	}
	settings := func(s map[string]any) func(*testing.T, *fakemeta.Server) {
		return func(t *testing.T, srv *fakemeta.Server) {
			t.Helper()
			require.NoError(t, srv.AddNumber(fakemeta.Number{PhoneNumberID: pnid, DisplayNumber: number, AccessToken: token, Settings: s}))
		}
	}
	for _, tt := range []struct {
		name    string
		options fakemeta.Options
		prepare func(*testing.T, *fakemeta.Server)
		status  int
		code    int
	}{
		{"nobody has permitted it", fakemeta.Options{DefaultPermission: fakemeta.PermissionNone}, nil, 401, 138006},
		{"the user has an old phone", fakemeta.Options{}, func(_ *testing.T, s *fakemeta.Server) { s.User(caller).SetUncallable(true) }, 400, 138001},
		{"they are talking already", fakemeta.Options{}, func(t *testing.T, s *fakemeta.Server) { t.Helper(); outgoing(t, s) }, 400, 138003},
		{"the user is calling us", fakemeta.Options{}, func(t *testing.T, s *fakemeta.Server) { t.Helper(); incoming(t, s) }, 400, 138003},
		{"the number is full", fakemeta.Options{MaxCalls: 1, AllowSecondCall: true}, func(t *testing.T, s *fakemeta.Server) { t.Helper(); outgoing(t, s) }, 429, 138002},
		{"calling is off", fakemeta.Options{}, settings(map[string]any{"status": "DISABLED"}), 401, 138000},
		{"the number speaks SIP", fakemeta.Options{}, settings(map[string]any{"status": "ENABLED", "sip": map[string]any{"status": "ENABLED"}}), 400, 131055},
	} {
		t.Run(tt.name, func(t *testing.T) {
			srv := start(t, tt.options)
			if tt.prepare != nil {
				tt.prepare(t, srv)
			}
			status, got := connect(t, srv)
			require.Equal(t, tt.status, status)
			require.Equal(t, tt.code, got)
		})
	}
}

func TestWhoMayCall(t *testing.T) {
	srv := start(t, fakemeta.Options{MaxCalls: 1})
	_, err := srv.User(caller).Call(t.Context(), "nobody")
	require.ErrorIs(t, err, fakemeta.ErrUnknownNumber)
	events := srv.Events()
	call := incoming(t, srv)
	_, err = events.NextCall(patience(t), call.ID(), "connect")
	require.NoError(t, err)
	_, err = srv.User(caller).Call(t.Context(), pnid)
	require.ErrorIs(t, err, fakemeta.ErrBusy)
	_, err = srv.User("15550003333").Call(t.Context(), pnid)
	require.ErrorIs(t, err, fakemeta.ErrOverloaded)
	require.NoError(t, call.HangUp())
	over(t, call)
	next, err := events.Next(patience(t))
	require.NoError(t, err)
	require.Equal(t, "terminate", next.Calls()[0].Event, "an overload makes no webhook")
	require.Error(t, srv.AddNumber(fakemeta.Number{}))
	require.Error(t, srv.AddNumber(fakemeta.Number{PhoneNumberID: "1", DisplayNumber: "+1", AccessToken: "x"}))
}
