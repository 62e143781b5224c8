package playout

import "math"

// span bounds the pitch periods that are looked for, in samples.
type span struct{ least, most int }

// similarity of two pieces of sound, from -1 to 1: their normalised correlation.
// Only every step-th sample is looked at.
func similarity(a, b []int16, step int) float64 {
	var ab, aa, bb int64
	b = b[:len(a)]
	for i := 0; i < len(a); i += step {
		x, y := int64(a[i]), int64(b[i])
		ab += x * y
		aa += x * x
		bb += y * y
	}
	if aa == 0 || bb == 0 {
		return 0
	}
	return float64(ab) / math.Sqrt(float64(aa)*float64(bb))
}

// nearlyAsGood is what a longer lag may be less alike than the best, and be taken: it
// gets further with one change.
const nearlyAsGood = 0.02

// period finds the lag within s at which x[at:at+n] is most like what is lag
// samples away, in direction dir: -1 looks back, +1 ahead; the longest of those that are
// about as good if long. step is the coarseness of the first look. It returns the
// lag and how alike they are.
func period(x []int16, at, n int, s span, dir, step int, long bool) (lag int, alike float64) {
	ref := x[at : at+n]
	lag = s.least
	best := -2.0
	for l := s.least; l <= s.most; l += step {
		c := similarity(ref, x[at+dir*l:][:n], step)
		if c > best || long && c >= best-nearlyAsGood {
			lag = l
		}
		best = max(best, c)
	}
	coarse := lag
	alike = -2
	for l := max(s.least, coarse-step+1); l < min(s.most+1, coarse+step); l++ {
		if c := similarity(ref, x[at+dir*l:][:n], 1); c > alike {
			lag, alike = l, c
		}
	}
	return lag, alike
}

// seam finds the position in x where a jump by lag samples, ahead or back, is
// heard least: where n samples differ least from those lag away. Positions run
// from first to last.
func seam(x []int16, first, last, lag, n, step int) int {
	best, least := first, int64(math.MaxInt64)
	for at := first; at <= last; at += step {
		var sum int64
		for i := 0; i < n; i += step {
			d := int64(x[at+i]) - int64(x[at+i+lag])
			sum += d * d
		}
		if sum < least {
			best, least = at, sum
		}
	}
	return best
}

// power is the mean square of x.
func power(x []int16) float64 {
	if len(x) == 0 {
		return 0
	}
	var sum int64
	for _, s := range x {
		sum += int64(s) * int64(s)
	}
	return float64(sum) / float64(len(x))
}

// level of a mean square in dB below full scale, from 0 to 127 (RFC 6464 section 3).
func level(meanSquare float64) uint8 {
	if meanSquare <= 0 {
		return 127
	}
	db := -10 * math.Log10(meanSquare/(32768*32768))
	return uint8(math.Round(min(max(db, 0), 127)))
}
