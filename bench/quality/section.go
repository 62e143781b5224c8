package quality

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/livekit-connector/livekit-connector/bench/chain"
	"github.com/livekit-connector/livekit-connector/bench/report"
	"github.com/livekit-connector/livekit-connector/media"
)

// The paths of livekit-connector, by name.
const (
	Relay = "relay"
	Mix   = "mix"
)

// Ours are the paths of livekit-connector: as it does it by default with one speaker, and with decoding and encoding
// forced.
func Ours() []chain.Maker {
	return []chain.Maker{chain.Line(Relay, media.ModeAuto, 0), chain.Line(Mix, media.ModeTranscode, 0)}
}

// Options of Section.
type Options struct {
	// Rivals are measured beside Ours.
	Rivals []chain.Maker
	// Short uses half of the speech.
	Short bool
	// Python has pesq installed; empty for no PESQ. Folder is for its files.
	Python, Folder string
	// Bubble runs a function where time is fake, as testing/synctest makes it.
	Bubble func(f func())
	// Progress is told of each cell.
	Progress func(cell string)
}

// Seed of all networks.
const Seed = 1

// Section runs all cells for all paths.
func Section(o Options) (report.Section, error) {
	makers := append(Ours(), o.Rivals...)
	judge := newPESQ(o.Python, o.Folder)
	var all []Result
	for _, cell := range Cells() {
		o.Progress(cell.Name)
		clip, err := Speech(o.Short, cell.LossPercent())
		if err != nil {
			return report.Section{}, err
		}
		for _, m := range makers {
			var rec *chain.Recording
			o.Bubble(func() { rec, err = Run(m, clip, cell, Seed) })
			if err != nil {
				return report.Section{}, err
			}
			r, heard, err := Measure(m.Name, rec, clip, cell, Seed)
			if err != nil {
				return report.Section{}, err
			}
			all = append(all, r)
			if err := judge.add(clip.Said, heard); err != nil {
				return report.Section{}, err
			}
		}
	}
	scores, why := judge.scores()
	for i, s := range scores {
		all[i].PESQ = s
	}
	return section(all, o.Rivals, why), nil
}

// LossPercent is what RTCP would tell the speaker of the network.
func (c Cell) LossPercent() int { return int(100*c.Network.Loss + 0.5) }

// section puts results into words. noPESQ says why there is none; empty if there is.
func section(all []Result, rivals []chain.Maker, noPESQ string) report.Section {
	s := report.Section{
		Name: "quality", Title: "Quality: speech over bad networks",
		Notes: []string{
			"Half a minute of speech of a participant (48 kHz, 48 kb/s, in-band FEC as soon as RTCP tells of loss) goes over a network " +
				"that spoils it, through the bridge, and is decoded as the phone would. All run in fake time: codecs take no time here. " +
				"The phone is the same for all, loses nothing and waits for what is late.",
			"relay is what livekit-connector does with one speaker, mix what it does with several, here with one, forced (media: transcode), " +
				"at the 20 kb/s and 16 kHz that Meta asks for. The others are media-sdk's decoder, mixer and encoder at their defaults, 48 kHz and over " +
				"40 kb/s, without (jb off, livekit-sip's default) and with media-sdk's jitter buffer (jb on), and at Meta's bitrate, which its encoder cannot be told, by ours.",
			"STOI and ESTOI tell what can be understood (1 is all), after the lag was taken out. Delay is from the arrival of a sound at the " +
				"bridge to its departure, encoder included. Gaps are silences above 40 ms in the middle of words that the network did not cause " +
				"(+ those that it did). Jitter of J ms: half of it on average, exponential, at most 1.5 J, one in a hundred 2 J.",
		},
		Data: all,
	}
	if noPESQ != "" {
		s.Notes = append(s.Notes, "No PESQ in this run: "+noPESQ+".")
	}
	s.Targets = targets(all, rivals)
	s.Tables = []report.Table{table(all)}
	s.Plots = plots(all)
	return s
}

func table(all []Result) report.Table {
	t := report.Table{Columns: []string{"network", "path", "STOI", "ESTOI", "PESQ", "delay p50", "p95", "gaps", "longest", "clicks", "kb/s"}}
	last := ""
	for _, r := range all {
		cell := r.Cell
		if cell == last {
			cell = ""
		}
		last = r.Cell
		pesq, longest := "-", "-"
		if r.PESQ > 0 {
			pesq = fmt.Sprintf("%.2f", r.PESQ)
		}
		if r.Gaps > 0 {
			longest = fmt.Sprintf("%d ms", r.LongestGap.Milliseconds())
		}
		t.Add(cell, r.Chain, fmt.Sprintf("%.4f", r.STOI), fmt.Sprintf("%.4f", r.ESTOI), pesq, millis(r.Delay.P50), millis(r.Delay.P95),
			fmt.Sprintf("%d +%d", r.Gaps, r.NetworkGaps), longest, fmt.Sprint(r.Clicks), fmt.Sprintf("%.0f", r.BitrateBPS/1000))
	}
	return t
}

