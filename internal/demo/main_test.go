package main

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/livekit/protocol/livekit"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/livekit-connector/livekit-connector/internal/leaks"
	"github.com/livekit-connector/livekit-connector/pkg/fakemeta"
	"github.com/livekit-connector/livekit-connector/pkg/whatsapp"
)

func TestMain(m *testing.M) { leaks.Main(m) }

func TestCommandLine(t *testing.T) {
	t.Parallel()
	var out, errs bytes.Buffer
	require.Equal(t, exitUsage, run(t.Context(), []string{"--twice"}, &out, &errs))
	require.Contains(t, errs.String(), "-once")
	require.Equal(t, exitUsage, run(t.Context(), []string{"now"}, &out, &errs))
	require.Equal(t, exitOK, run(t.Context(), []string{"--help"}, &out, &errs))
}

func TestMissingConnectorNamesTheTarget(t *testing.T) {
	t.Parallel()
	_, err := connectorBinary(t.TempDir())
	require.ErrorContains(t, err, "make build")
}

func TestConnectorInheritsNoConfiguration(t *testing.T) {
	t.Parallel()
	require.Equal(t, []string{"PATH=/bin", "HOME=/"},
		environment([]string{"PATH=/bin", "LIVEKIT_URL=ws://elsewhere", "CONNECTOR_CONFIG_FILE=x", "HOME=/"}))
}

func TestConnectorLogFindsLinesInPieces(t *testing.T) {
	t.Parallel()
	var file bytes.Buffer
	l := newConnectorLog(&file)
	found := make(chan logLine, 1)
	go func() {
		line, err := l.waitEnd(t.Context(), "a")
		if err == nil {
			found <- line
		}
		close(found)
	}()
	text := `{"level":"INFO","msg":"call ended","callID":"b","reason":"rejected"}
no JSON
{"level":"WARN","msg":"room not left cleanly","callID":"a","error":"late"}
{"time":"2026-01-02T03:04:05Z","level":"INFO","msg":"call ended","callID":"a","reason":"user_hangup","stagesMs":{"ice":7}}
`
	for piece := range strings.SplitSeq(text, "e") {
		_, err := l.Write([]byte(piece + "e"))
		require.NoError(t, err)
	}
	line := <-found
	require.Equal(t, "user_hangup", line.Reason)
	require.Equal(t, map[string]int64{"ice": 7}, line.StagesMs)
	require.Equal(t, text+"e", file.String())
	troubles := l.troubles("a")
	require.Len(t, troubles, 1)
	require.Equal(t, "late", troubles[0].Error)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := l.waitEnd(ctx, "c")
	require.ErrorIs(t, err, context.Canceled)
}

func TestWebhookTakesOnlyWhatMetaSigned(t *testing.T) {
	t.Parallel()
	a := &application{notes: newNotebook(), ctx: t.Context()}
	post := func(body, signature string) int {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/webhook", strings.NewReader(body))
		r.Header.Set(whatsapp.SignatureHeader, signature)
		w := httptest.NewRecorder()
		a.receive(w, r)
		return w.Code
	}
	const status = `{"object":"whatsapp_business_account","entry":[{"id":"1","changes":[{"field":"calls","value":{"statuses":[{"id":"wacid.1","type":"call","status":"RINGING"}]}}]}]}`
	require.Equal(t, http.StatusUnauthorized, post(status, ""))
	require.Equal(t, http.StatusUnauthorized, post(status, whatsapp.Sign([]byte(status), "another")))
	require.Empty(t, a.notes.about("wacid.1"))
	require.Equal(t, http.StatusBadRequest, post("{}", whatsapp.Sign([]byte("{}"), appSecret)))
	require.Equal(t, http.StatusOK, post(status, whatsapp.Sign([]byte(status), appSecret)))
	require.Len(t, a.notes.about("wacid.1"), 1)
	a.working.Wait()
}

// TestTimelineMergesAndMissesNothing uses a call that nobody answers: what is not there must be named.
func TestTimelineMergesAndMissesNothing(t *testing.T) {
	t.Parallel()
	meta, err := fakemeta.Start(fakemeta.Options{})
	require.NoError(t, err)
	defer func() { require.NoError(t, meta.Close()) }()
	require.NoError(t, meta.AddNumber(fakemeta.Number{PhoneNumberID: numberID, DisplayNumber: businessNumber, AccessToken: metaToken}))
	c, err := meta.User(scriptedUser).Call(t.Context(), numberID)
	require.NoError(t, err)
	require.NoError(t, c.HangUp())
	<-c.Done()
	sent, _ := c.Moment(fakemeta.MomentWebhook)
	begin := sent.At.Add(time.Nanosecond)
	notes := newNotebook()
	notes.add(c.ID(), begin, byApplication, notedAccept)

	all := timeline(c, notes.about(c.ID()), logLine{
		Time: begin.Add(time.Minute), Started: begin, Reason: "user_hangup", StagesMs: map[string]int64{"room_joined": 50_000, "new_stage": 55_000},
	}, nil)
	var said []string
	for i, n := range all {
		said = append(said, n.who+" "+n.what)
		require.False(t, i > 0 && n.at.Before(all[i-1].at), "in order")
	}
	require.Equal(t, []string{
		"phone calls the business", "Meta webhook connect sent", "application " + notedAccept, "phone hangs up",
		"Meta webhook terminate sent", "connector room joined", "connector new stage", "connector call ended: user_hangup",
	}, said)
	require.ElementsMatch(t, []string{
		"not seen: " + stepPreAccept, "not seen: " + stepAccept, "not seen: " + stepICE, "not seen: " + stepDTLS,
		"not seen: " + stepAudioToPhone, "not seen: " + stepAudioToRoom,
	}, missing(c.Direction(), all))
	require.Contains(t, table("a call", all), "  50000  connector    room joined\n")

	v := judge(speech{caller: make([]int16, speechRate), greeting: make([]int16, speechRate)}, c, nil)
	require.False(t, v.ok())
	require.Equal(t, []string{"the call was not answered", "the agent never met the caller"}, v.complaints)
}

func TestManualsCommandsAreRequests(t *testing.T) {
	t.Parallel()
	folder := filepath.Join(t.TempDir(), "a folder")
	text, err := writeManual(commands{
		Control: "http://127.0.0.1:1", Connector: "http://127.0.0.1:2", Key: "key", Secret: "secret", Token: "token", Folder: folder,
	})
	require.NoError(t, err)
	body := regexp.MustCompile(`DialWhatsAppCall .* -d '(.*)'`).FindStringSubmatch(text)
	require.Len(t, body, 2)
	req := &livekit.DialWhatsAppCallRequest{}
	require.NoError(t, protojson.Unmarshal([]byte(body[1]), req))
	require.Equal(t, handUser, req.GetWhatsappToPhoneNumber())
	require.Equal(t, agentName, req.GetAgents()[0].GetAgentName())
	require.Contains(t, text, "picks up 1 second after")
	require.Contains(t, text, "good for 2 hours")
	require.NotContains(t, text, "<no value>")
}

func TestMetronomeStops(t *testing.T) {
	t.Parallel()
	m := startMetronome()
	require.GreaterOrEqual(t, m.stop(), time.Duration(0))
}
