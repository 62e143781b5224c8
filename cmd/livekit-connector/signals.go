package main

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/livekit-connector/livekit-connector/internal/app"
)

// twoSignals passes the first two signals on, to drain and to hang up. The third ends the process here, so that it works
// whatever the rest of it is stuck in.
func twoSignals(log *slog.Logger, flush func()) <-chan os.Signal {
	received := make(chan os.Signal, 3)
	signal.Notify(received, syscall.SIGTERM, syscall.SIGINT)
	passed := make(chan os.Signal, 2)
	go func() { // ends with the process
		for range cap(passed) {
			passed <- <-received
		}
		<-received
		log.Error("third signal: calls are left as they are")
		flush()
		os.Exit(exitInterrupted)
	}()
	return passed
}

// reloads brings SIGHUP. It is taken where there are no rules to reload, too: by default it ends the process and its calls.
func reloads() <-chan os.Signal {
	received := make(chan os.Signal, 1)
	signal.Notify(received, syscall.SIGHUP)
	return received
}

// outliveReaders lets calls go on when whoever reads the log has gone: by default a write to a standard output that nobody
// reads ends a Go program.
func outliveReaders() { signal.Ignore(syscall.SIGPIPE) }

// preflightUnless is preflight while signals are heeded. It returns the one that came first, if one did.
func preflightUnless(c *app.Config, stops <-chan os.Signal) (os.Signal, error) {
	ctx, cancel := context.WithTimeout(context.Background(), preflightTimeout)
	defer cancel()
	var err error
	checked := make(chan struct{})
	go func() {
		defer close(checked)
		err = app.CheckLiveKit(ctx, c)
	}()
	select {
	case <-checked:
		return nil, err
	case s := <-stops:
		cancel()
		<-checked
		return s, nil
	}
}
