// Command connector is livekit-connector for the benchmark: the same parts, configured by the same environment. It
// tells the harness its ports.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/livekit-connector/livekit-connector/bench/subject"
	"github.com/livekit-connector/livekit-connector/internal/app"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "connector:", err)
		os.Exit(1)
	}
}

func run() error {
	line, err := app.ParseCommandLine(os.Args[1:], app.SystemEnv())
	if err != nil {
		return err
	}
	line.Config.Limits.MaxCPUUtilization = 0 // the benchmark asks how many calls there can be, not how many there should
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	connector, err := app.New(line.Config, app.Options{
		Logger: app.NewLogger(&line.Config, os.Stderr), Registry: registry,
	})
	if err != nil {
		return err
	}
	if err := subject.Announce(os.Stdout, subject.Endpoints{API: connector.URL(), Debug: connector.AdminURL()}); err != nil {
		return err
	}
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	return connector.Run(context.Background(), signals)
}
