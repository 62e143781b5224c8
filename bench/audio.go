package main

import (
	"context"
	"encoding/gob"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/urfave/cli/v3"

	"github.com/livekit-connector/livekit-connector/bench/report"
)

// audioParts are those of the audio path alone, without networks and calls. They run beside media-sdk, in a program of
// the reference's module.
func audioParts() []part {
	flags := []cli.Flag{
		&cli.BoolFlag{Name: "less", Usage: "measure less, in a third of the time"},
		&cli.StringFlag{Name: "pesq-python", Sources: cli.EnvVars("BENCH_PESQ_PYTHON"), Usage: "`PROGRAM`: a Python that has the package pesq (make bench sees to it)"},
		&cli.StringFlag{Name: "audio-binary", Usage: "built bench/reference/audio; default: build it"},
	}
	one := func(name, usage string) part {
		return part{name: name, usage: usage, flags: flags, run: func(ctx context.Context, b *bench, cmd *cli.Command) (report.Section, error) {
			return runAudio(ctx, b, cmd, name)
		}}
	}
	return []part{
		one("micro", "what each stage of the audio path costs"),
		one("latency", "how long sound takes from one leg to the other"),
		one("quality", "what speech sounds like after bad networks"),
	}
}

// runAudio runs a part in the program.
func runAudio(ctx context.Context, b *bench, cmd *cli.Command, name string) (report.Section, error) {
	binary, err := b.buildAudio(ctx, cmd.String("audio-binary"))
	if err != nil {
		return report.Section{}, err
	}
	file := filepath.Join(b.folder, name+".gob")
	arguments := []string{"-part", name, "-out", file, "-test.timeout", "0"}
	if cmd.Bool("less") {
		arguments = append(arguments, "-less")
	}
	if python := cmd.String("pesq-python"); python != "" {
		arguments = append(arguments, "-python", python)
	}
	run := exec.CommandContext(ctx, binary, arguments...) //nolint:gosec // our own program
	run.Dir = filepath.Join(b.root, "bench", "reference", "audio")
	run.Stdout, run.Stderr = os.Stderr, os.Stderr
	if err := run.Run(); err != nil {
		return report.Section{}, fmt.Errorf("run %s: %w", binary, err)
	}
	return readSection(file)
}

// buildAudio makes the program unless there is one.
func (b *bench) buildAudio(ctx context.Context, built string) (binary string, err error) {
	if built != "" {
		return filepath.Abs(built)
	}
	binary = filepath.Join(b.root, ".cache", "bench", "audio.test")
	cmd := exec.CommandContext(ctx, "go", "test", "-c", "-tags=nolibopusfile", "-buildvcs=false", "-o", binary, "./audio") //nolint:gosec // our own source
	cmd.Dir = filepath.Join(b.root, "bench", "reference")
	cmd.Stderr = os.Stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("build audio: %w", err)
	}
	return binary, nil
}

// readSection reads what the program wrote, and deletes it: report.json has it all.
func readSection(file string) (s report.Section, err error) {
	gob.Register(json.RawMessage{})
	f, err := os.Open(file) //nolint:gosec // in our own folder
	if err != nil {
		return s, fmt.Errorf("read section: %w", err)
	}
	defer f.Close()
	if err := gob.NewDecoder(f).Decode(&s); err != nil {
		return s, fmt.Errorf("read section: %w", err)
	}
	if err := os.Remove(file); err != nil {
		return s, fmt.Errorf("delete section: %w", err)
	}
	return s, nil
}
