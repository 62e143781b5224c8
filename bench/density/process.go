package density

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/livekit-connector/livekit-connector/bench/rig"
	"github.com/livekit-connector/livekit-connector/bench/subject"
)

const (
	startTimeout = 20 * time.Second
	stopTimeout  = 15 * time.Second
)

// bridge is a running process under measurement.
type bridge struct {
	subject.Endpoints
	process *rig.Process
}

// startBridge runs binary on the given CPUs alone, with as many threads for Go code as it has CPUs, and returns when it
// is ready for calls.
func startBridge(ctx context.Context, binary, cpus string, procs int, environment []string, log io.Writer) (*bridge, error) {
	announced := &firstLine{whole: make(chan []byte, 1)}
	process, err := rig.Start(rig.Command{
		Binary: binary, CPUs: cpus, Stdout: announced, Stderr: log,
		Environment: append(append(os.Environ(), environment...), fmt.Sprintf("GOMAXPROCS=%d", procs)),
	})
	if err != nil {
		return nil, fmt.Errorf("start bridge: %w", err)
	}
	b := &bridge{process: process}
	timer := time.NewTimer(startTimeout)
	defer timer.Stop()
	select {
	case line := <-announced.whole:
		err = json.Unmarshal(line, &b.Endpoints)
	case <-process.Exited():
		err = fmt.Errorf("it ended: %w", process.Err())
	case <-timer.C:
		err = errors.New("it took too long")
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start bridge: %w", err), b.stop())
	}
	return b, nil
}

// stop ends the process and waits for it.
func (b *bridge) stop() error {
	const hangUp = stopTimeout / 3 // the second signal does
	if err := b.process.Stop(hangUp, stopTimeout); err != nil {
		return fmt.Errorf("stop bridge: %w", err)
	}
	return nil
}

// firstLine takes the output of a process, hands its first line on and drops the rest: it says nothing more.
type firstLine struct {
	buf   []byte
	whole chan []byte // has room for one
	told  bool
}

func (f *firstLine) Write(p []byte) (int, error) {
	if f.told {
		return len(p), nil
	}
	f.buf = append(f.buf, p...)
	if line, _, found := bytes.Cut(f.buf, []byte("\n")); found {
		f.told = true
		f.whole <- line
	}
	return len(p), nil
}
