package notify

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	"github.com/livekit-connector/livekit-connector/internal/panics"
)

const (
	// parallel is how many requests one URL gets at once.
	parallel = 16
	// firstPause is that before the second attempt; each later one doubles up to longestPause.
	firstPause, longestPause = time.Second, time.Minute
	// hurry is the longest pause while the connector ends.
	hurry = 500 * time.Millisecond
	// answerSize is how much of an answer is read so that the connection can be used again.
	answerSize = 64 << 10
)

// receiver is one URL with the events that wait for it.
type receiver struct {
	n      *Notifier
	opts   *Options
	ctx    context.Context //nolint:containedctx // deliveries outlive the calls that cause them; Notifier.Close ends it
	url    string
	client *http.Client
	log    *slog.Logger
	// slots bounds the requests that are made at once.
	slots chan struct{}

	mu sync.Mutex // guards all following fields
	// lanes holds what is to be delivered for each call, in order; the first is being delivered. A lane is there as long
	// as its goroutine.
	lanes  map[string][]*delivery
	queued int
	lost   int
	closed bool
	down   bool // the last attempt failed, and that was logged
}

// add queues an event behind those of its call.
func (r *receiver) add(d *delivery) {
	if o, ok := r.queue(d); !ok {
		r.finish(d, o, nil)
	}
}

// queue says what becomes of an event that cannot be queued.
func (r *receiver) queue(d *delivery) (outcome, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.closed:
		r.lost++
		return abandoned, false
	case r.queued >= r.opts.Queue:
		return overflow, false
	}
	r.queued++
	r.n.metrics.queued.Inc()
	lane, running := r.lanes[d.callID]
	r.lanes[d.callID] = append(lane, d)
	if !running {
		r.n.tasks.Go(func() { r.run(d.callID) })
	}
	return "", true
}

// run delivers a call's events one after the other until none is left.
func (r *receiver) run(callID string) {
	for d := r.first(callID); d != nil; d = r.next(callID) {
		o, err := r.tryDeliver(d)
		if o == abandoned {
			r.abandon()
		}
		r.finish(d, o, err)
	}
}

// tryDeliver is deliver, which must not end the process whatever it comes upon.
func (r *receiver) tryDeliver(d *delivery) (o outcome, err error) {
	defer r.opts.Panics.Recover(panics.Event, r.log, func() { o, err = failed, &panics.Error{Place: panics.Event} })
	return r.deliver(d)
}

// abandon counts an event that was left at the end.
func (r *receiver) abandon() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lost++
}

func (r *receiver) first(callID string) *delivery {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.lanes[callID][0]
}

// next takes the event that was dealt with out of its lane, and the lane away if it was the last.
func (r *receiver) next(callID string) *delivery {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.queued--
	r.n.metrics.queued.Dec()
	lane := r.lanes[callID][1:]
	if len(lane) == 0 {
		delete(r.lanes, callID)
		return nil
	}
	r.lanes[callID] = lane
	return lane[0]
}

// close takes no more events.
func (r *receiver) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
}

// left is how many events the end of the connector cost.
func (r *receiver) left() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.lost
}

// finish counts what became of an event, and logs it if it is lost. Nothing of its content is told.
func (r *receiver) finish(d *delivery, o outcome, err error) {
	r.n.metrics.done(d, o)
	if o == delivered {
		return
	}
	attrs := []any{"event", string(d.event), "callID", d.callID, "outcome", string(o)}
	if err != nil {
		attrs = append(attrs, "error", err)
	}
	r.log.Warn("event is lost", attrs...)
}

