package density

import (
	"fmt"

	"github.com/livekit-connector/livekit-connector/bench/report"
)

// Targets: what one call may cost, as a ratio to the reference bridge in the same run where it is CPU.
const (
	relayRatio, relayStretch = 8, 15
	mixRatio                 = 2.5
	relayMemory, mixMemory   = 1.1e6, 1.4e6 // bytes
	// targetCalls is from how many calls in one process on the ratio of relayed calls counts: a packet costs less when
	// there are many.
	targetCalls = 80
)

const megabyte = 1e6

// section writes down what was found.
func section(o *Options, rows []Row) report.Section {
	s := report.Section{
		Name: "density", Title: "Density: what a call costs a bridge",
		Notes: []string{
			fmt.Sprintf("Each bridge is one process on CPU %s with GOMAXPROCS=%d. Phones, participants and livekit-server run "+
				"elsewhere and are not counted. Every call is real: ICE, DTLS, SRTP on both legs, one room each. Both bridges get "+
				"the same packets. Each row of numbers is %v after a warm-up of %v.", o.BridgeCPUs, len(o.cpus), o.Interval, o.Warmup),
			"relay: one participant speaks all the time. mix: two do, at once. The reference bridge is Pion, LiveKit's Go SDK and " +
				"media-sdk in their usual way: it decodes, mixes and encodes always, both ways.",
			"others: how much of the bridge's CPU went to something else. When it is more than a few per cent lateness is not the " +
				"bridge's, and it seems cheaper than it is: after a wait it finds many packets at once, and wakes up less often.",
			"late p99: packets after the earliest of their call, by RTP time, the load's own lateness included. ~: beyond what was " +
				"measured, along the fitted line.",
		},
		Targets: targets(rows),
		Data:    rows,
	}
	if o.Busy {
		s.Notes = append(s.Notes, "THE MACHINE DID OTHER THINGS DURING THIS RUN: lateness and delivery say nothing about the bridges, and CPU time little.")
	}
	s.Tables = []report.Table{costs(rows), resources(rows), audio(rows), ratios(rows), fits(o, rows)}
	for i := range rows {
		s.Tables = append(s.Tables, rows[i].hot(o.Profile)...)
	}
	s.Plots = plots(rows)
	return s
}

func costs(rows []Row) report.Table {
	t := report.Table{Title: "CPU", Columns: []string{"bridge, mode", "calls", "ms/call-s", "µs/packet", "core", "others", "load's CPUs", "of it server", "alloc/call-s", "kB/call-s", "GCs", "GC pause ms"}}
	each(rows, func(r *Row, s *Step) {
		t.Add(r.name(), fmt.Sprint(s.Calls), fmt.Sprintf("%.2f", s.CPUPerCall), fmt.Sprintf("%.1f", s.CPUPerPacket), percent(s.Used), percent(max(0, s.Others)),
			fmt.Sprintf("%.2f", s.LoadUsed), fmt.Sprintf("%.2f", s.ServerUsed), fmt.Sprintf("%.0f", s.Allocations), fmt.Sprintf("%.0f", s.AllocatedBytes/1000),
			fmt.Sprintf("%.0f", s.GCs), fmt.Sprintf("%.2f", s.GCPause))
	})
	return t
}

func resources(rows []Row) report.Table {
	t := report.Table{Title: "Per call, beyond the idle process", Columns: []string{"bridge, mode", "calls", "MB", "goroutines", "sockets", "files", "threads in all"}}
	each(rows, func(r *Row, s *Step) {
		t.Add(r.name(), fmt.Sprint(s.Calls), fmt.Sprintf("%.2f", s.Memory/megabyte), fmt.Sprintf("%.1f", s.Goroutines),
			fmt.Sprintf("%.1f", s.Sockets), fmt.Sprintf("%.1f", s.Files), fmt.Sprint(s.Threads))
	})
	return t
}

func audio(rows []Row) report.Table {
	t := report.Table{Title: "Audio: phone | agent", Columns: []string{"bridge, mode", "calls", "delivered %", "worst call %", "late p50 ms", "late p99 ms", "max ms", "longest pause ms", "heard well", "load late ms"}}
	both := func(format string, a, b float64) string { return fmt.Sprintf(format+" | "+format, a, b) }
	each(rows, func(r *Row, s *Step) {
		p, a := s.AtPhone, s.AtAgent
		t.Add(r.name(), fmt.Sprint(s.Calls), both("%.2f", 100*p.Delivered, 100*a.Delivered), both("%.1f", 100*p.Worst, 100*a.Worst),
			both("%.1f", p.P50, a.P50), both("%.1f", p.P99, a.P99), both("%.0f", p.Max, a.Max),
			both("%.0f", p.LongestPause, a.LongestPause),
			fmt.Sprintf("%s | %s", s.SoundAtPhone.text(), s.SoundAtAgent.text()), fmt.Sprintf("%.0f", s.LoadLate))
	})
	return t
}

func (s *Sound) text() string {
	if s.Calls == 0 {
		return "-"
	}
	return fmt.Sprintf("%d of %d", s.Good, s.Calls)
}

// ratios sets the bridges side by side at the same number of calls.
func ratios(rows []Row) report.Table {
	t := report.Table{Title: "Reference / connector, same number of calls", Columns: []string{"mode", "calls", "CPU", "memory", "goroutines", "allocations"}}
	for _, mode := range []Mode{Relay, Mix} {
		ours, reference := find(rows, Ours, mode), find(rows, Reference, mode)
		if ours == nil || reference == nil {
			continue
		}
		for i := range ours.Steps {
			a := &ours.Steps[i]
			b := reference.at(a.Calls)
			if b == nil {
				continue
			}
			t.Add(string(mode), fmt.Sprint(a.Calls), ratio(b.CPUPerCall, a.CPUPerCall), ratio(b.Memory, a.Memory),
				ratio(b.Goroutines, a.Goroutines), ratio(b.Allocations, a.Allocations))
		}
	}
	return t
}

