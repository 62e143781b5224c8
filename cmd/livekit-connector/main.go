// Command livekit-connector joins WhatsApp calls to LiveKit rooms. See livekit-connector --help.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/livekit-connector/livekit-connector/internal/app"
	"github.com/livekit-connector/livekit-connector/internal/logs"
	"github.com/livekit-connector/livekit-connector/internal/roomleg/sdklog"
	"github.com/livekit-connector/livekit-connector/internal/settings"
	"github.com/livekit-connector/livekit-connector/media/opus"
)

// Exit codes; --help lists them.
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2
	exitLiveKit     = 3
	exitInterrupted = 130
)

const (
	// preflightTimeout is how long a LiveKit that is still starting is waited for.
	preflightTimeout   = 5 * time.Second
	healthcheckTimeout = 3 * time.Second
	// logPatience is how long the last lines of the log may take.
	logPatience = time.Second
)

func main() {
	os.Exit(run(os.Args[1:], app.SystemEnv(), os.Stdout, os.Stderr))
}

// run does what the command line asks and returns the exit code.
func run(args []string, env app.Env, stdout, stderr io.Writer) int {
	if command := ownCommand(args); command != nil {
		return command(args[1:], env, stdout, stderr)
	}
	line, err := app.ParseCommandLine(args, env)
	// A container's healthcheck may know less than the connector beside it, and Docker reserves its exit code 2.
	if line.Command == app.CommandHealthcheck {
		return healthcheck(&line.Config, stderr)
	}
	for _, warning := range line.Warnings {
		fmt.Fprintln(stderr, "warning:", warning)
	}
	if err != nil {
		for _, problem := range app.Problems(err) {
			fmt.Fprintln(stderr, problem)
		}
		fmt.Fprintln(stderr, "livekit-connector --help lists every setting.")
		return exitUsage
	}
	switch line.Command {
	case app.CommandHelp:
		return printed(app.WriteHelp(stdout), stderr)
	case app.CommandVersion:
		_, err = io.WriteString(stdout, app.VersionText(strings.TrimPrefix(opus.Version(), "libopus ")))
		return printed(err, stderr)
	case app.CommandConfig:
		return printed(settings.WriteYAML(stdout, line.Config, line.Origins), stderr)
	case app.CommandCheck:
		return check(&line.Config, stdout, stderr)
	default:
		return serve(&line.Config, stderr)
	}
}

// ownCommand is a command with flags of its own, which has to stand first; nil for any other.
func ownCommand(args []string) func(args []string, env app.Env, stdout, stderr io.Writer) int {
	if len(args) == 0 {
		return nil
	}
	return map[string]func([]string, app.Env, io.Writer, io.Writer) int{
		"doctor": doctorCommand, "drain": interruptibleDrain, "rules": rulesCommand,
	}[args[0]]
}

// interruptibleDrain is drainCommand until somebody presses Ctrl-C.
func interruptibleDrain(args []string, env app.Env, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	return drainCommand(ctx, args, env, stdout, stderr)
}

func printed(err error, stderr io.Writer) int {
	if err != nil {
		fmt.Fprintln(stderr, err)
		return exitFailed
	}
	return exitOK
}

func healthcheck(c *app.Config, stderr io.Writer) int {
	ctx, cancel := context.WithTimeout(context.Background(), healthcheckTimeout)
	defer cancel()
	return printed(app.Healthcheck(ctx, c), stderr)
}

func check(c *app.Config, stdout, stderr io.Writer) int {
	if err := preflight(c); err != nil {
		fmt.Fprintln(stderr, strings.TrimPrefix(err.Error(), "app: "))
		return exitLiveKit
	}
	fmt.Fprintf(stdout, "configuration ok; LiveKit at %s accepts the credentials\n", c.HTTPURL())
	return exitOK
}

func preflight(c *app.Config) error {
	ctx, cancel := context.WithTimeout(context.Background(), preflightTimeout)
	defer cancel()
	return app.CheckLiveKit(ctx, c)
}

// serve runs a connector until it is told to stop.
func serve(c *app.Config, stderr io.Writer) int {
	out := logs.NewAsync(stderr)                   // no call waits for the log
	flush := func() { _ = out.Close(logPatience) } // what cannot be written now has nobody to be told
	defer flush()
	log := app.NewLogger(c, out)
	out.Report(log)
	sdklog.SetGlobal(log) // before anything uses the SDK
	stops, reload := twoSignals(log, flush), reloads()
	outliveReaders()
	if stopped, err := preflightUnless(c, stops); stopped != nil {
		log.Info("stopped while starting", "signal", stopped.String())
		return exitOK
	} else if err != nil {
		log.Error("cannot start", "error", err)
		return exitLiveKit
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	if err := errors.Join(app.RegisterBuildInfo(registry), out.Register(registry)); err != nil {
		log.Error("cannot start", "error", err)
		return exitFailed
	}
	connector, err := app.New(*c, app.Options{Logger: log, Registry: registry, Reload: reload})
	if err != nil {
		log.Error("cannot start", "error", err)
		return exitFailed
	}
	err = connector.Run(context.Background(), stops)
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, app.ErrLiveKitUnreachable), errors.Is(err, app.ErrLiveKitRefused):
		log.Error("stopped", "error", err)
		return exitLiveKit
	default:
		log.Error("stopped", "error", err)
		return exitFailed
	}
}
