package density

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// ticksPerSecond is the unit of CPU times in /proc on every Linux that Go runs on (USER_HZ).
const ticksPerSecond = 100

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
	metrics, err := scrape(ctx, b.Debug+"/metrics")
	if err != nil {
		return u, err
	}
	u = usage{at: time.Now(), metrics: metrics}
	var errs [7]error
	u.cpu, errs[0] = cpuTime(b.pid)
	u.waited, u.threads, errs[1] = waitTime(b.pid)
	u.resident, errs[2] = residentMemory(b.pid)
	u.files, u.sockets, errs[3] = openFiles(b.pid)
	u.busy, errs[4] = busyTimes()
	u.load, errs[5] = cpuTime(os.Getpid())
	u.server, errs[6] = cpuTime(server)
	u.load += u.server
	if err = errors.Join(errs[:]...); err != nil {
		return u, fmt.Errorf("read usage: %w", err)
	}
	return u, nil
}

// cpuTime is utime+stime of /proc/PID/stat (proc(5)), which counts in hundredths of a second.
func cpuTime(pid int) (time.Duration, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	// The name, field 2, may hold anything, parentheses too.
	fields := strings.Fields(string(data[strings.LastIndexByte(string(data), ')')+1:]))
	if len(fields) < 13 {
		return 0, errors.New("stat is too short")
	}
	user, err1 := strconv.ParseInt(fields[11], 10, 64)
	system, err2 := strconv.ParseInt(fields[12], 10, 64)
	return time.Duration(user+system) * time.Second / ticksPerSecond, errors.Join(err1, err2)
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

func residentMemory(pid int) (int64, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(data)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kb, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			return kb << 10, err
		}
	}
	return 0, errors.New("status has no VmRSS")
}

func openFiles(pid int) (files, sockets int, err error) {
	folder := fmt.Sprintf("/proc/%d/fd", pid)
	entries, err := os.ReadDir(folder)
	if err != nil {
		return 0, 0, err
	}
	for _, e := range entries {
		if target, err := os.Readlink(filepath.Join(folder, e.Name())); err == nil && strings.HasPrefix(target, "socket:") {
			sockets++
		}
	}
	return len(entries), sockets, nil
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
		busy = append(busy, time.Duration(ticks)*time.Second/ticksPerSecond)
	}
	return busy, nil
}

// scrape reads metrics in Prometheus' text format.
func scrape(ctx context.Context, url string) (map[string]float64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return nil, err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("scrape metrics: %w", err)
	}
	defer res.Body.Close()
	all := make(map[string]float64)
	scanner := bufio.NewScanner(res.Body)
	for scanner.Scan() {
		line := scanner.Text()
		at := strings.LastIndexByte(line, ' ')
		if at < 0 || line[0] == '#' {
			continue
		}
		if v, err := strconv.ParseFloat(line[at+1:], 64); err == nil {
			all[line[:at]] = v
		}
	}
	if err := scanner.Err(); err != nil {
		return nil, fmt.Errorf("scrape metrics: %w", err)
	}
	return all, nil
}
