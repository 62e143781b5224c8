// Package notify tells the operator's own servers what becomes of calls: call.created, call.ringing, call.answered and
// call.ended are posted to the configured URLs as LiveKit's webhooks are, signed so that the WebhookReceiver of LiveKit's
// SDKs takes them.
//
// Events of one call reach one URL in order; calls do not wait for each other, and neither do URLs. An event that a URL
// does not take is tried again for a while, and so are, behind it, the later ones of its call. Every URL has a queue of
// its own, bounded: a receiver that is down for long costs events, never memory and never a call.
//
// An event may arrive more than once, with the same id: the receiver took it, and its answer got lost.
package notify

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/livekit-connector/livekit-connector/internal/outbound"
	"github.com/livekit-connector/livekit-connector/internal/panics"
	"github.com/livekit-connector/livekit-connector/proto/connectorpb"
)

// Event is what happened to a call.
type Event string

// The events of a call, in their order. Only Created and Ended come for every call.
const (
	// Created: Meta offered the call and it is being answered, or Meta took our offer.
	Created Event = "call.created"
	// Ringing: the phone of an outbound call rings; of an inbound call, Meta heard that it will be answered.
	Ringing Event = "call.ringing"
	// Answered: both sides can talk.
	Answered Event = "call.answered"
	// Ended: the call is over; its record is final.
	Ended Event = "call.ended"
)

// Events lists all events.
func Events() []Event { return []Event{Created, Ringing, Answered, Ended} }

// AllowInsecureKey is the key of the configuration that permits http to other machines than this one.
const AllowInsecureKey = "events.allow_insecure"

// dialTimeout bounds the making of a connection.
const dialTimeout = 10 * time.Second

// Options are what a Notifier needs. All fields are required but those that say otherwise.
type Options struct {
	// URLs are told of every call. See outbound.CheckURL for what they may be.
	URLs []string
	// AllowInsecure permits http to other machines than this one.
	AllowInsecure bool
	// APIKey and APISecret sign the events.
	APIKey, APISecret string
	// Timeout bounds one attempt, the receiver's answer included.
	Timeout time.Duration
	// MaxAttempts is how often one event is posted to one URL at most.
	MaxAttempts int
	// MaxAge is how old an event may be when it is posted again. One attempt is made whatever the age.
	MaxAge time.Duration
	// Queue is how many events may wait for one URL, those included that are being posted.
	Queue int
	// Transport makes the requests; nil is one of the Notifier's own.
	Transport http.RoundTripper
	// Panics counts mistakes that cost an event; may be nil.
	Panics     *panics.Counter
	Registerer prometheus.Registerer
	Logger     *slog.Logger
}

// Notifier posts events. Make it with New, end it with Close.
type Notifier struct {
	log       *slog.Logger
	metrics   *metrics
	receivers []*receiver
	// idle closes the connections that are kept for the next event.
	idle func()

	cancel context.CancelFunc
	// closing is closed when no more events are taken and those that wait have to hurry.
	closing   chan struct{}
	closeOnce sync.Once
	tasks     sync.WaitGroup // one for each call and URL with events to deliver
}

// New checks the URLs; it makes no request. An error does not show more of a URL than its place in Options.URLs.
func New(opts Options) (*Notifier, error) {
	n := &Notifier{
		log: opts.Logger, metrics: newMetrics(opts.Registerer), closing: make(chan struct{}), idle: func() {},
	}
	transport := opts.Transport
	if transport == nil {
		own := outbound.NewTransport(parallel, dialTimeout)
		transport, n.idle = own, own.CloseIdleConnections
	}
	client := outbound.NewClient(transport, 0) // every attempt has its own deadline
	ctx, cancel := context.WithCancel(context.Background())
	n.cancel = cancel
	var errs []error
	for i, text := range opts.URLs {
		if err := outbound.CheckURL(text, opts.AllowInsecure, AllowInsecureKey); err != nil {
			errs = append(errs, fmt.Errorf("url %d of the events: %w", i+1, err))
			continue
		}
		n.receivers = append(n.receivers, &receiver{
			n: n, ctx: ctx, url: text, client: client, log: opts.Logger.With("url", outbound.Place(text)),
			opts: &opts, slots: make(chan struct{}, parallel), lanes: make(map[string][]*delivery),
		})
	}
	return n, errors.Join(errs...)
}

// CallChanged queues an event, named as in Events, with what is known of the call. It does not block and keeps nothing of
// r. Whoever calls it does so in the order of the call's events.
func (n *Notifier) CallChanged(event string, r *connectorpb.CallRecord) {
	d, err := newDelivery(Event(event), r)
	if err != nil { // a mistake in the program
		n.log.Error("event cannot be written", "event", event, "callID", r.GetCallId(), "error", err)
		return
	}
	for _, to := range n.receivers {
		to.add(d)
	}
}

// Close takes no more events and waits until those that are queued have been posted or ctx ends. In that time failed
// attempts are repeated without long pauses. It returns how many events were lost because of the end, which is logged
// and counted too.
func (n *Notifier) Close(ctx context.Context) int {
	n.closeOnce.Do(func() {
		for _, r := range n.receivers {
			r.close()
		}
		close(n.closing)
	})
	defer n.idle()
	defer n.cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		n.tasks.Wait()
	}()
	select {
	case <-done:
	case <-ctx.Done():
		n.cancel()
		<-done
	}
	lost := 0
	for _, r := range n.receivers {
		lost += r.left()
	}
	if lost > 0 {
		n.log.Warn("events were left at the end and are lost", "events", lost)
	}
	return lost
}
