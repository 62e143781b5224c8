package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/livekit-connector/livekit-connector/internal/node"
)

// drainProgress is how often the log tells of calls that are left.
const drainProgress = 10 * time.Second

// draining lets calls end by themselves while no new ones are taken. It is asked for by a signal, after which the process
// ends, or by an operator at /drain, after which it goes on and may take calls again.
type draining struct {
	node *node.Node
	log  *slog.Logger

	mu sync.Mutex // guards all following fields
	// stopping is set once the process is to end; nothing takes that back.
	stopping bool
	// deadline is when the calls that are left will be hung up; zero if nobody will.
	deadline time.Time
}

// drainStatus is what /drain answers.
type drainStatus struct {
	// Draining says that no calls are taken, Stopping that the process ends after the last one.
	Draining bool `json:"draining"`
	Stopping bool `json:"stopping"`
	// Calls are those that are left, the ones that are ending included.
	Calls int `json:"calls"`
	// OldestSeconds is the age of the oldest call, SecondsLeft the time until calls are hung up; absent without.
	OldestSeconds int        `json:"oldest_call_seconds,omitempty"`
	SecondsLeft   *int       `json:"seconds_left,omitempty"`
	Deadline      *time.Time `json:"deadline,omitempty"`
}

func newDraining(n *node.Node, reg prometheus.Registerer, log *slog.Logger) *draining {
	d := &draining{node: n, log: log}
	const namespace = "livekit_connector"
	gauge := func(name, help string, value func(drainStatus) float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: namespace, Name: name, Help: help},
			func() float64 { return value(d.status()) })
	}
	reg.MustRegister(
		gauge("draining", "1 while no calls are taken, because of a signal or of POST /drain.", func(s drainStatus) float64 {
			if s.Draining {
				return 1
			}
			return 0
		}),
		gauge("drain_calls_left", "Calls that a drain waits for; 0 while calls are taken.", func(s drainStatus) float64 {
			if s.Draining {
				return float64(s.Calls)
			}
			return 0
		}),
		gauge("drain_deadline_timestamp_seconds", "When calls that are left will be hung up, in Unix time; 0 if nobody will.",
			func(s drainStatus) float64 {
				if s.Deadline == nil {
					return 0
				}
				return float64(s.Deadline.UnixMilli()) / 1000
			}),
	)
	return d
}

func (d *draining) status() drainStatus {
	d.mu.Lock()
	stopping, deadline := d.stopping, d.deadline
	d.mu.Unlock()
	s := drainStatus{Draining: d.node.Draining(), Stopping: stopping, Calls: d.node.Calls()}
	if oldest := d.node.Oldest(); !oldest.IsZero() {
		s.OldestSeconds = int(time.Since(oldest).Seconds())
	}
	if !deadline.IsZero() {
		left := max(0, int(time.Until(deadline).Seconds()))
		s.Deadline, s.SecondsLeft = &deadline, &left
	}
	return s
}

// attrs tell the progress in a log line.
func (s drainStatus) attrs() []any {
	a := []any{"calls", s.Calls, "oldest", time.Duration(s.OldestSeconds) * time.Second}
	if s.SecondsLeft != nil {
		a = append(a, "left", time.Duration(*s.SecondsLeft)*time.Second)
	}
	return a
}

// begin refuses new calls until cancel.
func (d *draining) begin() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.node.Draining() {
		return
	}
	d.node.RefuseCalls()
	d.log.Info("draining on request: no new calls", "calls", d.node.Calls())
}

// cancel takes begin back; the error says why that is not possible.
func (d *draining) cancel() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.stopping {
		return fmt.Errorf("the connector has got a signal to stop: it ends after its last call, start another one")
	}
	if !d.node.Draining() {
		return nil
	}
	if err := d.node.TakeCalls(); err != nil {
		return fmt.Errorf("take calls again: %w", err)
	}
	d.log.Info("draining taken back: calls are taken again", "calls", d.node.Calls())
	return nil
}

// stop refuses new calls for good; those that are left may go on until the deadline.
func (d *draining) stop(deadline time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.stopping, d.deadline = true, deadline
	d.node.RefuseCalls()
}

// register adds /drain to mux.
func (d *draining) register(mux *http.ServeMux) {
	origin := http.NewCrossOriginProtection() // a page in an operator's browser drains nothing
	answer := func(w http.ResponseWriter, status int, body any) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(body)
	}
	mux.HandleFunc("GET /drain", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, d.status()) })
	mux.Handle("POST /drain", origin.Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		d.begin()
		answer(w, http.StatusOK, d.status())
	})))
	mux.Handle("DELETE /drain", origin.Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if err := d.cancel(); err != nil {
			answer(w, http.StatusConflict, map[string]string{"error": err.Error()})
			return
		}
		answer(w, http.StatusOK, d.status())
	})))
}

// drain waits for the live calls to end by themselves, until drain_timeout, another signal or the end of ctx.
func (a *App) drain(ctx context.Context, s os.Signal, signals <-chan os.Signal) {
	deadline := time.Now().Add(a.config.DrainTimeout)
	a.draining.stop(deadline)
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	a.log.Info("draining: no new calls", append([]any{"signal", s.String()}, a.draining.status().attrs()...)...)
	var left error
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		left = a.node.WaitEmpty(ctx)
	}()
	progress := time.NewTicker(drainProgress)
	defer progress.Stop()
	for {
		select {
		case <-drained:
			if left != nil {
				a.log.Warn("calls are left after drain_timeout: hanging up", a.draining.status().attrs()...)
				return
			}
			a.log.Info("drained: no call is left")
			return
		case second := <-signals:
			a.log.Warn("second signal: hanging up", append([]any{"signal", second.String()}, a.draining.status().attrs()...)...)
			cancel()
			<-drained
			return
		case <-progress.C:
			a.log.Info("draining", a.draining.status().attrs()...)
		}
	}
}

// hangUp ends the calls that are left. The error tells how many did not end in time.
func (a *App) hangUp() error {
	a.draining.stop(time.Now())
	if n := a.node.Calls(); n > 0 {
		a.log.Info("hanging up", "calls", n)
	}
	ctx, cancel := context.WithTimeout(context.Background(), hangUpTimeout)
	defer cancel()
	err := a.node.HangUpAll(ctx)
	if left, ok := errors.AsType[*node.LeftError](err); ok {
		return fmt.Errorf("%d calls did not end within %v: Meta ends those that it was not told of when it hears no audio, look for %q in the log",
			left.Calls, hangUpTimeout, "meta not told of the end")
	}
	return err
}
