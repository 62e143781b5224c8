package e2e_test

import (
	"slices"
	"testing"
	"time"

	"github.com/livekit/protocol/livekit"
	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/internal/app"
	"github.com/livekit-connector/livekit-connector/internal/livekittest"
	"github.com/livekit-connector/livekit-connector/pkg/fakemeta"
	"github.com/livekit-connector/livekit-connector/proto/connectorpb"
)

// requireEnd waits until the room was told why the call ended, which is before the participant left.
func requireEnd(t *testing.T, p *livekittest.Participant, caller, reason, code string) livekittest.Event {
	t.Helper()
	told, err := p.Wait(wait(t), func(e livekittest.Event) bool {
		return e.Type == livekittest.EventAttributes && e.Identity == caller && e.Attributes["whatsapp.callStatus"] == "hangup"
	})
	require.NoError(t, err)
	require.Equal(t, reason, told.Attributes["whatsapp.endReason"])
	require.Equal(t, code, told.Attributes["whatsapp.endCode"])
	left, err := p.Wait(wait(t), livekittest.Is(livekittest.EventLeft, caller))
	require.NoError(t, err)
	require.False(t, left.Time.Before(told.Time))
	return left
}

// recorder joins a room as LiveKit's egress does: it sees everything and is nobody to talk with.
func (w *world) recorder(room string) *livekittest.Participant {
	w.t.Helper()
	p, err := w.livekit.Join(wait(w.t), livekittest.ParticipantOptions{
		Room: room, Identity: "recorder", Kind: livekit.ParticipantInfo_EGRESS, Deaf: true,
	})
	require.NoError(w.t, err)
	w.t.Cleanup(func() { _ = p.Leave() })
	return p
}

// pickedUp waits until the room sees that a dialled call was answered: by the caller's track, and nothing else.
func (g *gateway) pickedUp() {
	g.t.Helper()
	_, err := g.listener.Wait(wait(g.t), livekittest.Is(livekittest.EventTrackPublished, "callee"))
	require.NoError(g.t, err)
}

func TestLifecycleAgentThatLeavesEndsTheCall(t *testing.T) {
	t.Parallel()
	s := newScene(t, "life-left", worldOptions{config: func(c *app.Config) { c.AloneTimeout = 100 * time.Millisecond }},
		func(a *application) { a.ignoreTerminate = true })
	recorder := s.recorder(s.room)
	require.NoError(t, s.listener.Leave())
	requireOver(t, s.call)
	require.Equal(t, "business", s.call.Report().EndedBy)
	left := requireEnd(t, recorder, "caller", "left_alone", "")
	require.Equal(t, livekit.DisconnectReason_CLIENT_INITIATED, left.Reason)
	s.nothingLeft(s.room)
}

// An agent restarts, then hands over to a person: both find the caller still there, and for longer than the grace.
func TestLifecycleSomebodyWhoComesInTimeKeepsTheCall(t *testing.T) {
	t.Parallel()
	const grace = 15 * time.Second
	const longer = int(grace/(20*time.Millisecond)) + 50 // packets
	w := newWorld(t, worldOptions{config: func(c *app.Config) { c.AloneTimeout = grace }})
	const room = "life-handover"
	agent := func(identity string, kind livekit.ParticipantInfo_Kind) *livekittest.Participant {
		p, err := w.livekit.Join(wait(t), livekittest.ParticipantOptions{Room: room, Identity: identity, Kind: kind})
		require.NoError(t, err)
		t.Cleanup(func() { _ = p.Leave() })
		return p
	}
	first := agent("agent-1", livekit.ParticipantInfo_AGENT)
	a := w.newApplication(func(a *application) { a.accept = options{"roomName": room, "participantIdentity": "caller"} })
	c, err := w.meta.User(userNumber).Call(wait(t), numberID, fakemeta.WithSpeech(says(speech(t, "caller"))))
	require.NoError(t, err)
	require.NoError(t, a.wait("accept", c.ID()).err)
	require.NoError(t, first.Heard("caller").WaitCount(wait(t), 10))

	require.NoError(t, first.Leave())
	second := agent("agent-2", livekit.ParticipantInfo_AGENT)
	require.NoError(t, second.Heard("caller").WaitCount(wait(t), longer))
	require.NoError(t, second.Leave())
	person := agent("person", livekit.ParticipantInfo_STANDARD)
	require.NoError(t, person.Heard("caller").WaitCount(wait(t), longer))
	require.Equal(t, fakemeta.StateActive, c.State())

	require.NoError(t, person.Leave())
	requireOver(t, c)
	w.nothingLeft(room)
	require.Contains(t, w.log.String(), `"reason":"left_alone"`)
}

