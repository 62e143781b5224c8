package media

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// slotsPerTick spreads the lines of one shard over a tick: 20 ms / 8 = 2.5 ms.
// Lines take a random slot, so that what they send does not leave in bursts.
const slotsPerTick = 8

// Pacer is the clock that fills what nobody else sends: every FrameDuration it
// looks at each open Line, and works for those that are due. A line that is being
// relayed is never due, so it costs one comparison per tick.
//
// There is one Pacer per process. Each shard is one goroutine that sleeps until
// absolute deadlines: unlike a time.Ticker it neither drifts nor loses ticks
// silently. After a stall it visits each line once, counts the ticks it missed,
// and the lines work out from the clock what they owe. A shard without lines
// sleeps.
type Pacer struct {
	epoch  time.Time
	shards []*shard
	stop   chan struct{}
	closed sync.Once
	wg     sync.WaitGroup
}

// shard holds lines by slot. The slices are replaced, never changed, so that
// visiting them takes no lock.
type shard struct {
	mu    sync.Mutex // orders add and remove
	lines atomic.Int64
	slots [slotsPerTick]atomic.Pointer[[]*Line]
	wake  chan struct{} // holds one: the first line came

	ticks, skipped atomic.Uint64
	// visited is when lines were last looked at, or the first one came, in nanoseconds since the Pacer's epoch.
	visited atomic.Int64
}

// PacerStats counts since the Pacer was made.
type PacerStats struct {
	Lines   int    // open now
	Ticks   uint64 // slots visited, slotsPerTick per shard and FrameDuration at most
	Skipped uint64 // whole ticks that a shard came too late for
}

// NewPacer starts a Pacer of so many shards, at least one. As many as the process
// has processors is enough. Close ends it.
func NewPacer(shards int) *Pacer {
	p := &Pacer{epoch: time.Now(), stop: make(chan struct{})}
	for range max(1, shards) {
		s := &shard{wake: make(chan struct{}, 1)}
		p.shards = append(p.shards, s)
		p.wg.Go(func() { p.run(s) })
	}
	return p
}

// Close stops the clock and waits for its goroutines. Lines still open are not
// filled any more; close them first. Idempotent.
func (p *Pacer) Close() {
	p.closed.Do(func() { close(p.stop) })
	p.wg.Wait()
}

// Stats returns the sum over all shards. Safe to call from any goroutine.
func (p *Pacer) Stats() PacerStats {
	var st PacerStats
	for _, s := range p.shards {
		st.Lines += int(s.lines.Load())
		st.Ticks += s.ticks.Load()
		st.Skipped += s.skipped.Load()
	}
	return st
}

// Stall is how long the lines have not been looked at, of the shard that is the furthest behind; zero without lines. They
// are every FrameDuration, so a long time says that the process does not work any more. Safe to call from any goroutine.
func (p *Pacer) Stall() time.Duration {
	var longest time.Duration
	for _, s := range p.shards {
		if s.lines.Load() > 0 {
			longest = max(longest, p.now()-time.Duration(s.visited.Load()))
		}
	}
	return longest
}

// now is the time that lines and deadlines share.
func (p *Pacer) now() time.Duration { return time.Since(p.epoch) }

// add puts l under the clock, at a random place of it, and returns how to take it
// away again. A visit may still be under way when that returned.
func (p *Pacer) add(l *Line) (remove func()) {
	s := p.shards[rand.N(len(p.shards))]
	slot := &s.slots[rand.N(slotsPerTick)]
	s.mu.Lock()
	defer s.mu.Unlock()
	var next []*Line
	if old := slot.Load(); old != nil {
		next = append(next, *old...)
	}
	next = append(next, l)
	slot.Store(&next)
	if s.lines.Load() == 0 {
		s.visited.Store(int64(p.now()))
	}
	if s.lines.Add(1) == 1 {
		select {
		case s.wake <- struct{}{}:
		default:
		}
	}
	return func() { s.remove(slot, l) }
}

func (s *shard) remove(slot *atomic.Pointer[[]*Line], l *Line) {
	s.mu.Lock()
	defer s.mu.Unlock()
	old := *slot.Load()
	next := make([]*Line, 0, len(old))
	for _, other := range old {
		if other != l {
			next = append(next, other)
		}
	}
	slot.Store(&next)
	s.lines.Add(int64(len(next) - len(old)))
}

// run is the life of one shard. Slot n is due at n * FrameDuration/slotsPerTick
// after the epoch, always: lateness of one visit never moves the next.
func (p *Pacer) run(s *shard) {
	const slotDuration = FrameDuration / slotsPerTick
	timer := time.NewTimer(0)
	defer timer.Stop()
	<-timer.C
	n := int64(0)
	for {
		if s.lines.Load() == 0 {
			select {
			case <-s.wake:
			case <-p.stop:
				return
			}
			n = int64(p.now()/slotDuration) + 1
		}
		n = s.nextUsed(n)
		due := time.Duration(n) * slotDuration
		if wait := due - p.now(); wait > 0 {
			timer.Reset(wait)
			select {
			case <-timer.C:
			case <-p.stop:
				return
			}
		}
		now := p.now()
		if missed := int64((now - due) / FrameDuration); missed > 0 {
			s.skipped.Add(uint64(missed))
			n += missed * slotsPerTick
		}
		s.visit(n, now)
		n++
	}
}

// nextUsed is the first slot from n on that holds a line, or n itself.
func (s *shard) nextUsed(n int64) int64 {
	for i := range int64(slotsPerTick) {
		if lines := s.slots[(n+i)%slotsPerTick].Load(); lines != nil && len(*lines) > 0 {
			return n + i
		}
	}
	return n
}

// visit lets the due lines of slot n send what they owe.
func (s *shard) visit(n int64, now time.Duration) {
	s.ticks.Add(1)
	s.visited.Store(int64(now))
	lines := s.slots[n%slotsPerTick].Load()
	if lines == nil {
		return
	}
	for _, l := range *lines {
		if l.due.Load() <= int64(now) {
			l.visit(now)
		}
	}
}
