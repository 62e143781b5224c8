package node

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/livekit/psrpc"
	"github.com/stretchr/testify/require"
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
	go func() {
		s.next(t) // it was tried
		cancel()
	}()
	require.ErrorIs(t, s.HangUpAll(ctx), context.Canceled)
	require.NoError(t, s.WaitEmpty(wait(t)))
	require.Error(t, e.call.TerminateErr())
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