// tone is a Meta that plays one until the user picks up.
func tone(o *fakemeta.Options) { o.Ringback = true }

func TestLifecycleRingbackToneIsNoPickUp(t *testing.T) {
	t.Parallel()
	g := newGateway(t, "life-ringback", worldOptions{meta: tone}, "")
	c := g.dialled()
	rings, err := g.listener.Wait(wait(t), func(e livekittest.Event) bool {
		return e.Type == livekittest.EventAttributes && e.Identity == "callee" && e.Attributes["whatsapp.callStatus"] != ""
	})
	require.NoError(t, err)
	require.Equal(t, "ringing", rings.Attributes["whatsapp.callStatus"])
	record := g.recordWhen(c.ID(), "audible", func(r *connectorpb.CallRecord) bool {
		return slices.ContainsFunc(r.GetTimeline(), func(s *connectorpb.CallStage) bool { return s.GetStage() == "first_audio" })
	})
	require.Equal(t, "ringing", record.GetState())
	require.Nil(t, record.GetAnsweredAt())
	require.Zero(t, g.listener.Count(livekittest.Is(livekittest.EventTrackPublished, "callee")))

	require.NoError(t, c.PickUp())
	g.pickedUp()
	require.NoError(t, c.HangUp())
	left := requireEnd(t, g.listener, "callee", "user_hangup", "")
	require.Equal(t, livekit.DisconnectReason_CLIENT_INITIATED, left.Reason)
	requireOver(t, c)
	g.nothingLeft(g.room)
	require.Zero(t, c.Heard().EarlyPackets)
}

func TestLifecycleEndsThatMetaExplains(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name     string
		answered bool
		end      func(*fakemeta.Call) error
		reason   string
		code     string
		room     livekit.DisconnectReason
	}{
		{"declined", false, (*fakemeta.Call).Reject, "rejected", "", livekit.DisconnectReason_USER_REJECTED},
		{
			"not answered", false, func(*fakemeta.Call) error { return nil }, // Meta stops the ringing
			"unanswered", "", livekit.DisconnectReason_USER_UNAVAILABLE,
		},
		{
			"a phone that cannot connect", false, func(c *fakemeta.Call) error { return c.Fail(138020) },
			"client_failed", "138020", livekit.DisconnectReason_CLIENT_INITIATED,
		},
		{
			"a phone that hears nothing", true, func(c *fakemeta.Call) error { return c.Fail(138021) },
			"media_not_received", "138021", livekit.DisconnectReason_CLIENT_INITIATED,
		},
		{"hung up", true, (*fakemeta.Call).HangUp, "user_hangup", "", livekit.DisconnectReason_CLIENT_INITIATED},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			g := newGateway(t, "life-"+tt.reason, worldOptions{meta: func(o *fakemeta.Options) {
				if tt.reason == "unanswered" {
					o.Timing.RingTimeout = 15 * time.Second
				}
			}}, "")
			c := g.dialled()
			if tt.answered {
				require.NoError(t, c.PickUp())
				g.pickedUp()
			}
			require.NoError(t, tt.end(c))
			left := requireEnd(t, g.listener, "callee", tt.reason, tt.code)
			require.Equal(t, tt.room, left.Reason)
			requireOver(t, c)
			g.nothingLeft(g.room)
			require.NotEqual(t, "business", c.Report().EndedBy, "nobody has to tell Meta")
			record := g.record(c.ID())
			require.Equal(t, tt.reason, record.GetEndReason())
			require.Equal(t, tt.code != "", record.GetMetaErrorCode() != 0)
		})
	}
}

