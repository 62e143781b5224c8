package e2e_test

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/livekit/protocol/auth"
	"github.com/livekit/protocol/livekit"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/livekit-connector/livekit-connector/internal/app"
	"github.com/livekit-connector/livekit-connector/internal/livekittest"
	"github.com/livekit-connector/livekit-connector/pkg/fakemeta"
	"github.com/livekit-connector/livekit-connector/proto/connectorpb"
)

// audiences are Go's receiver and all versions of Node's.
func audiences(t *testing.T) []*audience {
	t.Helper()
	all := []*audience{goAudience(t, liveKit)}
	for _, v := range []string{"2.15.0", "2.17.0", "2.19.2"} {
		all = append(all, nodeAudience(t, liveKit, v))
	}
	return all
}

func tell(c *app.Config, to ...*audience) {
	for _, a := range to {
		c.Events.URLs = append(c.Events.URLs, a.url)
	}
	c.Events.Timeout = 30 * time.Second // an event whose answer is late comes twice
}

// requireSame checks that all were told the same, and returns it.
func requireSame(t *testing.T, to []*audience, callID string) []told {
	t.Helper()
	first := to[0].life(t, callID)
	ids := map[string]bool{}
	for _, e := range first {
		ids[e.GetId()] = true
	}
	require.Len(t, ids, len(first), "events have IDs of their own")
	for _, a := range to[1:] {
		events := a.life(t, callID)
		require.Equal(t, names(first), names(events), a.name)
		for i := range events {
			require.True(t, proto.Equal(first[i].WebhookEvent, events[i].WebhookEvent), "%s: %v", a.name, events[i])
			require.True(t, proto.Equal(first[i].call, events[i].call), "%s: %v", a.name, events[i].call)
		}
	}
	return first
}

// requireOf checks what all events of a call have in common.
func requireOf(t *testing.T, events []told, callID, room, identity, direction string) {
	t.Helper()
	created := int64(0)
	for _, e := range events {
		require.Equal(t, room, e.GetRoom().GetName())
		require.Equal(t, identity, e.GetParticipant().GetIdentity())
		require.Equal(t, livekit.ParticipantInfo_CONNECTOR, e.GetParticipant().GetKind())
		require.Equal(t, []livekit.ParticipantInfo_KindDetail{livekit.ParticipantInfo_CONNECTOR_WHATSAPP}, e.GetParticipant().GetKindDetails())
		require.Equal(t, callID, e.GetParticipant().GetAttributes()["whatsapp.callID"])
		require.Equal(t, direction, e.call.GetDirection())
		require.GreaterOrEqual(t, e.GetCreatedAt(), created)
		created = e.GetCreatedAt()
	}
}

func TestEventsOfAnInboundCall(t *testing.T) {
	t.Parallel()
	all := audiences(t)
	s := newScene(t, "events-inbound", worldOptions{config: func(c *app.Config) { tell(c, all...) }}, nil)
	require.NoError(t, s.listener.Heard("caller").WaitCount(wait(t), 25))
	require.NoError(t, s.call.HangUp())
	events := requireSame(t, all, s.call.ID())
	require.Equal(t, []string{"call.created", "call.ringing", "call.answered", "call.ended"}, names(events))
	requireOf(t, events, s.call.ID(), s.room, "caller", "inbound")
	require.Nil(t, events[1].call.GetAnsweredAt())
	require.NotNil(t, events[2].call.GetAnsweredAt())
	require.Empty(t, events[2].call.GetEndReason())

	end := events[3].call
	require.Equal(t, "ended", end.GetState())
	require.Equal(t, "success", end.GetEndResult())
	require.Contains(t, []string{"user_hangup", "meta_closed"}, end.GetEndReason(), "whoever said so first")
	require.True(t, end.GetAnsweredAt().AsTime().Before(end.GetEndedAt().AsTime()))
	require.GreaterOrEqual(t, end.GetAudio().GetToRoom().GetReceived(), uint32(25))
	require.NotZero(t, end.GetAudio().GetToPhone().GetSent())
	require.Equal(t, "opus", end.GetAudio().GetCodec())
	require.Greater(t, len(end.GetTimeline()), len(events[0].call.GetTimeline()))
	for _, e := range events {
		body := e.String() + e.call.String()
		for _, hidden := range []string{userNumber, business, metaToken} {
			require.NotContains(t, body, hidden, e.GetEvent())
		}
	}
	s.nothingLeft(s.room)
	until(t, func() string { // counted when the answer is read, behind the receiver's back
		if m := s.metrics(); !strings.Contains(m, `livekit_connector_events_total{event="call.ended",outcome="delivered"} 4`) {
			return m
		}
		return ""
	})
}

