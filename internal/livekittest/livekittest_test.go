package livekittest_test

import (
	"context"
	"math"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/livekit/protocol/livekit"
	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/internal/leaks"
	"github.com/livekit-connector/livekit-connector/internal/livekittest"
)

func TestMain(m *testing.M) { leaks.Main(m) }

func start(t *testing.T) (*livekittest.Server, context.Context) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	srv, err := livekittest.Start(ctx, livekittest.Options{})
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, srv.Stop())
		http.DefaultClient.CloseIdleConnections()
	})
	return srv, ctx
}

func join(t *testing.T, ctx context.Context, srv *livekittest.Server, options livekittest.ParticipantOptions) *livekittest.Participant {
	t.Helper()
	p, err := srv.Join(ctx, options)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, p.Leave()) })
	return p
}

func packets(n int) []livekittest.Packet {
	list := make([]livekittest.Packet, n)
	for i := range list {
		list[i] = livekittest.Packet{Payload: []byte{0x78, byte(i), byte(i >> 8)}, Level: 20}
	}
	return list
}

func TestTwoParticipantsHearEachOther(t *testing.T) {
	srv, ctx := start(t)
	alice := join(t, ctx, srv, livekittest.ParticipantOptions{Room: "r", Identity: "alice", Attributes: map[string]string{"a": "1"}})
	bob := join(t, ctx, srv, livekittest.ParticipantOptions{Room: "r", Identity: "bob", Kind: livekit.ParticipantInfo_SIP})

	_, err := bob.Wait(ctx, livekittest.Is(livekittest.EventJoined, "alice"))
	require.NoError(t, err)
	info, err := srv.Participant(ctx, "r", "bob")
	require.NoError(t, err)
	require.Equal(t, livekit.ParticipantInfo_SIP, info.Kind)

	track, err := alice.Publish(livekittest.TrackOptions{Name: "voice"})
	require.NoError(t, err)
	require.NoError(t, track.WaitHeard(ctx))
	_, err = bob.Wait(ctx, livekittest.Is(livekittest.EventTrackSubscribed, "alice"))
	require.NoError(t, err)
	sent := packets(50)
	require.NoError(t, track.Send(ctx, sent))
	require.NoError(t, bob.Heard("alice").WaitCount(ctx, len(sent)))
	for i, p := range bob.Heard("alice").Audio() {
		require.Equal(t, sent[i].Payload, p.Payload, "packet %d", i)
	}
	_, err = bob.Wait(ctx, func(e livekittest.Event) bool { return e.Type == livekittest.EventSpeaking && e.Speaking })
	require.NoError(t, err)

	require.NoError(t, bob.SendDTMF(5, "5"))
	e, err := alice.Wait(ctx, livekittest.Is(livekittest.EventData, "bob"))
	require.NoError(t, err)
	require.Equal(t, "5", e.Data.(*livekit.SipDTMF).Digit)

	// The server tells of participants without tracks only every few seconds.
	_, err = bob.Publish(livekittest.TrackOptions{})
	require.NoError(t, err)
	_, err = alice.Wait(ctx, livekittest.Is(livekittest.EventTrackPublished, "bob"))
	require.NoError(t, err)
	require.NoError(t, bob.LeaveWithReason(livekit.DisconnectReason_USER_REJECTED))
	e, err = alice.Wait(ctx, livekittest.Is(livekittest.EventLeft, "bob"))
	require.NoError(t, err)
	require.Equal(t, livekit.DisconnectReason_USER_REJECTED, e.Reason)
}

func TestAgentWorkerTakesTheJobsOfItsName(t *testing.T) {
	srv, ctx := start(t)
	worker, err := srv.StartAgentWorker(ctx, livekittest.AgentWorkerOptions{AgentName: "greeter"})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, worker.Close()) })

	_, err = srv.CreateRoom(ctx, &livekit.CreateRoomRequest{Name: "r"})
	require.NoError(t, err)
	_, err = srv.CreateDispatch(ctx, &livekit.CreateAgentDispatchRequest{Room: "r", AgentName: "greeter", Metadata: "m"})
	require.NoError(t, err)
	job, err := worker.WaitJob(ctx, "r")
	require.NoError(t, err)
	require.NotNil(t, job.Agent)
	require.Equal(t, "m", job.Metadata)
	info, err := srv.Participant(ctx, "r", job.Agent.Identity())
	require.NoError(t, err)
	require.Equal(t, livekit.ParticipantInfo_AGENT, info.Kind)
}

func TestParticipantSurvivesARestart(t *testing.T) {
	srv, ctx := start(t)
	alice := join(t, ctx, srv, livekittest.ParticipantOptions{Room: "r", Identity: "alice"})
	require.NoError(t, srv.Restart(ctx))
	_, err := alice.Wait(ctx, livekittest.Is(livekittest.EventReconnected, ""))
	require.NoError(t, err)
}

// tone is a sine of 440 Hz at 16 kHz.
func tone(d time.Duration) []int16 {
	pcm := make([]int16, int(d.Seconds()*16000))
	for i := range pcm {
		pcm[i] = int16(8000 * math.Sin(2*math.Pi*440*float64(i)/16000))
	}
	return pcm
}

func loudness(pcm []int16) (loud time.Duration) {
	for frame := range slices.Chunk(pcm, 160) {
		if livekittest.Level(frame) < 40 {
			loud += 10 * time.Millisecond
		}
	}
	return loud
}

func TestRecordingKeepsPausesByTimestamp(t *testing.T) {
	srv, ctx := start(t)
	alice := join(t, ctx, srv, livekittest.ParticipantOptions{Room: "r", Identity: "alice"})
	bob := join(t, ctx, srv, livekittest.ParticipantOptions{Room: "r", Identity: "bob"})
	track, err := alice.Publish(livekittest.TrackOptions{})
	require.NoError(t, err)
	_, err = bob.Wait(ctx, livekittest.Is(livekittest.EventTrackSubscribed, "alice"))
	require.NoError(t, err)

	require.NoError(t, track.Say(ctx, tone(400*time.Millisecond), 16000))
	require.NoError(t, bob.Heard("alice").WaitCount(ctx, 20))
	pause := time.NewTimer(500 * time.Millisecond) // nothing is sent, as with DTX
	<-pause.C
	require.NoError(t, track.Say(ctx, tone(400*time.Millisecond), 16000))
	require.NoError(t, bob.Heard("alice").WaitCount(ctx, 40))

	pcm, err := bob.Heard("alice").PCM(16000)
	require.NoError(t, err)
	length := time.Duration(len(pcm)) * time.Second / 16000
	require.InDelta(t, 0.8, loudness(pcm).Seconds(), 0.05, "both tones whole")
	require.Greater(t, length, 1250*time.Millisecond, "the pause is in it")
	require.Less(t, livekittest.Level(pcm[800:4000]), uint8(20))
	require.Greater(t, livekittest.Level(pcm[8000:12000]), uint8(60), "and silent")
}

func TestStartWithoutBinarySaysWhatToDo(t *testing.T) {
	t.Setenv("LIVEKIT_SERVER", "/nowhere/livekit-server")
	_, err := livekittest.Start(t.Context(), livekittest.Options{})
	require.ErrorIs(t, err, livekittest.ErrNoBinary)
	require.ErrorContains(t, err, "make livekit-server")
}
