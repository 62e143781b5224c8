package density

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/livekit-connector/livekit-connector/bench/proc"
)

// usage is what a process and its machine had used up at one moment.
type usage struct {
	at time.Time
	// cpu is user and system time of the bridge, waited how long its threads were ready to run while others had the
	// CPU, threads how many it has.
	cpu, waited time.Duration
	threads     int
	// resident memory in bytes, and open files of which sockets.
	resident       int64
	files, sockets int
	// load is the CPU time of what makes the calls: this process and livekit-server, whose part is server.
	load, server time.Duration
	// busy is how long each CPU of the machine was not idle.
	busy []time.Duration
	// metrics are the bridge's own, by name; those with labels by name{labels}.
	metrics map[string]float64
}

// measure looks at the bridge, at livekit-server and at this process.
func measure(ctx context.Context, b *bridge, server int) (u usage, err error) {
	// Metrics first: answering takes CPU time, which shall not count into the interval that begins here.
	metrics, err := proc.Scrape(ctx, b.Debug+"/metrics")
	if err != nil {
		return u, err
	}
	u = usage{at: time.Now(), metrics: metrics}
	var errs [7]error
	u.cpu, errs[0] = proc.CPUTime(b.process.PID())
	u.waited, u.threads, errs[1] = waitTime(b.process.PID())
	u.resident, errs[2] = proc.ResidentMemory(b.process.PID())
	u.files, u.sockets, errs[3] = proc.OpenFiles(b.process.PID())
	u.busy, errs[4] = busyTimes()
	u.load, errs[5] = proc.CPUTime(os.Getpid())
	u.server, errs[6] = proc.CPUTime(server)
	u.load += u.server
	if err = errors.Join(errs[:]...); err != nil {
		return u, fmt.Errorf("read usage: %w", err)
	}
	return u, nil
}

// waitTime sums the second field of each thread's schedstat: time spent waiting on a run queue.
func waitTime(pid int) (waited time.Duration, threads int, err error) {
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	if err != nil {
		return 0, 0, err
	}
	for _, file := range files {
		data, err := os.ReadFile(file) //nolint:gosec // in /proc
		if err != nil {
			continue // a thread that just ended
		}
		fields := strings.Fields(string(data))
		if len(fields) < 2 {
			continue // a kernel without these statistics
		}
		ns, err := strconv.ParseInt(fields[1], 10, 64)
		if err != nil {
			return 0, 0, err
		}
		waited += time.Duration(ns)
	}
	return waited, len(files), nil
}

// busyTimes reads /proc/stat: all but idle and iowait, by CPU.
func busyTimes() (busy []time.Duration, err error) {
	data, err := os.ReadFile("/proc/stat")
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(data)) {
		fields := strings.Fields(line)
		if !strings.HasPrefix(line, "cpu") || fields[0] == "cpu" || len(fields) < 9 {
			continue
		}
		var ticks int64
		for i, f := range fields[1:9] { // the rest, guest time, is in user time already
			n, err := strconv.ParseInt(f, 10, 64)
			if err != nil {
				return nil, err
			}
			if i != 3 && i != 4 {
				ticks += n
			}
		}
		busy = append(busy, time.Duration(ticks)*time.Second/proc.TicksPerSecond)
	}
	return busy, nil
}