func TestEventsOfAnOutboundCall(t *testing.T) {
	t.Parallel()
	all := audiences(t)
	w := newWorld(t, worldOptions{config: func(c *app.Config) {
		tell(c, all...)
		c.Participant.PhoneNumberAttributes = true
	}})
	const room = "events-outbound"
	a := w.newApplication(nil)
	dialled, err := a.sdk.do(wait(t), "dial", dialRequest().with(options{"roomName": room, "participantIdentity": "callee", "participantName": "Ada"}))
	require.NoError(t, err)
	c, err := w.meta.User(userNumber).NextCall(wait(t))
	require.NoError(t, err)
	require.NoError(t, c.Wait(wait(t), fakemeta.StateRinging))
	require.NoError(t, a.wait("connect", c.ID()).err)
	agent, err := w.livekit.Join(wait(t), livekittest.ParticipantOptions{Room: room, Identity: "agent"})
	require.NoError(t, err)
	defer func() { require.NoError(t, agent.Leave()) }()
	require.NoError(t, c.PickUp())
	require.NoError(t, agent.Heard("callee").WaitCount(wait(t), 25))
	_, err = a.sdk.do(wait(t), "disconnect", options{"whatsappCallId": dialled.text("whatsappCallId"), "whatsappApiKey": metaToken})
	require.NoError(t, err)

	events := requireSame(t, all, c.ID())
	require.Equal(t, []string{"call.created", "call.ringing", "call.answered", "call.ended"}, names(events))
	requireOf(t, events, c.ID(), room, "callee", "outbound")
	require.Equal(t, "Ada", events[0].GetParticipant().GetName())
	require.Contains(t, slices.Collect(maps.Values(events[0].GetParticipant().GetAttributes())), userNumber, "the numbers were asked for")
	require.Equal(t, "business_hangup", events[3].call.GetEndReason())
	require.NotZero(t, events[3].call.GetAudio().GetToRoom().GetSent())
	w.nothingLeft(room)
}

func TestEventsOfARejectedCall(t *testing.T) {
	t.Parallel()
	to := goAudience(t, liveKit)
	w := newWorld(t, worldOptions{config: func(c *app.Config) { tell(c, to) }})
	a := w.newApplication(nil)
	_, err := a.sdk.do(wait(t), "dial", dialRequest().with(options{"roomName": "events-rejected"}))
	require.NoError(t, err)
	c, err := w.meta.User(userNumber).NextCall(wait(t))
	require.NoError(t, err)
	require.NoError(t, a.wait("connect", c.ID()).err)
	require.NoError(t, c.Wait(wait(t), fakemeta.StateRinging))
	require.NoError(t, c.Reject())
	events := to.life(t, c.ID())
	require.Equal(t, "call.created", events[0].GetEvent())
	require.NotContains(t, names(events), "call.answered")
	end := events[len(events)-1].call
	require.Equal(t, "client_error", end.GetEndResult())
	require.Nil(t, end.GetAnsweredAt())
	w.nothingLeft("events-rejected")
}

// What Meta says when it refuses something may name the user: events do not.
func TestEventsOfACallThatMetaRefuses(t *testing.T) {
	t.Parallel()
	to := goAudience(t, liveKit)
	w := newWorld(t, worldOptions{
		config: func(c *app.Config) { tell(c, to) },
		faults: []fakemeta.Fault{{Action: "accept", Code: 100, Details: "cannot accept the call of " + userNumber}},
	})
	a := w.newApplication(func(a *application) { a.accept = options{"roomName": "events-refused"} })
	c, err := w.meta.User(userNumber).Call(wait(t), numberID)
	require.NoError(t, err)
	require.Error(t, a.wait("accept", c.ID()).err)
	events := to.life(t, c.ID())
	require.NotContains(t, names(events), "call.answered")
	end := events[len(events)-1].call
	require.Equal(t, "meta_refused", end.GetEndReason())
	require.Equal(t, "upstream_error", end.GetEndResult())
	require.NotEmpty(t, end.GetEndError())
	for _, e := range events {
		require.NotContains(t, e.String()+e.call.String(), userNumber)
	}
	w.nothingLeft("events-refused")
}

