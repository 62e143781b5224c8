package e2e_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/internal/app"
	"github.com/livekit-connector/livekit-connector/internal/livekittest"
	"github.com/livekit-connector/livekit-connector/pkg/fakemeta"
)

// seen is what an agent sees of another participant at one moment.
type seen struct {
	Event       string
	Identity    string
	Kind        string
	KindDetails []string
	Attributes  map[string]string
	Reason      string
}

// rtcObserver is an agent of LiveKit's Node rtc library that watches its room.
type rtcObserver struct {
	t     *testing.T
	lines chan seen
	all   []seen
}

// newRTCObserver returns once it is in the room; it leaves at the end of the test.
func newRTCObserver(t *testing.T, s *livekittest.Server, room string) *rtcObserver {
	t.Helper()
	token, err := s.JoinToken(livekittest.ParticipantOptions{Room: room, Identity: "agent"})
	require.NoError(t, err)
	cmd := exec.CommandContext(t.Context(), "node", filepath.Join(sdkDir(), "rtc-node", "observer.mjs"), token)
	cmd.Env = append(os.Environ(), "LIVEKIT_URL="+s.URL())
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start(), "run `make sdks`, which installs the libraries that the tests drive")
	o := &rtcObserver{t: t, lines: make(chan seen, 100)}
	var reading sync.WaitGroup
	reading.Go(func() {
		defer close(o.lines)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			var line seen
			if json.Unmarshal(lines.Bytes(), &line) == nil && line.Event != "" { // the library logs in between
				select {
				case o.lines <- line:
				case <-t.Context().Done():
					return
				}
			}
		}
	})
	t.Cleanup(func() {
		_ = in.Close()
		reading.Wait()
		_ = cmd.Wait()
	})
	o.wait("it joined", func(line seen) bool { return line.Event == "joined" })
	return o
}

// wait returns the next thing that match knows.
func (o *rtcObserver) wait(what string, match func(seen) bool) seen {
	o.t.Helper()
	ctx := wait(o.t)
	for {
		line, ok := o.next(ctx)
		if !ok {
			o.t.Fatalf("the agent did not see that %s, but %+v", what, o.all)
		}
		o.all = append(o.all, line)
		if match(line) {
			return line
		}
	}
}

func (o *rtcObserver) next(ctx context.Context) (line seen, ok bool) {
	select {
	case line, ok = <-o.lines:
		return line, ok
	case <-ctx.Done():
		return seen{}, false
	}
}

// statuses are the values of whatsapp.callStatus that the agent saw, in order, each once.
func (o *rtcObserver) statuses() []string {
	var all []string
	for _, s := range o.all {
		if status := s.Attributes["whatsapp.callStatus"]; status != "" {
			all = append(all, status)
		}
	}
	return slices.Compact(all)
}

func status(want string) func(seen) bool {
	return func(s seen) bool { return s.Attributes["whatsapp.callStatus"] == want }
}

func gone(s seen) bool { return s.Event == "disconnected" }

// requireTime checks that an attribute is a time in Unix ms, of this test.
func requireTime(t *testing.T, text string) {
	t.Helper()
	ms, err := strconv.ParseInt(text, 10, 64)
	require.NoError(t, err)
	require.Less(t, time.Since(time.UnixMilli(ms)).Abs(), time.Hour)
}

