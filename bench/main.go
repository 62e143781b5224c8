// Command bench measures livekit-connector beside a reference bridge and writes one report: report.json, report.txt,
// plots and profiles. See `bench --help` and docs/benchmark.md.
package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/urfave/cli/v3"

	"github.com/livekit-connector/livekit-connector/bench/report"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := command().Run(ctx, os.Args)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

const description = `bench needs Linux, a livekit-server (make livekit-server) and a machine that does nothing else. It takes
two CPUs or more: the last one is for the bridge that is measured, the others for everything around it.`

// part is one part of the benchmark: a subcommand of its own, and a section of the report of "all".
type part struct {
	name, usage string
	flags       []cli.Flag
	run         func(ctx context.Context, b *bench, cmd *cli.Command) (report.Section, error)
}

// parts in the order of the report.
func parts() []part { return append(audioParts(), densityPart()) }

// bench is what all parts share.
type bench struct {
	log *slog.Logger
	// root is the folder of the module, folder that of the report, with a slash-free name for each file in it.
	root, folder string
	// loadCPUs and bridgeCPUs are lists as taskset takes them.
	loadCPUs, bridgeCPUs string
}

func command() *cli.Command {
	cmd := &cli.Command{
		Name: "bench", Usage: "measure livekit-connector", Description: description,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "out", Usage: "`FOLDER` of the report; default: .cache/bench/TIME"},
			&cli.StringFlag{Name: "bridge-cpus", Usage: "`LIST` of CPUs for what is measured, as taskset takes it"},
			&cli.StringFlag{Name: "load-cpus", Usage: "`LIST` of CPUs for everything else"},
		},
	}
	all := &cli.Command{Name: "all", Usage: "run every part with its defaults", Action: action(parts()...)}
	for _, p := range parts() {
		cmd.Commands = append(cmd.Commands, &cli.Command{Name: p.name, Usage: p.usage, Flags: p.flags, Action: action(p)})
		for _, f := range p.flags {
			if !slices.Contains(all.Flags, f) { // some parts share theirs
				all.Flags = append(all.Flags, f)
			}
		}
	}
	cmd.Commands = append(cmd.Commands, all, soakCommand())
	return cmd
}

// action runs parts and writes their report.
func action(which ...part) cli.ActionFunc {
	return func(ctx context.Context, cmd *cli.Command) error {
		began := time.Now()
		b, err := newBench(cmd, began)
		if err != nil {
			return err
		}
		if err = pin(b.loadCPUs); err != nil {
			return err
		}
		r := report.Report{Machine: report.ThisMachine(), Began: began}
		for _, p := range which {
			s, err := p.run(ctx, b, cmd)
			if err != nil {
				return fmt.Errorf("%s: %w", p.name, err)
			}
			r.Sections = append(r.Sections, s)
			r.Seconds = time.Since(began).Seconds()
			if err = r.Write(b.folder); err != nil { // after each part: the next one may fail
				return err
			}
		}
		fmt.Fprint(cmd.Root().Writer, r.Text())
		fmt.Fprintf(cmd.Root().Writer, "\nReport, plots and profiles: %s\n", b.folder)
		return nil
	}
}

func newBench(cmd *cli.Command, began time.Time) (*bench, error) {
	root, err := moduleRoot()
	if err != nil {
		return nil, err
	}
	b := &bench{
		log: slog.New(slog.NewTextHandler(cmd.Root().ErrWriter, nil)), root: root, folder: cmd.String("out"),
		loadCPUs: cmd.String("load-cpus"), bridgeCPUs: cmd.String("bridge-cpus"),
	}
	if b.folder == "" {
		b.folder = filepath.Join(root, ".cache", "bench", began.Format("20060102-150405"))
	}
	if err = os.MkdirAll(b.folder, 0o755); err != nil { //nolint:gosec // nothing secret
		return nil, fmt.Errorf("make folder of the report: %w", err)
	}
	count, err := strconv.Atoi(os.Getenv(pinnedVariable))
	if err != nil {
		count = runtime.NumCPU()
	}
	if b.bridgeCPUs == "" {
		b.bridgeCPUs = strconv.Itoa(count - 1)
	}
	if b.loadCPUs == "" {
		b.loadCPUs = fmt.Sprintf("0-%d", max(0, count-2))
	}
	return b, nil
}

// pinnedVariable marks a process that runs on its CPUs already, and says how many there are in all.
const pinnedVariable = "BENCH_CPUS"

// pin puts this process on the given CPUs by starting it anew: what it starts and every thread of it stay there, and Go
// counts only those.
func pin(cpus string) error {
	if os.Getenv(pinnedVariable) != "" {
		return nil
	}
	taskset, err := exec.LookPath("taskset")
	if err != nil {
		return fmt.Errorf("find taskset (of util-linux): %w", err)
	}
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find own program: %w", err)
	}
	arguments := append([]string{taskset, "-c", cpus, self}, os.Args[1:]...)
	environment := append(os.Environ(), fmt.Sprintf("%s=%d", pinnedVariable, runtime.NumCPU()))
	if err := syscall.Exec(taskset, arguments, environment); err != nil { //nolint:gosec // this program again
		return fmt.Errorf("run %s: %w", taskset, err)
	}
	return nil
}

// moduleRoot is the folder of go.mod, from here upwards.
func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find the module: %w", err)
	}
	for ; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", fmt.Errorf("find the module: no go.mod here or above")
		}
	}
}
