package density

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"

	"github.com/livekit-connector/livekit-connector/bench/subject"
)

const (
	startTimeout = 20 * time.Second
	stopTimeout  = 15 * time.Second
)

// bridge is a running process under measurement.
type bridge struct {
	subject.Endpoints
	pid    int
	cmd    *exec.Cmd
	exited chan struct{}
	err    error // why it ended; set when exited is closed
}

// startBridge runs binary on the given CPUs alone, with as many threads for Go code as it has CPUs, and returns when it
// is ready for calls.
func startBridge(ctx context.Context, binary, cpus string, procs int, environment []string, log io.Writer) (*bridge, error) {
	// taskset replaces itself by the binary: the process ID stays.
	b := &bridge{cmd: exec.Command("taskset", "-c", cpus, binary), exited: make(chan struct{})} //nolint:gosec,noctx // what is to be measured; it outlives ctx and ends by stop
	b.cmd.Env = append(os.Environ(), environment...)
	b.cmd.Env = append(b.cmd.Env, fmt.Sprintf("GOMAXPROCS=%d", procs))
	b.cmd.Stderr = log
	dieWithParent(b.cmd)
	out, err := b.cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start bridge: %w", err)
	}
	started := make(chan error, 1)
	ready := make(chan error, 1)
	go func() {
		defer close(b.exited)
		runtime.LockOSThread() // the kernel's parent-death signal follows the thread
		defer runtime.UnlockOSThread()
		if startErr := b.cmd.Start(); startErr != nil {
			started <- startErr
			return
		}
		started <- nil
		scanner := bufio.NewScanner(out)
		if scanner.Scan() {
			ready <- json.Unmarshal(scanner.Bytes(), &b.Endpoints)
		}
		for scanner.Scan() { // it says nothing more
		}
		b.err = b.cmd.Wait()
	}()
	if err = <-started; err != nil {
		return nil, fmt.Errorf("start bridge: %w", err)
	}
	b.pid = b.cmd.Process.Pid
	timer := time.NewTimer(startTimeout)
	defer timer.Stop()
	select {
	case err = <-ready:
	case <-b.exited:
		err = fmt.Errorf("it ended: %w", b.err)
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
	_ = b.cmd.Process.Signal(syscall.SIGTERM) // one that is gone is what we want
	again := time.NewTimer(stopTimeout / 3)   // the second one hangs up
	defer again.Stop()
	timer := time.NewTimer(stopTimeout)
	defer timer.Stop()
	for {
		select {
		case <-b.exited:
			return nil
		case <-again.C:
			_ = b.cmd.Process.Signal(syscall.SIGTERM)
		case <-timer.C:
			_ = b.cmd.Process.Kill()
			<-b.exited
			return errors.New("stop bridge: it did not end and was killed")
		}
	}
}
