package e2e_test

import (
	"testing"
	"time"

	"github.com/livekit/protocol/livekit"
	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/internal/app"
	"github.com/livekit-connector/livekit-connector/internal/livekittest"
	"github.com/livekit-connector/livekit-connector/pkg/fakemeta"
)

// caller is who came by the rule.
func (g *gateway) caller() string {
	g.t.Helper()
	e, err := g.listener.Wait(wait(g.t), isCaller(livekittest.EventJoined))
	require.NoError(g.t, err)
	return e.Identity
}

func TestGatewayCallerWhoIsRemovedIsHungUp(t *testing.T) {
	t.Parallel()
	g := newGateway(t, "gateway-removed", worldOptions{}, into("gateway-removed"))
	g.meta.User(userNumber).SetSpeech(says(speech(t, "caller")))
	c := g.answered()
	caller := g.caller()
	require.NoError(t, g.listener.Heard(caller).WaitCount(wait(t), 10))
	require.NoError(t, g.livekit.RemoveParticipant(wait(t), g.room, caller))
	requireOver(t, c)
	require.Equal(t, "business", c.Report().EndedBy)
	g.nothingLeft(g.room)
	g.event("terminate", "done")
	require.Equal(t, "participant_removed", g.record(c.ID()).GetEndReason())
}

func TestGatewayLastAgentWhoLeavesEndsTheCall(t *testing.T) {
	t.Parallel()
	g := newGateway(t, "gateway-agent-left", worldOptions{config: func(c *app.Config) { c.AloneTimeout = 100 * time.Millisecond }},
		into("gateway-agent-left"))
	c := g.answered()
	recorder, caller := g.recorder(g.room), g.caller()
	require.NoError(t, g.listener.Leave())
	requireOver(t, c)
	require.Equal(t, "business", c.Report().EndedBy)
	requireEnd(t, recorder, caller, "left_alone", "")
	g.nothingLeft(g.room)
	g.event("terminate", "done")
}

// A person takes over from the agent, and talks for longer than the grace.
func TestGatewayPersonWhoComesInTheGraceKeepsTheCall(t *testing.T) {
	t.Parallel()
	const grace = 10 * time.Second
	g := newGateway(t, "gateway-handover", worldOptions{config: func(c *app.Config) { c.AloneTimeout = grace }}, into("gateway-handover"))
	g.meta.User(userNumber).SetSpeech(says(speech(t, "caller")))
	c := g.answered()
	caller := g.caller()
	require.NoError(t, g.listener.Leave())
	person, err := g.livekit.Join(wait(t), livekittest.ParticipantOptions{
		Room: g.room, Identity: "person", Kind: livekit.ParticipantInfo_STANDARD,
	})
	require.NoError(t, err)
	t.Cleanup(func() { _ = person.Leave() })
	require.NoError(t, person.Heard(caller).WaitCount(wait(t), int(grace/(20*time.Millisecond))+50))
	require.Equal(t, fakemeta.StateActive, c.State())
	require.NoError(t, c.HangUp())
	g.over(c)
	require.Equal(t, "user_hangup", g.record(c.ID()).GetEndReason())
}
