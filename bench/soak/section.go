package soak

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/livekit-connector/livekit-connector/bench/report"
)

// Result is all that a run found.
type Result struct {
	Calls    int                `json:"calls"`
	Seconds  float64            `json:"seconds"`
	WarmUp   float64            `json:"warm_up_seconds"`
	Samples  []Sample           `json:"samples"`
	Start    Sample             `json:"start"`
	Loaded   Sample             `json:"loaded"`
	End      Sample             `json:"end"`
	Outcomes []Outcome          `json:"outcomes"`
	Remarks  map[string]int     `json:"log_above_info"`
	ExitCode int                `json:"exit_code"`
	AtMeta   int                `json:"left_at_meta"`
	Growth   map[string]float64 `json:"growth_of_mean"`
	Kept     []Kept             `json:"kept"`
}

func (s *soak) result() Result {
	r := Result{
		Calls: s.options.Calls, Seconds: s.options.Duration.Seconds(), WarmUp: s.options.warmUp().Seconds(),
		Start: s.start, Loaded: s.loaded, End: s.end, ExitCode: s.exitCode, AtMeta: s.leftAtMeta, Growth: make(map[string]float64), Kept: s.kept,
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	r.Outcomes = slices.Clone(s.outcomes)
	if s.sampler != nil {
		r.Samples = s.sampler.samples()
	}
	if s.stage != nil && s.stage.bridge != nil {
		r.Remarks = s.stage.bridge.remarks()
	}
	return r
}

// quantity is one of those that may not grow.
type quantity struct {
	name, plot, unit string
	of               func(Sample) float64
	// judged ones have to stay level; the others are shown.
	judged bool
}

var quantities = []quantity{
	{"heap", "heap", "MB", func(s Sample) float64 { return s.Heap / 1e6 }, true},
	{"goroutines", "goroutines", "", func(s Sample) float64 { return s.Goroutines }, true},
	{"file descriptors", "files", "", func(s Sample) float64 { return s.Files }, true},
	{"resident memory", "rss", "MB", func(s Sample) float64 { return s.RSS / 1e6 }, false},
	{"CPU", "cpu", "cores", func(s Sample) float64 { return s.CPU }, false},
}

// Section is the part of a report about the run. The error is what ended it early, nil if nothing did.
func (r *Result) Section(err error) report.Section {
	section := report.Section{
		Name: "soak", Title: fmt.Sprintf("Soak: %v with %d calls at a time", time.Duration(r.Seconds)*time.Second, r.Calls),
		Notes: []string{
			fmt.Sprintf("%d calls were made. Heap is what lives after a collection, which is made before each look. "+
				"Growth is the slope of a least-squares plane over time and number of calls, times the time after the warm-up of %.0f s; "+
				"the margin is twice its standard error.", len(r.Outcomes), r.WarmUp),
		},
		Targets: r.verdicts(err), Tables: []report.Table{r.trends(), r.kinds(), r.heard(), r.reasons(), r.remarks()}, Plots: r.plots(), Data: r,
	}
	if kept := r.kept(); len(kept.Rows) > 0 {
		section.Tables = append(section.Tables, kept)
	}
	if problems := r.problems(); len(problems.Rows) > 0 {
		section.Tables = append(section.Tables, problems)
	}
	return section
}

// level are the samples of the load after the warm-up.
func (r *Result) level() (some []Sample) {
	for _, s := range r.Samples {
		if s.At >= r.WarmUp && s.At <= r.Seconds {
			some = append(some, s)
		}
	}
	return some
}

func (r *Result) trend(q quantity) trend {
	var at, calls, values []float64
	for _, s := range r.level() {
		at, calls, values = append(at, s.At), append(calls, s.Calls), append(values, q.of(s))
	}
	return fit(at, calls, values)
}

func (r *Result) verdicts(err error) []report.Verdict {
	finished := report.AtMost("errors that ended the run early", "%.0f", 0, 0)
	if err != nil {
		finished.Outcome, finished.Got = report.Missed, err.Error()
	}
	all := []report.Verdict{finished}
	for _, q := range quantities {
		if !q.judged {
			continue
		}
		name := "growth of " + q.name + ", of its mean, after the warm-up"
		if r.Seconds < shortestJudged.Seconds() {
			all = append(all, report.Unmeasured(name, fmt.Sprintf("at most %.0f %%", 100*maxGrowth), "too short a run"))
			continue
		}
		t := r.trend(q)
		if t.mean > 0 {
			r.Growth[q.name] = t.growth / t.mean
		}
		all = append(all, report.AtMost(name, "%.1f %%", 100*maxGrowth, 100*t.growth/t.mean))
	}
	all = append(all, r.verdictsOnCalls()...)
	if r.End.At == 0 {
		return append(all, report.Unmeasured("the connector when all is over", "as before the first call", "the run ended before"))
	}
	return append(all,
		report.AtMost("calls left in the connector", "%.0f", 0, r.End.Calls),
		report.AtMost("calls left at Meta", "%.0f", 0, float64(r.AtMeta)),
		report.AtMost("goroutines when all is over", "%.0f", r.Start.Goroutines+spareGoroutines, r.End.Goroutines),
		report.AtMost("file descriptors when all is over", "%.0f", r.Start.Files+spareFiles, r.End.Files),
		report.AtMost("heap when all is over", "%.1f MB", (r.Start.Heap+spareHeap)/1e6, r.End.Heap/1e6),
		report.AtMost("exit code after SIGTERM", "%.0f", 0, math.Abs(float64(r.ExitCode))),
	)
}

// verdictsOnCalls judge what became of the calls.
func (r *Result) verdictsOnCalls() []report.Verdict {
	var planned, listened, heard, unexpected float64
	for _, o := range r.Outcomes {
		if o.Problem == "" {
			planned++
		}
		if o.Listened {
			listened++
			if o.Unheard == "" {
				heard++
			}
		}
	}
	for reason, n := range r.last().Reasons {
		if !slices.ContainsFunc(kinds, func(k kind) bool { return slices.Contains(k.reasons, reason) }) {
			unexpected += n
		}
	}
	return []report.Verdict{
		report.AtLeast("calls that went as planned", "%.0f", max(1, float64(len(r.Outcomes))), planned),
		report.AtLeast("calls heard well by both sides, of those listened to", "%.0f", max(1, listened), heard),
		report.AtMost("calls that ended for a reason that no kind of call has", "%.0f", 0, unexpected),
	}
}

// last is the last sample there is.
func (r *Result) last() Sample {
	if len(r.Samples) == 0 {
		return Sample{}
	}
	return r.Samples[len(r.Samples)-1]
}

func (r *Result) trends() report.Table {
	t := report.Table{Title: "What the connector used", Columns: []string{
		"", "before calls", "mean under load", "one call more", "growth", "margin", "per 1000 calls", "after calls",
	}}
	calls := r.Loaded.total() - r.level0().total()
	for _, q := range quantities {
		tr := r.trend(q)
		number := func(v float64) string { return strings.TrimSpace(fmt.Sprintf("%.2f %s", v, q.unit)) }
		per := "-"
		if calls > 0 {
			per = number(tr.growth / calls * 1000)
		}
		t.Add(q.name, number(q.of(r.Start)), number(tr.mean), number(tr.perCall), number(tr.growth), "± "+number(tr.margin), per, number(q.of(r.End)))
	}
	return t
}

// level0 is the first sample after the warm-up.
func (r *Result) level0() Sample {
	if level := r.level(); len(level) > 0 {
		return level[0]
	}
	return r.Start
}

// total is how many calls had ended.
func (s Sample) total() (n float64) {
	for _, v := range s.Ended {
		n += v
	}
	return n
}

func (r *Result) kinds() report.Table {
	t := report.Table{Title: "Calls by kind", Columns: []string{"kind", "calls", "as planned", "listened to", "heard well", "mixed", "hours", "packets lost on the way"}}
	for _, k := range kinds {
		var n, good, listened, heard, mixed int
		var hours float64
		var lost uint64
		for _, o := range r.Outcomes {
			if o.Kind != k.name {
				continue
			}
			n++
			hours += o.Talked / 3600
			lost += o.Lost
			for count, yes := range map[*int]bool{&good: o.Problem == "", &listened: o.Listened, &heard: o.Listened && o.Unheard == "", &mixed: o.Mixed} {
				if yes {
					*count++
				}
			}
		}
		t.Add(k.name, fmt.Sprint(n), fmt.Sprint(good), fmt.Sprint(listened), fmt.Sprint(heard), fmt.Sprint(mixed), fmt.Sprintf("%.2f", hours), fmt.Sprint(lost))
	}
	return t
}

// heard counts the calls that were listened to by what the worse end heard.
func (r *Result) heard() report.Table {
	t := report.Table{Title: "Calls that were listened to, by what was heard of the voice that fared worst", Columns: []string{"", "calls"}}
	for _, c := range classes {
		var n int
		for _, o := range r.Outcomes {
			if o.Heard == c {
				n++
			}
		}
		t.Add(string(c), fmt.Sprint(n))
	}
	return t
}

func (r *Result) reasons() report.Table {
	t := report.Table{Title: "Reasons of ends, by the connector's metrics", Columns: []string{"reason", "calls"}}
	for _, reason := range slices.Sorted(maps.Keys(r.last().Reasons)) {
		t.Add(reason, fmt.Sprintf("%.0f", r.last().Reasons[reason]))
	}
	return t
}

func (r *Result) remarks() report.Table {
	t := report.Table{Title: "What the connector logged above info", Columns: []string{"message", "times"}}
	for _, message := range slices.Sorted(maps.Keys(r.Remarks)) {
		t.Add(message, fmt.Sprint(r.Remarks[message]))
	}
	return t
}

func (r *Result) problems() report.Table {
	t := report.Table{Title: "Calls that went another way than planned, or were not heard well", Columns: []string{"kind", "what"}}
	for _, o := range r.Outcomes {
		if what := strings.Trim(o.Problem+"; "+o.Unheard, "; "); what != "" && len(t.Rows) < toldOneByOne {
			t.Add(o.Kind, what)
		}
	}
	return t
}

func (r *Result) plots() (all []report.Plot) {
	over := func(name string, value func(Sample) float64) report.Series {
		s := report.Series{Name: name}
		for _, sample := range r.Samples {
			s.Points = append(s.Points, report.Point{X: sample.At / 60, Y: value(sample)})
		}
		return s
	}
	const x = "minutes"
	calls := over("calls", func(s Sample) float64 { return s.Calls })
	all = append(all,
		report.Plot{Name: "heap", Title: "Memory: what lives in the heap, and what is resident", X: x, Y: "MB", Series: []report.Series{
			over("heap", func(s Sample) float64 { return s.Heap / 1e6 }), over("resident", func(s Sample) float64 { return s.RSS / 1e6 }),
		}},
		report.Plot{Name: "goroutines", Title: "Goroutines", X: x, Y: "goroutines", Series: []report.Series{
			over("goroutines", func(s Sample) float64 { return s.Goroutines }),
		}},
		report.Plot{Name: "files", Title: "File descriptors", X: x, Y: "descriptors", Series: []report.Series{
			over("all", func(s Sample) float64 { return s.Files }), over("sockets", func(s Sample) float64 { return s.Sockets }), calls,
		}},
		report.Plot{Name: "cpu", Title: "CPU", X: x, Y: "cores", Series: []report.Series{
			over("connector", func(s Sample) float64 { return s.CPU }), over("livekit-server", func(s Sample) float64 { return s.Server }),
			over("phones, agents, Meta", func(s Sample) float64 { return s.Load }),
		}},
	)
	results := []report.Series{calls}
	for _, class := range slices.Sorted(maps.Keys(r.last().Ended)) {
		results = append(results, over("ended: "+class, func(s Sample) float64 { return s.Ended[class] }))
	}
	return append(all, report.Plot{Name: "calls", Title: "Calls that live, and those that ended, by result", X: x, Y: "calls", Series: results})
}
