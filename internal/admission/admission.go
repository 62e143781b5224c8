// Package admission says whether another call can be taken, before anything is done for it.
//
// A call takes a place at its acceptance and gives it back at its end. So a burst cannot slip through: of a thousand
// requests at once as many get a place as there are.
//
// Counts (all calls, those of an API key, those of a phone number) are exact. CPU and memory are judged by the larger of
// two numbers:
//
//   - what the calls are expected to take, by Costs: known at once, however silent the calls are now;
//   - what the process does take, as measured, and what is expected of the calls that the measurement has not seen in
//     full yet. The expectation of a call wanes as fast as the window of the measurement fills with it.
//
// File descriptors are shared out at the start, and counted: what other things than calls have open beyond their share is
// taken from the calls'.
//
// Of CPU only the process's own time counts. What others on the machine do refuses nobody: it passes by itself, or is for
// the operator to move. While there is no call a measurement of CPU and memory refuses nobody either, so no wrong one keeps a
// node empty for ever; descriptors are counted exactly, and without them a call could only fail.
package admission

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Mode is how a call's audio passes, which is what its cost depends on.
type Mode int

// The modes. A call that has not been answered yet counts as what it is expected to become.
const (
	// Relay passes packets on as they are, in both directions.
	Relay Mode = iota
	// Mix decodes and encodes one direction at least.
	Mix
	modes int = iota
)

// Modes lists them.
var Modes = []Mode{Relay, Mix}

func (m Mode) String() string {
	if m == Mix {
		return "mix"
	}
	return "relay"
}

// Limit is what can refuse a call. Its text is a metric's label and the "limit" of an error's metadata.
type Limit string

// The limits, in the order in which they are looked at.
const (
	LimitCalls  Limit = "max_active_calls"
	LimitKey    Limit = "calls_per_key"
	LimitNumber Limit = "calls_per_number"
	LimitFiles  Limit = "open_files"
	LimitCPU    Limit = "cpu"
	LimitMemory Limit = "memory"
)

// AllLimits lists them.
var AllLimits = []Limit{LimitCalls, LimitKey, LimitNumber, LimitFiles, LimitCPU, LimitMemory}

// ErrBusy is what every LimitError is.
var ErrBusy = errors.New("admission: no place for another call")

// LimitError says which limit refused a call, and how many of how many there are.
type LimitError struct {
	Limit Limit
	// Text is for whoever asked for the call. It names no key and no number.
	Text string
}

func (e *LimitError) Error() string { return e.Text }

// Is makes it an ErrBusy.
func (e *LimitError) Is(target error) bool { return target == ErrBusy }

// Limits are bounds of one node. Zero means none.
type Limits struct {
	// Calls bounds all calls.
	Calls int
	// PerKey and PerNumber bound the calls of one API key and of one business phone number, unless ByKey and ByNumber,
	// by API key and by phone number ID, say otherwise.
	PerKey, PerNumber int
	ByKey, ByNumber   map[string]int
	// Files bounds all calls as well: so many there are file descriptors for, as ShareFiles says.
	Files int
	// CPU and Memory are shares of what there is that calls may bring the node to, 0 to 1.
	CPU, Memory float64
}

// Options are what a Gate is made of.
type Options struct {
	Limits Limits
	Costs  Costs
	// Capacity is what there is for the process.
	Capacity Capacity
	// Measure reads what the process uses now. Nil leaves the judgement to Costs.
	Measure func() (Use, error)
	// OpenFiles counts the process's file descriptors, and how many there may be. Nil leaves the judgement to Limits.Files.
	OpenFiles  func() (Files, error)
	Registerer prometheus.Registerer
	Logger     *slog.Logger
}

// Gate gives out places. It has no goroutine: its owner calls Sample once a second.
type Gate struct {
	limits   Limits
	costs    Costs
	capacity Capacity
	measure  func() (Use, error)
	open     func() (Files, error) // may be nil
	log      *slog.Logger
	refused  map[Limit]prometheus.Counter

	mu       sync.Mutex // guards all following fields; never held across I/O
	calls    int
	byMode   [modes]int
	byKey    map[string]int
	byNumber map[string]int
	// fresh are the places that the measurement has not seen in full.
	fresh  map[*Place]struct{}
	window window
	files  fileWindow
	said   complaint
}

