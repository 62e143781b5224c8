package latency

import (
	"fmt"
	"time"

	"github.com/livekit-connector/livekit-connector/bench/chain"
	"github.com/livekit-connector/livekit-connector/bench/report"
	"github.com/livekit-connector/livekit-connector/media"
)

// Ours is the name of livekit-connector's path.
const Ours = "livekit-connector"

// Options of Section.
type Options struct {
	// Rivals are measured beside our own path.
	Rivals []chain.Maker
	// Short takes half of the time.
	Short bool
	// Progress is told of each run.
	Progress func(run string)
}

// Section runs all scenarios.
func Section(o Options) (report.Section, error) {
	var all []Result
	for _, n := range networks() {
		c, err := newClips(int(100*n.Model.Loss+0.5), o.Short)
		if err != nil {
			return report.Section{}, err
		}
		for _, s := range Scenarios() {
			o.Progress(s.Name + ", " + n.Name)
			// As many voices as there are, so that all do the same work; the product decodes the five that matter.
			makers := append([]chain.Maker{chain.Line(Ours, media.ModeAuto, s.Speakers)}, o.Rivals...)
			results, err := Run(makers, s, n, c)
			if err != nil {
				return report.Section{}, err
			}
			all = append(all, results...)
		}
	}
	return section(all), nil
}

func section(all []Result) report.Section {
	s := report.Section{
		Name: "latency", Title: "Latency: from one leg to the other",
		Notes: []string{
			"In real time, without sockets: from the moment at which a packet is handed to the path until the same sound leaves it for the phone. " +
				"One speaker is followed by its voice in what the phone hears; the encoder's lookahead of 6.5 ms is in it, that of the speaker's own encoder is not. " +
				"All paths get the same packets at the same time.",
			"A relay is over before the packet's reader goes on: in hand tells how long that takes. Late is how late packets were handed over " +
				"because the machine did something else; where it is above 5 ms (p99) nothing is judged.",
		},
		Data: all,
	}
	t := report.Table{Columns: []string{"speakers, network", "path", "p50", "p95", "p99", "in hand p50", "p99", "late p99", "similarity"}}
	plot := report.Plot{Name: "mix", Title: "Delay of a mix without network jitter, p95", X: "speakers", Y: "ms", LogX: true}
	series := map[string]*report.Series{}
	var names []string
	last := ""
	for _, r := range all {
		label := r.Scenario + ", " + r.Network
		if label == last {
			label = ""
		}
		last = r.Scenario + ", " + r.Network
		t.Add(label, r.Chain, millis(r.Delay.P50), millis(r.Delay.P95), millis(r.Delay.P99), micros(r.Spent.P50), micros(r.Spent.P99),
			millis(r.Late.P99), fmt.Sprintf("%.2f", r.Similarity))
		if series[r.Chain] == nil {
			series[r.Chain] = &report.Series{Name: r.Chain}
			names = append(names, r.Chain)
		}
		for _, sc := range Scenarios() {
			if sc.Name == r.Scenario && !sc.Turns && r.Network == networks()[0].Name {
				series[r.Chain].Points = append(series[r.Chain].Points, report.Point{X: float64(sc.Speakers), Y: inMillis(r.Delay.P95)})
			}
		}
	}
	for _, name := range names {
		plot.Series = append(plot.Series, *series[name])
	}
	s.Tables, s.Plots, s.Targets = []report.Table{t}, []report.Plot{plot}, targets(all)
	return s
}

// tooLate is how late packets may be handed over for a measurement to count.
const tooLate = 5 * time.Millisecond

func targets(all []Result) (v []report.Verdict) {
	for _, r := range all {
		if r.Chain != Ours {
			continue
		}
		clean := r.Network == networks()[0].Name
		if r.Scenario == Scenarios()[0].Name && !clean {
			continue // the phone waits for what is late
		}
		name, limit, got := "delay of "+r.Scenario+", "+r.Network+", p95", 30.0, r.Delay.P95
		switch {
		case r.Scenario == Scenarios()[0].Name:
			name, limit, got = "delay of a relay, p99", 1, r.Spent.P99
		case !clean:
			limit = 65
		}
		if r.Late.P99 > tooLate {
			v = append(v, report.Unmeasured(name, fmt.Sprintf("at most %.1f ms", limit), "the machine was busy"))
			continue
		}
		v = append(v, report.AtMost(name, "%.1f ms", limit, inMillis(got)))
	}
	return v
}

func inMillis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func millis(d time.Duration) string { return fmt.Sprintf("%.1f ms", inMillis(d)) }

func micros(d time.Duration) string {
	return fmt.Sprintf("%.1f us", float64(d)/float64(time.Microsecond))
}
