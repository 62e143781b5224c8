package fakemeta

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"time"
)

// dispatcher delivers updates. It owns one goroutine per update and one per request that must be repeated; close
// ends and awaits them.
type dispatcher struct {
	ctx     context.Context //nolint:containedctx // the lifetime of the goroutines it owns
	cancel  context.CancelFunc
	running sync.WaitGroup
	client  *http.Client
	timing  Timing
	log     *slog.Logger
	publish func(Event)
	mode    func() Delivery

	mu      sync.Mutex
	closed  bool
	lanes   map[string]*lane
	batches map[*number][]*update
}

// lane orders the updates of one call.
type lane struct {
	last    chan struct{}            // closed when the update queued last was answered
	said    map[string]chan struct{} // by event, closed when it was answered once
	pending int
}

func (l *lane) event(name string) chan struct{} {
	c, ok := l.said[name]
	if !ok {
		c = make(chan struct{})
		l.said[name] = c
	}
	return c
}

func newDispatcher(client *http.Client, timing Timing, log *slog.Logger, mode func() Delivery, publish func(Event)) *dispatcher {
	d := &dispatcher{
		client: client, timing: timing, log: log, mode: mode, publish: publish,
		lanes: map[string]*lane{}, batches: map[*number][]*update{},
	}
	d.ctx, d.cancel = context.WithCancel(context.Background())
	return d
}

func (d *dispatcher) close() {
	d.mu.Lock()
	d.closed = true
	d.mu.Unlock()
	d.cancel()
	d.running.Wait()
}

// spawn runs f in a goroutine of its own, unless the dispatcher is closed.
func (d *dispatcher) spawn(f func()) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return false
	}
	d.running.Go(f)
	return true
}

// send queues an update. The channel is closed when it was answered, or never will be.
func (d *dispatcher) send(u *update) <-chan struct{} {
	answered := make(chan struct{})
	mode := d.mode()
	rule := mode.rule(u)
	if rule.Drop {
		d.log.Debug("webhook dropped", slog.String("event", u.event), slog.String("callID", u.callID))
		close(answered)
		return answered
	}
	d.mu.Lock()
	l := d.lanes[u.callID]
	if l == nil {
		l = &lane{said: map[string]chan struct{}{}}
		d.lanes[u.callID] = l
	}
	l.pending++
	before := l.last
	if inOrder := rule.Delay == 0 && rule.After == ""; !inOrder || mode.Parallel {
		before = nil
	} else {
		l.last = answered
	}
	d.mu.Unlock()
	if !d.spawn(func() { d.run(u, rule, l, before, answered) }) {
		close(answered)
	}
	return answered
}

// run brings one update to its end: its turn, its first delivery, its copies.
func (d *dispatcher) run(u *update, rule DeliveryRule, l *lane, before <-chan struct{}, answered chan struct{}) {
	defer d.leave(u, l)
	d.await(u, rule.After, rule.Delay)
	if before != nil {
		// A slow listener may not hold back what comes next: Meta's requests are independent of each other.
		head := time.NewTimer(d.timing.WebhookHeadStart)
		select {
		case <-before:
		case <-head.C:
		case <-d.ctx.Done():
		}
		head.Stop()
	}
	d.deliver(u)
	close(answered)
	d.mark(l, u.event)
	for range rule.Copies {
		d.await(u, rule.CopyAfter, rule.CopyDelay)
		d.deliver(u)
	}
}

// await waits for an event of the same call and then for a delay.
func (d *dispatcher) await(u *update, event string, delay time.Duration) {
	if event != "" {
		d.mu.Lock()
		said := d.lanes[u.callID].event(event)
		d.mu.Unlock()
		select {
		case <-said:
		case <-d.ctx.Done():
		}
	}
	_ = sleep(d.ctx, delay) // closing: deliver notices
}

func (d *dispatcher) mark(l *lane, event string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	said := l.event(event)
	select {
	case <-said:
	default:
		close(said)
	}
}