func millis(d time.Duration) string {
	return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond))
}

// Names of the cells that targets are about.
const (
	cleanCell, loss5, loss20, jitterLoss = "clean", "5 % loss", "20 % loss", "5 % loss, 30 ms jitter"
)

func targets(all []Result, rivals []chain.Maker) []report.Verdict {
	var v []report.Verdict
	for _, path := range []string{Relay, Mix} {
		for _, one := range []struct {
			cell  string
			limit float64
		}{{cleanCell, 0.985}, {loss5, 0.985}, {loss20, 0.96}} {
			v = append(v, report.AtLeast("STOI, "+path+", "+one.cell, "%.4f", one.limit, find(all, path, one.cell).STOI))
		}
	}
	inMillis := func(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
	v = append(v,
		report.AtMost("delay of the mix, p95, clean", "%.1f ms", 30, inMillis(find(all, Mix, cleanCell).Delay.P95)),
		report.AtMost("delay of the mix, p95, 30 ms jitter and 5 % loss", "%.1f ms", 65, inMillis(find(all, Mix, jitterLoss).Delay.P95)),
	)
	gaps := map[string]int{}
	for _, r := range all {
		gaps[r.Chain] += r.Gaps
	}
	for _, path := range []string{Relay, Mix} {
		v = append(v, report.AtMost("gaps over 40 ms not caused by the network, "+path+", all cells", "%.0f", 0, float64(gaps[path])))
	}
	for _, path := range []string{Relay, Mix} {
		for _, rival := range rivals {
			v = append(v, better(all, path, rival.Name, "STOI", func(r Result) float64 { return r.STOI }))
			if all[0].PESQ > 0 {
				v = append(v, better(all, path, rival.Name, "PESQ", func(r Result) float64 { return r.PESQ }))
			}
		}
	}
	return v
}

// better asks whether a path of ours has a higher score than a rival in every cell.
func better(all []Result, path, rival, name string, score func(Result) float64) report.Verdict {
	cells, won := 0, 0
	var lost []string
	for _, cell := range Cells() {
		cells++
		if score(find(all, path, cell.Name)) > score(find(all, rival, cell.Name)) {
			won++
		} else {
			lost = append(lost, cell.Name)
		}
	}
	v := report.AtLeast(name+" of "+path+" above "+rival, "%.0f cells", float64(cells), float64(won))
	if len(lost) > 0 && len(lost) <= 3 {
		v.Got += " (not: " + strings.Join(lost, "; ") + ")"
	}
	return v
}

func find(all []Result, path, cell string) Result {
	i := slices.IndexFunc(all, func(r Result) bool { return r.Chain == path && r.Cell == cell })
	if i < 0 {
		return Result{}
	}
	return all[i]
}

// plots show intelligibility by loss and by jitter.
func plots(all []Result) []report.Plot {
	loss := report.Plot{Name: "loss", Title: "Intelligibility by random loss", X: "loss, %", Y: "STOI", Near: true}
	jitter := report.Plot{Name: "jitter", Title: "Intelligibility by jitter", X: "jitter, ms", Y: "STOI", Near: true}
	delay := report.Plot{Name: "delay", Title: "Added delay by jitter, p95", X: "jitter, ms", Y: "delay, ms"}
	var paths []string
	for _, r := range all {
		if !slices.Contains(paths, r.Chain) {
			paths = append(paths, r.Chain)
		}
	}
	for _, path := range paths {
		l, j, d := report.Series{Name: path}, report.Series{Name: path}, report.Series{Name: path}
		for _, c := range Cells() {
			n, r := c.Network, find(all, path, c.Name)
			if c.DriftPPM != 0 || n.Reorder > 0 || n.Duplicate > 0 || n.Burst > 0 {
				continue
			}
			if n.Jitter == 0 {
				l.Points = append(l.Points, report.Point{X: 100 * n.Loss, Y: r.STOI})
			}
			if n.Loss == 0 {
				x := float64(n.Jitter.Milliseconds())
				j.Points = append(j.Points, report.Point{X: x, Y: r.STOI})
				d.Points = append(d.Points, report.Point{X: x, Y: float64(r.Delay.P95.Microseconds()) / 1000})
			}
		}
		loss.Series, jitter.Series, delay.Series = append(loss.Series, l), append(jitter.Series, j), append(delay.Series, d)
	}
	return []report.Plot{loss, jitter, delay}
}
