package e2e_test

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime/pprof"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// worldLabel marks every goroutine of a world's connector, down to those of Pion and the SDK: goroutines inherit the
// labels of the one that starts them. What else is in the process (phones, participants, other tests) does not have it.
const worldLabel = "world"

// stack is how many goroutines stand at the same place.
type stack struct {
	count int
	text  string
	// entry is the function that the goroutines began with.
	entry string
}

// goroutines returns those that have all of labels, as runtime/pprof prints labels, without those that keep an HTTP
// connection in reserve.
func goroutines(t *testing.T, labels ...string) []stack {
	t.Helper()
	var profile bytes.Buffer
	require.NoError(t, pprof.Lookup("goroutine").WriteTo(&profile, 1))
	var found []stack
	for text := range strings.SplitSeq(profile.String(), "\n\n") {
		s := stack{text: text}
		if n, _ := fmt.Sscanf(text[strings.IndexByte(text, '\n')+1:], "%d @", &s.count); n == 0 { // the first has a title
			_, _ = fmt.Sscanf(text, "%d @", &s.count)
		}
		if s.count == 0 || slices.ContainsFunc(labels, func(l string) bool { return !strings.Contains(text, l) }) {
			continue
		}
		if f := strings.Fields(text[strings.LastIndexByte(text, '\n')+1:]); len(f) > 2 {
			s.entry, _, _ = strings.Cut(f[2], "+0x")
		}
		if !strings.HasPrefix(s.entry, "net/http.(*persistConn)") && !strings.HasPrefix(s.entry, "net/http.(*connReader)") &&
			(!strings.HasPrefix(s.entry, "net/http.(*conn)") || strings.Contains(text, "livekit-connector/internal/")) {
			found = append(found, s)
		}
	}
	return found
}

func total(stacks []stack) (n int) {
	for _, s := range stacks {
		n += s.count
	}
	return n
}

// more returns the stacks of goroutines that there are more of than before.
func more(before, now []stack) string {
	known := map[string]int{}
	for _, s := range before {
		known[s.entry] += s.count
	}
	var b strings.Builder
	for _, s := range now {
		if known[s.entry] -= s.count; known[s.entry] < 0 {
			b.WriteString(s.text + "\n\n")
		}
	}
	return b.String()
}

// own are the goroutines of the world's connector.
func (w *world) own() []stack {
	w.t.Helper()
	return goroutines(w.t, fmt.Sprintf("%q:%q", worldLabel, w.label))
}

// noGoroutineLeft waits until the connector has no goroutine that it had not before its first call.
func (w *world) noGoroutineLeft() {
	w.t.Helper()
	until(w.t, func() string {
		if now := w.own(); total(now) > total(w.idle) {
			return fmt.Sprintf("%d goroutines, %d before the call:\n\n%s", total(now), total(w.idle), more(w.idle, now))
		}
		return ""
	})
}

// noSocketLeft waits until the process has no UDP socket that it had not before the first call. It is for tests that are
// alone in the process, after their own participants have left.
func (w *world) noSocketLeft() {
	w.t.Helper()
	until(w.t, func() string {
		var left []string
		for inode, f := range openFiles() {
			if _, known := w.files[inode]; f.udp() && !known {
				left = append(left, f.String())
			}
		}
		return strings.Join(left, "\n")
	})
}

// until looks again and again whether something is left, and fails with what it is if it does not go away.
func until(t *testing.T, left func() string) {
	t.Helper()
	ctx := wait(t)
	again := time.NewTicker(20 * time.Millisecond) // each look stops the world
	defer again.Stop()
	for {
		what := left()
		if what == "" {
			return
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			t.Fatalf("still after %s: %s", patience, what)
		}
	}
}

// settled returns the goroutines once their number has not changed for so many looks.
func settled(t *testing.T, looks int, look func() []stack) []stack {
	t.Helper()
	last, same := look(), 0
	until(t, func() string {
		now := look()
		if same++; total(now) != total(last) {
			last, same = now, 0
		}
		if same < looks {
			return "goroutines that come and go"
		}
		return ""
	})
	return last
}

// file is an open file of the process.
type file struct {
	// kind is "tcp", "tcp6", "udp" or "udp6"; for what is no such socket it is the file's name.
	kind string
	// local and remote are addresses as the kernel writes them (proc_pid_net(5)): hexadecimal, with the port last.
	local, remote string
}

func (f file) udp() bool { return strings.HasPrefix(f.kind, "udp") }

// connection says whether f is a TCP connection, not a listener.
func (f file) connection() bool {
	return strings.HasPrefix(f.kind, "tcp") && !strings.HasSuffix(f.remote, ":0000")
}

// between says whether one of a connection's ends has this port.
func (f file) between(port int) bool {
	p := fmt.Sprintf(":%04X", port)
	return strings.HasSuffix(f.local, p) || strings.HasSuffix(f.remote, p)
}

func (f file) String() string { return strings.TrimSpace(f.kind + " " + f.local + " " + f.remote) }

// openFiles returns the process's files under names that are not used again: the number of the descriptor and, for a
// socket, its inode.
func openFiles() map[string]file {
	sockets := map[string]file{}
	for _, kind := range []string{"tcp", "tcp6", "udp", "udp6"} {
		table, _ := os.ReadFile(filepath.Join("/proc/self/net", kind))
		for line := range strings.Lines(string(table)) {
			if f := strings.Fields(line); len(f) > 9 {
				sockets["socket:["+f[9]+"]"] = file{kind: kind, local: f[1], remote: f[2]}
			}
		}
	}
	files := map[string]file{}
	entries, _ := os.ReadDir("/proc/self/fd")
	for _, e := range entries {
		name, err := os.Readlink(filepath.Join("/proc/self/fd", e.Name()))
		if err != nil || strings.HasSuffix(name, "/fd") { // closed since, or the folder itself
			continue
		}
		f, ok := sockets[name]
		if !ok {
			f = file{kind: name}
		}
		files[e.Name()+" "+name] = f
	}
	return files
}

// counted returns how many files f says yes to.
func counted(f func(file) bool) int {
	n := 0
	for file := range maps.Values(openFiles()) {
		if f(file) {
			n++
		}
	}
	return n
}

// labelled runs f so that every goroutine it starts is the world's.
func (w *world) labelled(f func()) {
	pprof.Do(context.Background(), pprof.Labels(worldLabel, w.label), func(context.Context) { f() })
}
