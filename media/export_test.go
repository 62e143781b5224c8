package media

import "time"

// For tests of package media_test, which alone can use real codecs.

// HandPacer is a clock that moves by hand, see handPacer.
func HandPacer() *Pacer { return handPacer() }

// Move lets the clock go on.
func (p *Pacer) Move(d time.Duration) { p.move(d) }

// Tick lets the line do what is due now, as the pacer would.
func (l *Line) Tick() {
	if now := l.pacer.now(); l.due.Load() <= int64(now) {
		l.tick(now)
	}
}

// SetNumbers says what the next packet of a line that is not open yet is numbered.
func SetNumbers(l *Line, seq uint16, ts uint32) { l.seq, l.ts = seq, ts }
