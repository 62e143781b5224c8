package listen

import (
	"math"
	"time"
)

// MaxGap is how much of a hole in speech does not count.
const MaxGap = 40 * time.Millisecond

// Gap is a stretch of silence in the middle of speech.
type Gap struct {
	// At counts from the beginning of what was heard.
	At, Length time.Duration
	// Network is true when it is no longer than what was lost there on the way to the bridge, give or take MaxGap.
	Network bool
}

// Gaps finds what is silent for longer than MaxGap although something was said: sound that is missing, and silence put
// into the middle of words. lost says which 20 ms packets of what was said never reached the bridge; nil for none.
func (m *Match) Gaps(lost []bool) []Gap {
	const silentDB = -40
	floor := m.level * m.level * math.Pow(10, silentDB/10.0)
	begin, end := m.span()
	var gaps []Gap
	for f := begin; f < end; {
		run := f
		for run < end && power(m.heard[run*hop:(run+1)*hop]) < floor {
			run++
		}
		if length := time.Duration(run-f) * 10 * time.Millisecond; length > MaxGap {
			if g, ok := m.gap(f, run, length, lost); ok {
				gaps = append(gaps, g)
			}
		}
		f = max(run, f+1)
	}
	return gaps
}

// span is from where to where in what was heard speech is expected, in hops.
func (m *Match) span() (begin, end int) {
	first, last := -1, -1
	for f, a := range m.Speech {
		if a {
			if first < 0 {
				first = f
			}
			last = f
		}
	}
	if first < 0 {
		return 0, 0
	}
	begin = max(0, first+m.Lag[first]/hop)
	return begin, min(len(m.heard)/hop, last+m.Lag[last]/hop)
}

// gap judges the silent hops from up to to of what was heard, by what was said around them.
func (m *Match) gap(from, to int, length time.Duration, lost []bool) (Gap, bool) {
	before, after := m.saidAt(from-1), m.saidAt(to)
	silent, missing := 0, 0
	for f := max(0, before); f <= min(after, len(m.Speech)-1); f++ {
		if !m.Speech[f] {
			silent++
		}
		if f/2 < len(lost) && lost[f/2] {
			missing++
		}
	}
	if 2*silent >= to-from { // a pause, perhaps a longer one than was made
		return Gap{}, false
	}
	g := Gap{At: time.Duration(from) * 10 * time.Millisecond, Length: length}
	g.Network = length <= time.Duration(missing)*10*time.Millisecond+MaxGap
	return g, true
}

// saidAt is the hop of what was said that is heard at a hop: the last one that is heard no later.
func (m *Match) saidAt(heard int) int {
	at := 0
	for f, lag := range m.Lag {
		if f*hop+lag <= heard*hop {
			at = f
		}
	}
	return at
}

// Clicks counts steps in what was heard that what was said does not have: samples whose fourth difference, which
// leaves little but the highest frequencies, is far above all there was within 20 ms around. Two within 20 ms count
// once.
func (m *Match) Clicks() int {
	const (
		piece  = Rate / 500
		around = 10
		excess = 12.0 // dB
	)
	said, heard := edges(m.Said, piece), edges(m.heard, piece)
	var loud, count float64
	for i, e := range said {
		if f := i * piece / hop; f < len(m.Speech) && m.Speech[f] {
			loud += e
			count++
		}
	}
	floor := loud / max(1, count)
	lagOf := m.lagsOfHeard()
	clicks, last := 0, -2*around
	for i, e := range heard {
		f := min(i*piece/hop, len(lagOf)-1)
		if e <= floor || f < 0 {
			continue
		}
		center := i - lagOf[f]/piece
		var most float64
		for j := max(0, center-around); j <= center+around && j < len(said); j++ {
			most = max(most, said[j])
		}
		if e > most*math.Pow(10, excess/20) {
			if i-last > around {
				clicks++
			}
			last = i
		}
	}
	return clicks
}

// edges is the greatest fourth difference of each piece.
func edges(x []float64, piece int) []float64 {
	out := make([]float64, len(x)/piece)
	for i := range out {
		for j := max(4, i*piece); j < (i+1)*piece; j++ {
			out[i] = max(out[i], math.Abs(x[j]-4*x[j-1]+6*x[j-2]-4*x[j-3]+x[j-4]))
		}
	}
	return out
}

// lagsOfHeard is the lag at each hop of what was heard.
func (m *Match) lagsOfHeard() []int {
	out := make([]int, len(m.heard)/hop)
	f := 0
	for h := range out {
		for f+1 < len(m.Lag) && (f+1)*hop+m.Lag[f+1] <= h*hop {
			f++
		}
		if f < len(m.Lag) {
			out[h] = m.Lag[f]
		}
	}
	return out
}
