package roomleg_test

import (
	"sync"
	"testing"
	"time"

	"github.com/livekit/protocol/livekit"
	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/internal/livekittest"
	"github.com/livekit-connector/livekit-connector/internal/roomleg"
	"github.com/livekit-connector/livekit-connector/media"
)

func TestEndsThatOthersDecide(t *testing.T) {
	for name, test := range map[string]struct {
		end       func(b *bench) error
		want      error
		reconnect time.Duration // zero: long enough for a slow machine
	}{
		"room deleted": {end: func(b *bench) error { return b.srv.DeleteRoom(b.ctx, "r") }, want: roomleg.ErrRoomDeleted},
		"removed": {
			end: func(b *bench) error { return b.srv.RemoveParticipant(b.ctx, "r", "caller") }, want: roomleg.ErrRemoved,
		},
		"identity taken": {
			end: func(b *bench) error { b.human("r", "caller"); return nil }, want: roomleg.ErrDuplicateIdentity,
		},
		"server killed": {
			end: func(b *bench) error { b.srv.Kill(); return nil }, want: roomleg.ErrConnectionLost, reconnect: 300 * time.Millisecond,
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			opts := b.options("r", "caller")
			opts.ReconnectTimeout = test.reconnect
			leg := b.join(opts)
			require.NoError(t, leg.Publish(b.ctx))
			require.NoError(t, leg.Err())
			require.NoError(t, test.end(b))
			b.waitClosed(leg.Done(), "the end")
			require.ErrorIs(t, leg.Err(), test.want)
			require.ErrorIs(t, leg.SetAttributes(map[string]string{"a": "b"}), roomleg.ErrNotInRoom)
			require.NoError(t, leg.Leave(livekit.DisconnectReason_CLIENT_INITIATED))
			require.ErrorIs(t, leg.Err(), test.want, "leaving afterwards does not change why")
		})
	}
}

func TestOthersSeeTheReasonOfLeaving(t *testing.T) {
	b := newBench(t)
	for _, reason := range []livekit.DisconnectReason{
		livekit.DisconnectReason_CLIENT_INITIATED, livekit.DisconnectReason_USER_REJECTED,
		livekit.DisconnectReason_USER_UNAVAILABLE,
	} {
		t.Run(reason.String(), func(t *testing.T) {
			human := b.human(reason.String(), "human")
			leg := b.join(b.options(reason.String(), "caller"))
			require.NoError(t, leg.Publish(b.ctx))
			b.wait(human, livekittest.Is(livekittest.EventTrackPublished, "caller"))
			require.NoError(t, leg.Leave(reason))
			require.NoError(t, leg.Leave(livekit.DisconnectReason_CLIENT_INITIATED), "again")
			require.Equal(t, reason, b.wait(human, livekittest.Is(livekittest.EventLeft, "caller")).Reason)
			b.waitClosed(leg.Done(), "done")
			require.NoError(t, leg.Err())
			require.ErrorIs(t, leg.Publish(b.ctx), roomleg.ErrNotInRoom)
		})
	}
}

func TestCallSurvivesAServerRestart(t *testing.T) {
	b := newBench(t)
	human := b.human("r", "human")
	track, err := human.Publish(livekittest.TrackOptions{})
	require.NoError(t, err)
	opts := b.options("r", "caller")
	opts.ReconnectTimeout = 2 * time.Minute // a slow machine's server starts slowly
	leg := b.join(opts)
	require.NoError(t, leg.Publish(b.ctx))
	b.eventually("track", func() bool { return leg.Stats().Listening == 1 })
	b.talk(track, '1', 20, 0)
	require.NoError(t, leg.SetAttributes(map[string]string{"whatsapp.callStatus": "active"}))

	// Both talk all the time, until both are heard again.
	heardAgain := func() bool {
		return b.ctx.Err() != nil || b.srv.PID() != 0 && len(b.phone.from('2')) > 50 && countOf(human, 'c') > 50
	}
	var talking sync.WaitGroup
	talking.Go(func() {
		for i := 0; !heardAgain(); i++ {
			_ = say(leg, voiceOf('c', 10), uint16(i*10), uint32(i*10*media.FrameSamples))
		}
	})
	talking.Go(func() {
		for !heardAgain() {
			_ = track.Send(b.ctx, voiceOf('2', 10))
		}
	})
	b.srv.Kill()
	b.eventually("packets into nothing", func() bool { return leg.Stats().Unbound > 0 })
	require.NoError(t, b.srv.Restart(b.ctx))
	b.wait(human, livekittest.Is(livekittest.EventReconnected, ""))
	talking.Wait()
	require.NoError(t, b.ctx.Err())
	t.Logf("%+v", leg.Stats())
	info, err := b.srv.Participant(b.ctx, "r", "caller")
	require.NoError(t, err)
	require.Equal(t, "active", info.Attributes["whatsapp.callStatus"])
	require.NoError(t, leg.Err())
}

func countOf(p *livekittest.Participant, who byte) int {
	n := 0
	for _, packet := range p.Heard("caller").Audio() {
		if packet.Payload[1] == who {
			n++
		}
	}
	return n
}