// leave forgets a call that ended and has nothing left to say.
func (d *dispatcher) leave(u *update, l *lane) {
	d.mu.Lock()
	defer d.mu.Unlock()
	l.pending--
	if _, ended := l.said["terminate"]; ended && l.pending == 0 {
		delete(d.lanes, u.callID)
	}
}

// deliver sends an update, alone or in a batch, and returns when the listener answered the first time.
func (d *dispatcher) deliver(u *update) {
	mode := d.mode()
	if mode.BatchWindow <= 0 {
		d.post(u.number, mode, []*update{u})
		return
	}
	d.mu.Lock()
	first := len(d.batches[u.number]) == 0
	d.batches[u.number] = append(d.batches[u.number], u)
	d.mu.Unlock()
	if !first {
		return
	}
	_ = sleep(d.ctx, mode.BatchWindow)
	d.mu.Lock()
	batch := d.batches[u.number]
	delete(d.batches, u.number)
	d.mu.Unlock()
	d.post(u.number, mode, batch)
}

// post makes one request of updates and repeats it in the background until it is acknowledged.
func (d *dispatcher) post(n *number, mode Delivery, updates []*update) {
	if d.ctx.Err() != nil {
		return
	}
	payload := assemble(n, mode, updates)
	body, err := encode(payload, mode.EscapeSlashes)
	if err != nil {
		d.log.Error("webhook not encodable", slog.Any("error", err))
		return
	}
	if mode.OtherTypes {
		body = otherTypes(body)
	}
	signature := Signature(body, n.AppSecret)
	switch {
	case mode.NoSignature:
		signature = ""
	case mode.WrongSignature:
		signature = Signature(body, n.AppSecret+"?")
	}
	d.publish(Event{Time: time.Now(), PhoneNumberID: n.PhoneNumberID, Body: body, Payload: *payload, Signature: signature})
	if n.WebhookURL == "" {
		return
	}
	r := &webhook{number: n, body: body, signature: signature, log: d.log}
	for _, u := range updates {
		r.events = append(r.events, u.event)
	}
	if i := updates[0].index; i > 0 {
		r.log = r.log.With(slog.Int("call", i))
	}
	if d.attempt(r, 1) {
		return
	}
	d.spawn(func() { d.repeat(r) })
}

// webhook is one request to a listener.
type webhook struct {
	number    *number
	body      []byte
	signature string
	events    []string
	log       *slog.Logger
}

// repeat is what Meta does about a webhook that was not acknowledged: again, less and less often.
func (d *dispatcher) repeat(r *webhook) {
	wait := d.timing.WebhookBackoff
	for try := 2; try <= d.timing.WebhookAttempts; try++ {
		if sleep(d.ctx, wait) != nil || d.attempt(r, try) {
			return
		}
		wait *= 2
	}
	r.log.Warn("webhook given up", "events", r.events)
}

// attempt makes the request once and reports whether it was acknowledged.
func (d *dispatcher) attempt(r *webhook, try int) bool {
	ctx, cancel := context.WithTimeout(d.ctx, d.timing.WebhookTimeout)
	defer cancel()
	log := r.log.With("events", r.events, "attempt", try)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.number.WebhookURL, bytes.NewReader(r.body))
	if err != nil {
		log.Error("webhook URL unusable", slog.Any("error", err))
		return true
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "facebookexternalua")
	if r.signature != "" {
		req.Header.Set("X-Hub-Signature-256", r.signature)
	}
	start := time.Now()
	res, err := d.client.Do(req)
	if err != nil {
		if d.ctx.Err() == nil {
			log.Warn("webhook not delivered", slog.Any("error", err))
		}
		return false
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, 1<<20))
	_ = res.Body.Close()
	log.Info("webhook delivered", slog.Int("status", res.StatusCode), slog.Duration("took", time.Since(start).Round(time.Millisecond)))
	return res.StatusCode/100 == 2
}

// sleep waits for d or until ctx ends; then it returns the context's error.
func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
