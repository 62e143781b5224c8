package hearing

import "math"

// What a change of the lag costs, in units of speech: one that fits perfectly is worth 1. A change has to explain more
// than it costs.
const (
	pauseCost = 0.05  // at a pause, where it is no fault
	wordCost  = 0.5   // inside a piece
	driftCost = 0.02  // inside a piece, by a frame: clocks that drift, rounding
	frameCost = 0.002 // for each frame on top
	farCost   = 2.0   // for a lag that moves up by more than nearFrames
	overCost  = 0.03  // for each frame that two units have in common: one of them is not there
	// nearFrames is how far the search goes around the lag before, 300 ms.
	nearFrames = 30
)

// shape is one frame of a spectrum made comparable: dB above the floor, without the mean of its band.
type shape [bandCount]float64

// shapes gives those of frames, with pad frames of silence on either side.
func shapes(frames []spectrum, pad int) []shape {
	floor := activeLevel(frames) + floorDB
	out := make([]shape, len(frames)+2*pad)
	for b := range bandCount {
		var mean float64
		for _, f := range frames {
			mean += max(f.bands[b], floor) / float64(len(frames))
		}
		for t := range out {
			level := floor
			if i := t - pad; i >= 0 && i < len(frames) {
				level = max(frames[i].bands[b], floor)
			}
			out[t][b] = level - mean
		}
	}
	return out
}

// powers is the energy of each frame.
func powers(frames []shape) []float64 {
	out := make([]float64, len(frames))
	for t := range frames {
		for _, v := range frames[t] {
			out[t] += v * v
		}
	}
	return out
}

// fit is how well a, a few frames, fits b, the same number, up to 1. The energies are those of the frames.
func fit(a, b []shape, energyA, energyB []float64) float64 {
	var ab, aa, bb float64
	for t := range a {
		x, y := &a[t], &b[t]
		for k := range x {
			ab += x[k] * y[k]
		}
		aa += energyA[t]
		bb += energyB[t]
	}
	if aa == 0 {
		return 0
	}
	// What is nearly silent fits by chance.
	return ab / math.Sqrt(aa*max(bb, aa/4))
}

// path looks for the lag of each unit.
type path struct {
	units  []unit
	origin int         // index of lag 0
	scores [][]float64 // of each unit for each lag
}

// newPath compares every unit of said with the places in heard from lag first to lag last, in frames.
func newPath(units []unit, said, heard []spectrum, first, last int) *path {
	longest := 0
	for _, u := range units {
		longest = max(longest, u.to-u.from)
	}
	p := &path{units: units, origin: -first}
	a, b := shapes(said, 0), shapes(heard, longest)
	pa, pb := powers(a), powers(b)
	p.scores = make([][]float64, len(units))
	for i, u := range units {
		row := make([]float64, last-first+1)
		for k := range row {
			from := u.from + k - p.origin + longest // in b
			if to := from + u.to - u.from; from >= 0 && to <= len(b) {
				// What does not fit is missing, no worse.
				row[k] = max(0, fit(a[u.from:u.to], b[from:to], pa[u.from:u.to], pb[from:to]))
			}
		}
		p.scores[i] = row
	}
	return p
}

func (p *path) weight(i int) float64 {
	return float64(p.units[i].to-p.units[i].from) / unitFrames
}

// cost is the price of a lag that changes by step frames before unit i.
func (p *path) cost(i, step int) float64 {
	size := float64(max(step, -step))
	over := overCost * float64(max(0, -step-(p.units[i].from-p.units[i-1].to)))
	switch inside := p.units[i].piece == p.units[i-1].piece; {
	case step == 0:
		return 0
	case !inside:
		return pauseCost + frameCost*size + over
	case size == 1:
		return driftCost
	default:
		return wordCost + frameCost*size + over
	}
}

// find gives the lags, in frames, at which all units together fit best, in their order, and how well they fit.
func (p *path) find() (lags []int, score float64) {
	states := len(p.scores[0])
	from := make([][]int32, len(p.units))
	best := make([]float64, states)
	for k, s := range p.scores[0] {
		best[k] = p.weight(0) * s
	}
	for i := 1; i < len(p.units); i++ {
		best, from[i] = p.advance(i, best)
	}
	at := 0
	for k, v := range best {
		if v > best[at] {
			at = k
		}
	}
	score = best[at]
	var total float64
	lags = make([]int, len(p.units))
	for i := len(p.units) - 1; i >= 0; i-- {
		lags[i] = at - p.origin
		total += p.weight(i)
		if i > 0 {
			at = int(from[i][at])
		}
	}
	return lags, score / total
}

// advance adds unit i to the best paths up to the unit before it.
func (p *path) advance(i int, before []float64) (best []float64, from []int32) {
	best, from = make([]float64, len(before)), make([]int32, len(before))
	// Units begin in the order in which they were said.
	down := min(nearFrames, p.units[i].from-p.units[i-1].from-1)
	var costs [2*nearFrames + 1]float64
	for step := -nearFrames; step <= nearFrames; step++ {
		costs[step+nearFrames] = p.cost(i, step)
	}
	far := 0 // the best of those further below
	for k := range best {
		top, choice := before[k], k
		for l := max(0, k-nearFrames); l <= min(len(before)-1, k+down); l++ {
			if v := before[l] - costs[k-l+nearFrames]; v > top {
				top, choice = v, l
			}
		}
		if l := k - nearFrames - 1; l >= 0 {
			if before[l] > before[far] {
				far = l
			}
			if v := before[far] - farCost; v > top {
				top, choice = v, far
			}
		}
		best[k], from[k] = top+p.weight(i)*p.scores[i][k], int32(choice)
	}
	return best, from
}

// elsewhere is how well all units of a piece fit together at the place in heard where they do best.
func (p *path) elsewhere(piece int) float64 {
	var weight, best float64
	sum := make([]float64, len(p.scores[0]))
	for i, u := range p.units {
		if u.piece == piece {
			weight += p.weight(i)
			for k, s := range p.scores[i] {
				sum[k] += p.weight(i) * s
			}
		}
	}
	for _, s := range sum {
		best = max(best, s/weight)
	}
	return best
}
