package roomleg_test

import (
	"testing"

	"github.com/livekit/protocol/livekit"
	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/internal/livekittest"
	"github.com/livekit-connector/livekit-connector/internal/roomleg"
)

func TestAgentsComeOnceEach(t *testing.T) {
	b := newBench(t)
	worker, err := b.srv.StartAgentWorker(b.ctx, livekittest.AgentWorkerOptions{AgentName: "greeter"})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, worker.Close()) })
	unnamed, err := b.srv.StartAgentWorker(b.ctx, livekittest.AgentWorkerOptions{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, unnamed.Close()) })

	agents := []*livekit.RoomAgentDispatch{
		{AgentName: "greeter", Metadata: "one", Attributes: map[string]string{"k": "v"}},
		{AgentName: "greeter", Metadata: "two"},
	}
	for name, prepare := range map[string]func(){
		"new": func() {},
		"empty": func() {
			_, createErr := b.srv.CreateRoom(b.ctx, &livekit.CreateRoomRequest{
				Name: "empty", Agents: []*livekit.RoomAgentDispatch{{AgentName: "somebody else"}},
			})
			require.NoError(t, createErr)
		},
		"busy": func() { b.human("busy", "human") },
	} {
		t.Run(name, func(t *testing.T) {
			prepare()
			opts := b.options(name, "caller")
			opts.Agents = agents
			leg := b.join(opts)
			jobs, waitErr := worker.WaitJobs(b.ctx, name, 2)
			require.NoError(t, waitErr)
			metadata := map[string]*livekittest.Job{}
			for _, job := range jobs {
				metadata[job.Metadata] = job
			}
			require.Contains(t, metadata, "one")
			require.Contains(t, metadata, "two")
			require.Equal(t, "v", metadata["one"].Attributes["k"])

			dispatches, listErr := b.srv.Dispatches(b.ctx, name)
			require.NoError(t, listErr)
			ours := 0
			for _, d := range dispatches {
				if d.AgentName == "greeter" {
					ours++
				}
			}
			require.Equal(t, 2, ours, "no agent twice")

			agent := metadata["one"].Agent
			require.NotNil(t, agent)
			_, publishErr := agent.Publish(livekittest.TrackOptions{})
			require.NoError(t, publishErr)
			b.waitClosed(leg.Ready(), "ready by the agent's voice")
		})
	}
	for _, job := range unnamed.Jobs() {
		require.Equal(t, "busy", job.GetRoom().GetName(), "only the room that a human opened without agents asks for anybody")
	}
}

func TestVerifyAccess(t *testing.T) {
	b := newBench(t)
	key, secret := b.srv.APIKey(), b.srv.APISecret()
	for name, test := range map[string]struct {
		url, key, secret string
		want             error
	}{
		"good":                {b.srv.URL(), key, secret, nil},
		"good by HTTP":        {b.srv.HTTPURL(), key, secret, nil},
		"wrong key":           {b.srv.URL(), "APInobody", secret, roomleg.ErrUnknownAPIKey},
		"wrong secret":        {b.srv.URL(), key, secret + "x", roomleg.ErrWrongSecret},
		"nobody there":        {"ws://127.0.0.1:1", key, secret, roomleg.ErrUnreachable},
		"not LiveKit's API":   {b.srv.URL() + "/elsewhere", key, secret, roomleg.ErrUnreachable},
		"no URL of any sense": {"://", key, secret, roomleg.ErrUnreachable},
	} {
		t.Run(name, func(t *testing.T) {
			err := roomleg.VerifyAccess(b.ctx, b.http, test.url, test.key, test.secret)
			require.ErrorIs(t, err, test.want)
			if err != nil {
				require.NotContains(t, err.Error(), "eyJ", "no token in the text")
			}
		})
	}
}
