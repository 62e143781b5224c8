package e2e_test

import (
	"strconv"
	"testing"
	"time"

	"github.com/livekit/protocol/livekit"
	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/internal/app"
	"github.com/livekit-connector/livekit-connector/internal/livekittest"
)

func TestWhatTheRoomSeesOfAnInboundCall(t *testing.T) {
	t.Parallel()
	before := time.Now()
	s := newScene(t, "facts-inbound", worldOptions{}, func(a *application) {
		a.accept["participantName"] = "A caller"
		a.accept["participantMetadata"] = "some metadata"
		a.accept["participantAttributes"] = options{"tenant": "acme", "whatsapp.callID": "forged"}
	})
	p, err := s.livekit.Participant(wait(t), s.room, "caller")
	require.NoError(t, err)
	require.Equal(t, livekit.ParticipantInfo_CONNECTOR, p.GetKind())
	require.Equal(t, []livekit.ParticipantInfo_KindDetail{livekit.ParticipantInfo_CONNECTOR_WHATSAPP}, p.GetKindDetails())
	require.Equal(t, "A caller", p.GetName())
	require.Equal(t, "some metadata", p.GetMetadata())
	a := p.GetAttributes()
	require.Equal(t, s.call.ID(), a["whatsapp.callID"], "ours win")
	require.Equal(t, "inbound", a["whatsapp.direction"])
	require.Equal(t, "active", a["whatsapp.callStatus"])
	require.Equal(t, "acme", a["tenant"])
	requested, err := strconv.ParseInt(a["lk.connector.requestTime"], 10, 64)
	require.NoError(t, err)
	require.WithinRange(t, time.UnixMilli(requested), before.Truncate(time.Millisecond), time.Now())
	require.NotContains(t, a, "lk.connector.answerTime")
	for key, value := range a {
		require.NotContains(t, value, userNumber, key)
		require.NotContains(t, value, numberID, key)
	}
	require.Len(t, p.GetTracks(), 1)
	require.Equal(t, livekit.TrackSource_MICROPHONE, p.GetTracks()[0].GetSource())
}

func TestWhatTheRoomSeesOfAnOutboundCall(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{config: func(c *app.Config) { c.Participant.PhoneNumberAttributes = true }})
	const room = "facts-outbound"
	listener, err := w.livekit.Join(wait(t), livekittest.ParticipantOptions{Room: room, Identity: "listener"})
	require.NoError(t, err)
	defer func() { require.NoError(t, listener.Leave()) }()
	sdk, events := newGoSDK(w.url, w.livekit.APIKey(), w.livekit.APISecret()), w.meta.Events()
	defer events.Close()
	dialled, err := sdk.do(wait(t), "dial", dialRequest().with(options{"roomName": room, "participantIdentity": "callee"}))
	require.NoError(t, err)
	status := func(want string) {
		t.Helper()
		_, err = listener.Wait(wait(t), func(e livekittest.Event) bool {
			return e.Identity == "callee" && e.Attributes["whatsapp.callStatus"] == want
		})
		require.NoError(t, err, want)
	}
	p, err := w.livekit.Participant(wait(t), room, "callee")
	require.NoError(t, err)
	require.Equal(t, "dialing", p.GetAttributes()["whatsapp.callStatus"])
	id := dialled.text("whatsappCallId")
	connect, err := events.NextCall(wait(t), id, "connect")
	require.NoError(t, err)
	_, err = sdk.do(wait(t), "connect", options{"whatsappCallId": id, "sdp": options{"type": "answer", "sdp": connect.Session.SDP}})
	require.NoError(t, err)
	c, err := w.meta.User(userNumber).NextCall(wait(t))
	require.NoError(t, err)
	status("ringing")
	require.NoError(t, c.PickUp())
	status("active")
	p, err = w.livekit.Participant(wait(t), room, "callee")
	require.NoError(t, err)
	require.Equal(t, id, p.GetAttributes()["whatsapp.callID"])
	require.Equal(t, "outbound", p.GetAttributes()["whatsapp.direction"])
	require.Equal(t, userNumber, p.GetAttributes()["whatsapp.phoneNumber"], "asked for by configuration")
	require.NotEmpty(t, p.GetAttributes()["lk.connector.answerTime"])
	_, err = sdk.do(wait(t), "disconnect", options{"whatsappCallId": id, "whatsappApiKey": metaToken})
	require.NoError(t, err)
	status("hangup")
}

func TestRoomAndIdentityAreMadeUpAndTold(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{})
	a := w.newApplication(nil)
	c, err := w.meta.User(userNumber).Call(wait(t), numberID)
	require.NoError(t, err)
	accepted := a.wait("accept", c.ID())
	require.NoError(t, accepted.err)
	room := accepted.res.text("roomName")
	require.NotEmpty(t, room)
	people, err := w.livekit.Participants(wait(t), room)
	require.NoError(t, err)
	require.Len(t, people, 1)
	require.NotEmpty(t, people[0].GetIdentity())
	require.NotContains(t, people[0].GetIdentity(), userNumber)
	require.NotContains(t, room, userNumber)
}

// An agent named in the request gets its job, with its metadata, once: the room is made by the call, or was there.
func TestAgentsAreSentFor(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		room  string
		there bool
	}{{"agents-new-room", false}, {"agents-existing-room", true}} {
		t.Run(tt.room, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, worldOptions{})
			name := "agent-of-" + tt.room
			worker, err := w.livekit.StartAgentWorker(wait(t), livekittest.AgentWorkerOptions{AgentName: name})
			require.NoError(t, err)
			defer func() { _ = worker.Close() }()
			if tt.there {
				_, err = w.livekit.CreateRoom(wait(t), &livekit.CreateRoomRequest{Name: tt.room})
				require.NoError(t, err)
			}
			a := w.newApplication(func(a *application) {
				a.accept = options{
					"roomName": tt.room, "participantIdentity": "caller", "waitUntilAnswered": false,
					"agents": []options{{"agentName": name, "metadata": "for this call"}},
				}
			})
			c, err := w.meta.User(userNumber).Call(wait(t), numberID)
			require.NoError(t, err)
			require.NoError(t, a.wait("accept", c.ID()).err)
			job, err := worker.WaitJob(wait(t), tt.room)
			require.NoError(t, err)
			require.Equal(t, "for this call", job.GetMetadata())
			require.NotNil(t, job.Agent)
			_, err = job.Agent.Wait(wait(t), livekittest.Is(livekittest.EventTrackSubscribed, "caller"))
			require.NoError(t, err)
			require.Len(t, worker.Jobs(), 1)

			require.NoError(t, c.HangUp())
			left, err := job.Agent.Wait(wait(t), livekittest.Is(livekittest.EventLeft, "caller"))
			require.NoError(t, err)
			require.Equal(t, livekit.DisconnectReason_CLIENT_INITIATED, left.Reason, "the reason on which agents end their session")
		})
	}
}
