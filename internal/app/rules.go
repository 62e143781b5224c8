package app

import (
	"context"
	"os"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/livekit-connector/livekit-connector/internal/logs"
	"github.com/livekit-connector/livekit-connector/internal/rules"
)

// newRules reads the rules file and follows it, and reads it at once when something comes from reload. Without a rules
// file there are no rules, and nil; then what comes is taken and said to be of no use, for it must not end calls.
func (a *App) newRules(reload <-chan os.Signal, reg prometheus.Registerer) (*rules.File, error) {
	if a.config.RulesFile == "" {
		a.follow("reload signals", reload, func() { a.log.Warn("there is nothing to read anew: rules_file is not set") })
		return nil, nil
	}
	file, err := rules.Open(rules.FileOptions{Path: a.config.RulesFile, Logger: a.logOf(logs.Rules), Registerer: reg})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { file.Run(ctx) })
	a.onClose("rules", func() error {
		cancel()
		running.Wait()
		return nil
	})
	a.follow("reload signals", reload, file.Reload)
	a.log.Info("rules loaded", "file", a.config.RulesFile, "rules", file.Current().Len())
	return file, nil
}

// follow does something at each signal until the connector is taken down.
func (a *App) follow(name string, signals <-chan os.Signal, do func()) {
	if signals == nil {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-signals:
				do()
			}
		}
	})
	a.onClose(name, func() error {
		cancel()
		running.Wait()
		return nil
	})
}
