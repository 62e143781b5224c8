package node

import (
	"context"
	"errors"
	"time"

	"github.com/livekit-connector/livekit-connector/internal/call"
)

// ErrStopping is returned by TakeCalls when the node hangs up, or has hung up, all its calls.
var ErrStopping = errors.New("node: it is going down and takes no calls any more")

// closeTimeout is how long Close lets calls tell Meta of their end.
const closeTimeout = 5 * time.Second

// Draining says whether the node takes no calls.
func (n *Node) Draining() bool { return n.table.closed() }

// RefuseCalls has the node take no calls from now on. Live ones go on, and requests for them are served. Idempotent.
func (n *Node) RefuseCalls() {
	n.table.close()
	n.metrics.available.Set(0)
}

// TakeCalls takes RefuseCalls back. It fails with ErrStopping once HangUpAll was called.
func (n *Node) TakeCalls() error {
	if !n.table.reopen() {
		return ErrStopping
	}
	n.metrics.available.Set(1)
	return nil
}

// WaitEmpty waits until the node holds no call or ctx ends; then it returns the context's cause.
func (n *Node) WaitEmpty(ctx context.Context) error { return n.table.waitEmpty(ctx) }

// Oldest is when the request for the oldest live call came; zero if there is none.
func (n *Node) Oldest() time.Time {
	var oldest time.Time
	for _, e := range n.table.all() {
		if at := e.call.Started(); oldest.IsZero() || at.Before(oldest) {
			oldest = at
		}
	}
	return oldest
}

// HangUpAll ends every call, those included that are only being made: a dial that is with Meta is not cut off, because
// nobody could hang up what came of it. It waits until none is left or ctx ends. Then it has the calls give up telling Meta,
// which only matters to those whose hang-up Meta has not taken yet, and returns the context's cause.
func (n *Node) HangUpAll(ctx context.Context) error {
	n.table.closeForEver()
	n.metrics.available.Set(0)
	n.hangUp(&call.EndError{Reason: call.ReasonShutdown})
	err := n.table.waitEmpty(ctx)
	if err != nil {
		for _, e := range n.table.all() {
			e.call.GiveUp()
		}
	}
	return err
}

// Close ends all calls, waits for them and leaves the bus. Bounded by what the requests for calls and a call's teardown
// are bounded by; calls have a few seconds to tell Meta.
func (n *Node) Close() {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	_ = n.HangUpAll(ctx)
	_ = n.table.waitEmpty(context.Background()) // before tasks: a request that was admitted may still add one
	close(n.closing)
	n.tasks.Wait()
	n.server.Shutdown()
}

// close admits no more calls until reopen.
func (t *table) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.shut = true
}

// closeForEver admits no more calls: whoever was not admitted before never will be.
func (t *table) closeForEver() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.shut, t.final = true, true
}

// reopen takes close back. It reports whether that is possible.
func (t *table) reopen() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.final {
		t.shut = false
	}
	return !t.final
}

func (t *table) closed() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.shut
}
