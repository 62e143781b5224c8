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
	"path/filepath"
	"strings"
	"time"

	"github.com/livekit-connector/livekit-connector/bench/rig"
)

const (
	startTimeout = 20 * time.Second
	stopTimeout  = 30 * time.Second
	pollInterval = 100 * time.Millisecond
)

// connector is the program under test.
type connector struct {
	*rig.Process
	log string // file
	// api and admin are its URLs.
	api, admin string
}

// startConnector runs the program as an operator does, with a configuration file, on the given CPUs, and returns when it is
// ready for calls.
func startConnector(ctx context.Context, binary, cpus, configuration, folder string) (*connector, error) {
	c := &connector{log: filepath.Join(folder, "connector.log")}
	log, err := os.Create(c.log)
	if err != nil {
		return nil, fmt.Errorf("open the connector's log: %w", err)
	}
	defer log.Close()
	c.Process, err = rig.Start(rig.Command{
		Binary: binary, CPUs: cpus, Arguments: []string{"--config", configuration}, Environment: environment(), Stdout: log, Stderr: log,
	})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if err = c.waitReady(ctx); err != nil {
		_, _ = c.stop()
		return nil, fmt.Errorf("start the connector: %w (its log: %s)", err, c.log)
	}
	return c, nil
}

// profileEvery is of how many bytes allocated one is in a heap profile: Go's 512 kB tell nothing of a few megabytes that are kept.
const profileEvery = 64 << 10

// environment is ours without anything that configures a connector.
func environment() (kept []string) {
	kept = append(kept, fmt.Sprintf("GODEBUG=memprofilerate=%d", profileEvery))
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "CONNECTOR_") && !strings.HasPrefix(v, "LIVEKIT_") && !strings.HasPrefix(v, "OTEL_") && !strings.HasPrefix(v, "GODEBUG=") {
			kept = append(kept, v)
		}
	}
	return kept
}

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
		case <-c.Exited():
			return fmt.Errorf("it ended: %w", c.Err())
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
	if err = c.Stop(0, stopTimeout); err != nil {
		return -1, fmt.Errorf("stop the connector: %w", err)
	}
	return c.ExitCode(), nil
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
