package node

import (
	"sync"
	"time"

	"github.com/livekit-connector/livekit-connector/internal/call"
	"github.com/livekit-connector/livekit-connector/proto/connectorpb"
)

// The events of a call, in their order. A call that was never answered has no EventAnswered, one that failed early no
// EventRinging.
const (
	EventCreated  = "call.created"
	EventRinging  = "call.ringing"
	EventAnswered = "call.answered"
	EventEnded    = "call.ended"
)

// Watcher hears of calls. Events of one call come one after the other; those of different calls side by side. The record
// is the watcher's own. It must not block.
type Watcher interface {
	CallChanged(event string, r *connectorpb.CallRecord)
}

// observer hears what one call goes through, for the metrics and the watcher.
type observer struct {
	call.Observer

	node  *Node
	entry *entry

	mu     sync.Mutex // guards what follows, and is the order of events
	passed int        // how far the call has come, in the order of events
}

// observe returns the observer of a call that is being made.
func (n *Node) observe(e *entry) call.Observer {
	e.observer = &observer{Observer: n.metrics, node: n, entry: e}
	return e.observer
}

// created says that there is a call.
func (n *Node) created(e *entry) { e.observer.pass(1, EventCreated) }

// over remembers a call that is over.
func (n *Node) over(e *entry) {
	n.history.add(func() *connectorpb.CallRecord { return n.record(e) }, e.apiKey, time.Now())
}

// retold brings what is remembered of a call up to date: Meta may have said more of it after its end. Nil is a call that
// nobody knows.
func (n *Node) retold(e *entry) {
	if e != nil && over(e.call) {
		n.history.change(e.call.ID(), func() *connectorpb.CallRecord { return n.record(e) })
	}
}

// Stage implements call.Observer.
func (o *observer) Stage(d call.Direction, s call.Stage, after time.Duration) {
	o.Observer.Stage(d, s, after)
	switch s { //nolint:exhaustive // the others are no events
	case call.StagePreAccepted, call.StageRinging:
		o.pass(2, EventRinging)
	case call.StageAnswered:
		o.pass(3, EventAnswered)
	}
}

// Ended implements call.Observer. The pick-up of a call that was over in the same breath is told of, too.
func (o *observer) Ended(d call.Direction, r call.Reason, talked time.Duration) {
	o.Observer.Ended(d, r, talked)
	if f := o.entry.call.Facts(); !f.AnsweredAt.IsZero() {
		o.pass(3, EventAnswered)
	}
	o.pass(4, EventEnded)
}

// pass tells of an event unless a later one was told. A call that was abandoned before it began has none.
func (o *observer) pass(place int, event string) {
	w := o.node.opts.Watcher
	if w == nil {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.passed >= place || o.passed == 0 && event != EventCreated {
		return
	}
	o.passed = place
	w.CallChanged(event, o.node.record(o.entry))
}
