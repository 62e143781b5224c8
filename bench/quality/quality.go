// Package quality plays speech through whole audio paths over bad networks, in fake time, and measures what a phone
// would hear: intelligibility, delay, gaps and clicks.
package quality

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/livekit-connector/livekit-connector/bench/chain"
	"github.com/livekit-connector/livekit-connector/bench/listen"
	"github.com/livekit-connector/livekit-connector/bench/stoi"
	"github.com/livekit-connector/livekit-connector/internal/impair"
)

// Cell is one condition.
type Cell struct {
	Name    string       `json:"name"`
	Network impair.Model `json:"network"`
	// DriftPPM is how much faster the speaker's clock is.
	DriftPPM float64 `json:"drift_ppm"`
}

// Cells are all conditions of the benchmark.
func Cells() []Cell {
	const ms = time.Millisecond
	loss := func(percent float64, burst float64, jitter time.Duration) impair.Model {
		return impair.Model{Loss: percent / 100, Burst: burst, Jitter: jitter}
	}
	return []Cell{
		{Name: "clean"},
		{Name: "1 % loss", Network: loss(1, 0, 0)},
		{Name: "5 % loss", Network: loss(5, 0, 0)},
		{Name: "10 % loss", Network: loss(10, 0, 0)},
		{Name: "20 % loss", Network: loss(20, 0, 0)},
		{Name: "5 % loss in bursts of 3", Network: loss(5, 3, 0)},
		{Name: "10 % loss in bursts of 3", Network: loss(10, 3, 0)},
		{Name: "20 % loss in bursts of 3", Network: loss(20, 3, 0)},
		{Name: "30 ms jitter", Network: loss(0, 0, 30*ms)},
		{Name: "60 ms jitter", Network: loss(0, 0, 60*ms)},
		{Name: "100 ms jitter", Network: loss(0, 0, 100*ms)},
		{Name: "200 ms jitter", Network: loss(0, 0, 200*ms)},
		{Name: "5 % loss, 30 ms jitter", Network: loss(5, 0, 30*ms)},
		{Name: "5 % loss, 60 ms jitter", Network: loss(5, 0, 60*ms)},
		{Name: "10 % loss, 60 ms jitter", Network: loss(10, 0, 60*ms)},
		{Name: "20 % loss, 60 ms jitter", Network: loss(20, 0, 60*ms)},
		{Name: "5 % reordered", Network: impair.Model{Reorder: 0.05}},
		{Name: "5 % twice", Network: impair.Model{Duplicate: 0.05}},
		{Name: "clock +200 ppm", DriftPPM: 200},
		{Name: "clock -200 ppm", DriftPPM: -200},
		{Name: "all: 5 % loss, 60 ms jitter, reordered, twice, +200 ppm", DriftPPM: 200, Network: impair.Model{
			Loss: 0.05, Jitter: 60 * ms, Reorder: 0.02, Duplicate: 0.02,
		}},
	}
}

// Result is what one path made of one cell.
type Result struct {
	Chain string `json:"chain"`
	Cell  string `json:"cell"`
	stoi.Scores
	// PESQ is the MOS-LQO of ITU-T P.862.2; zero if there was no tool for it.
	PESQ float64 `json:"pesq,omitempty"`
	// Delay is what the path adds, from the arrival of a sound at the bridge to its departure, its encoder's lookahead
	// included, over all speech that arrived.
	Delay Delay `json:"delay"`
	// Gaps are silences of more than listen.MaxGap in the middle of speech that the network did not cause,
	// NetworkGaps those that it did.
	Gaps        int           `json:"gaps"`
	NetworkGaps int           `json:"network_gaps"`
	LongestGap  time.Duration `json:"longest_gap"`
	Clicks      int           `json:"clicks"`
	BitrateBPS  float64       `json:"bitrate_bps"`
}

// Delay is a distribution.
type Delay struct {
	P50 time.Duration `json:"p50"`
	P95 time.Duration `json:"p95"`
	P99 time.Duration `json:"p99"`
}

