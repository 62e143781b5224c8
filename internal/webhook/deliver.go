package webhook

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	mathrand "math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/livekit-connector/livekit-connector/internal/panics"
)

const (
	forwardTries = 10 // within four to ten minutes
	firstBackoff = time.Second
)

// statusError is an answer that is not 2xx.
type statusError int

func (e statusError) Error() string { return fmt.Sprintf("answered with status %d", int(e)) }

// final says that another try of the same webhook would be answered likewise: the status speaks of the webhook. Others, 404
// among them, may speak of a receiver that is being set up.
func (e statusError) final() bool {
	switch int(e) {
	case http.StatusBadRequest, http.StatusMethodNotAllowed, http.StatusNotAcceptable, http.StatusGone,
		http.StatusRequestEntityTooLarge, http.StatusRequestURITooLong, http.StatusUnsupportedMediaType,
		http.StatusUnprocessableEntity, http.StatusRequestHeaderFieldsTooLarge:
		return true
	default:
		return false
	}
}

// work passes on what is to be passed on now. A webhook that waits for another try does so elsewhere: a receiver that
// cannot take some of them gets the others at once.
func (f *forwards) work(to *forward) {
	for j := range to.jobs {
		outcome := f.deliver(to, j)
		if outcome == forwardRetried {
			f.metrics.forward(outcome)
			if f.again(to, j) {
				continue
			}
			outcome = f.deliver(to, j) // the connector ends: there is no later
		}
		f.metrics.forward(outcome)
		to.done(j, outcome)
	}
}

// deliver is one try and what it came to; forwardRetried asks for another.
func (f *forwards) deliver(to *forward, j *job) (outcome string) {
	defer f.panics.Recover(panics.Webhook, f.log.With("delivery", j.id), func() { outcome = forwardFailed })
	last := f.isClosing()
	err := f.post(to, j)
	j.tries++
	if status, ok := errors.AsType[statusError](err); ok && status.final() {
		f.observe(to, nil) // it is there, and answers
		if first, more := to.refusals.Due(time.Now()); first {
			f.log.Warn("webhook was refused and is not passed on again", "url", to.place, "delivery", j.id, "error", err, "refusedBefore", more)
		}
		return forwardFailed
	}
	f.observe(to, err)
	switch {
	case err == nil:
		return forwardDone
	case last || f.ctx.Err() != nil:
		return forwardLeft
	case j.tries >= forwardTries:
		f.log.Error("webhook could not be passed on", "url", to.place, "delivery", j.id, "tries", j.tries, "error", err)
		return forwardFailed
	}
	f.log.Debug("webhook is passed on again", "url", to.place, "delivery", j.id, "try", j.tries, "error", err)
	return forwardRetried
}

// again has a webhook tried again after a pause: 1 s and then ever longer, within half of that at random. It returns false
// if the connector ends. close stops the timer.
func (f *forwards) again(to *forward, j *job) bool {
	whole := firstBackoff << (j.tries - 1)
	pause := whole/2 + mathrand.N(whole/2) //nolint:gosec // G404: spreads load
	to.mu.Lock()
	defer to.mu.Unlock()
	if to.closed {
		return false
	}
	to.later[j] = time.AfterFunc(pause, func() {
		to.mu.Lock()
		defer to.mu.Unlock()
		if _, waits := to.later[j]; waits {
			delete(to.later, j)
			to.jobs <- j // has room
		}
	})
	return true
}

// done forgets a webhook.
func (to *forward) done(j *job, outcome string) {
	to.mu.Lock()
	defer to.mu.Unlock()
	to.bytes -= len(j.body)
	to.count--
	if outcome == forwardLeft {
		to.left++
	}
}

func (f *forwards) isClosing() bool {
	select {
	case <-f.closing:
		return true
	default:
		return false
	}
}

// post is one request.
func (f *forwards) post(to *forward, j *job) error {
	req, err := http.NewRequestWithContext(f.ctx, http.MethodPost, to.url, bytes.NewReader(j.body))
	if err != nil {
		return errors.New("the URL cannot be used")
	}
	maps.Copy(req.Header, j.header)
	at := strconv.FormatInt(time.Now().Unix(), 10)
	req.Header.Set("User-Agent", "livekit-connector")
	req.Header.Set(HeaderTimestamp, at)
	req.Header.Set(HeaderDelivery, j.id)
	if to.secret != "" {
		req.Header.Set(HeaderSignature, SignForward(j.body, at, to.secret))
	}
	res, err := f.client.Do(req)
	if err != nil {
		if failed, ok := errors.AsType[*url.Error](err); ok {
			err = failed.Err // without the URL
		}
		return fmt.Errorf("post: %w", err)
	}
	_, _ = io.CopyN(io.Discard, res.Body, 64<<10) // so that the connection can be used again
	_ = res.Body.Close()
	if res.StatusCode/100 != 2 {
		return statusError(res.StatusCode)
	}
	return nil
}

// observe logs when a URL begins to fail and when it is well again, rather than every try.
func (f *forwards) observe(to *forward, err error) {
	to.mu.Lock()
	changed := to.down != (err != nil)
	to.down = err != nil
	to.mu.Unlock()
	switch {
	case !changed:
	case err != nil:
		f.log.Warn("webhooks cannot be passed on; they are tried again for a while", "url", to.place, "error", err)
	default:
		f.log.Info("webhooks are passed on again", "url", to.place)
	}
}
