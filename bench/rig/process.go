// Package rig is what runs of the benchmark have in common that let a fake Meta call a program under test: the program as
// a process on CPUs of its own, what is said in its calls, and an application that answers Meta's webhooks.
package rig

import (
	"fmt"
	"io"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

// Command says what to run.
type Command struct {
	// Binary runs with Arguments on CPUs, a list as taskset takes it, and has Environment and nothing else.
	Binary, CPUs           string
	Arguments, Environment []string
	// Stdout and Stderr take what it writes. They stay the caller's, who closes them when the process has ended; files may
	// be closed once Start returned.
	Stdout, Stderr io.Writer
}

// Process is a program under test. Whoever started it stops it.
type Process struct {
	cmd    *exec.Cmd
	exited chan struct{}
	err    error // set when exited is closed
}

// Start runs a program. It is killed should this process die without stopping it.
func Start(c Command) (*Process, error) {
	p := &Process{exited: make(chan struct{})}
	// taskset replaces itself by the binary: the process ID stays.
	p.cmd = exec.Command("taskset", append([]string{"-c", c.CPUs, c.Binary}, c.Arguments...)...) //nolint:gosec,noctx // what is to be measured; it ends by Stop
	p.cmd.Env = c.Environment
	p.cmd.Stdout, p.cmd.Stderr = c.Stdout, c.Stderr
	dieWithParent(p.cmd)
	started := make(chan error, 1)
	go func() {
		defer close(p.exited)
		runtime.LockOSThread() // the kernel's parent-death signal follows the thread
		defer runtime.UnlockOSThread()
		err := p.cmd.Start()
		started <- err
		if err == nil {
			p.err = p.cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", c.Binary, err)
	}
	return p, nil
}

// PID is that of the program.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Exited is closed when the process has ended.
func (p *Process) Exited() <-chan struct{} { return p.exited }

// Err is how a process ended that has Exited, nil if with exit code 0.
func (p *Process) Err() error { return p.err }

// ExitCode is that of a process that has Exited, -1 if a signal ended it.
func (p *Process) ExitCode() int { return p.cmd.ProcessState.ExitCode() }

// Stop asks the process to end by SIGTERM, again after a while unless that is zero, and waits for it. If it does not end
// within the time, it is killed and there is an error. Idempotent.
func (p *Process) Stop(again, within time.Duration) error {
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // one that is gone is what we want
	var repeat <-chan time.Time
	if again > 0 {
		timer := time.NewTimer(again)
		defer timer.Stop()
		repeat = timer.C
	}
	timer := time.NewTimer(within)
	defer timer.Stop()
	for {
		select {
		case <-p.exited:
			return nil
		case <-repeat:
			_ = p.cmd.Process.Signal(syscall.SIGTERM)
		case <-timer.C:
			_ = p.cmd.Process.Kill()
			<-p.exited
			return fmt.Errorf("it did not end within %v and was killed", within)
		}
	}
}
