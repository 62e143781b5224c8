package micro

import (
	"fmt"
	"time"

	"github.com/livekit-connector/livekit-connector/bench/report"
)

// The sides.
const (
	Ours   = "livekit-connector"
	Theirs = "media-sdk"
)

// Options of Section.
type Options struct {
	// Rivals are measured beside those of Stages that have the same names.
	Rivals []Stage
	// Bubble runs a function where time is fake, as testing/synctest makes it.
	Bubble func(f func())
	// Repeats of each measurement, and how much CPU time of it makes one where no clock drives it.
	Repeats int
	Batch   time.Duration
	// Progress is told of each stage.
	Progress func(stage string)
}

// Section measures all stages.
func Section(o Options) (report.Section, error) {
	packets, err := Packets()
	if err != nil {
		return report.Section{}, err
	}
	rivals := map[string]Stage{}
	for _, s := range o.Rivals {
		rivals[s.Name] = s
	}
	var all []Cost
	for _, stage := range Stages() {
		o.Progress(stage.Name)
		cost, err := o.measure(stage, Ours, packets)
		if err != nil {
			return report.Section{}, err
		}
		all = append(all, cost)
		if rival, ok := rivals[stage.Name]; ok {
			if cost, err = o.measure(rival, Theirs, packets); err != nil {
				return report.Section{}, err
			}
			all = append(all, cost)
		}
	}
	return section(all), nil
}

func (o Options) measure(s Stage, side string, packets [][]byte) (Cost, error) {
	if s.New != nil {
		frame, err := s.New()
		if err != nil {
			return Cost{}, fmt.Errorf("%s, %s: %w", side, s.Name, err)
		}
		return loop(frame, o.Batch, o.Repeats).cost(s.Name, side), nil
	}
	all := &samples{}
	for range o.Repeats {
		var err error
		o.Bubble(func() { err = play(s.Chain, s.Speakers, packets, all) })
		if err != nil {
			return Cost{}, fmt.Errorf("%s: %w", s.Name, err)
		}
	}
	return all.cost(s.Name, side), nil
}

func section(all []Cost) report.Section {
	s := report.Section{
		Name: "micro", Title: "Stages: cost of 20 ms",
		Notes: []string{
			"CPU time and allocations for 20 ms of one stream; median (least) of the repeats. Ours at the product's settings: decoded and mixed " +
				"at 16 kHz, encoded to the phone at 20 kb/s, complexity 5. media-sdk at its defaults: 48 kHz, complexity 9; it has no relay, so it decodes and encodes both ways.",
			"What runs by a clock (relay room to phone, mixes, whole frames) is played to in fake time; the fake clock's cost of a microsecond or two is in it.",
			"Resamplers: ours hold sound back for at most 2 ms, media-sdk's (soxr) for 20 to 60; the product needs ours for G.711 only.",
		},
		Data: all,
	}
	t := report.Table{Columns: []string{"stage", "ours", "(least)", "allocs", Theirs, "(least)", "allocs", "bytes", "ratio"}}
	plot := report.Plot{Name: "mix", Title: "CPU time of a mixed frame, without codecs", X: "speakers", Y: "us", LogX: true, LogY: true}
	ours, theirs := report.Series{Name: Ours}, report.Series{Name: Theirs}
	var allocating []string
	for i, c := range all {
		if c.Side != Ours {
			continue
		}
		row := []string{c.Stage, micros(c.Median), "(" + micros(c.Min) + ")", allocs(c.Allocs), "-", "", "", "", ""}
		if c.Allocs >= 0.05 {
			allocating = append(allocating, fmt.Sprintf("%s: %.2f", c.Stage, c.Allocs))
		}
		var other Cost
		if i+1 < len(all) && all[i+1].Side != Ours {
			other = all[i+1]
			row = append(row[:4], micros(other.Median), "("+micros(other.Min)+")", allocs(other.Allocs), fmt.Sprintf("%.0f", other.Bytes),
				fmt.Sprintf("%.1fx", other.Median/c.Median))
		}
		t.Add(row...)
		for _, n := range Mixes {
			if c.Stage == MixOf(n) {
				ours.Points = append(ours.Points, report.Point{X: float64(n), Y: c.Median / 1000})
				theirs.Points = append(theirs.Points, report.Point{X: float64(n), Y: other.Median / 1000})
			}
		}
	}
	plot.Series = []report.Series{ours, theirs}
	v := report.AtMost("stages of ours that allocate", "%.0f", 0, float64(len(allocating)))
	if len(allocating) > 0 {
		v.Got += fmt.Sprintf(" %q", allocating)
	}
	s.Tables, s.Plots, s.Targets = []report.Table{t}, []report.Plot{plot}, []report.Verdict{v}
	return s
}

func micros(ns float64) string { return fmt.Sprintf("%.2f us", ns/1000) }

func allocs(n float64) string { return fmt.Sprintf("%.2g", max(0, float64(int(100*n+0.5))/100)) }
