package app

import (
	"context"
	"encoding/json"
	"net/http"
	"sync"
	"time"

	"github.com/livekit-connector/livekit-connector/internal/logs"
)

// probeTimeout bounds all the checks of one probe. Kubernetes gives up after a second if nobody tells it otherwise, but
// a slow answer with the reason still helps a person.
const probeTimeout = 2 * time.Second

// Probes answers /livez, /readyz and /startupz.
//
// Alive means: do not restart me. Only the process's own machinery counts, never LiveKit, Redis or Meta: restarting us
// does not mend them and would end calls. Ready means: send me new calls.
type Probes struct {
	mu      sync.Mutex
	started bool
	alive   []probe
	ready   []probe
}

type probe struct {
	name  string
	check func(context.Context) error
}

// NewProbes returns probes that say "alive" and "not started".
func NewProbes() *Probes { return &Probes{} }

// Started makes /startupz succeed, and /readyz if its checks do.
func (p *Probes) Started() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.started = true
}

// AddAlive adds a check to /livez. It must not depend on anything outside of the process and must honour its context.
func (p *Probes) AddAlive(name string, check func(context.Context) error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.alive = append(p.alive, probe{name: name, check: check})
}

// AddReady adds a check to /readyz: draining, capacity, LiveKit. It must honour its context; its error is shown to whoever
// asks, so it holds no secret.
func (p *Probes) AddReady(name string, check func(context.Context) error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ready = append(p.ready, probe{name: name, check: check})
}

// Register adds the three paths to mux.
func (p *Probes) Register(mux *http.ServeMux) {
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, r *http.Request) {
		_, alive, _ := p.snapshot()
		answer(w, r, true, alive)
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		started, _, ready := p.snapshot()
		answer(w, r, started, ready)
	})
	mux.HandleFunc("GET /startupz", func(w http.ResponseWriter, r *http.Request) {
		started, _, _ := p.snapshot()
		answer(w, r, started, nil)
	})
}

func (p *Probes) snapshot() (started bool, alive, ready []probe) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.started, p.alive, p.ready
}

// report is the body of a probe: {"status":"ok"} or {"status":"failing","checks":{"capacity":"25 of 25 calls"}}.
type report struct {
	Status string            `json:"status"`
	Checks map[string]string `json:"checks,omitempty"`
}

// answer runs the checks side by side and writes 200 or 503 with what failed.
func answer(w http.ResponseWriter, r *http.Request, started bool, probes []probe) {
	ctx, cancel := context.WithTimeout(r.Context(), probeTimeout)
	defer cancel()
	results := make([]error, len(probes))
	var wg sync.WaitGroup
	for i, p := range probes {
		wg.Go(func() { results[i] = p.check(ctx) })
	}
	wg.Wait()
	failed := make(map[string]string)
	if !started {
		failed["started"] = "still starting"
	}
	for i, p := range probes {
		if results[i] != nil {
			failed[p.name] = logs.Mask(results[i].Error())
		}
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	body := report{Status: "ok"}
	if len(failed) > 0 {
		body = report{Status: "failing", Checks: failed}
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	_ = json.NewEncoder(w).Encode(body)
}
