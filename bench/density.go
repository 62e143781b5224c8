package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/urfave/cli/v3"

	"github.com/livekit-connector/livekit-connector/bench/density"
	"github.com/livekit-connector/livekit-connector/bench/report"
)

func densityPart() part {
	return part{
		name: "density", usage: "what one call costs, with more and more real calls", run: runDensity,
		flags: []cli.Flag{
			&cli.StringSliceFlag{Name: "bridges", Value: []string{density.Ours, density.Reference}, Usage: "`NAMES` of the bridges to measure"},
			&cli.StringSliceFlag{Name: "modes", Value: []string{string(density.Relay), string(density.Mix)}, Usage: "`MODES`: relay, mix"},
			&cli.StringSliceFlag{Name: "calls", Value: []string{"10", "16", "20", "40", "80", "120", "160", "200"}, Usage: "`NUMBERS` of calls to measure with; it ends early when the audio suffers"},
			&cli.DurationFlag{Name: "warmup", Value: 5 * time.Second, Usage: "time after each growth that is not counted"},
			&cli.DurationFlag{Name: "interval", Value: 20 * time.Second, Usage: "time that is measured"},
			&cli.DurationFlag{Name: "profile", Value: 10 * time.Second, Usage: "time of the CPU profile after the last step; 0 for none"},
			&cli.BoolFlag{Name: "busy", Usage: "the machine does other things too: go on when the audio suffers"},
			&cli.IntFlag{Name: "listen", Value: 2, Usage: "in how many calls recordings are judged"},
			&cli.StringFlag{Name: "connector-binary", Usage: "built bench/connector; default: build it"},
			&cli.StringFlag{Name: "reference-binary", Usage: "built bench/reference; default: build it"},
		},
	}
}

func runDensity(ctx context.Context, b *bench, cmd *cli.Command) (report.Section, error) {
	o := density.Options{
		Warmup: cmd.Duration("warmup"), Interval: cmd.Duration("interval"), Profile: cmd.Duration("profile"),
		BridgeCPUs: b.bridgeCPUs, Busy: cmd.Bool("busy"), Listen: cmd.Int("listen"), Folder: b.folder, Logger: b.log,
	}
	for _, text := range cmd.StringSlice("calls") {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			return report.Section{}, fmt.Errorf("calls must be numbers from 1 up, not %q", text)
		}
		o.Calls = append(o.Calls, n)
	}
	slices.Sort(o.Calls)
	for _, text := range cmd.StringSlice("modes") {
		mode := density.Mode(text)
		if mode != density.Relay && mode != density.Mix {
			return report.Section{}, fmt.Errorf("modes are relay and mix, not %q", text)
		}
		o.Modes = append(o.Modes, mode)
	}
	for _, name := range cmd.StringSlice("bridges") {
		if name != density.Ours && name != density.Reference {
			return report.Section{}, fmt.Errorf("bridges are %s and %s, not %q", density.Ours, density.Reference, name)
		}
		binary, err := b.build(ctx, name, cmd.String(name+"-binary"))
		if err != nil {
			return report.Section{}, err
		}
		o.Candidates = append(o.Candidates, density.Candidate{Name: name, Binary: binary})
	}
	return density.Run(ctx, o)
}

// build makes the program of bench/NAME, which may be a module of its own, unless there is one.
func (b *bench) build(ctx context.Context, name, built string) (binary string, err error) {
	if built != "" {
		return filepath.Abs(built)
	}
	binary = filepath.Join(b.root, ".cache", "bench", name)
	cmd := exec.CommandContext(ctx, "go", "build", "-tags=nolibopusfile", "-buildvcs=false", "-o", binary, ".") //nolint:gosec // our own source
	cmd.Dir = filepath.Join(b.root, "bench", name)
	cmd.Stderr = os.Stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("build %s: %w", name, err)
	}
	return binary, nil
}
