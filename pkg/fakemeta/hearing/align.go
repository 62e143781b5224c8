package hearing

import (
	"math"
	"slices"
)

const (
	// sure is how well the waveform must fit for its lag to be believed: hissing and noise have none.
	sure = 0.5
	// tuneFrames is how far from the lag of the spectrum the waveform is looked for.
	tuneFrames = 2
)

// align finds where in heard each unit is, to the sample, and how sure that is, up to 1.
//
// It looks for the shape of the spectrum over time first, to 10 ms, which no codec changes and no gain, and then for the
// waveform.
func (p *path) align(e *ear, said, heard []float64, rate int) (score float64) {
	lags, score := p.find()
	p.place(lags)
	step := max(1, rate/4000)
	w := waves{said: said, heard: heard, step: step, coarseSaid: decimate(said, step), coarseHeard: decimate(heard, step)}
	scores := make([]float64, len(lags))
	for i := range p.units {
		// With its neighbours, so that the pitch is not mistaken for the lag.
		from, to := p.around(lags, i, e.hop)
		p.units[i].lag, scores[i] = w.tune(from, to, lags[i]*e.hop, tuneFrames*e.hop)
	}
	for first := 0; first < len(lags); {
		last := first
		for last+1 < len(lags) && near(lags[last], lags[last+1]) {
			last++
		}
		p.settle(w, scores, lags, first, last+1, e.hop)
		first = last + 1
	}
	for i := range p.units { // the waveform may be found a little beyond
		p.units[i].lag = min(max(p.units[i].lag, -p.origin*e.hop), (len(p.scores[i])-1-p.origin)*e.hop)
	}
	return score
}

// place takes back the lags of units that were found on top of better ones: they are missing, and only sound alike.
func (p *path) place(lags []int) {
	score := func(i int) float64 { return p.scores[i][p.origin+lags[i]] }
	missing := make([]bool, len(lags))
	for i, u := range p.units {
		for j := max(0, i-3); j < min(len(lags), i+4); j++ {
			o := p.units[j]
			both := min(u.to+lags[i], o.to+lags[j]) - max(u.from+lags[i], o.from+lags[j])
			if i != j && 2*both > u.to-u.from && score(i) < score(j) {
				missing[i] = true
			}
		}
	}
	for i := range lags {
		if missing[i] {
			lags[i] = lags[p.nearest(i, missing)]
		}
	}
}

// nearest is the unit nearest to i that is not missing, of the same piece if one is there.
func (p *path) nearest(i int, missing []bool) int {
	best, least := i, math.MaxInt
	for j, u := range p.units {
		far := max(i-j, j-i)
		if u.piece != p.units[i].piece {
			far += len(p.units)
		}
		if !missing[j] && far < least {
			best, least = j, far
		}
	}
	return best
}

// around are the samples of a unit and of those beside it.
func (p *path) around(lags []int, i, hop int) (from, to int) {
	from, to = p.units[i].from, p.units[i].to
	if i > 0 && p.together(lags, i-1, i) {
		from = p.units[i-1].from
	}
	if i+1 < len(lags) && p.together(lags, i, i+1) {
		to = p.units[i+1].to
	}
	return from * hop, to * hop
}

// together says that two units in a row lie in one piece at one lag.
func (p *path) together(lags []int, i, j int) bool {
	return p.units[i].piece == p.units[j].piece && near(lags[i], lags[j])
}

// near says that two lags, in frames, are the same but for rounding.
func near(a, b int) bool { return max(a-b, b-a) <= 1 }

// settle keeps the units from first up to last, which have about one lag, from being a period of the pitch apart, and gives
// those whose waveform tells nothing the lag of the others.
func (p *path) settle(w waves, scores []float64, lags []int, first, last, hop int) {
	var known []int
	for i := first; i < last; i++ {
		if scores[i] > sure {
			known = append(known, p.units[i].lag)
		}
	}
	middle := lags[first+(last-first)/2] * hop
	if n := len(known); n > 0 {
		slices.Sort(known)
		middle = known[n/2]
	}
	// Drift is within reach, most units much nearer.
	reach := hop * 3 / 10
	for i := first; i < last; i++ {
		u := &p.units[i]
		from, to := p.around(lags, i, hop)
		lag, score := bestLag(w.said, w.heard, from, to, middle, hop/40)
		d := u.lag - middle
		switch {
		case score > sure && score > 0.95*scores[i]:
			u.lag = lag
		case scores[i] > sure && max(d, -d) <= reach:
		case scores[i] > sure:
			if lag, score = bestLag(w.said, w.heard, from, to, middle, reach); score > 0.8*scores[i] {
				u.lag = lag
			}
		default:
			u.lag = middle
		}
	}
}

// waves holds both signals at the full rate and at about 4 kHz.
type waves struct {
	said, heard             []float64
	step                    int
	coarseSaid, coarseHeard []float64
}

// tune looks for the lag within reach of lag at which said, from up to to, fits best.
func (w *waves) tune(from, to, lag, reach int) (best int, score float64) {
	if w.step > 1 {
		lag, _ = bestLag(w.coarseSaid, w.coarseHeard, from/w.step, to/w.step, lag/w.step, reach/w.step)
		lag *= w.step
		reach = 2 * w.step
	}
	return bestLag(w.said, w.heard, from, to, lag, reach)
}

// bestLag looks for the lag within reach of lag at which a, from up to to, fits b best, whatever its polarity, and says
// how well, up to 1.
func bestLag(a, b []float64, from, to, lag, reach int) (best int, score float64) {
	best, score = lag, -1
	to = min(to, len(a))
	var own float64
	for _, v := range a[min(from, to):to] {
		own += v * v
	}
	square := func(i int) float64 { // of b; silence around it
		if i < 0 || i >= len(b) {
			return 0
		}
		return b[i] * b[i]
	}
	var energy float64 // of b under a
	for i := from; i < to; i++ {
		energy += square(i + lag - reach)
	}
	for l := lag - reach; l <= lag+reach; l++ {
		if l > lag-reach {
			energy = max(0, energy+square(to-1+l)-square(from+l-1))
		}
		var sum float64
		if i, j := max(from, -l), min(to, len(b)-l); i < j {
			y := b[i+l : j+l]
			for k, v := range a[i:j] {
				sum += v * y[k]
			}
		}
		if energy == 0 || own == 0 {
			continue
		}
		// A little that fits by chance is no find.
		if s := math.Abs(sum) / math.Sqrt(own*max(energy, own*1e-4)); s > score {
			best, score = l, s
		}
	}
	return best, score
}

// decimate averages step samples into one. Speech has little above the 2 kHz where that begins to alias.
func decimate(x []float64, step int) []float64 {
	out := make([]float64, len(x)/step)
	for i := range out {
		for _, v := range x[i*step : (i+1)*step] {
			out[i] += v / float64(step)
		}
	}
	return out
}
