package e2e_test

import (
	"testing"

	"github.com/livekit/protocol/livekit"
	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/internal/livekittest"
	"github.com/livekit-connector/livekit-connector/pkg/fakemeta"
)

// talk lets both ends of an answered call say their piece at once and checks that each heard the other, whole.
func talk(t *testing.T, c *fakemeta.Call, agent *livekittest.Participant, caller string) {
	t.Helper()
	callerSays, agentSays := speech(t, "caller"), speech(t, "agent")
	track, err := agent.Publish(livekittest.TrackOptions{Name: "agent"})
	require.NoError(t, err)
	require.NoError(t, track.WaitHeard(wait(t)), "the connector subscribes to the agent")
	require.NoError(t, track.Send(wait(t), silent(20))) // what comes before it has subscribed is lost
	takes(t, func(int) string {
		begin := len(handsetHeard(t, c))
		require.NoError(t, track.Send(wait(t), packets(t, agentSays)))
		heardAtLeast(t, c, 10)
		return misheard(t, "handset", agentSays, handsetHeard(t, c)[begin:])
	})
	recording := agent.Heard(caller)
	require.NoError(t, recording.WaitCount(wait(t), len(callerSays)/(speechRate/50)))
	requireHeard(t, "room", callerSays, decode(t, recording.Packets()))
}

func TestInboundCallCarriesSpeechBothWays(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{})
	const room = "inbound-both-ways"
	agent, err := w.livekit.Join(wait(t), livekittest.ParticipantOptions{Room: room, Identity: "agent"})
	require.NoError(t, err)
	defer func() { require.NoError(t, agent.Leave()) }()
	app := w.newApplication(func(a *application) {
		a.accept = options{"roomName": room, "participantIdentity": "caller"}
	})

	c, err := w.meta.User(userNumber).Call(wait(t), numberID, fakemeta.WithSpeech(says(speech(t, "caller"))))
	require.NoError(t, err)
	accepted := app.wait("accept", c.ID())
	require.NoError(t, accepted.err)
	require.Equal(t, room, accepted.res.text("roomName"))
	talk(t, c, agent, "caller")

	require.NoError(t, c.HangUp())
	require.NoError(t, app.wait("disconnect", c.ID()).err)
	left, err := agent.Wait(wait(t), livekittest.Is(livekittest.EventLeft, "caller"))
	require.NoError(t, err)
	require.Equal(t, livekit.DisconnectReason_CLIENT_INITIATED, left.Reason)
	requireOver(t, c)
	requireContinuous(t, c)
	w.nothingLeft(room)
}

func TestOutboundCallCarriesSpeechBothWays(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{})
	const room = "outbound-both-ways"
	agent, err := w.livekit.Join(wait(t), livekittest.ParticipantOptions{Room: room, Identity: "agent"})
	require.NoError(t, err)
	defer func() { require.NoError(t, agent.Leave()) }()
	user := w.meta.User(userNumber)
	user.SetSpeech(says(speech(t, "caller")))
	app := w.newApplication(nil)

	dialled, err := app.sdk.do(wait(t), "dial", dialRequest().with(options{"roomName": room, "participantIdentity": "callee"}))
	require.NoError(t, err)
	require.Equal(t, room, dialled.text("roomName"))
	c, err := user.NextCall(wait(t))
	require.NoError(t, err)
	require.Equal(t, c.ID(), dialled.text("whatsappCallId"))
	require.NoError(t, app.wait("connect", c.ID()).err)
	require.NoError(t, c.Wait(wait(t), fakemeta.StateRinging))
	require.Zero(t, agent.Count(livekittest.Is(livekittest.EventTrackPublished, "callee")), "a track means answered")
	require.NoError(t, c.PickUp())
	_, err = agent.Wait(wait(t), livekittest.Is(livekittest.EventTrackPublished, "callee"))
	require.NoError(t, err)
	talk(t, c, agent, "callee")

	_, err = app.sdk.do(wait(t), "disconnect", options{"whatsappCallId": c.ID(), "whatsappApiKey": metaToken})
	require.NoError(t, err)
	requireOver(t, c)
	requireContinuous(t, c)
	left, err := agent.Wait(wait(t), livekittest.Is(livekittest.EventLeft, "callee"))
	require.NoError(t, err)
	require.Equal(t, livekit.DisconnectReason_CLIENT_INITIATED, left.Reason)
	w.nothingLeft(room)
}
