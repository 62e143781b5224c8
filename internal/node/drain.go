package node

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/livekit-connector/livekit-connector/internal/call"
)

// ErrStopping is returned by TakeCalls when the node hangs up, or has hung up, all its calls.
var ErrStopping = errors.New("node: it is going down and takes no calls any more")

// closeTimeout is how long Close lets calls tell Meta of their end.
const closeTimeout = 5 * time.Second

// LeftError says that calls did not end in time.
type LeftError struct {
	// Calls is how many were left, those included that were only being made.
	Calls int
	// Cause says why nobody waited longer.
	Cause error
}

func (e *LeftError) Error() string {
	return fmt.Sprintf("node: calls that did not end: %d: %v", e.Calls, e.Cause)
}
func (e *LeftError) Unwrap() error { return e.Cause }

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
// which only matters to those whose hang-up Meta has not taken yet, and returns a *LeftError with the context's cause.
func (n *Node) HangUpAll(ctx context.Context) error {
	n.table.closeForEver()
	n.metrics.available.Set(0)
	n.hangUp(&call.EndError{Reason: call.ReasonShutdown})
	cause := n.table.waitEmpty(ctx)
	if cause == nil {
		return nil
	}
	left := n.table.size() // before they give up, after which they end at once
	for _, e := range n.table.everyone() {
		e.call.GiveUp()
	}
	if left == 0 {
		return nil
	}
	return &LeftError{Calls: left, Cause: cause}
}

// Close ends all calls, waits for them and leaves the bus. Calls have a few seconds to tell Meta. If some are left when ctx ends
// the log names them, and Close returns a *LeftError without waiting for their goroutines.
func (n *Node) Close(ctx context.Context) error {
	hangUp, cancel := context.WithTimeout(ctx, closeTimeout)
	defer cancel()
	_ = n.HangUpAll(hangUp)
	cause := n.table.waitEmpty(ctx) // before tasks: a request that was admitted may still add one
	close(n.closing)
	if cause != nil && n.table.size() > 0 {
		n.server.Kill() // it would wait for the requests of calls that are being made
		return n.left(cause)
	}
	n.tasks.Wait()
	n.server.Shutdown()
	return nil
}

// left names the calls that do not end, and counts them with those that have no name yet.
func (n *Node) left(cause error) error {
	calls := n.table.size()
	for _, e := range n.table.everyone() {
		state, since := e.call.State()
		n.log.Error("call left at the end", "callID", e.call.ID(), "state", state.String(), "since", since, "error", e.call.Err())
	}
	return &LeftError{Calls: calls, Cause: cause}
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
