package main

import (
	"context"
	"fmt"
	"net/http"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

const (
	startTimeout = 30 * time.Second
	// stopTimeout is more than the connector takes to hang up, leave and answer what it was asked.
	stopTimeout  = 15 * time.Second
	pollInterval = 20 * time.Millisecond
)

// process is a running program. exited is closed after Wait, which then has set err.
type process struct {
	cmd    *exec.Cmd
	exited chan struct{}
	err    error
}

// startProcess starts cmd in a goroutine that keeps its thread until the process is gone, because the kernel's
// parent-death signal (see tie) follows the thread that started the child.
func startProcess(cmd *exec.Cmd) (*process, error) {
	p := &process{cmd: cmd, exited: make(chan struct{})}
	tie(cmd)
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(p.exited)
		err := cmd.Start()
		started <- err
		if err == nil {
			p.err = cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return p, nil
}

// bound returns a context that ends when ctx or the process does, with a cause that says so.
func (p *process) bound(ctx context.Context, name string) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	go func() {
		select {
		case <-p.exited:
			cancel(fmt.Errorf("%s exited: %w", name, p.err))
		case <-ctx.Done():
		}
	}()
	return ctx, func() { cancel(nil) }
}

// stop asks the process to end, waits for it and kills it if that takes too long. One that is gone before was missed by
// whoever needed it (see bound).
func (p *process) stop() error {
	select {
	case <-p.exited:
		return nil
	default:
	}
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // one that just went is what we want
	timer := time.NewTimer(stopTimeout)
	defer timer.Stop()
	select {
	case <-p.exited:
		return p.err
	case <-timer.C:
		_ = p.cmd.Process.Kill()
		<-p.exited
		return fmt.Errorf("it did not stop within %v and was killed", stopTimeout)
	}
}

// connectorOptions are what the connector is told, by environment alone.
type connectorOptions struct {
	binary                     string
	liveKitURL, apiKey, secret string
	port                       int // zero: any
	graphURL                   string
	log                        *connectorLog
	environment                []string // what else it inherits
}

// startConnector runs the connector and returns its URL when it is ready for calls.
func startConnector(ctx context.Context, o connectorOptions) (*process, string, error) {
	cmd := exec.Command(o.binary) //nolint:gosec,noctx // ours; it outlives ctx and ends by stop
	cmd.Env = append(o.environment,
		"LIVEKIT_URL="+o.liveKitURL, "LIVEKIT_API_KEY="+o.apiKey, "LIVEKIT_API_SECRET="+o.secret,
		fmt.Sprintf("CONNECTOR_PORT=%d", o.port), "CONNECTOR_BIND_ADDRESSES=127.0.0.1", "CONNECTOR_PROXY_LIVEKIT=true", "CONNECTOR_ADMIN_PORT=0",
		"CONNECTOR_WHATSAPP_GRAPH_URL="+o.graphURL,
		"CONNECTOR_RTC_ENABLE_LOOPBACK_CANDIDATE=true", "CONNECTOR_RTC_INTERFACES_INCLUDES=lo",
		"CONNECTOR_DRAIN_TIMEOUT=1s", // calls by hand that are left at Ctrl-C
		"CONNECTOR_LOGGING_JSON=true", "CONNECTOR_LOGGING_LEVEL=debug",
	)
	cmd.Stdout, cmd.Stderr = o.log, o.log
	p, err := startProcess(cmd)
	if err != nil {
		return nil, "", fmt.Errorf("start the connector: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	ctx, release := p.bound(ctx, "it")
	defer release()
	url, err := waitReady(ctx, o.log)
	if err != nil {
		_ = p.stop() // how it ends now tells less
		return nil, "", fmt.Errorf("wait for the connector: %w; its last word: %s", err, o.log.lastText())
	}
	return p, url, nil
}

// waitReady learns the connector's URL from its log and asks it until it is ready.
func waitReady(ctx context.Context, log *connectorLog) (string, error) {
	started, err := log.wait(ctx, func(l logLine) bool { return l.Message == "connector started" })
	if err != nil {
		return "", err
	}
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, started.URL+"/readyz", http.NoBody)
		if err != nil {
			return "", err
		}
		if res, err := client.Do(req); err == nil {
			_ = res.Body.Close()
			if res.StatusCode == http.StatusOK {
				return started.URL, nil
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return "", context.Cause(ctx)
		}
	}
}
