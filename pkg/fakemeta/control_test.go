package fakemeta_test

import (
	"encoding/binary"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/pkg/fakemeta"
	"github.com/livekit-connector/livekit-connector/testdata"
)

// control makes one request of the control API.
func control(t *testing.T, srv *fakemeta.Server, method, path, body string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(patience(t), method, srv.ControlURL()+path, strings.NewReader(body))
	require.NoError(t, err)
	res, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	require.NoError(t, err)
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	return res.StatusCode, string(raw)
}

func TestControlPlaysTheUser(t *testing.T) {
	srv := start(t, fakemeta.Options{ControlAddr: "127.0.0.1:0", Timing: unhurried(), Speech: speech(t, "caller")})
	ok := func(method, path, body string) string {
		t.Helper()
		status, answer := control(t, srv, method, path, body)
		require.Equal(t, 200, status, answer)
		return answer
	}
	no := func(status int, method, path, body string) {
		t.Helper()
		got, answer := control(t, srv, method, path, body)
		require.Equal(t, status, got, answer)
		require.Contains(t, answer, `"error"`)
	}
	require.Contains(t, ok("GET", "/", ""), "POST   /calls ")
	require.JSONEq(t, "[]", ok("GET", "/calls", ""))
	no(404, "GET", "/calls/last", "")

	ok("POST", "/calls", `{"user":"`+caller+`","deeplink_payload":"x","dialect":"docs"}`)
	require.Contains(t, ok("GET", "/calls", ""), `"state": "offered"`)
	require.Contains(t, srv.Calls()[0].Offer(), "a=extmap")
	no(409, "POST", "/calls/last/pick-up", "")
	no(409, "POST", "/calls/last/reject", "")
	no(409, "POST", "/calls/last/dtmf?keys=1", "")
	no(400, "POST", "/calls/last/fail?code=x", "")
	no(400, "POST", "/calls/last/sing", "")
	no(404, "POST", "/calls/77/hang-up", "")
	no(409, "POST", "/calls", `{"user":"`+caller+`"}`)
	ok("POST", "/calls/1/hang-up", "")
	over(t, srv.Calls()[0])
	require.Contains(t, ok("GET", "/calls/1/timeline", ""), "user hangs up")
	require.Contains(t, ok("GET", "/calls/"+srv.Calls()[0].ID(), ""), `"ended_by": "user"`)
	require.Equal(t, "RIFF", ok("GET", "/calls/1/recording.wav", "")[:4])
	no(400, "POST", "/calls/1/compare", "not audio")
	wav, err := testdata.Audio.ReadFile("audio/caller.wav")
	require.NoError(t, err)
	require.Contains(t, ok("POST", "/calls/1/compare", string(wav)), `"ok": false`)
	binary.LittleEndian.PutUint32(wav[24:], 4000) // the sample rate
	no(400, "POST", "/calls/1/compare", string(wav))

	ok("POST", "/calls", `{"user":"`+caller+`"}`)
	ok("POST", "/calls/last/vanish", "")
	ok("POST", "/calls/last/fail?code=138020", "")
	require.Contains(t, ok("GET", "/calls/2", ""), `"error_code": 138020`)

	ok("PATCH", "/users/"+caller, `{"answering":{"pick_up_after":"1ms","hang_up_after":"1ms"},"name":"Ana","permission":"permanent","uncallable":false}`)
	require.Contains(t, ok("GET", "/users/"+caller, ""), `"pick_up_after": "1ms"`)
	call := outgoing(t, srv)
	over(t, call)
	require.True(t, call.Report().Answered)
	ok("PATCH", "/users/"+caller, `{"answering":{}}`)

	for path, bodies := range map[string][]string{
		"PATCH /users/" + caller:                {`{"permission":"some"}`, `{"age":7}`, `{`},
		"PATCH /users/ana":                      {`{}`},
		"POST /calls":                           {`{"user":"ana"}`, `{"user":"1","dialect":"latin"}`, `[1]`},
		"POST /faults":                          {`{"delay":"soon"}`, `{"cod":1}`},
		"PUT /delivery":                         {`{"rules":[{"delay":"soon"}]}`, `{"rule":1}`},
		"POST /users/" + caller + "/permission": {`{"yes":true}`},
		"POST /users/ana/permission":            {`{}`},
	} {
		method, target, _ := strings.Cut(path, " ")
		for _, body := range bodies {
			no(400, method, target, body)
		}
	}
	no(404, "POST", "/calls", `{"user":"1","number":"nobody"}`)
	no(404, "POST", "/webhook/verify?number=nobody", "")
	ok("POST", "/users/"+caller+"/permission", `{"accept":true}`)
}

func TestControlMakesThingsGoWrong(t *testing.T) {
	srv := start(t, fakemeta.Options{ControlAddr: "127.0.0.1:0"})
	_, answer := control(t, srv, "POST", "/faults", `{"action":"connect","code":138012,"times":2,"delay_before":"1ms"}`)
	require.JSONEq(t, `{"ok":true}`, answer)
	connect := map[string]any{"action": "connect", "to": caller, "session": session("offer", goodOffer(t))}
	_, got := action(t, srv, connect)
	require.Equal(t, 138012, code(got))
	control(t, srv, "DELETE", "/faults", "")
	_, got = action(t, srv, connect)
	require.Zero(t, code(got))

	sub := srv.Events()
	control(t, srv, "PUT", "/delivery", `{"rules":[{"event":"terminate","delay":"40ms","copies":1,"copy_delay":"1ms"}],"unknown":true}`)
	begin := time.Now()
	control(t, srv, "POST", "/calls/last/hang-up", "")
	for range 2 {
		body := ""
		for !strings.Contains(body, `"event":"terminate"`) { // the phone may have rung meanwhile
			e, err := sub.Next(patience(t))
			require.NoError(t, err)
			body = string(e.Body)
		}
		require.Contains(t, body, "x_unknown_field")
	}
	require.GreaterOrEqual(t, time.Since(begin), 40*time.Millisecond)
}

func TestControlReportIsPlainJSON(t *testing.T) {
	t.Parallel()
	srv := start(t, fakemeta.Options{ControlAddr: "127.0.0.1:0"})
	b := newBusiness(t, businessOptions{})
	call := answered(t, srv, b, nil)
	b.awaitVoice(call)
	require.NoError(t, b.phone.Start())
	heard(t, call.Handset(), 10)
	require.NoError(t, call.HangUp())
	over(t, call)
	_, answer := control(t, srv, "GET", "/calls/last", "")
	var view struct {
		OK      bool     `json:"ok"`
		Problem []string `json:"problems"`
		Heard   struct {
			Packets int `json:"packets"`
		} `json:"heard"`
		Relay struct {
			Connected int `json:"connected_ms"`
		} `json:"relay"`
	}
	require.NoError(t, json.Unmarshal([]byte(answer), &view))
	require.True(t, view.OK, answer)
	require.GreaterOrEqual(t, view.Heard.Packets, 10)
	require.Positive(t, view.Relay.Connected)
}
