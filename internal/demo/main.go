// Command demo shows the connector at work, without an account anywhere: a real livekit-server, a fake Meta and the real
// connector program on loopback, with a small application and an agent such as a user of the connector writes.
//
//	make demo         two calls, then everything stays up for calls by hand, until Ctrl-C
//	make demo-once    two calls, then the exit code tells whether both ends heard each other
//
// The parts are separate, as in production: the application knows of calls by Meta's signed webhooks alone and steers
// them through LiveKit's Go SDK; the agent is dispatched into the room by the call. Each part writes down when it saw
// what, and after a call these notes become one timeline (timeline.go) and the recordings of both ends a judgement
// (verdict.go). What has to be running for that is a stage (stage.go); what happens on it is script.go, and byhand.go
// once the user has it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

// Exit codes.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)                         // a second signal ends the process at once, and the kernel its children
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr)) //nolint:forbidigo // this is a program
}

// run does what the command line asks and returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("demo", flag.ContinueOnError)
	flags.SetOutput(stderr)
	once := flags.Bool("once", false, "exit after the two calls, with 0 if they were good, on free ports")
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return exitOK
	case err != nil || flags.NArg() > 0:
		return exitUsage
	}
	good, err := show(ctx, *once, &printer{w: stdout})
	switch {
	case err != nil && ctx.Err() != nil:
		fmt.Fprintln(stderr, "demo: stopped:", err)
	case err != nil:
		fmt.Fprintln(stderr, "demo:", err)
	case good:
		return exitOK
	}
	return exitFailed
}

// show sets the stage, plays, and takes everything down again. It reports whether the calls were good; if not, it has
// been printed what was wrong.
func show(ctx context.Context, once bool, out *printer) (good bool, err error) {
	s := &stage{out: out, preferFixedPorts: !once}
	defer func() { err = errors.Join(err, s.close()) }()
	if err = s.set(ctx); err != nil {
		return false, err
	}
	playing, release := s.connector.bound(ctx, "the connector")
	defer release()
	if good, err = s.play(playing); err != nil || once {
		return good, err
	}
	err = s.byHand(playing)
	if ctx.Err() != nil {
		err = nil // Ctrl-C is how it should end
	}
	return good, err
}
