package node

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/livekit/psrpc"
	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/proto/connectorpb"
)

func TestNodeTakesCallsAgainUntilItHangsUp(t *testing.T) {
	s := newStand(t)
	s.RefuseCalls()
	require.True(t, s.Draining())
	require.NoError(t, s.TakeCalls())
	require.False(t, s.Draining())
	require.Zero(t, s.Oldest())
	e := s.dialled(t)
	require.Equal(t, e.call.Started(), s.Oldest())

	require.NoError(t, s.HangUpAll(wait(t)))
	require.ErrorIs(t, s.TakeCalls(), ErrStopping)
	_, err := s.StartCall(wait(t), dialRequest())
	requireCode(t, psrpc.ResourceExhausted, err)
	require.ErrorContains(t, err, "draining")
}

// Meta takes no hang-up. The node does not wait for it longer than whoever stops it.
func TestHangUpIsGivenUpInTime(t *testing.T) {
	s := newStandWith(t, func(o *Options) { o.Timeouts.Terminate = time.Hour })
	e := s.dialled(t)
	s.on("terminate", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) })
	ctx, cancel := context.WithCancel(wait(t))
	hungUp := make(chan error, 1)
	go func() { hungUp <- s.HangUpAll(ctx) }()
	require.Equal(t, "terminate", s.next(t), "it was tried")
	cancel()
	require.ErrorIs(t, <-hungUp, context.Canceled)
	require.NoError(t, s.WaitEmpty(wait(t)))
	require.Error(t, e.call.TerminateErr())
}

// A call whose ID another call holds is in no list, but it is hung up, counted and given up like any other.
func TestAbandonedCallIsGivenUpInTimeToo(t *testing.T) {
	s := newStandWith(t, func(o *Options) { o.Timeouts.Terminate = time.Hour })
	require.NoError(t, s.table.admit())
	require.NoError(t, s.table.reserve(dialledID))
	s.on("terminate", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) })
	_, err := s.StartCall(wait(t), dialRequest())
	requireCode(t, psrpc.FailedPrecondition, err)
	require.Equal(t, "connect", s.next(t))
	require.Equal(t, "terminate", s.next(t))
	ctx, cancel := context.WithCancel(wait(t))
	cancel()
	var left *LeftError
	require.ErrorAs(t, s.HangUpAll(ctx), &left)
	require.Equal(t, 2, left.Calls, "those that have given up by now, too")
	s.table.drop(dialledID)
	require.NoError(t, s.WaitEmpty(wait(t)))
}

// stuckWatcher takes an event of a call's end only once it may.
type stuckWatcher struct{ may chan struct{} }

func (w stuckWatcher) CallChanged(event string, _ *connectorpb.CallRecord) {
	if event == EventEnded {
		<-w.may
	}
}

// lines are what was logged.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// A call that hangs must not keep the process from ending.
func TestClosingDoesNotWaitForACallForEver(t *testing.T) {
	stuck, log := stuckWatcher{may: make(chan struct{})}, new(lines)
	s := newStandWith(t, func(o *Options) { o.Watcher, o.Logger = stuck, slog.New(slog.NewTextHandler(log, nil)) })
	e := s.dialled(t)
	ctx, cancel := context.WithCancel(wait(t))
	cancel()
	var left *LeftError
	require.ErrorAs(t, s.Close(ctx), &left)
	require.Equal(t, 1, left.Calls)
	require.Contains(t, log.String(), `msg="call left at the end" nodeID=test callID=`+e.call.ID())
	close(stuck.may)
	s.tasks.Wait()
	s.closing = make(chan struct{}) // the stand closes its node too
}

// A user's phone must not ring for a call that has no room to go to.
func TestNobodyIsDialledWhileLiveKitIsAway(t *testing.T) {
	var away error
	s := newStandWith(t, func(o *Options) { o.Reachable = func(context.Context) error { return away } })
	away = errors.New("LiveKit is unreachable")
	_, err := s.StartCall(wait(t), dialRequest())
	requireCode(t, psrpc.Unavailable, err)
	require.ErrorContains(t, err, "no call was begun")
	require.Empty(t, s.asked)
	require.Zero(t, s.Calls())
	away = nil
	s.dialled(t)
}

func TestHeartbeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var h heartbeat
		h.start()
		time.Sleep(3 * time.Second) // fake time
		require.Equal(t, 3*time.Second, h.ago())
		h.beat()
		require.Zero(t, h.ago())
	})
}
