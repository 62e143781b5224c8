package roomleg_test

import (
	"testing"

	"github.com/livekit/protocol/livekit"
	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/internal/livekittest"
	"github.com/livekit-connector/livekit-connector/internal/roomleg"
)

// Whoever is there to record or to play something does not keep a caller company.
func TestCompanyIsWhoCanTalk(t *testing.T) {
	b := newBench(t)
	for kind, talks := range map[livekit.ParticipantInfo_Kind]bool{
		livekit.ParticipantInfo_STANDARD:  true,
		livekit.ParticipantInfo_AGENT:     true,
		livekit.ParticipantInfo_SIP:       true,
		livekit.ParticipantInfo_CONNECTOR: true,
		livekit.ParticipantInfo_EGRESS:    false,
		livekit.ParticipantInfo_INGRESS:   false,
	} {
		t.Run(kind.String(), func(t *testing.T) {
			room := "company-" + kind.String()
			leg := b.join(b.options(room, "caller"))
			company, changed := leg.Company()
			require.Equal(t, roomleg.Company{}, company)

			other := b.participant(livekittest.ParticipantOptions{Room: room, Identity: "other", Kind: kind})
			if !talks {
				human := b.human(room, "human") // who comes after him shows that he was seen
				b.waitClosed(changed, "the human")
				_, changed = leg.Company()
				require.NoError(t, human.Leave())
				b.waitClosed(changed, "the human's leaving")
				company, _ = leg.Company()
				require.Equal(t, roomleg.Company{Met: true}, company, "the other is still there")
				return
			}
			b.waitClosed(changed, "somebody")
			company, changed = leg.Company()
			require.Equal(t, roomleg.Company{Present: true, Met: true}, company)
			came := leg.View()
			require.Equal(t, 1, came.Others)
			require.False(t, came.OthersSince.Before(leg.Joined()))
			require.NoError(t, other.Leave())
			b.waitClosed(changed, "his leaving")
			company, _ = leg.Company()
			require.Equal(t, roomleg.Company{Met: true}, company)
			left := leg.View()
			require.Zero(t, left.Others)
			require.True(t, left.EverOthers)
			require.True(t, left.OthersSince.After(came.OthersSince))
		})
	}
}

func TestRoomConfigurationIsForANewRoom(t *testing.T) {
	b := newBench(t)
	worker, err := b.srv.StartAgentWorker(b.ctx, livekittest.AgentWorkerOptions{AgentName: "greeter"})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, worker.Close()) })
	config := &livekit.RoomConfiguration{
		Name: "no template", EmptyTimeout: 77, DepartureTimeout: 33, MaxParticipants: 5, Metadata: `{"of":"the rule"}`,
		Agents: []*livekit.RoomAgentDispatch{{AgentName: "nobody"}},
	}
	_, err = b.srv.CreateRoom(b.ctx, &livekit.CreateRoomRequest{Name: "old", EmptyTimeout: 11})
	require.NoError(t, err)
	for name, want := range map[string]uint32{"new": 77, "old": 11} {
		opts := b.options(name, "caller")
		opts.RoomConfig, opts.Agents = config, []*livekit.RoomAgentDispatch{{AgentName: "greeter"}}
		b.join(opts)
		_, err = worker.WaitJob(b.ctx, name)
		require.NoError(t, err)
		rooms, err := b.srv.Rooms(b.ctx, name)
		require.NoError(t, err)
		require.Len(t, rooms, 1)
		require.Equal(t, want, rooms[0].GetEmptyTimeout(), name)
		if name == "new" {
			require.Equal(t, uint32(33), rooms[0].GetDepartureTimeout())
			require.Equal(t, uint32(5), rooms[0].GetMaxParticipants())
			require.JSONEq(t, `{"of":"the rule"}`, rooms[0].GetMetadata())
		}
		dispatches, err := b.srv.Dispatches(b.ctx, name)
		require.NoError(t, err)
		for _, d := range dispatches {
			require.NotEqual(t, "nobody", d.GetAgentName(), "agents come by the request alone")
		}
	}
}
