package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/urfave/cli/v3"

	"github.com/livekit-connector/livekit-connector/bench/report"
	"github.com/livekit-connector/livekit-connector/bench/soak"
)

// errSoak is returned when the soak found what should not be.
var errSoak = errors.New("not every target was met")

// soakCommand is no part of "all": it takes long, and measures nothing that is to be compared.
func soakCommand() *cli.Command {
	return &cli.Command{
		Name: "soak", Usage: "calls that come and go for a long time: does anything grow?", Action: runSoak,
		Flags: []cli.Flag{
			&cli.DurationFlag{Name: "duration", Value: 30 * time.Minute, Usage: "how long calls are made"},
			&cli.IntFlag{Name: "calls", Value: 28, Usage: "how many there are at a time"},
			&cli.IntFlag{Name: "listen-every", Value: 5, Usage: "of so many calls of 20 seconds or more the recordings of one are judged"},
			&cli.StringFlag{Name: "connector", Value: "bin/livekit-connector", Usage: "`PROGRAM` to soak"},
			&cli.StringFlag{Name: "publish", Usage: "`FOLDER` with a soak.md that takes the result, and the plots beside it"},
		},
	}
}

// runSoak writes the report whatever happens.
func runSoak(ctx context.Context, cmd *cli.Command) error {
	began := time.Now()
	b, err := newBench(cmd, began)
	if err != nil {
		return err
	}
	if err = pin(b.loadCPUs); err != nil {
		return err
	}
	binary, err := filepath.Abs(cmd.String("connector"))
	if err != nil {
		return fmt.Errorf("find the connector: %w", err)
	}
	o := soak.Options{
		Duration: cmd.Duration("duration"), Calls: cmd.Int("calls"), ListenEvery: cmd.Int("listen-every"),
		Binary: binary, CPUs: b.bridgeCPUs, Folder: b.folder, Logger: b.log,
	}
	if o.Duration < 30*time.Second || o.Calls < 1 || o.ListenEvery < 1 {
		return errors.New("soak: duration must be 30s or more, calls and listen-every 1 or more")
	}
	r := report.Report{Machine: report.ThisMachine(), Began: began}
	result, failed := soak.Run(ctx, o)
	section := result.Section(failed)
	r.Sections, r.Seconds = []report.Section{section}, time.Since(began).Seconds()
	errs := []error{failed, r.Write(b.folder)}
	if folder := cmd.String("publish"); folder != "" {
		errs = append(errs, soak.Publish(&r, folder))
	}
	if slices.ContainsFunc(section.Targets, func(v report.Verdict) bool { return v.Outcome == report.Missed }) {
		errs = append(errs, errSoak)
	}
	fmt.Fprint(cmd.Root().Writer, r.Text())
	fmt.Fprintf(cmd.Root().Writer, "\nReport, plots, logs and profiles: %s\n", b.folder)
	return errors.Join(errs...)
}