// deliver posts an event until it is taken or there is no hope.
func (r *receiver) deliver(d *delivery) (outcome, error) {
	for try := 1; ; try++ {
		err := r.attempt(d)
		if err == nil {
			r.observe(nil)
			return delivered, nil
		}
		if r.ctx.Err() != nil {
			return abandoned, err
		}
		status, answered := errors.AsType[*statusError](err)
		if answered && !status.temporary() {
			return refused, err
		}
		r.observe(err)
		pause := pauseAfter(try)
		if answered {
			pause = max(pause, min(status.retryAfter, longestPause))
		}
		if try >= r.opts.MaxAttempts || time.Since(d.at)+pause > r.opts.MaxAge {
			return failed, fmt.Errorf("attempt %d: %w", try, err)
		}
		r.log.Debug("event is tried again", "event", string(d.event), "callID", d.callID, "attempt", try, "pause", pause, "error", err)
		if !r.pause(pause) {
			return abandoned, err
		}
	}
}

// observe logs when the receiver begins to fail and when it is well again, rather than every attempt.
func (r *receiver) observe(err error) {
	r.mu.Lock()
	changed := r.down != (err != nil)
	r.down = err != nil
	r.mu.Unlock()
	switch {
	case !changed:
	case err != nil:
		r.log.Warn("a receiver of events fails; events are tried again for a while", "error", err)
	default:
		r.log.Info("a receiver of events takes them again")
	}
}

// attempt posts an event once.
func (r *receiver) attempt(d *delivery) error {
	select {
	case r.slots <- struct{}{}:
		defer func() { <-r.slots }()
	case <-r.ctx.Done():
		return context.Cause(r.ctx)
	}
	token, err := d.sign(r.opts.APIKey, r.opts.APISecret)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(r.ctx, r.opts.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.url, bytes.NewReader(d.body))
	if err != nil {
		return errors.New("the URL makes no request") // the error itself would show it
	}
	req.Header.Set("Content-Type", contentType)
	req.Header.Set("Authorization", token)
	req.Header.Set("User-Agent", "livekit-connector")
	res, err := r.client.Do(req)
	if err != nil {
		return fmt.Errorf("post the event: %w", withoutURL(err))
	}
	defer res.Body.Close()
	_, _ = io.CopyN(io.Discard, res.Body, answerSize) // the status is what counts
	if res.StatusCode < 200 || res.StatusCode > 299 {
		return &statusError{code: res.StatusCode, retryAfter: retryAfter(res.Header)}
	}
	return nil
}

// withoutURL takes off the part of an error that quotes the URL.
func withoutURL(err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		return e.Err
	}
	return err
}

// pauseAfter is how long to wait after an attempt, the first being 1: a quarter more or less than the doubling says, so
// that calls that failed together do not come back together.
func pauseAfter(try int) time.Duration {
	d := longestPause
	if try < 7 { // 2^6 seconds are longer than the longest
		d = firstPause << (try - 1)
	}
	return d*3/4 + rand.N(d/2) //nolint:gosec // spreads load, hides nothing
}

// pause waits, shorter once the connector ends, and says whether to go on.
func (r *receiver) pause(d time.Duration) bool {
	until := time.Now().Add(d)
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-r.ctx.Done():
		return false
	case <-r.n.closing:
		timer.Reset(min(time.Until(until), hurry))
	}
	select {
	case <-timer.C:
		return true
	case <-r.ctx.Done():
		return false
	}
}

// retryAfter reads RFC 9110 section 10.2.3, seconds only; zero if there is nothing to read.
func retryAfter(h http.Header) time.Duration {
	n, err := strconv.Atoi(h.Get("Retry-After"))
	if err != nil || n < 0 {
		return 0
	}
	return time.Duration(min(n, 3600)) * time.Second
}

// statusError is an answer that is no success.
type statusError struct {
	code       int
	retryAfter time.Duration
}

func (e *statusError) Error() string {
	if e.code >= 300 && e.code < 400 {
		return fmt.Sprintf("the receiver answered %d; redirects are not followed, configure the URL it leads to", e.code)
	}
	return fmt.Sprintf("the receiver answered %d %s", e.code, http.StatusText(e.code))
}

// temporary says whether the same request may succeed later.
func (e *statusError) temporary() bool {
	return e.code >= 500 || e.code == http.StatusTooManyRequests || e.code == http.StatusRequestTimeout
}
