package roomleg_test

import (
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/livekit/protocol/livekit"
	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/internal/livekittest"
	"github.com/livekit-connector/livekit-connector/internal/roomleg"
)

// sockets counts this process's open sockets. It works where /proc does, which is where the tests run.
func sockets(t *testing.T) int {
	t.Helper()
	const dir = "/proc/self/fd"
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	n := 0
	for _, e := range entries {
		if target, err := os.Readlink(dir + "/" + e.Name()); err == nil && strings.HasPrefix(target, "socket:") {
			n++
		}
	}
	return n
}

// settled waits for a number that stays the same for a while: what the SDK starts comes in pieces.
func (b *bench) settled(count func() int) int {
	b.t.Helper()
	last, same := count(), 0
	b.eventually("a number that stays", func() bool {
		if now := count(); now != last {
			last, same = now, 0
		}
		same++
		return same > 60 // 300 ms
	})
	return last
}

// visit has a leg hear the human and leave: then all is there that the server and the SDK make of the human's track, and what
// follows can be counted.
func (b *bench) visit(human *livekittest.Participant) {
	b.t.Helper()
	leg := b.join(b.options("r", "visitor"))
	b.eventually("hearing", func() bool { return leg.Stats().Listening == 1 })
	require.NoError(b.t, leg.Publish(b.ctx))
	b.wait(human, livekittest.Is(livekittest.EventTrackPublished, "visitor"))
	require.NoError(b.t, leg.Leave(livekit.DisconnectReason_CLIENT_INITIATED))
	b.wait(human, livekittest.Is(livekittest.EventLeft, "visitor"))
	b.http.CloseIdleConnections()
}

func TestTenLegsLeaveNothingBehind(t *testing.T) {
	b := newBench(t)
	human := b.participant(livekittest.ParticipantOptions{Room: "r", Identity: "human", Deaf: true})
	_, err := human.Publish(livekittest.TrackOptions{})
	require.NoError(t, err)
	b.visit(human)
	countSockets := func() int { return sockets(t) }
	goroutinesBefore, socketsBefore := b.settled(runtime.NumGoroutine), b.settled(countSockets)

	legs := make([]*roomleg.Leg, 10)
	for i := range legs {
		leg, joinErr := roomleg.Join(b.ctx, b.options("r", "caller-"+string(rune('0'+i))))
		require.NoError(t, joinErr)
		leg.TakeTime()
		legs[i] = leg
		require.NoError(t, leg.Publish(b.ctx))
	}
	b.eventually("all hear all", func() bool {
		return !slices.ContainsFunc(legs, func(leg *roomleg.Leg) bool { return leg.Stats().Listening != len(legs) })
	})
	t.Logf("ten legs that hear ten tracks each: %.1f goroutines and %.1f sockets per leg",
		float64(b.settled(runtime.NumGoroutine)-goroutinesBefore)/10, float64(sockets(t)-socketsBefore)/10)

	for _, leg := range legs {
		require.NoError(t, leg.Leave(livekit.DisconnectReason_CLIENT_INITIATED))
	}
	b.http.CloseIdleConnections()
	b.eventually("sockets back", func() bool { return sockets(t) <= socketsBefore })
	b.eventually("goroutines back", func() bool { return runtime.NumGoroutine() <= goroutinesBefore })
}

func TestGoroutinesOfOneLeg(t *testing.T) {
	b := newBench(t)
	human := b.human("r", "human")
	_, err := human.Publish(livekittest.TrackOptions{})
	require.NoError(t, err)
	b.visit(human)
	before := b.settled(runtime.NumGoroutine)
	leg := b.join(b.options("r", "caller"))
	b.eventually("hearing", func() bool { return leg.Stats().Listening == 1 })
	require.NoError(t, leg.Publish(b.ctx))
	heard := b.wait(human, livekittest.Is(livekittest.EventTrackSubscribed, "caller"))
	require.Equal(t, "caller", heard.Identity)
	b.http.CloseIdleConnections()
	after := b.settled(runtime.NumGoroutine)
	// The human's side of hearing the caller is in it: its reader and the SDK's RTCP readers.
	t.Logf("one leg in a two-party call: at most %d goroutines", after-before)
	require.LessOrEqual(t, after-before, 40, "56 for a call, of which the other leg needs 12")
}