// New makes a gate and takes the first measurement: what the process uses without calls.
func New(o Options) (*Gate, error) {
	g := &Gate{
		limits: o.Limits, costs: o.Costs, capacity: o.Capacity, measure: o.Measure, open: o.OpenFiles, log: o.Logger,
		byKey: make(map[string]int), byNumber: make(map[string]int), fresh: make(map[*Place]struct{}),
	}
	if g.measure != nil {
		use, err := g.measure()
		if err != nil {
			return nil, fmt.Errorf("measure what the process uses: %w", err)
		}
		g.window.start(time.Now(), use)
	}
	if g.open != nil {
		files, err := g.open()
		if err != nil {
			return nil, fmt.Errorf("count the process's file descriptors: %w", err)
		}
		g.files.add(files, 0)
	}
	g.register(o.Registerer)
	return g, nil
}

// Ask is what is known of a call before it is begun.
type Ask struct {
	// Key is the LiveKit API key that asks, PhoneNumberID the business number's.
	Key, PhoneNumberID string
	// Mode is what the call is expected to become.
	Mode Mode
}

// Place is a call's. Release gives it back.
type Place struct {
	gate *Gate
	ask  Ask

	// The gate's lock guards what follows.
	mode Mode
	// pending is what of the call's cost the measurement may not show yet: all of it until the call carries audio, less and
	// less from since on.
	pending Cost
	since   time.Time
	gone    bool
}

// Reserve takes a place, or returns a *LimitError. The caller gives it back with Release.
func (g *Gate) Reserve(a Ask) (*Place, error) {
	g.mu.Lock()
	e := g.refusalLocked(a)
	if e != nil {
		first := g.said.note(e.Limit, time.Now())
		g.mu.Unlock()
		g.refused[e.Limit].Inc()
		if first {
			g.log.Warn("no place for another call", "limit", string(e.Limit), "reason", e.Text)
		}
		return nil, e
	}
	p := &Place{gate: g, ask: a, mode: a.Mode, pending: g.costs.of(a.Mode)}
	g.calls++
	g.byMode[a.Mode]++
	g.byKey[a.Key]++
	g.byNumber[a.PhoneNumberID]++
	g.fresh[p] = struct{}{}
	g.mu.Unlock()
	return p, nil
}

// Release gives the place back. More than once is as good as once; nil has none.
func (p *Place) Release() {
	if p == nil {
		return
	}
	g := p.gate
	g.mu.Lock()
	defer g.mu.Unlock()
	if p.gone {
		return
	}
	p.gone = true
	g.calls--
	g.byMode[p.mode]--
	less(g.byKey, p.ask.Key)
	less(g.byNumber, p.ask.PhoneNumberID)
	delete(g.fresh, p)
}

func less(counts map[string]int, key string) {
	if counts[key]--; counts[key] <= 0 {
		delete(counts, key)
	}
}

// SetMode says that the call carries audio, and how. From the first time on its expected cost wanes in favour of the
// measured one; what a change to a dearer mode adds does so anew.
func (p *Place) SetMode(m Mode, now time.Time) {
	if p == nil {
		return
	}
	g := p.gate
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case p.gone:
	case p.since.IsZero():
		g.byMode[p.mode]--
		g.byMode[m]++
		p.pending, p.since, p.mode = g.costs.of(m), now, m
	case m != p.mode:
		more := g.costs.of(m).minus(g.costs.of(p.mode)).atLeastNothing()
		g.byMode[p.mode]--
		g.byMode[m]++
		if more != (Cost{}) {
			p.pending, p.since = g.unseenLocked(p).plus(more), now
			g.fresh[p] = struct{}{}
		}
		p.mode = m
	}
}

// unseenLocked is what of a place's cost the measurement does not show.
func (g *Gate) unseenLocked(p *Place) Cost {
	if p.since.IsZero() {
		return p.pending
	}
	return p.pending.times(1 - g.window.seen(p.since))
}

// Sample measures what the process uses. It is to be called once a second, by one goroutine at a time.
func (g *Gate) Sample(now time.Time) {
	var (
		use Use
		err error
	)
	if g.measure != nil {
		use, err = g.measure()
	}
	var files Files
	counted := false
	if g.open != nil {
		var countErr error
		files, countErr = g.open()
		counted = countErr == nil // at the limit there may be none to count with; what was counted before stands
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if counted {
		g.files.add(files, g.calls)
	}
	if g.measure != nil && err == nil {
		g.window.add(now, use)
	}
	for p := range g.fresh {
		if !p.since.IsZero() && g.window.seen(p.since) >= 1 {
			delete(g.fresh, p)
		}
	}
	if failing := err != nil; failing != g.said.blind {
		g.said.blind = failing
		if failing {
			g.log.Warn("what the process uses cannot be measured: calls are judged by what they are expected to cost", "error", err)
		}
	}
	if limit, n := g.said.sum(now); n > 0 {
		g.log.Warn("calls are refused", "limit", string(limit), "refused", n, "calls", g.calls)
	}
}
