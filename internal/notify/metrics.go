package notify

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// outcome is what became of an event at one URL.
type outcome string

const (
	// delivered: answered with 2xx.
	delivered outcome = "delivered"
	// refused: answered so that another try is of no use, a redirect included.
	refused outcome = "refused"
	// failed: not delivered in all attempts, or until it was too old.
	failed outcome = "failed"
	// overflow: never tried, because too many were waiting.
	overflow outcome = "overflow"
	// abandoned: the connector ended first.
	abandoned outcome = "shutdown"
)

func outcomes() []outcome { return []outcome{delivered, refused, failed, overflow, abandoned} }

// metrics count events for each URL that they go to. Their label sets exist from the start.
type metrics struct {
	total    *prometheus.CounterVec
	duration prometheus.Histogram
	queued   prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer) *metrics {
	const namespace = "livekit_connector"
	m := &metrics{
		total: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: namespace, Name: "events_total", Help: "Events about calls for the operator's URLs, by what became of them.",
		}, []string{"event", "outcome"}),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: namespace, Name: "event_delivery_seconds", Help: "From what happened to the 2xx of a URL that was told, all attempts included.",
			Buckets: []float64{.01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600},
		}),
		queued: prometheus.NewGauge(prometheus.GaugeOpts{
			Namespace: namespace, Name: "events_queued", Help: "Events that are not delivered yet, counted for each URL.",
		}),
	}
	reg.MustRegister(m.total, m.duration, m.queued)
	for _, e := range Events() {
		for _, o := range outcomes() {
			m.total.WithLabelValues(string(e), string(o))
		}
	}
	return m
}

func (m *metrics) done(d *delivery, o outcome) {
	m.total.WithLabelValues(string(d.event), string(o)).Inc()
	if o == delivered {
		m.duration.Observe(time.Since(d.at).Seconds())
	}
}
