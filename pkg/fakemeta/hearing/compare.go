package hearing

import (
	"math"
	"slices"
	"time"
)

const (
	frameTime = time.Second / hopsPerSecond

	speechDB  = -30.0 // frames above this, relative to the speech's level, are speech
	missingDB = -12.0 // a frame this much softer than said did not arrive

	// minScore tells the speech from another one, in which chance finds something like each syllable.
	minScore = 0.5
	// minSimilarity is what a segment needs to be what was said.
	minSimilarity = 0.4
	// minCoverage is the share of a segment that must have arrived.
	minCoverage = 0.7
	// pauseFrames is how far from speech a pause begins: codecs ring.
	pauseFrames = 8
)

// comparison holds both signals frame by frame, aligned piece by piece.
type comparison struct {
	ear       *ear
	said      []spectrum
	heard     []spectrum // aligned with said
	whole     []spectrum // all of heard as it came
	level     float64    // of said, dB
	gain      float64    // dB
	pieces    []stretch
	units     []unit
	path      *path
	speech    []bool // frames of said that are speech
	arrived   []bool // and loud enough in heard
	saidMean  [bandCount]float64
	heardMean [bandCount]float64
}

// Compare looks for said in heard, both mono PCM16 at rate Hz, 8000 or more. It keeps neither. Ten seconds at 16 kHz
// take some 100 ms.
func Compare(said, heard []int16, rate int) Verdict {
	return compare(said, heard, rate, func(said, heard int) (first, last int) { return -said, heard - 1 })
}

// CompareWithin is Compare for those who know when said can have been heard: no lag is looked for that is less than
// earliest or more than latest. They count from the beginning of heard, to 10 ms; latest is not before earliest.
func CompareWithin(said, heard []int16, rate int, earliest, latest time.Duration) Verdict {
	return compare(said, heard, rate, func(int, int) (first, last int) {
		return int(earliest / frameTime), int(latest / frameTime)
	})
}

// compare looks for lags between the two that within gives, in frames, for so many frames of said and of heard.
func compare(said, heard []int16, rate int, within func(said, heard int) (first, last int)) Verdict {
	e := newEar(rate)
	x, y := floats(said), floats(heard)
	a := e.listen(x, 0, len(x)/e.hop)
	b := e.listen(y, 0, len(y)/e.hop)
	if len(a) == 0 || len(b) == 0 || activeLevel(a) == silenceDB || activeLevel(b) == silenceDB {
		return Verdict{}
	}
	c := &comparison{ear: e, said: a, whole: b, level: activeLevel(a), speech: make([]bool, len(a))}
	for t := range a {
		c.speech[t] = a[t].level > c.level+speechDB
	}
	c.pieces, c.units = cut(c.speech)
	first, last := within(len(a), len(b))
	c.path = newPath(c.units, a, b, first, last)
	if c.path.align(e, x, y, rate) < minScore {
		return Verdict{}
	}
	aligned := c.aligned(y, len(x))
	c.heard = e.listen(aligned, 0, len(a))
	c.weigh()
	v := Verdict{Found: true, GainDB: c.gain, Segments: c.segments()}
	c.holes(&v, x, aligned, rate)
	c.sum(&v)
	c.lags(&v, rate)
	c.surplus(&v)
	strength, later := echo(x, aligned, rate)
	v.Echo, v.EchoLag = strength, samples(later, rate)
	return v
}

func samples(n, rate int) time.Duration {
	return time.Duration(int64(n) * int64(time.Second) / int64(rate))
}

// aligned is heard as if no lag had moved: n samples, each unit in its place, and around it what was around it.
func (c *comparison) aligned(heard []float64, n int) []float64 {
	out := make([]float64, n)
	i := 0
	for t := range out {
		// Up to the middle between two units.
		for i+1 < len(c.units) && 2*t >= (c.units[i].to+c.units[i+1].from)*c.ear.hop {
			i++
		}
		if j := t + c.units[i].lag; j >= 0 && j < len(heard) {
			out[t] = heard[j]
		}
	}
	return out
}

