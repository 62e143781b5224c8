package app

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// probed is what /readyz answers.
func probed(t *testing.T, p *Probes) (int, map[string]finding) {
	t.Helper()
	mux := http.NewServeMux()
	p.Register(mux)
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/readyz", http.NoBody))
	var report struct {
		Checks map[string]finding `json:"checks"`
	}
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &report))
	return w.Code, report.Checks
}

func TestManyProbesAreOneRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProbes(t)
		p.Started()
		var asked atomic.Int32
		var failure error
		p.AddRemote("livekit", func(context.Context) error { asked.Add(1); return failure })
		for range 100 {
			status, _ := probed(t, p)
			require.Equal(t, http.StatusOK, status)
		}
		require.Equal(t, int32(1), asked.Load())
		failure = errors.New("connection refused")
		time.Sleep(remoteKeep) // fake time
		status, found := probed(t, p)
		require.Equal(t, http.StatusServiceUnavailable, status)
		require.Equal(t, "connection refused", found["livekit"].Reason)
		require.True(t, found["started"].OK)
		require.Equal(t, int32(2), asked.Load())
	})
}

func TestProbeIsAnsweredThoughACheckHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProbes(t)
		p.Started()
		var asked atomic.Int32
		hangs := false
		ask := p.AddRemote("livekit", func(ctx context.Context) error {
			asked.Add(1)
			if hangs {
				<-ctx.Done()
				return ctx.Err()
			}
			return nil
		})
		status, _ := probed(t, p)
		require.Equal(t, http.StatusOK, status)

		hangs = true
		time.Sleep(remoteKeep) // fake time
		start := time.Now()
		status, _ = probed(t, p)
		require.Equal(t, http.StatusOK, status, "what it said a moment ago stands while it is slow")
		require.Equal(t, probeAnswer, time.Since(start))
		require.Equal(t, int32(2), asked.Load())

		time.Sleep(remoteTimeout) // fake time
		status, found := probed(t, p)
		require.Equal(t, http.StatusServiceUnavailable, status)
		require.Equal(t, "no answer within 3s", found["livekit"].Reason)
		require.Equal(t, int32(2), asked.Load(), "slow checks do not pile up")
		require.EqualError(t, ask(t.Context()), "no answer within 3s")
		time.Sleep(remoteStale) // fake time
		require.NoError(t, ask(t.Context()), "nobody knows yet")
	})
}

// A deadlock is what /livez is there for. It must not hang the probe, or the end of the process.
func TestProbeIsAnsweredThoughThisProcessHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewProbes(slog.New(slog.DiscardHandler))
		stuck := make(chan struct{})
		p.AddAlive("sweeper", func(context.Context) error { <-stuck; return nil })
		w := httptest.NewRecorder()
		mux := http.NewServeMux()
		p.Register(mux)
		mux.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/livez", http.NoBody))
		require.Equal(t, http.StatusServiceUnavailable, w.Code)
		require.Contains(t, w.Body.String(), "no answer within 900ms")
		p.Close()
		close(stuck)
	})
}

func TestReadinessIsLoggedWhenItChanges(t *testing.T) {
	var log bytes.Buffer
	p := NewProbes(slog.New(slog.NewTextHandler(&log, nil)))
	defer p.Close()
	p.answer = time.Minute
	p.Started()
	var failure error
	p.AddReady("capacity", func(context.Context) error { return failure })
	probed(t, p)
	require.Empty(t, log.String())
	failure = errors.New("2 of 2 calls")
	probed(t, p)
	probed(t, p)
	require.Equal(t, 1, bytes.Count(log.Bytes(), []byte("not ready for new calls")))
	require.Contains(t, log.String(), `check=capacity reason="2 of 2 calls"`)
	failure = nil
	probed(t, p)
	require.Contains(t, log.String(), "ready again")
}

func TestStandingStillIsNotAlive(t *testing.T) {
	require.NoError(t, stalled(time.Second, 15*time.Second, "callers have heard nothing"))
	require.EqualError(t, stalled(16*time.Second, 15*time.Second, "callers have heard nothing"),
		"callers have heard nothing for 16s: the process has to be restarted")
}
