package whatsapp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"
)

const (
	firstBackoff = 200 * time.Millisecond
	maxBackoff   = 5 * time.Second
	minAttempt   = time.Second // an attempt gets this much even if its context has less than twice that left
)

// untilDone is the attempt budget of a hang-up: the context alone ends it.
const untilDone = 0

type verdict int

const (
	stop  verdict = iota // the error is the result
	again                // the same bytes once more
	done                 // the error means success
)

// once sends r one single time.
func (c *Client) once(ctx context.Context, r *request) ([]byte, error) {
	body, f := c.attempt(ctx, r, c.attemptTimeout, false)
	if f != nil {
		return nil, r.failed(f.cause, f.unknown)
	}
	return body, nil
}

// repeat sends r until it took, judge stops it, budget attempts are used up or ctx ends.
func (c *Client) repeat(ctx context.Context, r *request, budget int, judge func(f *failure) verdict) ([]byte, error) {
	maybe := false
	for n := 1; ; n++ {
		body, f := c.attempt(ctx, r, c.attemptTime(ctx), maybe)
		if f == nil {
			return body, nil
		}
		what := judge(f)
		if what == done {
			return nil, nil
		}
		maybe = maybe || f.unknown
		if what == stop || n == budget {
			return nil, r.failed(f.cause, maybe)
		}

		pause := max(backoff(n), f.retryAfter)
		c.log.LogAttrs(ctx, slog.LevelWarn, "repeating graph request", slog.String("action", r.action), slog.String("callID", r.callID),
			slog.Int("attempt", n), slog.Duration("pause", pause), slog.Any("error", f.cause))
		if err := sleep(ctx, pause); err != nil {
			return nil, r.failed(fmt.Errorf("%w after %d attempts, the last: %w", err, n, f.cause), maybe)
		}
	}
}

// attemptTime leaves room for one more attempt before ctx ends.
func (c *Client) attemptTime(ctx context.Context) time.Duration {
	deadline, ok := ctx.Deadline()
	if !ok {
		return c.attemptTimeout
	}
	return min(c.attemptTimeout, max(time.Until(deadline)/2, minAttempt))
}

// backoff is the pause after attempt n: doubling, between half and all of it at random so that calls that failed together do not come
// back together.
func backoff(n int) time.Duration {
	full := maxBackoff
	if n <= 5 {
		full = min(firstBackoff<<(n-1), maxBackoff)
	}
	return full/2 + rand.N(full/2) //nolint:gosec // jitter, no secret
}

// sleep waits for d, or returns at once if ctx ends before that: nothing could be sent any more.
func sleep(ctx context.Context, d time.Duration) error {
	if ctx.Err() != nil {
		return contextError(ctx)
	}
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) <= d {
		return fmt.Errorf("no time for another attempt: %w", context.DeadlineExceeded)
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return contextError(ctx)
	}
}

// failed builds the error that leaves the package. maybe says that some attempt may have been carried out.
func (r *request) failed(cause error, maybe bool) error {
	var e *APIError
	switch answered := errors.As(cause, &e); {
	case answered && r.answers() && e.saysOver():
		return fmt.Errorf("graph %s: %w: %w", r.action, ErrCallOver, cause)
	case answered && r.answers() && e.saysSDP() && e.HTTPStatus < 500:
		// Had an earlier attempt with this SDP been taken, Meta would not refuse the same SDP now.
		return fmt.Errorf("graph %s: %w", r.action, cause)
	case maybe && r.method != "GET":
		return fmt.Errorf("graph %s: %w: %w", r.action, ErrOutcomeUnknown, cause)
	default:
		return fmt.Errorf("graph %s: %w", r.action, cause)
	}
}

// alreadyDone says whether f, after an attempt that may have been carried out, tells that it was.
func (r *request) alreadyDone(f *failure) bool {
	var e *APIError
	return r.answers() && errors.As(f.cause, &e) && e.saysActive()
}

func (r *request) answers() bool { return r.action == ActionPreAccept || r.action == ActionAccept }

// judgeAnswer is for pre_accept and accept. "In progress" after a try whose response was lost means that this try took. Any other
// refusal then stays an error with an unknown outcome: whether media flows tells.
func judgeAnswer(f *failure) verdict {
	switch {
	case f.outcome == OutcomeAlreadyDone:
		return done
	case f.transient:
		return again
	default:
		return stop
	}
}

// judgeHangup is for reject and terminate: whatever is not a refusal with a reason is tried again, also a server error with a calling
// code and a response that something else than Graph gave.
func judgeHangup(f *failure) verdict {
	if f.outcome == OutcomeAlreadyOver {
		return done
	}
	var e *APIError
	if !errors.As(f.cause, &e) {
		if f.transient {
			return again
		}
		return stop
	}
	strange := e.Code == 0 && e.Remedy() != RemedyOperator
	if f.transient || strange || e.HTTPStatus >= 500 {
		return again
	}
	return stop
}

// judgeRead is for GET requests.
func judgeRead(f *failure) verdict {
	if f.transient {
		return again
	}
	return stop
}
