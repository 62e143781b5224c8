package app

import (
	"context"
	"os"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/livekit-connector/livekit-connector/internal/rules"
)

// newRules reads the rules file and follows it, and reads it at once when something comes from reload. Without a rules
// file there are no rules, and nil.
func (a *App) newRules(reload <-chan os.Signal, reg prometheus.Registerer) (*rules.File, error) {
	if a.config.RulesFile == "" {
		return nil, nil
	}
	file, err := rules.Open(rules.FileOptions{Path: a.config.RulesFile, Logger: a.log, Registerer: reg})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { file.Run(ctx) })
	running.Go(func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-reload:
				file.Reload()
			}
		}
	})
	a.onClose("rules", func() error {
		cancel()
		running.Wait()
		return nil
	})
	a.log.Info("rules loaded", "file", a.config.RulesFile, "rules", file.Current().Len())
	return file, nil
}
