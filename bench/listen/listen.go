// Package listen compares what was heard with what was said when the time between the two moves: jitter buffers
// stretch, drop and repeat sound. It follows the lag, puts each piece of what was heard where it was said, and finds
// gaps and clicks.
//
// Intelligibility is measured after the lag was taken out, for all bridges alike: that speech comes later at the end
// than at the beginning is delay, which is reported as such.
package listen

import (
	"math"
	"slices"
	"time"

	"github.com/livekit-connector/livekit-connector/bench/stoi"
)

// Rate is that of all PCM here, in Hz.
const Rate = 16000

// The lag is followed in steps of 1/trackRate s, each 10 ms, by what lies within 50 ms around, below voiceRate/2.
const (
	voiceRate = 2000
	trackRate = 4000
	unit      = Rate / trackRate // a step of the lag in samples
	hop       = Rate / 100
	trackHop  = trackRate / 100
	reach     = trackRate / 20

	// change is what a change of the lag costs, in frames of perfect correlation, and farther what each step of it
	// costs in addition: where sound is lost nothing fits, and chance finds something far away.
	change  = 0.6
	farther = 0.005
	// softest is below which speech is silent, relative to its level.
	softestDB = -30
)

// Match is what was heard, laid on what was said.
type Match struct {
	// Said and Heard are aligned, sample by sample, -1 to 1.
	Said, Heard []float64
	// Lag of each 10 ms of what was said, in samples: where in what was heard it is.
	Lag []int
	// Speech says which 10 ms of what was said are not silent.
	Speech []bool
	// Similarity is the mean correlation of the waveforms below 1 kHz, over the speech.
	Similarity float64

	heard []float64 // as it came
	level float64   // RMS of the speech that was said
}

// Floats scales PCM to -1..1.
func Floats(pcm []int16) []float64 {
	x := make([]float64, len(pcm))
	for i, v := range pcm {
		x[i] = float64(v) / 32768
	}
	return x
}

// Follow finds what was said in what was heard, not earlier than earliest and not later than latest.
func Follow(said, heard []float64, earliest, latest time.Duration) *Match {
	m := &Match{Said: said, heard: heard}
	m.Speech, m.level = speech(said)
	t := tracker{x: voice(said), y: voice(heard), frames: len(m.Speech)}
	first, last := int(earliest.Seconds()*trackRate), int(latest.Seconds()*trackRate)
	t.score(m.Speech, first, last-first+1)
	track := t.best()
	var sum, count float64
	for f, l := range track {
		m.Lag = append(m.Lag, (l+first)*unit)
		if m.Speech[f] {
			sum += float64(t.scores[f][l])
			count++
		}
	}
	m.Similarity = sum / max(1, count)
	m.align()
	return m
}

// speech says which hops are not silent, and how loud those are.
func speech(said []float64) (active []bool, level float64) {
	powers := make([]float64, len(said)/hop)
	for f := range powers {
		powers[f] = power(said[f*hop : (f+1)*hop])
	}
	// The level is that of what lies within 30 dB of the loudest.
	var sum, count float64
	if len(powers) > 0 {
		floor := slices.Max(powers) * math.Pow(10, softestDB/10.0)
		for _, p := range powers {
			if p > floor {
				sum += p
				count++
			}
		}
	}
	level = math.Sqrt(sum / max(1, count))
	active = make([]bool, len(powers))
	for f, p := range powers {
		active[f] = p > 0 && p > level*level*math.Pow(10, softestDB/10.0)
	}
	return active, level
}

func power(x []float64) (sum float64) {
	for _, v := range x {
		sum += v * v
	}
	return sum / float64(max(1, len(x)))
}

// voice is what the lag is followed by: at trackRate, without what would need finer steps.
func voice(x []float64) []float64 {
	return stoi.Resample(stoi.Resample(x, Rate, voiceRate), voiceRate, trackRate)
}

// tracker follows the lag by dynamic programming.
type tracker struct {
	x, y   []float64
	frames int
	scores [][]float32 // by frame and lag: the correlation
	weight []float32
}

// score correlates the surroundings of each frame with those of its place at each lag.
func (t *tracker) score(active []bool, first, lags int) {
	t.scores = make([][]float32, t.frames)
	for f := range t.scores {
		t.scores[f] = make([]float32, lags)
	}
	t.weight = make([]float32, t.frames)
	for f, a := range active {
		t.weight[f] = 0.02
		if a {
			t.weight[f] = 1
		}
	}
	xx, yy := prefix(t.x, t.x, 0), prefix(t.y, t.y, 0)
	for l := range lags {
		lag := first + l
		xy := prefix(t.x, t.y, lag)
		for f := range t.frames {
			from, to := max(0, f*trackHop+trackHop/2-reach), min(len(t.x), f*trackHop+trackHop/2+reach)
			a := xx[to] - xx[from]
			b := yy[min(len(t.y), max(0, to+lag))] - yy[min(len(t.y), max(0, from+lag))]
			if c := xy[to] - xy[from]; a > 0 && b > 0 && c > 0 {
				t.scores[f][l] = float32(c / math.Sqrt(a*b))
			}
		}
	}
}

// prefix gives the sums of x[i]*y[i+lag] up to each i.
func prefix(x, y []float64, lag int) []float64 {
	s := make([]float64, len(x)+1)
	for i, v := range x {
		s[i+1] = s[i]
		if j := i + lag; j >= 0 && j < len(y) {
			s[i+1] += v * y[j]
		}
	}
	return s
}

// best is the course of the lag with the highest score, less what its changes cost.
func (t *tracker) best() []int {
	if t.frames == 0 {
		return nil
	}
	lags := len(t.scores[0])
	sum := make([]float32, lags)
	from := make([][]int16, t.frames) // where each lag came from
	for f := range t.frames {
		from[f] = make([]int16, lags)
		step(sum, from[f])
		for l := range sum {
			sum[l] += t.weight[f] * t.scores[f][l]
		}
	}
	end := 0
	for l, s := range sum {
		if s > sum[end] {
			end = l
		}
	}
	track := make([]int, t.frames)
	for f := t.frames - 1; f >= 0; f-- {
		track[f] = end
		end = int(from[f][end])
	}
	return track
}

// step lets each lag stay or come from another one, whichever has the highest sum less the cost.
func step(sum []float32, from []int16) {
	for l := range from {
		from[l] = int16(l)
	}
	pass := func(next func(i int) int) {
		highest, at := float32(math.Inf(-1)), int16(0)
		for i := range sum {
			l := next(i)
			highest -= farther
			if highest > sum[l] {
				sum[l], from[l] = highest, at
			} else if s := sum[l] - change; s > highest && from[l] == int16(l) {
				highest, at = s, int16(l)
			}
		}
	}
	pass(func(i int) int { return i })
	pass(func(i int) int { return len(sum) - 1 - i })
}

// align cuts what was heard into pieces of one lag and joins them where they were said, blended over 4 ms.
func (m *Match) align() {
	const blend = Rate / 250
	m.Heard = make([]float64, len(m.Said))
	at := func(i, lag int) float64 {
		if j := i + lag; j >= 0 && j < len(m.heard) {
			return m.heard[j]
		}
		return 0
	}
	for i := range m.Heard {
		f := min(i/hop, len(m.Lag)-1)
		if f < 0 {
			break
		}
		m.Heard[i] = at(i, m.Lag[f])
		if f > 0 && m.Lag[f] != m.Lag[f-1] && i-f*hop < blend {
			share := (float64(i-f*hop) + 0.5) / blend
			m.Heard[i] = share*m.Heard[i] + (1-share)*at(i, m.Lag[f-1])
		}
	}
}
