package app

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
)

// scraped is what livekit_connector_ready shows, by check.
func scraped(t *testing.T, reg *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := reg.Gather()
	require.NoError(t, err)
	require.Len(t, families, 1)
	require.Equal(t, "livekit_connector_ready", families[0].GetName())
	shown := make(map[string]float64)
	for _, m := range families[0].GetMetric() {
		require.Len(t, m.GetLabel(), 1)
		shown[m.GetLabel()[0].GetValue()] = m.GetGauge().GetValue()
	}
	return shown
}

func TestReadinessIsScraped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, reg := newProbes(t), prometheus.NewRegistry()
		registerReadiness(p, reg)
		var failure error
		var asked atomic.Int32
		hangs := false
		p.AddReady("capacity", func(context.Context) error { return nil })
		p.AddRemote("livekit", func(ctx context.Context) error {
			asked.Add(1)
			if hangs {
				<-ctx.Done()
				return ctx.Err()
			}
			return failure
		})
		require.Equal(t, map[string]float64{"started": 0, "capacity": 1, "livekit": 1}, scraped(t, reg))
		p.Started()
		for range 100 {
			require.Equal(t, map[string]float64{"started": 1, "capacity": 1, "livekit": 1}, scraped(t, reg))
		}
		require.Equal(t, int32(1), asked.Load(), "many scrapes are one request")

		failure = errors.New("connection refused")
		time.Sleep(remoteKeep) // fake time
		require.Equal(t, map[string]float64{"started": 1, "capacity": 1, "livekit": 0}, scraped(t, reg))
		failure = nil
		time.Sleep(remoteKeep) // fake time
		require.NotZero(t, scraped(t, reg)["livekit"])

		hangs = true
		time.Sleep(remoteStale) // fake time
		start := time.Now()
		require.Zero(t, scraped(t, reg)["livekit"])
		require.Equal(t, probeAnswer, time.Since(start), "a scrape has its own time limit")
		p.Close()
		require.Zero(t, scraped(t, reg)["livekit"], "the last scrape of a process that ends")
	})
}
