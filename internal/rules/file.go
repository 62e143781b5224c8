package rules

import (
	"context"
	"crypto/sha256"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// poll is how often the file is looked at. It is read as a whole: times of modification are too coarse, and Kubernetes
// changes a mounted ConfigMap by pointing a link elsewhere. A change counts when two looks find the same.
const poll = time.Second

// Outcomes of a reload, as the metric counts them.
const (
	outcomeLoaded    = "loaded"
	outcomeUnchanged = "unchanged"
	outcomeFailed    = "failed"
)

// FileOptions are what a File is made of.
type FileOptions struct {
	// Path of the rules file. Required.
	Path string
	// Logger is told of every change; nil discards.
	Logger *slog.Logger
	// Registerer gets the metrics; nil keeps them unregistered.
	Registerer prometheus.Registerer
}

// File is a rules file that is read anew when it changes. A file that is wrong, or gone, leaves the rules as they were.
type File struct {
	path    string
	log     *slog.Logger
	reloads *prometheus.CounterVec
	count   prometheus.Gauge
	current atomic.Pointer[Set]
	asked   chan struct{}

	// The rest belongs to Open and then to Run.
	seen   [sha256.Size]byte // of what the last look found; zero if that was nothing
	sum    [sha256.Size]byte // of the content that was last read, good or bad
	broken bool              // that content could not be used
	gone   bool              // there was none
}

// Open reads the file; a wrong one is an error as of Load. Run keeps it current.
func Open(o FileOptions) (*File, error) {
	f := &File{path: o.Path, log: o.Logger, asked: make(chan struct{}, 1)}
	if f.log == nil {
		f.log = slog.New(slog.DiscardHandler)
	}
	body, err := readFile(f.path)
	if err != nil {
		return nil, err
	}
	set, err := Parse(f.path, body)
	if err != nil {
		return nil, err
	}
	f.sum = sha256.Sum256(body)
	f.seen = f.sum
	f.metrics(o.Registerer)
	f.use(set)
	return f, nil
}

func (f *File) metrics(reg prometheus.Registerer) {
	f.reloads = prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: "livekit_connector", Name: "rules_reloads_total", Help: "Times the rules file was read anew, because it had changed or somebody asked for it.",
	}, []string{"outcome"})
	f.count = prometheus.NewGauge(prometheus.GaugeOpts{
		Namespace: "livekit_connector", Name: "rules", Help: "Dispatch rules in force.",
	})
	for _, outcome := range []string{outcomeLoaded, outcomeUnchanged, outcomeFailed} {
		f.reloads.WithLabelValues(outcome)
	}
	if reg != nil {
		reg.MustRegister(f.reloads, f.count)
	}
}

// Current is the newest set of rules that was good.
func (f *File) Current() *Set { return f.current.Load() }

// Decide returns what the current rules say of a call.
func (f *File) Decide(c Call) Outcome { return f.Current().Decide(c) }

// Reload asks Run to read the file now, and to say in the log what came of it even if nothing changed.
func (f *File) Reload() {
	select {
	case f.asked <- struct{}{}:
	default: // asked already
	}
}

// Run reads the file anew whenever it has changed, and when asked to, until ctx ends. It must not run twice.
func (f *File) Run(ctx context.Context) {
	ticker := time.NewTicker(poll)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			f.look(false)
		case <-f.asked:
			f.look(true)
		}
	}
}

// look reads the file. Unless asked it says everything once: the same bad content is not complained about again.
func (f *File) look(asked bool) {
	body, err := readFile(f.path)
	if err != nil {
		if !f.gone || asked {
			f.fail(err)
		}
		f.gone, f.seen = true, [sha256.Size]byte{}
		return
	}
	sum := sha256.Sum256(body)
	settled := sum == f.seen // else somebody may still be writing: half of a file can be a good one that says something else
	f.seen = sum
	if !asked && (!settled || sum == f.sum && !f.gone) {
		return
	}
	back := f.gone
	f.gone = false
	if sum == f.sum && !f.broken {
		f.reloads.WithLabelValues(outcomeUnchanged).Inc()
		f.log.Info("rules file has not changed", "file", f.path, "rules", f.Current().Len(), "wasGone", back)
		return
	}
	f.sum = sum
	set, err := Parse(f.path, body)
	if f.broken = err != nil; f.broken {
		f.fail(err)
		return
	}
	f.reloads.WithLabelValues(outcomeLoaded).Inc()
	f.use(set)
	f.log.Info("rules loaded", "file", f.path, "rules", set.Len())
}

func (f *File) use(set *Set) {
	f.current.Store(set)
	f.count.Set(float64(set.Len()))
}

// fail says what is wrong, every problem on a line of its own.
func (f *File) fail(err error) {
	f.reloads.WithLabelValues(outcomeFailed).Inc()
	problems := unjoin(err)
	if len(problems) == 0 {
		problems = []error{err}
	}
	for _, problem := range problems {
		f.log.Error("rules file is wrong: the rules stay as they were", "file", f.path, "rules", f.Current().Len(), "error", problem)
	}
}
