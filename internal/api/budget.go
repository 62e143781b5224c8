package api

import (
	"context"
	"time"

	"github.com/livekit/psrpc"
)

// Budgets: how long after the request came in a node must have answered. SDKs wait 10 s, and 30 s for an Accept with
// wait_until_answered; for a Connect that waits they still give 10 s.
const (
	budget     = 8 * time.Second
	waitBudget = 28 * time.Second
	// busMargin is how much longer than the node's budget the front waits for the answer to come over the bus.
	busMargin = 500 * time.Millisecond
	// callerMargin is kept of a time limit that the caller named, for the answer's way back.
	callerMargin = 500 * time.Millisecond
	// minBudget is left to a node however impatient the caller is: it stands for one request to Meta.
	minBudget = time.Second
)

// answerBy is when the caller must have its answer, less the way back: limit after the request came in, or earlier if
// the caller said that it waits less. It is never less than minBudget from now.
func (x *exchange) answerBy(ctx context.Context, limit time.Duration) time.Time {
	by := x.received.Add(limit)
	if x.patience > 0 {
		by = earlier(by, x.received.Add(x.patience-callerMargin))
	}
	if deadline, ok := ctx.Deadline(); ok {
		by = earlier(by, deadline.Add(-callerMargin))
	}
	if least := time.Now().Add(minBudget); by.Before(least) {
		return least
	}
	return by
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// detach makes the context and time limit for a request to a node. It does not end when the HTTP client goes away:
// Node and Go SDKs close the connection when they lose patience, and Meta's call goes on all the same.
func detach(ctx context.Context, answerBy time.Time) (context.Context, context.CancelFunc, psrpc.RequestOption) {
	limit := time.Until(answerBy) + busMargin
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
	return ctx, cancel, psrpc.WithRequestTimeout(limit)
}
