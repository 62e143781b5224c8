package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/livekit-connector/livekit-connector/internal/logs"
	"github.com/livekit-connector/livekit-connector/internal/panics"
)

// How checks are asked. Kubernetes gives up on a probe after a second if nobody tells it otherwise, so the answer with its
// reason comes before that, whatever the checks do.
const (
	probeAnswer = 900 * time.Millisecond
	// remoteTimeout bounds a check that asks something outside of the process, which may go on while probes are answered.
	remoteTimeout = 3 * time.Second
	// remoteKeep is how long what such a check found stands, so that many probes are one request.
	remoteKeep = 3 * time.Second
	// remoteStale is how old it may be while the next one is under way.
	remoteStale = 10 * time.Second
)

// Probes answers /livez, /readyz and /startupz.
//
// Alive means: do not restart me. Only the process's own machinery counts, never LiveKit, Redis or Meta: restarting us
// does not mend them and would end calls. Ready means: send me new calls.
type Probes struct {
	log    *slog.Logger
	answer time.Duration   // by when a probe is answered: probeAnswer
	panics *panics.Counter // may be nil
	ctx    context.Context //nolint:containedctx // of the checks, which outlive the probes that ask
	cancel context.CancelFunc
	checks sync.WaitGroup

	mu      sync.Mutex // guards all following fields
	started bool
	closed  bool
	alive   []*check
	ready   []*check
	// unready holds the checks whose failure was logged.
	unready map[string]bool
}

// NewProbes returns probes that say "alive" and "not started". Whoever made them calls Close. The log hears when /readyz
// begins and ceases to fail.
func NewProbes(log *slog.Logger) *Probes {
	p := &Probes{log: log, answer: probeAnswer, unready: make(map[string]bool)}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	return p
}

// Started makes /startupz succeed, and /readyz if its checks do.
func (p *Probes) Started() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.started = true
}

// AddAlive adds a check to /livez. It must not depend on anything outside of the process.
func (p *Probes) AddAlive(name string, run func(context.Context) error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.alive = append(p.alive, &check{name: name, run: run})
}

// AddReady adds a check of the process itself to /readyz: draining, capacity. Its error is shown to whoever asks, so it
// holds no secret.
func (p *Probes) AddReady(name string, run func(context.Context) error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ready = append(p.ready, &check{name: name, run: run})
}

// AddRemote adds a check of something outside of the process to /readyz. It must honour its context. What it found stands
// for some seconds. The returned function asks it as probes do, and fails if it certainly failed: what has not answered yet
// is no failure.
func (p *Probes) AddRemote(name string, run func(context.Context) error) (ask func(context.Context) error) {
	c := &check{name: name, run: run, keep: remoteKeep}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ready = append(p.ready, c)
	return func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, p.answer)
		defer cancel()
		if f := c.ask(ctx, p); !f.OK && !f.open {
			return errors.New(f.Reason)
		}
		return nil
	}
}

// Close ends the checks that are under way and waits for them, but not for one that hangs.
func (p *Probes) Close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.cancel()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		p.checks.Wait()
	}()
	select {
	case <-ended:
	case <-time.After(time.Second):
	}
}

// Register adds the three paths to mux.
func (p *Probes) Register(mux *http.ServeMux) {
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		alive := p.alive
		p.mu.Unlock()
		writeReport(w, p.ask(r.Context(), alive))
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		ready := p.ready
		p.mu.Unlock()
		found := p.ask(r.Context(), ready)
		p.tell(found)
		found["started"] = p.start()
		writeReport(w, found)
	})
	mux.HandleFunc("GET /startupz", func(w http.ResponseWriter, _ *http.Request) {
		writeReport(w, map[string]finding{"started": p.start()})
	})
}

func (p *Probes) start() finding {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.started {
		return finding{Reason: "still starting"}
	}
	return finding{OK: true}
}

// ask runs the checks side by side.
func (p *Probes) ask(ctx context.Context, checks []*check) map[string]finding {
	ctx, cancel := context.WithTimeout(ctx, p.answer)
	defer cancel()
	results := make([]finding, len(checks))
	var asked sync.WaitGroup
	for i, c := range checks {
		asked.Go(func() { results[i] = c.ask(ctx, p) })
	}
	asked.Wait()
	found := make(map[string]finding, len(checks)+1)
	for i, c := range checks {
		found[c.name] = results[i]
	}
	return found
}

// tell logs what has changed since the last probe.
func (p *Probes) tell(found map[string]finding) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for name, f := range found {
		switch {
		case !f.OK && !p.unready[name]:
			p.unready[name] = true
			p.log.Warn("not ready for new calls", "check", name, "reason", f.Reason)
		case f.OK && p.unready[name]:
			delete(p.unready, name)
			p.log.Info("ready again", "check", name)
		}
	}
}

// check is one thing that a probe asks about.
type check struct {
	name string
	run  func(context.Context) error
	keep time.Duration // how long a result stands; zero: it is asked for each time

	mu      sync.Mutex    // guards all following fields
	running chan struct{} // closed when the run that is under way has ended; nil while there is none
	last    finding
	at      time.Time // of last
}

// ask returns what the check finds, or found a moment ago. Probes that come at the same time share one run. It is cut when
// ctx ends, and goes on for whoever asks next.
func (c *check) ask(ctx context.Context, p *Probes) finding {
	c.mu.Lock()
	if !c.at.IsZero() && time.Since(c.at) < c.keep {
		defer c.mu.Unlock()
		return c.last
	}
	if c.running == nil && !c.beginLocked(p) {
		defer c.mu.Unlock()
		return finding{Reason: "the process is going down", open: true}
	}
	running := c.running
	c.mu.Unlock()
	select {
	case <-running:
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.last
	case <-ctx.Done():
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.keep > 0 && !c.at.IsZero() && time.Since(c.at) < remoteStale {
		return c.last
	}
	return finding{Reason: fmt.Sprintf("no answer within %v", p.answer), TookMS: p.answer.Milliseconds(), open: true}
}

// beginLocked starts a run, unless the probes are closed.
func (c *check) beginLocked(p *Probes) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	running := make(chan struct{})
	c.running = running
	p.checks.Go(func() {
		ctx, cancel := context.WithTimeoutCause(p.ctx, remoteTimeout, fmt.Errorf("no answer within %v", remoteTimeout))
		defer cancel()
		start := time.Now()
		err := c.try(ctx, p)
		if errors.Is(err, context.DeadlineExceeded) && ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		f := finding{OK: err == nil, TookMS: time.Since(start).Milliseconds()}
		if err != nil {
			f.Reason = logs.Mask(err.Error())
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.last, c.at, c.running = f, time.Now(), nil
		close(running)
	})
	return true
}

// try runs the check; one that panics has failed.
func (c *check) try(ctx context.Context, p *Probes) (err error) {
	defer p.panics.Recover(panics.Probe, p.log, func() { err = &panics.Error{Place: panics.Probe} })
	return c.run(ctx)
}

// finding is what a check found, as a probe's answer shows it.
type finding struct {
	OK     bool   `json:"ok"`
	Reason string `json:"reason,omitempty"`
	TookMS int64  `json:"took_ms"`
	// open says that the check has not found anything yet.
	open bool
}

// writeReport answers 200, or 503 if a check failed.
func writeReport(w http.ResponseWriter, found map[string]finding) {
	report := struct {
		Status string             `json:"status"`
		Checks map[string]finding `json:"checks"`
	}{"ok", found}
	status := http.StatusOK
	for _, f := range found {
		if !f.OK {
			report.Status, status = "failing", http.StatusServiceUnavailable
		}
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(report)
}
