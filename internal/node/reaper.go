package node

import (
	"sync/atomic"
	"time"

	"github.com/livekit-connector/livekit-connector/internal/call"
	"github.com/livekit-connector/livekit-connector/internal/panics"
)

// sweepEvery is how often calls are checked. A call is found left behind at most this long after its deadline.
const sweepEvery = time.Second

// sweep looks once a second for calls that were left behind: one goroutine per node, not one per call.
func (n *Node) sweep() {
	t := time.NewTicker(sweepEvery)
	defer t.Stop()
	stuck := make(map[*call.Call]bool)
	for {
		select {
		case <-n.closing:
			return
		case now := <-t.C:
			if n.sweepOnce(now, stuck) {
				n.swept.beat()
			}
		}
	}
}

// SweeperStall is how long ago the sweeper last got through all calls. It does so every second; a long time says that the
// process does not work any more, whatever the reason.
func (n *Node) SweeperStall() time.Duration { return n.swept.ago() }

// heartbeat tells how long ago something happened last, by a clock that nobody sets.
type heartbeat struct {
	born time.Time
	last atomic.Int64 // nanoseconds since born
}

func (h *heartbeat) start()             { h.born = time.Now() }
func (h *heartbeat) beat()              { h.last.Store(int64(time.Since(h.born))) }
func (h *heartbeat) ago() time.Duration { return time.Since(h.born) - time.Duration(h.last.Load()) }

// sweepOnce ends what is left behind. It reports whether it got through: a mistake in one call keeps it from no other.
func (n *Node) sweepOnce(now time.Time, stuck map[*call.Call]bool) (through bool) {
	defer n.opts.Panics.Recover(panics.Sweeper, n.log, nil)
	n.table.expire(now)
	n.history.expire(now)
	n.opts.Gate.Sample(now)
	for _, e := range n.table.all() {
		n.check(e, now, stuck)
	}
	for c := range stuck {
		select {
		case <-c.Done():
			delete(stuck, c)
		default:
		}
	}
	return true
}

// check ends a call that was left behind. One that already ends and does not get through with it cannot be ended again: that is
// said once and counted.
func (n *Node) check(e *entry, now time.Time, stuck map[*call.Call]bool) {
	defer n.opts.Panics.Recover(panics.Sweeper, n.log, func() { // nobody would look after it any more
		e.call.End(call.ReasonInternal, &panics.Error{Place: panics.Sweeper})
	})
	if e.call.Answered() {
		e.slot.SetMode(modeNow(e.call), now)
	}
	r, ok := e.call.Check(now)
	if !ok {
		return
	}
	if e.call.Err() == nil {
		n.log.Warn("call left behind", "callID", e.call.ID(), "reason", r.String())
		e.call.End(r, nil)
		return
	}
	if !stuck[e.call] {
		stuck[e.call] = true
		n.metrics.reaped.WithLabelValues(call.ReasonStuck.String()).Inc()
		n.log.Error("call does not end", "callID", e.call.ID(), "error", e.call.Err())
	}
}
