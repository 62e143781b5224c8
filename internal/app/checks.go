package app

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/livekit-connector/livekit-connector/internal/roomleg"
	"github.com/livekit-connector/livekit-connector/media"
)

// How long the process's own clocks may stand still until it counts as broken. The one ticks every 20 ms, the other every
// second; what makes them stand for so long is no load but a deadlock, or a machine that is not there.
const (
	maxPacerStall   = 15 * time.Second
	maxSweeperStall = 30 * time.Second
)

// addChecks says what makes the process able to work, and what it needs to take new calls.
func (a *App) addChecks(pacer *media.Pacer) {
	a.probes.AddAlive("pacer", func(context.Context) error {
		return stalled(pacer.Stall(), maxPacerStall, "callers have heard nothing")
	})
	a.probes.AddAlive("sweeper", func(context.Context) error {
		return stalled(a.node.SweeperStall(), maxSweeperStall, "calls have not been looked after")
	})
	a.probes.AddReady("draining", func(context.Context) error {
		if a.node.Draining() {
			return fmt.Errorf("draining, %d calls left", a.node.Calls())
		}
		return nil
	})
	a.probes.AddReady("capacity", func(context.Context) error { return a.node.Full() })
	transport := &http.Transport{Proxy: http.ProxyFromEnvironment} // one connection for all probes
	a.onClose("probes' connection", func() error { transport.CloseIdleConnections(); return nil })
	client := &http.Client{Transport: transport}
	a.askLiveKit = a.probes.AddRemote("livekit", func(ctx context.Context) error {
		return roomleg.VerifyAccess(ctx, client, a.config.HTTPURL(), a.config.APIKey, a.config.APISecret.Reveal())
	})
	a.onClose("probes", func() error { a.probes.Close(); return nil })
}

func stalled(stall, limit time.Duration, what string) error {
	if stall > limit {
		return fmt.Errorf("%s for %v: the process has to be restarted", what, stall.Round(time.Second))
	}
	return nil
}
