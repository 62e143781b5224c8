package e2e_test

import (
	"context"
	"testing"
	"time"

	"github.com/livekit/protocol/livekit"
	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/internal/app"
	"github.com/livekit-connector/livekit-connector/internal/livekittest"
	"github.com/livekit-connector/livekit-connector/pkg/fakemeta"
)

// scene is an inbound call that was accepted, with a listener in its room.
type scene struct {
	*world
	room     string
	app      *application
	call     *fakemeta.Call
	listener *livekittest.Participant
	// guests are further participants of the test.
	guests []*livekittest.Participant
}

// newScene brings an inbound call to where both sides could talk.
func newScene(t *testing.T, room string, o worldOptions, change func(*application)) *scene {
	t.Helper()
	s := &scene{world: newWorld(t, o), room: room}
	var err error
	s.listener, err = s.livekit.Join(wait(t), livekittest.ParticipantOptions{Room: room, Identity: "listener"})
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.listener.Leave() })
	s.app = s.newApplication(func(a *application) {
		a.accept = options{"roomName": room, "participantIdentity": "caller"}
		if change != nil {
			change(a)
		}
	})
	s.call, err = s.meta.User(userNumber).Call(wait(t), numberID)
	require.NoError(t, err)
	require.NoError(t, s.app.wait("accept", s.call.ID()).err)
	_, err = s.listener.Wait(wait(t), livekittest.Is(livekittest.EventTrackPublished, "caller"))
	require.NoError(t, err)
	return s
}

// alone is nothingLeft for a test that is alone in the process: the test's own participants leave, and no socket is left.
func (s *scene) alone() {
	s.t.Helper()
	s.nothingLeft(s.room)
	for _, p := range append(s.guests, s.listener) {
		require.NoError(s.t, p.Leave())
	}
	s.noSocketLeft()
}

// requireLeft waits until the caller left the room, and for which reason.
func (s *scene) requireLeft(reason livekit.DisconnectReason) {
	s.t.Helper()
	left, err := s.listener.Wait(wait(s.t), livekittest.Is(livekittest.EventLeft, "caller"))
	require.NoError(s.t, err)
	require.Equal(s.t, reason, left.Reason)
}

// requireOver waits until Meta knows that the call is over.
func requireOver(t *testing.T, c *fakemeta.Call) {
	t.Helper()
	select {
	case <-c.Done():
	case <-wait(t).Done():
		t.Fatalf("the call is not over at Meta: %v", c.Timeline())
	}
}

// TestEnds is not parallel, and neither are its cases: a socket does not say whose it is.
func TestEnds(t *testing.T) {
	vanished := newVanished(t) // half a minute in which nobody hears of anything
	t.Run("an inbound call", endsOfAnInboundCall)
	t.Run("an outbound call that is not answered", endsOfAnOutboundCall)
	t.Run("an outbound call without webhooks", endOfACallWithoutWebhooks)
	t.Run("a node that goes down", endOfANode)
	t.Run("a phone that vanishes", func(t *testing.T) { vanished.reaped(t) })
}

func endsOfAnInboundCall(t *testing.T) {
	deaf := func(a *application) { a.ignoreTerminate = true }
	tests := []struct {
		name   string
		room   string
		change func(*application)
		end    func(*scene)
		// reason is the one the room sees, if there still is somebody to see it.
		reason livekit.DisconnectReason
	}{
		{
			"the user hangs up and the application says so", "end-user", nil,
			func(s *scene) { require.NoError(s.t, s.call.HangUp()) }, livekit.DisconnectReason_CLIENT_INITIATED,
		},
		{
			"the user hangs up and nobody says so", "end-user-unsaid", deaf,
			func(s *scene) { require.NoError(s.t, s.call.HangUp()) }, livekit.DisconnectReason_CLIENT_INITIATED,
		},
		{
			"the application disconnects", "end-application", deaf, func(s *scene) {
				_, err := s.app.sdk.do(wait(s.t), "disconnect", options{"whatsappCallId": s.call.ID(), "whatsappApiKey": metaToken})
				require.NoError(s.t, err)
			}, livekit.DisconnectReason_CLIENT_INITIATED,
		},
		{
			"the participant is removed", "end-removed", deaf, func(s *scene) {
				require.NoError(s.t, s.livekit.RemoveParticipant(wait(s.t), s.room, "caller"))
			}, livekit.DisconnectReason_PARTICIPANT_REMOVED,
		},
		{
			"the room is deleted", "end-deleted", deaf, func(s *scene) {
				require.NoError(s.t, s.livekit.DeleteRoom(wait(s.t), s.room))
			}, livekit.DisconnectReason_ROOM_DELETED,
		},
		{
			"another participant takes the identity", "end-duplicate", deaf, func(s *scene) {
				p, err := s.livekit.Join(wait(s.t), livekittest.ParticipantOptions{Room: s.room, Identity: "caller"})
				require.NoError(s.t, err)
				s.guests = append(s.guests, p)
			}, livekit.DisconnectReason_DUPLICATE_IDENTITY,
		},
		{
			"Meta ends the call because it hears nothing", "end-138021", nil,
			func(s *scene) { require.NoError(s.t, s.call.Fail(138021)) }, livekit.DisconnectReason_CLIENT_INITIATED,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newScene(t, tt.room, worldOptions{}, tt.change)
			tt.end(s)
			requireOver(t, s.call)
			if tt.reason == livekit.DisconnectReason_ROOM_DELETED {
				gone, err := s.listener.Wait(wait(t), livekittest.Is(livekittest.EventDisconnected, ""))
				require.NoError(t, err)
				require.Equal(t, tt.reason, gone.Reason)
			} else if tt.reason != livekit.DisconnectReason_DUPLICATE_IDENTITY { // to others that is one and the same participant
				s.requireLeft(tt.reason)
			}
			if tt.change == nil {
				require.NoError(t, s.app.wait("disconnect", s.call.ID()).err, "the first word of the end is welcome")
			}
			s.alone()
		})
	}
}

