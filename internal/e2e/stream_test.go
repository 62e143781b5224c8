package e2e_test

import (
	"context"
	"errors"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/internal/livekittest"
	"github.com/livekit-connector/livekit-connector/pkg/fakemeta"
)

// heardAtLeast waits until the phone got so many packets more.
func heardAtLeast(t *testing.T, c *fakemeta.Call, more int) {
	t.Helper()
	ctx := wait(t)
	count := func() int { return len(c.Handset().Packets()) } // a report would decode them all, again and again
	for want := count() + more; count() < want; {
		select {
		case <-time.After(50 * time.Millisecond): // polls a count; nothing is concluded from the time
		case <-ctx.Done():
			t.Fatalf("%d packets, waiting for %d", count(), want)
		}
	}
}

// requireContinuous: one SSRC, every sequence number, no jump in time, nothing before the answer.
func requireContinuous(t *testing.T, c *fakemeta.Call) {
	t.Helper()
	r := c.Heard()
	now, err := unread()
	require.NoError(t, err)
	if lost := now - unreadBefore; r.Missing > 0 && r.Missing <= lost { // what the connector did not get it cannot pass on
		t.Logf("%d packets are missing: the kernel threw away %d, because nobody was let to read them", r.Missing, lost)
		r.Missing = 0
	}
	require.Empty(t, r.Problems())
	require.Equal(t, 1, r.SSRCs)
}

// unreadBefore is what unread was before the tests.
var unreadBefore int

// unread is how many datagrams the kernel threw away since it runs, because their sockets were full: the agent's on their way to
// livekit-server or to the connector, and the connector's on their way to Meta.
func unread() (int, error) {
	table, err := os.ReadFile("/proc/self/net/snmp") // proc_pid_net(5), RFC 4113
	if err != nil {
		return 0, err
	}
	var names []string
	for line := range strings.Lines(string(table)) {
		f := strings.Fields(line)
		if len(f) == 0 || f[0] != "Udp:" {
			continue
		}
		if column := slices.Index(names, "RcvbufErrors"); column > 0 && column < len(f) {
			return strconv.Atoi(f[column])
		}
		names = f // the first line of the two
	}
	return 0, errors.New("/proc/self/net/snmp has no RcvbufErrors of UDP")
}

// The room's voices come and go; what the phone gets is one stream.
func TestPhoneGetsOneStreamWhateverTheRoomDoes(t *testing.T) {
	t.Parallel()
	s := newScene(t, "stream-one", worldOptions{}, nil)
	heardAtLeast(t, s.call, 25) // nobody has a track yet

	said := packets(t, speech(t, "agent"))[:100]
	first, err := s.listener.Publish(livekittest.TrackOptions{Name: "first"})
	require.NoError(t, err)
	require.NoError(t, first.WaitHeard(wait(t)))
	require.NoError(t, first.Send(wait(t), said))
	heardAtLeast(t, s.call, 25) // it says nothing
	require.NoError(t, first.Send(wait(t), said[:50]))
	first.SetMuted(true)
	heardAtLeast(t, s.call, 25) // it is muted
	first.SetMuted(false)
	require.NoError(t, first.Send(wait(t), said[:50]))

	second, err := s.livekit.Join(wait(t), livekittest.ParticipantOptions{Room: s.room, Identity: "second"})
	require.NoError(t, err)
	track, err := second.Publish(livekittest.TrackOptions{Name: "second"})
	require.NoError(t, err)
	require.NoError(t, track.WaitHeard(wait(t)))
	require.NoError(t, track.Send(wait(t), said)) // another voice takes over
	require.NoError(t, second.Leave())            // and leaves in the middle of a word
	heardAtLeast(t, s.call, 25)
	require.NoError(t, first.Send(wait(t), said[:50]))
	require.NoError(t, first.Unpublish())
	heardAtLeast(t, s.call, 25)

	require.NoError(t, s.call.HangUp())
	requireOver(t, s.call)
	requireContinuous(t, s.call)
	s.nothingLeft(s.room)
}

// talksOn lets somebody talk all the time, until the returned function is called.
func talksOn(t *testing.T, track *livekittest.Track) (hush func()) {
	t.Helper()
	talking, cancel := context.WithCancel(t.Context())
	said := packets(t, speech(t, "agent"))
	var talks sync.WaitGroup
	talks.Go(func() {
		for track.Send(talking, said) == nil {
		}
	})
	return func() { cancel(); talks.Wait() }
}

func TestNothingIsSentBeforeTheAnswer(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{})
	const room = "stream-gate"
	agent, err := w.livekit.Join(wait(t), livekittest.ParticipantOptions{Room: room, Identity: "agent"})
	require.NoError(t, err)
	defer func() { require.NoError(t, agent.Leave()) }()
	track, err := agent.Publish(livekittest.TrackOptions{})
	require.NoError(t, err)
	defer talksOn(t, track)() // as if it could not wait
	a := w.newApplication(nil)
	_, err = a.sdk.do(wait(t), "dial", dialRequest().with(options{"roomName": room}))
	require.NoError(t, err)
	c, err := w.meta.User(userNumber).NextCall(wait(t))
	require.NoError(t, err)
	require.NoError(t, c.Wait(wait(t), fakemeta.StateRinging))
	require.NoError(t, track.WaitHeard(wait(t)), "the connector listens already")
	require.Zero(t, c.Heard().EarlyPackets)
	require.NoError(t, c.PickUp())
	heardAtLeast(t, c, 50)
	require.NoError(t, c.HangUp())
	requireOver(t, c)
	requireContinuous(t, c)
	w.nothingLeft(room)
}

// livekit-server dies and comes back in the middle of a call. The phone hears silence in between, not the end.
func TestCallSurvivesARestartOfLiveKit(t *testing.T) {
	t.Parallel()
	server, err := livekittest.Start(wait(t), livekittest.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, server.Stop()) })
	s := newScene(t, "stream-restart", worldOptions{livekit: server}, nil)
	heardAtLeast(t, s.call, 25)
	server.Kill()
	require.NoError(t, server.Restart(wait(t)))

	agent, err := server.Join(wait(t), livekittest.ParticipantOptions{Room: s.room, Identity: "agent"})
	require.NoError(t, err)
	defer func() { _ = agent.Leave() }()
	_, err = agent.Wait(wait(t), livekittest.Is(livekittest.EventTrackSubscribed, "caller"))
	require.NoError(t, err, "the caller is back in the room, with his track")
	track, err := agent.Publish(livekittest.TrackOptions{})
	require.NoError(t, err)
	require.NoError(t, track.WaitHeard(wait(t)), "and listens again")
	said := speech(t, "agent")
	takes(t, func(int) string {
		begin := heardSoFar(s.call)
		require.NoError(t, track.Send(wait(t), packets(t, said)))
		return misheard(t, "handset", said, heardSince(t, s, begin))
	})
	press(t, s.call, "5")
	_, err = agent.Wait(wait(t), livekittest.Is(livekittest.EventData, "caller"))
	require.NoError(t, err, "keys come through the new connection")
	require.NoError(t, s.call.HangUp())
	requireOver(t, s.call)
	requireContinuous(t, s.call)
	require.NoError(t, s.app.w.app.Node().WaitEmpty(wait(t)))
}
