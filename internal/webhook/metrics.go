package webhook

import (
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// What became of a request. These are metric labels.
const (
	webhookTaken         = "taken"
	webhookUnknown       = "unknown" // signed, but not of a WhatsApp business account
	webhookVerified      = "verified"
	webhookVerifyRefused = "verification_refused"
	webhookMethod        = "method"
	webhookEncoded       = "encoded"
	webhookTooLarge      = "too_large"
	webhookTruncated     = "truncated"
	webhookUnsigned      = "unsigned"
	webhookForged        = "forged"
	webhookBusy          = "busy" // too many bodies at once
	webhookFull          = "full"
	webhookClosing       = "closing"
	webhookLimited       = "limited" // it proved nothing, and its address failed too often
)

var webhookOutcomes = []string{
	webhookTaken, webhookUnknown, webhookVerified, webhookVerifyRefused, webhookMethod, webhookEncoded, webhookTooLarge,
	webhookTruncated, webhookUnsigned, webhookForged, webhookBusy, webhookFull, webhookClosing,
	webhookLimited,
}

// What became of a webhook that is to be passed on, or of one try of it.
const (
	forwardDone    = "done"
	forwardRetried = "retried" // a try failed, another follows
	forwardFailed  = "failed"  // the last try failed
	forwardDropped = "dropped" // the queue is full
	forwardLeft    = "left"    // not passed on at shutdown
)

var forwardOutcomes = []string{forwardDone, forwardRetried, forwardFailed, forwardDropped, forwardLeft}

type metrics struct {
	webhooks *prometheus.CounterVec
	answered prometheus.Histogram
	events   *prometheus.CounterVec
	lag      prometheus.Histogram
	forwards *prometheus.CounterVec
}

// newMetrics makes every series at once, so that a rate over what never happened is zero and not missing.
func newMetrics(reg prometheus.Registerer, waiting, forwarding func() int) (*metrics, error) {
	const namespace = "livekit_connector"
	m := &metrics{
		webhooks: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: namespace, Name: "webhooks_total", Help: "Requests to the webhook's path, by outcome.",
		}, []string{"outcome"}),
		answered: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: namespace, Name: "webhook_response_seconds", Help: "Time from a webhook's header to its answer.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, 1, 5, 20},
		}),
		events: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: namespace, Name: "webhook_events_total", Help: "Events of calls in Meta's webhooks, by event and outcome.",
		}, []string{"event", "outcome"}),
		lag: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: namespace, Name: "webhook_event_lag_seconds", Help: "From when Meta says that something happened, in whole seconds, to the arrival of its webhook.",
			Buckets: []float64{1, 2, 3, 5, 10, 20, 30, 60, 300, 3600},
		}),
		forwards: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: namespace, Name: "webhook_forwards_total", Help: "Webhooks passed on, one for each URL, by outcome; failed tries that are repeated are retried.",
		}, []string{"outcome"}),
	}
	for _, o := range webhookOutcomes {
		m.webhooks.WithLabelValues(o)
	}
	for _, k := range kinds {
		for _, o := range outcomes {
			m.events.WithLabelValues(string(k), string(o))
		}
	}
	for _, o := range forwardOutcomes {
		m.forwards.WithLabelValues(o)
	}
	if reg == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{
		m.webhooks, m.answered, m.events, m.lag, m.forwards,
		gauge("webhook_queue_length", "Events of calls that were taken and are not done.", waiting),
		gauge("webhook_forward_queue_length", "Webhooks that are not passed on yet, all URLs together.", forwarding),
	} {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("register metrics: %w", err)
		}
	}
	return m, nil
}

func gauge(name, help string, value func() int) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "livekit_connector", Name: name, Help: help},
		func() float64 { return float64(value()) })
}

func (m *metrics) webhook(outcome string, took time.Duration) {
	m.webhooks.WithLabelValues(outcome).Inc()
	m.answered.Observe(took.Seconds())
}

// event counts what became of an event. How late Meta told of it counts once, not for repetitions.
func (m *metrics) event(e *event, o outcome) {
	m.events.WithLabelValues(string(e.kind), string(o)).Inc()
	if !e.at.IsZero() && o != outcomeDuplicate {
		m.lag.Observe(max(0, e.received.Sub(e.at).Seconds()))
	}
}

func (m *metrics) forward(outcome string) { m.forwards.WithLabelValues(outcome).Inc() }