// An agent that is there before anybody is called sees the call go through all its states.
func TestAgentSeesTheStatesOfAnOutboundCall(t *testing.T) {
	t.Parallel()
	const room = "attributes-outbound"
	w := newWorld(t, worldOptions{})
	agent := newRTCObserver(t, w.livekit, room)
	a := w.newApplication(nil)
	_, err := a.sdk.do(wait(t), "dial", dialRequest().with(options{
		"roomName": room, "participantIdentity": "callee", "participantAttributes": options{"customer": "4711"},
	}))
	require.NoError(t, err)
	c, err := w.meta.User(userNumber).NextCall(wait(t))
	require.NoError(t, err)
	came := agent.wait("the callee came", func(s seen) bool { return s.Event == "connected" })
	require.Equal(t, "callee", came.Identity)
	require.Equal(t, "CONNECTOR", came.Kind)
	require.Equal(t, []string{"CONNECTOR_WHATSAPP"}, came.KindDetails)
	require.Equal(t, c.ID(), came.Attributes["whatsapp.callID"])
	require.Equal(t, "outbound", came.Attributes["whatsapp.direction"])
	require.Equal(t, "4711", came.Attributes["customer"])
	require.NotContains(t, came.Attributes, "whatsapp.phoneNumber")

	require.NoError(t, a.wait("connect", c.ID()).err)
	require.NoError(t, c.Wait(wait(t), fakemeta.StateRinging))
	if !status("ringing")(came) {
		agent.wait("the phone rings", status("ringing"))
	}
	require.NoError(t, c.PickUp())
	answered := agent.wait("the call is answered", status("active"))
	requireTime(t, answered.Attributes["lk.connector.answerTime"])
	require.NoError(t, c.HangUp())
	left := agent.wait("the callee left", gone)
	require.Equal(t, "hangup", left.Attributes["whatsapp.callStatus"])
	require.Contains(t, []string{"user_hangup", "meta_closed"}, left.Attributes["whatsapp.endReason"], "whoever said so first")
	require.Equal(t, "CLIENT_INITIATED", left.Reason)
	states := agent.statuses()
	require.Equal(t, []string{"ringing", "active", "hangup"}, states[len(states)-3:], "each state once, in order")
	w.nothingLeft(room)
}

// An agent sees who calls, what the application and the configuration say about it, and why a call ended.
func TestAgentSeesTheAttributesOfAnInboundCall(t *testing.T) {
	t.Parallel()
	const room = "attributes-inbound"
	w := newWorld(t, worldOptions{config: func(c *app.Config) { c.Participant.PhoneNumberAttributes = true }})
	agent := newRTCObserver(t, w.livekit, room)
	a := w.newApplication(func(a *application) {
		a.ignoreTerminate = true
		a.accept = options{"roomName": room, "participantIdentity": "caller", "participantAttributes": options{"language": "pt"}}
	})
	c, err := w.meta.User(userNumber).Call(wait(t), numberID)
	require.NoError(t, err)
	require.NoError(t, a.wait("accept", c.ID()).err)
	came := agent.wait("the caller came", func(s seen) bool { return s.Event == "connected" })
	require.Equal(t, "CONNECTOR", came.Kind)
	require.Equal(t, c.ID(), came.Attributes["whatsapp.callID"])
	require.Equal(t, "inbound", came.Attributes["whatsapp.direction"])
	require.Equal(t, "pt", came.Attributes["language"])
	require.Equal(t, numberID, came.Attributes["whatsapp.phoneNumberID"])
	requireTime(t, came.Attributes["lk.connector.requestTime"])
	if !status("active")(came) {
		agent.wait("the call is answered", status("active"))
	}
	_, err = a.sdk.do(wait(t), "disconnect", options{"whatsappCallId": c.ID(), "whatsappApiKey": metaToken})
	require.NoError(t, err)
	left := agent.wait("the caller left", gone)
	require.Equal(t, "hangup", left.Attributes["whatsapp.callStatus"])
	require.Equal(t, "business_hangup", left.Attributes["whatsapp.endReason"])
	require.NotContains(t, left.Attributes, "whatsapp.endCode", "nothing was wrong")
	w.nothingLeft(room)
}