// A receiver that cannot be reached, and then answers 503, until the call is over.
func TestReceiverThatIsDownGetsAllInOrder(t *testing.T) {
	t.Parallel()
	a := newAudience("go")
	var (
		up      atomic.Bool
		refused = make(chan struct{}, 100)
		tries   atomic.Int32
	)
	good := receive(auth.NewSimpleKeyProvider(liveKit.APIKey(), liveKit.APISecret()),
		func(e *livekit.WebhookEvent, r *connectorpb.CallRecord) { a.add(e, r, "") })
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if up.Load() {
			good(w, r)
			return
		}
		defer func() { refused <- struct{}{} }()
		if tries.Add(1)%2 == 1 {
			panic(http.ErrAbortHandler) // closes the connection
		}
		http.Error(w, "not yet", http.StatusServiceUnavailable)
	}))
	t.Cleanup(server.Close)
	a.url = server.URL + "/hush"
	s := newScene(t, "events-down", worldOptions{config: func(c *app.Config) { tell(c, a) }}, nil)
	require.NoError(t, s.call.HangUp())
	requireOver(t, s.call)
	require.NoError(t, s.app.wait("disconnect", s.call.ID()).err)
	for range 2 {
		select {
		case <-refused:
		case <-wait(t).Done():
			t.Fatal("events are not tried again")
		}
	}
	up.Store(true)
	events := a.life(t, s.call.ID())
	require.Equal(t, []string{"call.created", "call.ringing", "call.answered", "call.ended"}, names(events))
	require.Contains(t, s.log.String(), "a receiver of events fails")
	require.NotContains(t, s.log.String(), "hush")
	s.nothingLeft(s.room)
}

// Events of the calls that the end of the connector ends are posted before it is gone.
func TestEventsOfCallsThatEndWithTheConnector(t *testing.T) {
	t.Parallel()
	to := goAudience(t, liveKit)
	s := newScene(t, "events-shutdown", worldOptions{config: func(c *app.Config) { tell(c, to) }}, nil)
	require.NoError(t, s.stop())
	to.mu.Lock()
	defer to.mu.Unlock()
	require.NotEmpty(t, to.events)
	end := to.events[len(to.events)-1]
	require.Equal(t, "call.ended", end.GetEvent())
	require.Equal(t, "shutdown", end.call.GetEndReason())
}

// block returns the first block of code in a language.
func block(t *testing.T, doc, language string) string {
	t.Helper()
	_, code, ok := strings.Cut(doc, "```"+language+"\n")
	require.True(t, ok)
	code, _, ok = strings.Cut(code, "```\n")
	require.True(t, ok)
	return code
}

// The body that docs/events.md shows has no member that is not sent any more.
func TestEventOfTheDocumentation(t *testing.T) {
	t.Parallel()
	doc, err := os.ReadFile("../../docs/events.md")
	require.NoError(t, err)
	members := map[string]json.RawMessage{}
	require.NoError(t, json.Unmarshal([]byte(block(t, string(doc), "json")), &members))
	require.NoError(t, protojson.Unmarshal(members["call"], &connectorpb.CallRecord{}))
	delete(members, "call")
	envelope, err := json.Marshal(members)
	require.NoError(t, err)
	var e livekit.WebhookEvent
	require.NoError(t, protojson.Unmarshal(envelope, &e))
	require.Equal(t, "call.ended", e.GetEvent())
}

// The receivers of docs/events.md are what the tests run.
func TestReceiversOfTheDocumentation(t *testing.T) {
	t.Parallel()
	doc, err := os.ReadFile("../../docs/events.md")
	require.NoError(t, err)
	source, err := os.ReadFile("events_receiver_test.go")
	require.NoError(t, err)
	_, code, ok := strings.Cut(string(source), "// The receiver of docs/events.md, from here.\n\n")
	require.True(t, ok)
	code, _, ok = strings.Cut(code, "\n// To here.")
	require.True(t, ok)
	require.Equal(t, code, block(t, string(doc), "go"))

	script := block(t, string(doc), "js")
	sdk, err := filepath.Abs(filepath.Join(sdkDir(), "node", "node_modules", "livekit-server-sdk-2.19.2", "dist", "index.js"))
	require.NoError(t, err)
	require.Contains(t, script, "'livekit-server-sdk'")
	script = strings.ReplaceAll(script, "'livekit-server-sdk'", "'"+sdk+"'")
	require.Contains(t, script, "server.listen(3000)")
	script = strings.ReplaceAll(script, "server.listen(3000)", "server.listen(0, '127.0.0.1', () => console.log(server.address().port))")
	file := filepath.Join(t.TempDir(), "receiver.mjs")
	require.NoError(t, os.WriteFile(file, []byte(script+"process.stdin.resume().on('end', () => process.exit(0));\n"), 0o600))
	lines := startNode(t, liveKit, file)
	url := "http://127.0.0.1:" + lines.next(t)
	s := newScene(t, "events-docs", worldOptions{config: func(c *app.Config) { c.Events.URLs = []string{url} }}, nil)
	require.NoError(t, s.call.HangUp())
	require.Equal(t, s.call.ID()+" in events-docs: answered", lines.next(t))
	require.Regexp(t, `^`+s.call.ID()+` in events-docs: (user_hangup|meta_closed), \d+ packets from the phone$`, lines.next(t))
	s.nothingLeft(s.room)
}
