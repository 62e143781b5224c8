package app

import (
	"bytes"
	"log/slog"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
)

// A clean end is one, even if somebody takes a profile meanwhile.
func TestRequestsThatAreCutOffAtTheEndAreNoFailure(t *testing.T) {
	var log bytes.Buffer
	a := &App{config: DefaultConfig(), log: slog.New(slog.NewTextHandler(&log, nil)), draining: &draining{}}
	a.probes = NewProbes(a.log)
	a.config.Port, a.config.Admin.Port = 0, 0
	begun := make(chan struct{})
	require.NoError(t, a.startServers(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(begun)
		<-r.Context().Done()
	}), prometheus.NewRegistry()))
	cut := make(chan error, 1)
	go func() {
		res, err := http.Get(a.URL())
		if err == nil {
			err = res.Body.Close()
		}
		cut <- err
	}()
	<-begun
	require.Len(t, a.closers, 1)
	require.NoError(t, a.closers[0].close()) // at once: there is no time left for it
	require.Error(t, <-cut)
	require.Contains(t, log.String(), "requests were cut off at the end")
	a.probes.Close()
}

func TestAllThatIsClosedSharesOneDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		require.LessOrEqual(t, hangUpTimeout+closeTimeout, 30*time.Second, "as supervisors are told")
		a := &App{closeBy: time.Now().Add(closeTimeout)}
		left := func(limit, later time.Duration) time.Duration {
			ctx, cancel := a.closing(limit, later)
			defer cancel()
			by, _ := ctx.Deadline()
			return time.Until(by)
		}
		require.Equal(t, shutdownTimeout, left(shutdownTimeout, afterNode))
		require.Equal(t, closeTimeout-afterNode, left(closeTimeout, afterNode))
		time.Sleep(closeTimeout - afterNode) // fake time
		require.Zero(t, left(shutdownTimeout, afterNode))
		require.Equal(t, eventsTimeout, left(eventsTimeout, tracesTimeout))
		time.Sleep(eventsTimeout) // fake time
		require.Equal(t, tracesTimeout, left(tracesTimeout, 0))
	})
}