// A phone that is not answered: the agent learns it from the attributes, and from the reason why the participant left.
func TestAgentSeesThatACallWasRejected(t *testing.T) {
	t.Parallel()
	const room = "attributes-rejected"
	w := newWorld(t, worldOptions{})
	agent := newRTCObserver(t, w.livekit, room)
	a := w.newApplication(nil)
	_, err := a.sdk.do(wait(t), "dial", dialRequest().with(options{"roomName": room, "participantIdentity": "callee"}))
	require.NoError(t, err)
	c, err := w.meta.User(userNumber).NextCall(wait(t))
	require.NoError(t, err)
	require.NoError(t, a.wait("connect", c.ID()).err)
	require.NoError(t, c.Wait(wait(t), fakemeta.StateRinging))
	require.NoError(t, c.Reject())
	left := agent.wait("the callee left", gone)
	require.Equal(t, "USER_REJECTED", left.Reason)
	require.Contains(t, []string{"rejected", "meta_closed_unanswered"}, left.Attributes["whatsapp.endReason"], "whoever said so first")
	require.NotContains(t, agent.statuses(), "active")
	w.nothingLeft(room)
}

// passWebhooks hands every webhook of Meta's to the connector's gateway, as it came.
func (w *world) passWebhooks(path string) {
	w.t.Helper()
	events := w.meta.Events()
	ctx, cancel := context.WithCancel(context.Background())
	var passing sync.WaitGroup
	passing.Go(func() {
		for {
			e, err := events.Next(ctx)
			if err != nil {
				return
			}
			req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.url+path, bytes.NewReader(e.Body))
			if err != nil {
				return
			}
			req.Header.Set("Content-Type", "application/json")
			req.Header.Set("X-Hub-Signature-256", e.Signature)
			if res, err := http.DefaultClient.Do(req); err == nil {
				_ = res.Body.Close()
			}
		}
	})
	w.t.Cleanup(func() {
		cancel()
		events.Close()
		passing.Wait()
	})
}

// Without any code of an application: the agent sees the link that the user pressed, and what Meta says of the end.
func TestAgentSeesWhatMetaSaysOfACall(t *testing.T) {
	t.Parallel()
	const room = "attributes-gateway"
	rules := filepath.Join(t.TempDir(), "rules.yaml")
	require.NoError(t, os.WriteFile(rules, []byte(`rules:
  - name: sales
    room: {name: `+room+`}
    participant: {identity: 'caller-{random}', attributes: {queue: sales}}
    wait_until_answered: false
`), 0o600))
	to := goAudience(t, liveKit)
	w := newWorld(t, worldOptions{config: func(c *app.Config) {
		c.Webhook.Path, c.Webhook.VerifyToken, c.Webhook.AppSecrets = "/webhook", "any", []app.Secret{"app-secret"}
		c.RulesFile = rules
		c.WhatsApp.Numbers = map[string]app.NumberConfig{numberID: {AccessToken: metaToken}}
		tell(c, to)
	}})
	w.passWebhooks("/webhook")
	agent := newRTCObserver(t, w.livekit, room)
	c, err := w.meta.User(userNumber).Call(wait(t), numberID, fakemeta.WithCTAPayload("spring offer"))
	require.NoError(t, err)
	came := agent.wait("the caller came", func(s seen) bool { return s.Event == "connected" })
	require.Regexp(t, `^caller-`, came.Identity)
	require.Equal(t, "spring offer", came.Attributes["whatsapp.ctaPayload"])
	require.Equal(t, "sales", came.Attributes["queue"])
	if !status("active")(came) {
		agent.wait("the call is answered", status("active"))
	}
	require.NoError(t, c.Fail(138021))
	left := agent.wait("the caller left", gone)
	require.Equal(t, "media_not_received", left.Attributes["whatsapp.endReason"])
	require.Equal(t, "138021", left.Attributes["whatsapp.endCode"])
	events := to.life(t, c.ID())
	require.Equal(t, []string{"call.created", "call.ringing", "call.answered", "call.ended"}, names(events))
	end := events[len(events)-1].call
	require.Equal(t, "sales", end.GetRule())
	require.Equal(t, "media_not_received", end.GetEndReason())
	require.Equal(t, int32(138021), end.GetMetaErrorCode())
	require.NotEmpty(t, end.GetMetaError())
	w.nothingLeft(room)
}
