package soak

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
)

const (
	startTimeout = 20 * time.Second
	stopTimeout  = 30 * time.Second
	pollInterval = 100 * time.Millisecond
)

// connector is the program under test.
type connector struct {
	cmd    *exec.Cmd
	log    string // file
	exited chan struct{}
	err    error // how it ended; set when exited is closed
	// api and admin are its URLs.
	api, admin string
}

// startConnector runs the program as an operator does, with a configuration file, on the given CPUs, and returns when it is
// ready for calls.
func startConnector(ctx context.Context, binary, cpus, configuration, folder string) (*connector, error) {
	c := &connector{log: filepath.Join(folder, "connector.log"), exited: make(chan struct{})}
	log, err := os.Create(c.log)
	if err != nil {
		return nil, fmt.Errorf("open the connector's log: %w", err)
	}
	// taskset replaces itself by the binary: the process ID stays.
	c.cmd = exec.Command("taskset", "-c", cpus, binary, "--config", configuration) //nolint:gosec,noctx // ours; it outlives ctx and ends by stop
	c.cmd.Env = environment()
	c.cmd.Stdout, c.cmd.Stderr = log, log
	dieWithParent(c.cmd)
	started := make(chan error, 1)
	go func() {
		defer close(c.exited)
		defer log.Close()
		runtime.LockOSThread() // the kernel's parent-death signal follows the thread
		defer runtime.UnlockOSThread()
		startErr := c.cmd.Start()
		started <- startErr
		if startErr == nil {
			c.err = c.cmd.Wait()
		}
	}()
	if err = <-started; err != nil {
		return nil, fmt.Errorf("start the connector: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if err = c.waitReady(ctx); err != nil {
		_, _ = c.stop()
		return nil, fmt.Errorf("start the connector: %w (its log: %s)", err, c.log)
	}
	return c, nil
}

// environment is ours without anything that configures a connector.
func environment() (kept []string) {
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "CONNECTOR_") && !strings.HasPrefix(v, "LIVEKIT_") && !strings.HasPrefix(v, "OTEL_") {
			kept = append(kept, v)
		}
	}
	return kept
}

func (c *connector) pid() int { return c.cmd.Process.Pid }

// waitReady learns the URLs from the log and asks until it is ready.
func (c *connector) waitReady(ctx context.Context) error {
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		if c.api == "" {
			c.readURLs()
		}
		if c.api != "" && c.ready(ctx) {
			return nil
		}
		select {
		case <-tick.C:
		case <-c.exited:
			return fmt.Errorf("it ended: %w", c.err)
		case <-ctx.Done():
			return errors.New("it is not ready in time")
		}
	}
}

func (c *connector) readURLs() {
	data, err := os.ReadFile(c.log)
	if err != nil {
		return
	}
	for line := range bytes.Lines(data) {
		var l struct{ Msg, URL, Admin string }
		if json.Unmarshal(line, &l) == nil && l.Msg == "connector started" {
			c.api, c.admin = l.URL, l.Admin
		}
	}
}

func (c *connector) ready(ctx context.Context) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.admin+"/readyz", http.NoBody)
	if err != nil {
		return false
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	_ = res.Body.Close()
	return res.StatusCode == http.StatusOK
}

// stop asks the process to end, waits for it and tells its exit code. It is killed if that takes too long. Idempotent.
func (c *connector) stop() (code int, err error) {
	_ = c.cmd.Process.Signal(syscall.SIGTERM) // one that is gone is what we want
	timer := time.NewTimer(stopTimeout)
	defer timer.Stop()
	select {
	case <-c.exited:
	case <-timer.C:
		_ = c.cmd.Process.Kill()
		<-c.exited
		return -1, fmt.Errorf("the connector did not stop within %v and was killed", stopTimeout)
	}
	return c.cmd.ProcessState.ExitCode(), nil
}

// remarks counts what the log says above info, by message.
func (c *connector) remarks() map[string]int {
	counts := make(map[string]int)
	f, err := os.Open(c.log)
	if err != nil {
		return counts
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var l struct{ Level, Msg string }
		if json.Unmarshal(lines.Bytes(), &l) != nil {
			counts["(no JSON) "+lines.Text()]++
		} else if l.Level != "INFO" && l.Level != "DEBUG" {
			counts[l.Level+" "+l.Msg]++
		}
	}
	return counts
}
