package logs

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

const (
	// queueBytes is how much may wait to be written: some seconds of a busy node at level info.
	queueBytes = 1 << 20
	// batchBytes is what is written at once at most.
	batchBytes = 64 << 10
)

// Async hands lines on to a writer that may be slow, blocked or broken, and never makes those wait who log: a disk that is
// full or a pipe that nobody reads must not end calls. What waits is bounded; lines beyond that are lost and counted, as
// are those that the writer does not take. When it works again a line says how many.
type Async struct {
	out  io.Writer
	log  atomic.Pointer[slog.Logger]
	done chan struct{} // closed when the goroutine has ended

	full, failed atomic.Uint64 // lines that were lost

	mu     sync.Mutex // guards all below
	queue  []byte     // whole lines
	closed bool
	wake   chan struct{} // holds one token while there may be work
}

// NewAsync returns a writer in front of out. Its goroutine ends with Close.
func NewAsync(out io.Writer) *Async {
	a := &Async{out: out, done: make(chan struct{}), wake: make(chan struct{}, 1)}
	go a.run()
	return a
}

// Report lets log say how many lines were lost when lines can be written again. The log may be one that writes to a.
func (a *Async) Report(log *slog.Logger) { a.log.Store(log) }

// Lost is how many lines were lost so far: because too many waited, and because the writer did not take them.
func (a *Async) Lost() (full, failed uint64) { return a.full.Load(), a.failed.Load() }

// Register adds livekit_connector_log_lines_lost_total, by reason full and failed.
func (a *Async) Register(reg prometheus.Registerer) error {
	for reason, lost := range map[string]*atomic.Uint64{"full": &a.full, "failed": &a.failed} {
		err := reg.Register(prometheus.NewCounterFunc(prometheus.CounterOpts{
			Namespace: "livekit_connector", Name: "log_lines_lost_total",
			Help:        "Lines of the log that were lost: too many waited (full), or they could not be written (failed).",
			ConstLabels: prometheus.Labels{"reason": reason},
		}, func() float64 { return float64(lost.Load()) }))
		if err != nil {
			return fmt.Errorf("register metrics of the log: %w", err)
		}
	}
	return nil
}

// Write implements io.Writer: it takes whole lines, never waits for the writer, and never fails. p is copied.
func (a *Async) Write(p []byte) (int, error) {
	a.mu.Lock()
	fits := !a.closed && len(a.queue)+len(p) <= queueBytes
	if fits {
		a.queue = append(a.queue, p...)
	}
	a.mu.Unlock()
	if !fits {
		a.full.Add(uint64(bytes.Count(p, newline)))
		return len(p), nil
	}
	a.poke()
	return len(p), nil
}

var newline = []byte{'\n'}

func (a *Async) poke() {
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// Close writes what waits, for at most so long, and ends the goroutine if the writer lets it. Lines that come later are lost.
func (a *Async) Close(limit time.Duration) error {
	a.mu.Lock()
	a.closed = true
	a.mu.Unlock()
	a.poke()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-a.done:
		return nil
	case <-timer.C:
		return fmt.Errorf("logs: the end of the log was not written within %v", limit)
	}
}

// run writes what waits, as many lines at once as there are.
func (a *Async) run() {
	defer close(a.done)
	var told uint64 // of lost lines
	var torn bool   // the last line was written in part
	batch := make([]byte, 0, batchBytes)
	for range a.wake {
		for {
			var last bool
			if batch, last = a.take(batch[:0]); len(batch) == 0 {
				if last {
					return
				}
				break
			}
			if torn {
				batch = append(newline[:1:1], batch...)
			}
			n, err := a.out.Write(batch)
			if err != nil {
				n = min(max(n, 0), len(batch))
				lost := bytes.Count(batch[n:], newline)
				if torn && n == 0 {
					lost-- // the first ends the line that was counted when it was torn
				}
				torn = n > 0 && batch[n-1] != '\n' || n == 0 && torn
				a.failed.Add(uint64(lost))
				continue
			}
			torn = false
			told = a.tell(told)
		}
	}
}

// take moves whole lines from the queue into batch, as many as fit, one at least. last says that no more will come.
func (a *Async) take(batch []byte) (_ []byte, last bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	n := len(a.queue)
	if n > batchBytes {
		if n = bytes.LastIndexByte(a.queue[:batchBytes], '\n') + 1; n == 0 {
			n = bytes.IndexByte(a.queue, '\n') + 1 // one line that is longer
		}
		if n == 0 {
			n = len(a.queue)
		}
	}
	batch = append(batch, a.queue[:n]...)
	a.queue = append(a.queue[:0], a.queue[n:]...)
	return batch, a.closed && len(batch) == 0
}

// tell says how many lines were lost since it last did.
func (a *Async) tell(told uint64) uint64 {
	full, failed := a.Lost()
	log := a.log.Load()
	if full+failed == told || log == nil {
		return told
	}
	log.Warn("lines of the log were lost", "lost", full+failed-told, "full", full, "failed", failed)
	return full + failed
}
