package webhook

import (
	"context"
	"errors"
	"sync"
	"time"
)

var (
	errFull    = errors.New("webhook: the queue is full")
	errClosing = errors.New("webhook: shutting down")
)

// queue holds the events that were taken and are not done, in a lane for each call. A lane has a goroutine while it has
// events, so there are never more goroutines than events, and no call waits for another.
type queue struct {
	size int
	do   func(ctx context.Context, l *lane, e event) (again bool)
	// ctx is that of every event; it ends when Close gives up.
	ctx    context.Context //nolint:containedctx // events outlive the requests that bring them
	giveUp context.CancelFunc

	working sync.WaitGroup // lanes

	mu      sync.Mutex // guards the following fields and those of lanes that say so; never held across I/O
	lanes   map[string]*lane
	memory  *memory
	waiting int // events in lanes, those included that are being done
	closed  bool
	left    []event // what was given up
}

// lane is the queue of one call.
type lane struct {
	// over is closed when the end of the call was heard of. Then end is its terminate, unless that came long before.
	over chan struct{}
	end  *event

	events []event // guarded by queue.mu
	// reported: the end reached the node while the call was being accepted. The lane's goroutine's own.
	reported bool
}

func (l *lane) isOver() bool {
	select {
	case <-l.over:
		return true
	default:
		return false
	}
}

func newQueue(size int, do func(context.Context, *lane, event) bool) *queue {
	q := &queue{size: size, do: do, lanes: make(map[string]*lane), memory: newMemory()}
	q.ctx, q.giveUp = context.WithCancel(context.Background())
	return q
}

func (q *queue) length() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.waiting
}

// admit takes all events, or none and says errFull or errClosing. Those that were taken before, by whatever webhook, come
// back. More events than the queue holds are taken if it is empty: they came in one webhook, and will again. The end of a
// call that others of its events wait for always has room, because it makes room: there is one for each call.
func (q *queue) admit(events []event) (repeated []event, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return nil, errClosing
	}
	type mark struct {
		callID string
		kind   kind
	}
	marks := make(map[mark]bool, len(events))
	fresh := make([]event, 0, len(events))
	needed := 0
	for _, e := range events {
		m := mark{e.callID, e.kind}
		if marks[m] || q.memory.has(e.callID, e.kind) {
			repeated = append(repeated, e)
			continue
		}
		marks[m] = true
		fresh = append(fresh, e)
		if e.kind != kindTerminate || q.lanes[e.callID] == nil {
			needed++
		}
	}
	if needed > 0 && q.waiting > 0 && q.waiting+needed > q.size {
		return nil, errFull
	}
	for _, e := range fresh {
		q.addLocked(e)
	}
	return repeated, nil
}

func (q *queue) addLocked(e event) {
	l := q.lanes[e.callID]
	begin := l == nil
	if begin {
		l = &lane{over: make(chan struct{})}
		q.lanes[e.callID] = l
		if q.memory.over(e.callID) {
			close(l.over)
		}
	}
	q.memory.add(e.callID, e.kind, time.Now())
	if e.kind == kindTerminate && !l.isOver() {
		l.end = &e // before over is closed, and once: the lane's goroutine reads it without the lock
		close(l.over)
	}
	l.events = append(l.events, e)
	q.waiting++
	if begin {
		q.working.Go(func() { q.work(e.callID, l) })
	}
}

// work does a lane's events until there is none.
func (q *queue) work(callID string, l *lane) {
	for {
		q.mu.Lock()
		if len(l.events) == 0 {
			delete(q.lanes, callID)
			q.mu.Unlock()
			return
		}
		e := l.events[0]
		l.events = l.events[1:]
		if q.ctx.Err() != nil {
			q.left = append(q.left, e)
			q.waiting--
			q.mu.Unlock()
			continue
		}
		q.mu.Unlock()
		again := q.do(q.ctx, l, e)
		q.mu.Lock()
		q.waiting--
		if again {
			q.memory.forget(callID, e.kind)
		}
		q.mu.Unlock()
	}
}

// close admits nothing more and waits until all is done; when ctx ends it gives up what was not begun and waits for what
// was. It returns what was given up.
func (q *queue) close(ctx context.Context) (left []event) {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	done := make(chan struct{})
	go func() {
		defer close(done)
		q.working.Wait()
	}()
	select {
	case <-done:
	case <-ctx.Done():
		q.giveUp()
		<-done
	}
	q.giveUp()
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.left
}