func TestLifecycleRuleConfiguresTheRoom(t *testing.T) {
	t.Parallel()
	const room = "life-room"
	g := newGateway(t, "life-elsewhere", worldOptions{}, `rules:
  - name: all
    room: {name: life-room, empty_timeout: 77s, departure_timeout: 33s, max_participants: 5, metadata: of the rule}
    participant:
      identity: caller-{callHash}
      attributes:
        lk.connector.recording: '{"purpose": "quality assurance", "announcement_language": "en_US"}'
    wait_until_answered: true
    ringing_timeout: 2s
    answer_alone: true
    max_duration: 20s
`)
	c, err := g.meta.User(userNumber).Call(wait(t), numberID,
		fakemeta.WithCTAPayload("from the button"), fakemeta.WithDeeplinkPayload("from the link"))
	require.NoError(t, err)
	ctx := wait(t)
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for g.callersIn(ctx, room) == 0 {
		select {
		case <-again.C:
		case <-ctx.Done():
			t.Fatal("the caller never came into the room")
		}
	}
	rooms, err := g.livekit.Rooms(ctx, room)
	require.NoError(t, err)
	require.Len(t, rooms, 1)
	require.Equal(t, uint32(77), rooms[0].GetEmptyTimeout())
	require.Equal(t, uint32(33), rooms[0].GetDepartureTimeout())
	require.Equal(t, uint32(5), rooms[0].GetMaxParticipants())
	require.Equal(t, "of the rule", rooms[0].GetMetadata())
	people, err := g.livekit.Participants(ctx, room)
	require.NoError(t, err)
	require.Len(t, people, 1)
	require.Equal(t, "from the button", people[0].GetAttributes()["whatsapp.ctaPayload"])
	require.Equal(t, "from the link", people[0].GetAttributes()["whatsapp.deeplinkPayload"])
	require.NotContains(t, people[0].GetAttributes(), "whatsapp.phoneNumber")
	require.NotContains(t, people[0].GetAttributes(), "lk.connector.recording")

	require.NoError(t, c.Wait(ctx, fakemeta.StateActive), "answered, though nobody came")
	requireOver(t, c)
	g.nothingLeft(room)
	require.Equal(t, "max_duration", g.record(c.ID()).GetEndReason())
	require.Equal(t, "all", g.record(c.ID()).GetRule())
}

func TestLifecycleUserWhoHasNotAllowedCallsIsAsked(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{
		meta: func(o *fakemeta.Options) { o.DefaultPermission = fakemeta.PermissionNone },
		config: func(c *app.Config) {
			c.WhatsApp.PermissionRequest = app.PermissionRequestConfig{Enabled: true, Text: "May we call you?"}
		},
	})
	a := w.newApplication(nil)
	dial := func() error {
		_, err := a.sdk.do(wait(t), "dial", dialRequest().with(options{"roomName": "life-permission"}))
		return err
	}
	var refused *sdkError
	require.ErrorAs(t, dial(), &refused)
	require.Equal(t, "138006", refused.Metadata["whatsapp_error_code"])
	require.Equal(t, "permission", refused.Metadata["remedy"])
	require.Equal(t, "sent", refused.Metadata["permission_request"])
	require.NotEmpty(t, refused.Metadata["permission_request_id"])
	require.Contains(t, refused.Message, "dial when Meta's webhook says call_permission_reply accept")

	require.ErrorAs(t, dial(), &refused)
	require.Equal(t, "too_soon", refused.Metadata["permission_request"])
	at, err := time.Parse(time.RFC3339, refused.Metadata["retry_after"])
	require.NoError(t, err)
	require.True(t, at.After(time.Now()), "in a day")

	require.NoError(t, w.meta.User(userNumber).ReplyPermission(numberID, fakemeta.PermissionReply{Accept: true}))
	require.NoError(t, dial())
	c, err := w.meta.User(userNumber).NextCall(wait(t))
	require.NoError(t, err)
	require.NoError(t, c.Reject())
	w.nothingLeft("life-permission")
}

func TestLifecycleOrdersForMetaStayOutOfTheRoom(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{})
	a := w.newApplication(nil)
	dial := func(recording string) (options, error) {
		request := dialRequest().with(options{
			"roomName": "life-orders", "participantIdentity": "callee", "participantAttributes": options{
				"lk.connector.recording": recording, "lk.connector.recipient": w.meta.User(userNumber).ID(), "queue": "7",
			},
		})
		delete(request, "whatsappToPhoneNumber")
		return a.sdk.do(wait(t), "dial", request)
	}
	_, err := dial(`{"announcement_language":"en_US"}`)
	var refused *sdkError
	require.ErrorAs(t, err, &refused)
	require.Equal(t, "invalid_argument", refused.Code)
	require.Contains(t, refused.Message, "lk.connector.recording: it needs a purpose")

	dialled, err := dial(`{"purpose":"quality assurance","announcement_language":"en_US"}`)
	require.NoError(t, err)
	c, err := w.meta.User(userNumber).NextCall(wait(t))
	require.NoError(t, err)
	require.Equal(t, c.ID(), dialled.text("whatsappCallId"))
	callee, err := w.livekit.Participant(wait(t), "life-orders", "callee")
	require.NoError(t, err)
	require.Equal(t, "7", callee.GetAttributes()["queue"])
	for name := range callee.GetAttributes() {
		require.NotContains(t, []string{"lk.connector.recording", "lk.connector.recipient"}, name)
	}
	require.NoError(t, c.Reject())
	w.nothingLeft("life-orders")
}
