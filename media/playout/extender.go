package playout

// extender goes on with a sound that broke off, by repeating its last pitch period
// (the idea of ITU-T G.711 Appendix I), for as long as there is hope, then fades.
type extender struct {
	on   bool
	loop []int16
	lag  int
	pos  int
	made int // samples since it began

	hold, end int // where the fade begins and is over
}

// begin takes the sound to go on with. past must be as long as the window and the
// longest period together.
func (e *extender) begin(past []int16, window int, s span, step int) {
	e.on, e.pos, e.made = true, 0, 0
	at := len(past) - window
	lag, alike := period(past, at, window, s, -1, step, false)
	if alike < 0.5 { // no voice: a long period buzzes least
		lag = s.most
	}
	e.lag = lag
	loop := e.loop[:lag]
	copy(loop, past[len(past)-lag:])
	// The loop's start follows its end, so what the two differ by is taken off over
	// half a period.
	miss := int(past[len(past)-1]) - int(past[len(past)-1-lag])
	n := lag / 2
	for i := range n {
		loop[i] = clip(int(loop[i]) + miss*(n-1-i)/n)
	}
}

// beginSilent starts with nothing to go on with.
func (e *extender) beginSilent() {
	e.on, e.lag, e.pos, e.made = true, 1, 0, e.end
	e.loop[0] = 0
}

func (e *extender) stop() { e.on = false }

// silent reports whether the sound has faded out.
func (e *extender) silent() bool { return e.on && e.made >= e.end }

// next fills dst.
func (e *extender) next(dst []int16) {
	e.peek(dst)
	e.made += len(dst)
	e.pos = (e.pos + len(dst)) % e.lag
}

// peek fills dst with what next would, and stays where it is.
func (e *extender) peek(dst []int16) {
	if e.made >= e.end {
		clear(dst)
		return
	}
	pos, made, fade := e.pos, e.made, e.end-e.hold
	for i := range dst {
		s := int(e.loop[pos])
		if pos++; pos == e.lag {
			pos = 0
		}
		if made > e.hold {
			s = s * max(0, e.end-made) / fade
		}
		made++
		dst[i] = int16(s)
	}
}

func clip(s int) int16 { return int16(min(max(s, -32768), 32767)) }
