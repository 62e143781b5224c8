package media

import (
	"math"
	"time"

	"github.com/pion/rtp"
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

// Guard returns a Writer to w that tells onPanic of a panic, with its value, while the
// stack is still there, and drops the packet. It allocates nothing for a packet.
func Guard(w Writer, onPanic func(v any)) Writer { return &guarded{next: w, onPanic: onPanic} }

type guarded struct {
	next    Writer
	onPanic func(v any)
}

func (g *guarded) WriteRTP(p *rtp.Packet) error {
	defer g.caught()
	return g.next.WriteRTP(p)
}

func (g *guarded) caught() {
	if v := recover(); v != nil {
		g.onPanic(v)
	}
}