func fits(o *Options, rows []Row) report.Table {
	t := report.Table{
		Title:   fmt.Sprintf("Calls per core at %.0f %%: straight line through the good steps", 100*perCore),
		Columns: []string{"bridge, mode", "calls per core", "base, % of a core", "ms/call-s", "ended because"},
	}
	for i := range rows {
		r := &rows[i]
		base, perCall := "-", "-"
		if f, ok := r.fitted(len(o.cpus)); ok {
			base, perCall = fmt.Sprintf("%.1f", 100*f.base), fmt.Sprintf("%.2f", 1000*f.perCall)
		}
		t.Add(r.name(), r.capacity(len(o.cpus)), base, perCall, r.End)
	}
	return t
}

func plots(rows []Row) []report.Plot {
	draw := func(name, title, y string, value func(*Step) float64) report.Plot {
		p := report.Plot{Name: name, Title: title, X: "calls", Y: y}
		for i := range rows {
			line := report.Series{Name: rows[i].name()}
			for j := range rows[i].Steps {
				s := &rows[i].Steps[j]
				line.Points = append(line.Points, report.Point{X: float64(s.Calls), Y: value(s)})
			}
			p.Series = append(p.Series, line)
		}
		return p
	}
	cpu := draw("cpu", "CPU time of a call", "ms per call and second", func(s *Step) float64 { return s.CPUPerCall })
	cpu.LogY = true
	return []report.Plot{
		cpu,
		draw("core", "Use of the bridge's CPUs", "%", func(s *Step) float64 { return 100 * s.Used }),
		draw("memory", "Memory of a call", "MB", func(s *Step) float64 { return s.Memory / megabyte }),
		draw("late", "Lateness at the phone, 99th percentile", "ms", func(s *Step) float64 { return s.AtPhone.P99 }),
	}
}

// targets judges what the project has set itself.
func targets(rows []Row) []report.Verdict {
	relay := func(limit float64, name string) report.Verdict {
		return cpuTarget(rows, Relay, name, limit, targetCalls)
	}
	return []report.Verdict{
		relay(relayRatio, fmt.Sprintf("CPU of a relayed call at >= %d calls, reference / connector", targetCalls)),
		relay(relayStretch, "the same, stretch"),
		cpuTarget(rows, Mix, "CPU of a mixed call with 2 speakers, reference / connector", mixRatio, 0),
		memoryTarget(rows, Relay, "memory of a relayed call", relayMemory),
		memoryTarget(rows, Mix, "memory of a mixed call", mixMemory),
	}
}

// cpuTarget compares the two at the most calls that each bore well: the reference cannot have as many on one core, and it
// is cheapest per call where it has the most.
func cpuTarget(rows []Row, mode Mode, name string, limit float64, calls int) report.Verdict {
	const format = "%.1fx"
	want := "at least " + fmt.Sprintf(format, limit)
	ours, reference := find(rows, Ours, mode), find(rows, Reference, mode)
	if ours == nil || reference == nil || ours.best() == nil || reference.best() == nil {
		return report.Unmeasured(name, want, "one of the two is missing")
	}
	a, b := ours.best(), reference.best()
	if ours.unheard(a) {
		return report.Unmeasured(name, want, fmt.Sprintf("%s, but the phone did not hear who spoke", ratio(b.CPUPerCall, a.CPUPerCall)))
	}
	if a.Calls < calls {
		return report.Unmeasured(name, want, fmt.Sprintf("no more than %d calls (%s)", a.Calls, ratio(b.CPUPerCall, a.CPUPerCall)))
	}
	costs := fmt.Sprintf(" (%.1f ms at %d / %.2f ms at %d)", b.CPUPerCall, b.Calls, a.CPUPerCall, a.Calls)
	if max(a.Others, b.Others) > maxOthers {
		return report.Unmeasured(name, want, "machine too busy: "+ratio(b.CPUPerCall, a.CPUPerCall)+costs)
	}
	v := report.AtLeast(name, format, limit, b.CPUPerCall/a.CPUPerCall)
	v.Got += costs
	return v
}

func memoryTarget(rows []Row, mode Mode, name string, limit float64) report.Verdict {
	const format = "%.2f MB"
	r := find(rows, Ours, mode)
	if r == nil || r.best() == nil {
		return report.Unmeasured(name, "at most "+fmt.Sprintf(format, limit/megabyte), "not run")
	}
	v := report.AtMost(name, format, limit/megabyte, r.best().Memory/megabyte)
	v.Got += fmt.Sprintf(" at %d calls", r.best().Calls)
	return v
}

func (r *Row) name() string { return r.Candidate + ", " + string(r.Mode) }

func find(rows []Row, candidate string, mode Mode) *Row {
	for i := range rows {
		if rows[i].Candidate == candidate && rows[i].Mode == mode {
			return &rows[i]
		}
	}
	return nil
}

func each(rows []Row, f func(*Row, *Step)) {
	for i := range rows {
		for j := range rows[i].Steps {
			f(&rows[i], &rows[i].Steps[j])
		}
	}
}

func percent(share float64) string { return fmt.Sprintf("%.0f %%", 100*share) }

func ratio(a, b float64) string {
	if b == 0 {
		return "-"
	}
	return fmt.Sprintf("%.1fx", a/b)
}
