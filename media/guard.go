package media

import (
	"math"
	"time"
)

// visit is tick, for a clock that others share: what goes wrong with one line must not
// silence them. A panic in the clock itself is let through, for nobody would hear
// anything any more.
func (l *Line) visit(now time.Duration) {
	defer l.guard()
	l.tick(now)
}

// guard is deferred around what packets and the clock set off. No lock is held when it
// runs: all are given back by defers.
func (l *Line) guard() {
	if l.options.OnPanic == nil {
		return // and the panic goes on
	}
	if v := recover(); v != nil {
		l.due.Store(math.MaxInt64)
		l.options.OnPanic(v)
	}
}
