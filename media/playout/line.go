package playout

// line is decoded sound in the order it is heard: what was played of late, then
// what is still to be played. Zero-valued it must be made by newLine.
type line struct {
	buf  []int16
	r, w int // played up to r, filled up to w
	keep int // samples of history that are always there
}

func newLine(keep, room int) line {
	return line{buf: make([]int16, keep+room), r: keep, w: keep, keep: keep}
}

func (l *line) reset() {
	clear(l.buf)
	l.r, l.w = l.keep, l.keep
}

// len is the number of samples to be played.
func (l *line) len() int { return l.w - l.r }

// room returns space for n samples behind the last; fill takes them in.
func (l *line) room(n int) []int16 {
	if l.w+n > len(l.buf) {
		start := l.r - l.keep
		copy(l.buf, l.buf[start:l.w])
		l.r, l.w = l.r-start, l.w-start
	}
	return l.buf[l.w : l.w+n : l.w+n]
}

func (l *line) fill(n int) { l.w += n }

// ahead is what is to be played.
func (l *line) ahead() []int16 { return l.buf[l.r:l.w] }

// past returns the last n samples, played or not. n is at most keep.
func (l *line) past(n int) []int16 { return l.buf[l.w-n : l.w] }

// play moves n samples to the history and returns them.
func (l *line) play(n int) []int16 {
	l.r += n
	return l.buf[l.r-n : l.r]
}

// remove takes lag samples out, from position at of what is to be played, and
// blends the edges over fade samples: one step of WSOLA (Verhelst and Roelands,
// "An overlap-add technique based on waveform similarity", ICASSP 1993). There
// must be at+lag+fade samples.
func (l *line) remove(at, lag, fade int) {
	x := l.ahead()
	for i := range fade {
		x[at+i] = blend(x[at+i], x[at+lag+i], i, fade)
	}
	l.w -= len(x[at+fade:]) - copy(x[at+fade:], x[at+lag+fade:])
}

// insert repeats the lag samples before position at of what is to be played, and
// blends over fade samples. There must be at+fade samples, and lag samples of
// history.
func (l *line) insert(at, lag, fade int) {
	l.room(lag)
	l.w += lag
	p := l.r + at
	copy(l.buf[p+lag:l.w], l.buf[p:l.w-lag])
	for i := range fade {
		again := l.buf[p+i] // what was lag samples before, moved here
		if i < lag {
			again = l.buf[p+i-lag]
		}
		l.buf[p+i] = blend(l.buf[p+lag+i], again, i, fade)
	}
	if fade < lag {
		copy(l.buf[p+fade:p+lag], l.buf[p+fade-lag:p])
	}
}

// blend goes from a to b in n steps. The two are alike, so their weights add up to
// one, not their powers.
func blend(a, b int16, i, n int) int16 {
	return int16((int(a)*(n-i) + int(b)*i) / n)
}
