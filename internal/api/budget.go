package api

import (
	"context"
	"time"
)

// callerMargin is kept of a time limit that the caller named, for the answer's way back.
const callerMargin = 500 * time.Millisecond

// answerBy is when the caller must have its answer, less the way back: limit after the request came in, or earlier if
// the caller said that it waits less. A node gets route.MinBudget all the same.
func (x *exchange) answerBy(ctx context.Context, limit time.Duration) time.Time {
	by := x.received.Add(limit)
	if x.patience > 0 {
		by = earlier(by, x.received.Add(x.patience-callerMargin))
	}
	if deadline, ok := ctx.Deadline(); ok {
		by = earlier(by, deadline.Add(-callerMargin))
	}
	return by
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