func endsOfAnOutboundCall(t *testing.T) {
	tests := []struct {
		name    string
		room    string
		request options
		end     func(*testing.T, *fakemeta.Call)
		reason  livekit.DisconnectReason
	}{
		{
			"the user declines", "out-declined", nil,
			func(t *testing.T, c *fakemeta.Call) { require.NoError(t, c.Reject()) }, livekit.DisconnectReason_USER_REJECTED,
		},
		{
			"nobody answers", "out-unanswered",
			options{"ringingTimeout": "6s"}, // Meta's answer and the application's connect have to come before
			func(*testing.T, *fakemeta.Call) {}, livekit.DisconnectReason_USER_UNAVAILABLE,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, worldOptions{})
			listener, err := w.livekit.Join(wait(t), livekittest.ParticipantOptions{Room: tt.room, Identity: "listener"})
			require.NoError(t, err)
			t.Cleanup(func() { _ = listener.Leave() })
			a := w.newApplication(nil)
			dialled, err := a.sdk.do(wait(t), "dial", dialRequest().with(options{
				"roomName": tt.room, "participantIdentity": "callee",
			}).with(tt.request))
			require.NoError(t, err)
			c, err := w.meta.User(userNumber).NextCall(wait(t))
			require.NoError(t, err)
			require.NoError(t, a.wait("connect", dialled.text("whatsappCallId")).err)
			tt.end(t, c)
			requireOver(t, c)
			left, err := listener.Wait(wait(t), livekittest.Is(livekittest.EventLeft, "callee"))
			require.NoError(t, err)
			require.Equal(t, tt.reason, left.Reason)
			require.Zero(t, listener.Count(livekittest.Is(livekittest.EventTrackPublished, "callee")))
			require.Zero(t, c.Heard().EarlyPackets, "no RTP before the pick-up")
			w.nothingLeft(tt.room)
			require.NoError(t, listener.Leave())
			w.noSocketLeft()
		})
	}
}

// The application never hears of Meta's webhooks, or has crashed.
func endOfACallWithoutWebhooks(t *testing.T) {
	w := newWorld(t, worldOptions{})
	sdk := newGoSDK(w.url, w.livekit.APIKey(), w.livekit.APISecret())
	_, err := sdk.do(wait(t), "dial", dialRequest().with(options{"roomName": "out-no-webhook", "ringingTimeout": "4s"}))
	require.NoError(t, err)
	c, err := w.meta.User(userNumber).NextCall(wait(t))
	require.NoError(t, err)
	requireOver(t, c)
	w.nothingLeft("out-no-webhook")
	w.noSocketLeft()
}

// vanished is a call whose phone sends no farewell, and neither does Meta. Thirty real seconds, once; internal/call does
// the same in fake time.
type vanished struct{ *scene }

func newVanished(t *testing.T) vanished {
	t.Helper()
	s := newScene(t, "end-vanished", worldOptions{config: func(c *app.Config) { c.MediaTimeout = 30 * time.Second }},
		func(a *application) { a.ignoreTerminate = true })
	s.call.Vanish()
	return vanished{s}
}

func (s vanished) reaped(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	_, err := s.listener.Wait(ctx, livekittest.Is(livekittest.EventLeft, "caller"))
	require.NoError(t, err)
	require.NoError(t, s.app.w.app.Node().WaitEmpty(ctx))
	requireOver(t, s.call)
	s.alone()
	require.Contains(t, s.log.String(), `"reason":"media_`, "said with its cause")
	require.Contains(t, s.metrics(), "livekit_connector_reaped_calls_total{reason=\"media_")
}

func endOfANode(t *testing.T) {
	s := newScene(t, "end-shutdown", worldOptions{}, func(a *application) { a.ignoreTerminate = true })
	require.NoError(t, s.stop())
	requireOver(t, s.call)
	s.requireLeft(livekit.DisconnectReason_CLIENT_INITIATED)
	s.alone()
}