// weigh finds the gain and what both signals have in common.
func (c *comparison) weigh() {
	c.arrived = make([]bool, len(c.said))
	var ratios []float64
	for t := range c.said {
		if c.speech[t] {
			ratios = append(ratios, c.heard[t].level-c.said[t].level)
		}
	}
	// Above the median, because frames that did not arrive must not count as softness.
	slices.Sort(ratios)
	if n := len(ratios); n > 0 {
		c.gain = ratios[n*7/10]
	}
	var n float64
	for t := range c.said {
		c.arrived[t] = c.speech[t] && c.heard[t].level-c.gain > c.said[t].level+missingDB
		if !c.arrived[t] {
			continue
		}
		n++
		for b := range bandCount {
			c.saidMean[b] += c.bandSaid(t, b)
			c.heardMean[b] += c.bandHeard(t, b)
		}
	}
	for b := range bandCount {
		c.saidMean[b] /= max(1, n)
		c.heardMean[b] /= max(1, n)
	}
}

// bandSaid and bandHeard are levels above the floor, in dB, the gain taken out.
func (c *comparison) bandSaid(t, b int) float64 {
	return max(c.said[t].bands[b], c.level+floorDB)
}

func (c *comparison) bandHeard(t, b int) float64 {
	return max(c.heard[t].bands[b]-c.gain, c.level+floorDB)
}

// segments judges each unit by itself.
func (c *comparison) segments() []Segment {
	out := make([]Segment, len(c.units))
	for i, u := range c.units {
		out[i] = c.segment(u.from, u.to)
	}
	return out
}

// segment judges the frames from start up to end.
func (c *comparison) segment(start, end int) Segment {
	var speech, arrived int
	var xy, xx, yy float64
	for t := start; t < end; t++ {
		if !c.speech[t] {
			continue
		}
		speech++
		if c.arrived[t] {
			arrived++
		}
		for b := range bandCount {
			x := c.bandSaid(t, b) - c.saidMean[b]
			y := c.bandHeard(t, b) - c.heardMean[b]
			xy += x * y
			xx += x * x
			yy += y * y
		}
	}
	s := Segment{
		Start:    time.Duration(start) * frameTime,
		Length:   time.Duration(end-start) * frameTime,
		Coverage: float64(arrived) / float64(max(1, speech)),
	}
	if xx > 0 && yy > 0 {
		s.Similarity = xy / math.Sqrt(xx*yy)
	}
	s.Heard = s.Coverage >= minCoverage && s.Similarity >= minSimilarity
	return s
}

// sum fills in what follows from the segments.
func (c *comparison) sum(v *Verdict) {
	v.First, v.Last = v.Segments[0].Heard, v.Segments[len(v.Segments)-1].Heard
	lengths, heard := make([]float64, len(v.Pieces)), make([]float64, len(v.Pieces))
	var weight float64
	for i, s := range v.Segments {
		w, p := s.Length.Seconds(), c.units[i].piece
		v.Similarity += w * s.Similarity
		v.Pieces[p].Score += w * s.Similarity
		if s.Heard {
			heard[p] += w
		}
		weight += w
		lengths[p] += w
	}
	v.Similarity /= weight
	for i := range v.Pieces {
		v.Pieces[i].Score /= lengths[i]
		v.Pieces[i].Heard = heard[i] > lengths[i]/2
		v.Pieces[i].Elsewhere = !v.Pieces[i].Heard && c.path.elsewhere(i) > sameScore
	}
	var speech, arrived float64
	for t := range c.speech {
		if c.speech[t] {
			speech++
		}
	}
	for i, s := range v.Segments {
		if s.Similarity < minSimilarity {
			continue
		}
		for t := c.units[i].from; t < c.units[i].to; t++ {
			if c.arrived[t] {
				arrived++
			}
		}
	}
	v.Coverage = arrived / speech
}

// lags tells when each piece was heard, from the units of it that were.
func (c *comparison) lags(v *Verdict, rate int) {
	var heard []time.Duration
	for p := range v.Pieces {
		var all []int
		for i, u := range c.units {
			if u.piece == p && (v.Segments[i].Heard || !v.Pieces[p].Heard) {
				all = append(all, u.lag)
			}
		}
		slices.Sort(all)
		n := len(all)
		v.Pieces[p].Lag = samples(all[n/2], rate)
		v.Pieces[p].Torn = samples(all[n-1]-all[0], rate)
		if v.Pieces[p].Heard {
			heard = append(heard, v.Pieces[p].Lag)
		}
	}
	v.Lag = v.Pieces[0].Lag
	if len(heard) > 0 {
		v.Lag = heard[0]
		v.Moved = slices.Max(heard) - slices.Min(heard)
	}
}
