package app

import (
	"fmt"
	"time"

	"github.com/livekit/protocol/auth"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/livekit-connector/livekit-connector/internal/logs"
	"github.com/livekit-connector/livekit-connector/internal/node"
	"github.com/livekit-connector/livekit-connector/internal/notify"
)

// eventsTimeout is how long events that wait are tried once all calls are over.
const eventsTimeout = 5 * time.Second

// newEvents returns who tells the configured URLs of calls; nil if there are none. It is closed after the node, whose last
// calls it tells of.
func (a *App) newEvents(keys auth.KeyProvider, reg prometheus.Registerer) (node.Watcher, error) {
	c := &a.config.Events
	if len(c.URLs) == 0 {
		return nil, nil
	}
	n, err := notify.New(notify.Options{
		URLs: c.URLs, AllowInsecure: c.AllowInsecure, APIKey: a.config.signer(), APISecret: keys.GetSecret(a.config.signer()),
		Timeout: c.Timeout, MaxAttempts: c.MaxAttempts, MaxAge: c.MaxAge, Queue: c.Queue, Panics: a.panics, Registerer: reg, Logger: a.logOf(logs.Notify),
	})
	if err != nil {
		return nil, fmt.Errorf("set up the events: %w", err)
	}
	a.onClose("events", func() error {
		ctx, cancel := a.closing(eventsTimeout, tracesTimeout)
		defer cancel()
		n.Close(ctx) // what is lost it says itself: no reason to fail at the end
		return nil
	})
	return n, nil
}
