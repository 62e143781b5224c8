package hearing

import (
	"math"
	"slices"
	"time"
)

const (
	frameTime     = time.Second / hopsPerSecond
	segmentFrames = 15 // 150 ms: about a syllable

	speechDB  = -30.0 // frames above this, relative to the speech's level, are speech
	missingDB = -12.0 // a frame this much softer than said did not arrive

	// minScore tells the speech from another one: chance reaches about 0.3.
	minScore = 0.4
	// minSegmentSimilarity is what a segment needs to be what was said.
	minSegmentSimilarity = 0.4
	// minSegmentCoverage is the share of a segment that must have arrived.
	minSegmentCoverage = 0.7
	// pauseFrames is how far from speech a pause begins: codecs ring.
	pauseFrames = 8
)

// comparison holds both signals frame by frame, aligned.
type comparison struct {
	said, heard []spectrum
	level       float64 // of said, dB
	gain        float64 // dB
	speech      []bool  // frames of said that are speech
	arrived     []bool  // and loud enough in heard
	saidMean    [bandCount]float64
	heardMean   [bandCount]float64
}

// Compare looks for said in heard, both mono PCM16 at rate Hz, 8000 or more. It
// keeps neither. Ten seconds at 16 kHz take some 50 ms.
func Compare(said, heard []int16, rate int) Verdict {
	e := newEar(rate)
	x, y := floats(said), floats(heard)
	a := e.listen(x, 0, len(x)/e.hop)
	b := e.listen(y, 0, len(y)/e.hop)
	if len(a) == 0 || len(b) == 0 || activeLevel(a) == silenceDB || activeLevel(b) == silenceDB {
		return Verdict{}
	}
	lag, score := align(e, x, y, a, b, rate)
	if score < minScore {
		return Verdict{}
	}
	c := newComparison(a, e.listen(y, lag, len(a)))
	v := Verdict{Found: true, Lag: samples(lag, rate), GainDB: c.gain, NoiseDB: c.noise()}
	v.Segments = c.segments()
	c.sum(&v)
	strength, later := echo(x, y, lag, rate)
	v.Echo, v.EchoLag = strength, samples(later, rate)
	v.Extra = extra(b, c.level+c.gain, lag/e.hop, len(a))
	return v
}

func samples(n, rate int) time.Duration {
	return time.Duration(int64(n) * int64(time.Second) / int64(rate))
}

func newComparison(said, heard []spectrum) *comparison {
	c := &comparison{said: said, heard: heard, level: activeLevel(said)}
	c.speech = make([]bool, len(said))
	c.arrived = make([]bool, len(said))
	var ratios []float64
	for t := range said {
		if c.speech[t] = said[t].level > c.level+speechDB; c.speech[t] {
			ratios = append(ratios, heard[t].level-said[t].level)
		}
	}
	// Above the median, because frames that did not arrive must not count as
	// softness.
	slices.Sort(ratios)
	if n := len(ratios); n > 0 {
		c.gain = ratios[n*7/10]
	}
	var n float64
	for t := range said {
		c.arrived[t] = c.speech[t] && heard[t].level-c.gain > said[t].level+missingDB
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
	return c
}

// bandSaid and bandHeard are levels above the floor, in dB, the gain taken out.
func (c *comparison) bandSaid(t, b int) float64 {
	return max(c.said[t].bands[b], c.level+floorDB)
}

func (c *comparison) bandHeard(t, b int) float64 {
	return max(c.heard[t].bands[b]-c.gain, c.level+floorDB)
}

// segments cuts the speech into pieces of about a syllable. The first begins with
// the first frame of speech, the last ends with the last one.
func (c *comparison) segments() []Segment {
	var out []Segment
	for t := 0; t < len(c.speech); {
		if !c.speech[t] {
			t++
			continue
		}
		end := min(t+segmentFrames, len(c.speech))
		for !c.speech[end-1] {
			end--
		}
		out = append(out, c.segment(t, end))
		t = end
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
		Coverage: float64(arrived) / float64(speech),
	}
	if xx > 0 && yy > 0 {
		s.Similarity = xy / math.Sqrt(xx*yy)
	}
	s.Heard = s.Coverage >= minSegmentCoverage && s.Similarity >= minSegmentSimilarity
	return s
}

// sum fills in what follows from the segments.
func (c *comparison) sum(v *Verdict) {
	alien := make([]bool, len(c.speech)) // frames of segments that sound like something else
	var weight float64
	for _, s := range v.Segments {
		w := s.Length.Seconds()
		weight += w
		v.Similarity += w * s.Similarity
		from := int(s.Start / frameTime)
		for t := from; t < from+int(s.Length/frameTime); t++ {
			alien[t] = s.Similarity < minSegmentSimilarity && s.Length > 3*frameTime
		}
	}
	if n := len(v.Segments); n > 0 {
		v.Similarity /= weight
		v.First, v.Last = v.Segments[0].Heard, v.Segments[n-1].Heard
	}
	var speech, arrived, run int
	note := func() {
		d := time.Duration(run) * frameTime
		v.LongestGap = max(v.LongestGap, d)
		if d > MaxGap {
			v.Gaps++
		}
		run = 0
	}
	for t := range c.speech {
		switch {
		case !c.speech[t]: // a hole may reach over a short pause
		case c.arrived[t] && !alien[t]:
			speech++
			arrived++
			note()
		default:
			speech++
			run++
		}
	}
	note()
	if speech > 0 {
		v.Coverage = float64(arrived) / float64(speech)
	}
}

// noise is the level of heard in the pauses of said, relative to the speech.
func (c *comparison) noise() float64 {
	quiet := make([]bool, len(c.speech))
	since := pauseFrames
	for t := range c.speech {
		if since++; c.speech[t] {
			since = 0
		}
		quiet[t] = since > pauseFrames
	}
	since = pauseFrames
	for t := len(c.speech) - 1; t >= 0; t-- {
		if since++; c.speech[t] {
			since = 0
		}
		quiet[t] = quiet[t] && since > pauseFrames
	}
	return meanPower(c.heard, func(t int) bool { return quiet[t] }) - c.gain - c.level
}

// extra is how much of heard outside of the speech found is about as loud.
func extra(heard []spectrum, level float64, lag, length int) time.Duration {
	var n int
	for t, f := range heard {
		if (t < lag-pauseFrames || t >= lag+length+pauseFrames) && f.level > level-20 {
			n++
		}
	}
	return time.Duration(n) * frameTime
}
