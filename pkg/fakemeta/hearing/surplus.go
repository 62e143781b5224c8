package hearing

const (
	// ringFrames is how far what was found reaches beyond its edges.
	ringFrames = 3
	// copyFrames is what is long enough to be known again, and copyMost what is compared at once.
	copyFrames, copyMost = 8, 30
	// sameScore is how well a copy of something fits: chance stays below.
	sameScore = 0.8
	// bridgeFrames is the pause within one stretch of sound.
	bridgeFrames = 4
)

// surplus judges what was heard besides what was said.
func (c *comparison) surplus(v *Verdict) {
	hop := c.ear.hop
	claimed := make([]bool, len(c.whole))
	near := make([]bool, len(c.whole)) // or close to it
	mark := func(set []bool, u unit, reach int) {
		for t := max(0, u.from+u.lag/hop-reach); t < min(len(set), u.to+u.lag/hop+reach); t++ {
			set[t] = true
		}
	}
	begin, end := len(c.whole), 0
	for i, u := range c.units {
		mark(claimed, u, ringFrames)
		mark(near, u, pauseFrames)
		if v.Segments[i].Heard {
			begin, end = min(begin, u.from+u.lag/hop), max(end, u.to+u.lag/hop)
		}
	}
	begin, end = max(0, begin), min(len(c.whole), end)
	first, last := c.units[0].lag/hop, len(c.said)+c.units[len(c.units)-1].lag/hop
	v.NoiseDB = meanPower(c.whole, func(t int) bool { return !near[t] && t >= first && t < last }) - c.gain - c.level

	loud := make([]bool, len(c.whole))
	for t, f := range c.whole {
		loud[t] = !claimed[t] && f.level > c.level+c.gain+MaxNoise
		switch soft := f.level <= c.level+c.gain-20; {
		case claimed[t] || soft:
		case t < begin || t >= end:
			v.Extra += frameTime
		case loud[t]:
			v.Between += frameTime
		}
	}
	c.repeats(v, stretches(loud, bridgeFrames), begin, end)
}

// repeats finds what was heard a second time.
func (c *comparison) repeats(v *Verdict, extra []stretch, begin, end int) {
	f := newFinder(c.said, c.whole)
	var before, after []stretch
	for _, s := range extra {
		switch {
		case s.to-s.from < copyFrames:
		case s.to <= begin:
			before = append(before, s)
		case s.from >= end:
			after = append(after, s)
		default:
			c.again(v, f, s)
		}
	}
	// A speaker may say all of it again and again: what precedes the beginning may be the end, and what follows the end
	// the beginning.
	if n := len(before); n > 0 {
		s := before[n-1]
		s.from = max(s.from, s.to-copyMost)
		if at, ok := f.find(s); ok && at+s.to-s.from < c.pieces[len(c.pieces)-1].to-ringFrames {
			v.Pieces[c.pieceAt(at)].Repeats++
		}
	}
	if len(after) > 0 {
		s := after[0]
		s.to = min(s.to, s.from+copyMost)
		if at, ok := f.find(s); ok && at > c.pieces[0].from+ringFrames {
			v.Pieces[c.pieceAt(at)].Repeats++
		}
	}
}

// again looks for every part of a stretch amid what was said, and counts each piece it finds once.
func (c *comparison) again(v *Verdict, f *finder, s stretch) {
	last := -1
	for t := s.from; t+copyFrames <= s.to; t += copyMost {
		at, ok := f.find(stretch{t, min(s.to, t+copyMost)})
		if p := c.pieceAt(at); ok && p != last {
			v.Pieces[p].Repeats++
			last = p
		}
	}
}

// pieceAt is the piece that lies at a frame of said, or before it.
func (c *comparison) pieceAt(t int) int {
	for i, p := range c.pieces {
		if t+copyFrames/2 < p.to {
			return i
		}
	}
	return len(c.pieces) - 1
}

// finder looks for parts of heard in said.
type finder struct {
	said, heard           []shape
	saidPower, heardPower []float64
}

func newFinder(said, heard []spectrum) *finder {
	f := &finder{said: shapes(said, 0), heard: shapes(heard, 0)}
	f.saidPower, f.heardPower = powers(f.said), powers(f.heard)
	return f
}

// find says where in said a stretch of heard is.
func (f *finder) find(s stretch) (at int, ok bool) {
	n, best := s.to-s.from, sameScore
	a, power := f.heard[s.from:s.to], f.heardPower[s.from:s.to]
	for t := 0; t+n <= len(f.said); t++ {
		if v := fit(a, f.said[t:t+n], power, f.saidPower[t:t+n]); v > best {
			at, best, ok = t, v, true
		}
	}
	return at, ok
}
