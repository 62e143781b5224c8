package hearing

import (
	"math"
	"time"
)

const (
	// Holes are looked for every 5 ms in windows of 10 ms.
	gaugesPerSecond = 200
	gaugeTime       = time.Second / gaugesPerSecond

	loudDB = -25.0 // what is softer, relative to the speech, may be missing
	holeDB = -15.0 // what is softer than said by this is not there
)

// gauge measures the level of pcm in dB, finely, without what lies below the voice.
func gauge(pcm []float64, rate int) []float64 {
	hop := rate / gaugesPerSecond
	keep := 1 - 2*math.Pi*100/float64(rate)
	sums := make([]float64, len(pcm)/hop)
	var in, out float64
	for i, v := range pcm {
		out = v - in + keep*out
		in = v
		if k := i / hop; k < len(sums) {
			sums[k] += out * out
		}
	}
	levels := make([]float64, max(0, len(sums)-1))
	for k := range levels {
		levels[k] = max(silenceDB, 10*math.Log10((sums[k]+sums[k+1])/float64(hop)+1e-30))
	}
	return levels
}

// holes fills in the pieces and what is missing of them, heard being aligned with said.
func (c *comparison) holes(v *Verdict, said, heard []float64, rate int) {
	a, b := gauge(said, rate), gauge(heard, rate)
	reference := gaugeLevel(a)
	alien := make([]bool, len(c.said)) // frames of units that sound like something else
	for i, u := range c.units {
		for t := u.from; t < u.to; t++ {
			alien[t] = v.Segments[i].Similarity < minSimilarity && u.to-u.from > 3
		}
	}
	fine := int(frameTime / gaugeTime)
	v.Pieces = make([]Piece, len(c.pieces))
	for i, p := range c.pieces {
		m := &v.Pieces[i]
		m.Start, m.Length = time.Duration(p.from)*frameTime, time.Duration(p.to-p.from)*frameTime
		var run runs
		for k := p.from * fine; k < min(p.to*fine, len(a)); k++ {
			if a[k] > reference+loudDB {
				run.add(b[k]-c.gain < a[k]+holeDB, alien[k/fine])
			}
		}
		run.end(m)
		v.LongestGap = max(v.LongestGap, m.LostStart, m.LostEnd, m.Hole)
		v.Gaps += run.holes(m)
	}
}

// gaugeLevel is the mean power of what is within 30 dB of the loudest.
func gaugeLevel(levels []float64) float64 {
	loudest := silenceDB * 1.0
	for _, l := range levels {
		loudest = max(loudest, l)
	}
	var sum, n float64
	for _, l := range levels {
		if l >= loudest-30 {
			sum += math.Pow(10, l/10)
			n++
		}
	}
	return 10 * math.Log10(sum/max(1, n)+1e-30)
}

// runs measures what is missing in a row. Softer moments in between neither end nor lengthen it.
type runs struct {
	all     []time.Duration
	run     time.Duration
	empty   bool // of windows that are empty, which overlap
	started bool // something was there
}

// add counts one window of speech.
func (r *runs) add(empty, alien bool) {
	switch {
	case alien, empty:
		if r.run == 0 {
			r.empty = empty
		}
		r.run += gaugeTime
	default:
		r.stop()
		r.started = true
	}
}

// stop ends a run and keeps it; the first is the start that was lost, if any.
func (r *runs) stop() {
	if r.run > 0 && r.empty {
		r.run += gaugeTime
	}
	if r.run > 0 || !r.started {
		r.all = append(r.all, r.run)
	}
	r.run = 0
}

// end writes down what is missing of a piece.
func (r *runs) end(m *Piece) {
	if !r.started { // all of it
		r.stop()
		m.LostStart = m.Length
		return
	}
	if r.run > 0 {
		r.stop()
		m.LostEnd = r.all[len(r.all)-1]
		r.all = r.all[:len(r.all)-1]
	}
	m.LostStart = r.all[0]
	for _, d := range r.all[1:] {
		m.Hole = max(m.Hole, d)
	}
}

// holes counts those that are longer than MaxGap.
func (r *runs) holes(m *Piece) (n int) {
	if !r.started || m.LostEnd > MaxGap {
		n++
	}
	if r.started {
		for _, d := range r.all {
			if d > MaxGap {
				n++
			}
		}
	}
	return n
}