// DelayOf sorts values and reads the quantiles.
func DelayOf(all []time.Duration) Delay {
	if len(all) == 0 {
		return Delay{}
	}
	all = slices.Clone(all)
	slices.Sort(all)
	at := func(q float64) time.Duration { return all[int(q*float64(len(all)-1)+0.5)] }
	return Delay{P50: at(0.5), P95: at(0.95), P99: at(0.99)}
}

// Timing of a run: the speaker begins when the line has been open for a moment, and the end is waited for.
const (
	lead    = 511 * time.Millisecond // half a frame off what starts with the chain, and off the slots of a pacer
	trail   = time.Second
	soonest = -40 * time.Millisecond
	latest  = 900 * time.Millisecond
)

// Stream is the clip over the network of a cell.
func (c *Clip) Stream(cell Cell, seed uint64) chain.Stream {
	return chain.Stream{Packets: c.Packets, Start: lead, DriftPPM: cell.DriftPPM, Network: cell.Network, Seed: seed}
}

// Length is how long the clip is to be played for.
func (c *Clip) Length() time.Duration {
	return lead + time.Duration(len(c.Packets))*20*time.Millisecond + trail
}

// Run plays a clip through a path. Call it in fake time, then Measure what it gives outside of it.
func Run(m chain.Maker, clip *Clip, cell Cell, seed uint64) (*chain.Recording, error) {
	rec, err := chain.Play(m, []chain.Stream{clip.Stream(cell, seed)}, clip.Length())
	if err != nil {
		return nil, fmt.Errorf("%s, %s: %w", m.Name, cell.Name, err)
	}
	return rec, nil
}

// Measure judges what was recorded. It also returns what the phone heard, at listen.Rate, from where the speech began.
func Measure(name string, rec *chain.Recording, clip *Clip, cell Cell, seed uint64) (Result, []int16, error) {
	r := Result{Chain: name, Cell: cell.Name}
	sound, err := chain.Hear(rec.Departures)
	if err != nil {
		return r, nil, fmt.Errorf("%s, %s: %w", name, cell.Name, err)
	}
	r.BitrateBPS = sound.BitrateBPS
	// What was heard begins about when the chain was opened; the speech, lead later.
	offset := min(len(sound.PCM), int((lead-rec.Departures[0].At).Seconds()*listen.Rate))
	heard := sound.PCM[offset:]
	m := listen.Follow(clip.Said, listen.Floats(heard), soonest, latest)
	r.Scores = stoi.Compare(m.Said, m.Heard, listen.Rate)
	for _, g := range m.Gaps(clip.Stream(cell, seed).Lost()) {
		if g.Network {
			r.NetworkGaps++
		} else {
			r.Gaps++
			r.LongestGap = max(r.LongestGap, g.Length)
		}
	}
	r.Clicks = m.Clicks()
	r.Delay = DelayOf(Delays(m, clip, sound, offset, rec.Arrivals[0]))
	return r, heard, nil
}

// Delays is how much later than they arrived the sounds of a clip left, each 10 ms of its speech. offset is where in
// the sound the match began, in samples.
func Delays(m *listen.Match, clip *Clip, sound *chain.Sound, offset int, arrivals []time.Duration) []time.Duration {
	const frame = listen.Rate / 50
	var all []time.Duration
	for f, lag := range m.Lag {
		// In the middle: half a millisecond of error of the lag must not make it another packet.
		said := f*listen.Rate/100 + listen.Rate/200
		heard := said + lag - clip.codecLag + offset
		packet := said / frame
		if !m.Speech[f] || packet >= len(arrivals) || arrivals[packet] < 0 || heard < 0 || heard/frame >= len(sound.Left) {
			continue
		}
		left := sound.Left[heard/frame]
		if left < 0 {
			continue
		}
		in := arrivals[packet] + samples(said%frame)
		all = append(all, left+samples(heard%frame)-in)
	}
	return all
}

func samples(n int) time.Duration {
	return time.Duration(math.Round(float64(n) * float64(time.Second) / listen.Rate))
}
