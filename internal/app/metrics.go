package app

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/livekit-connector/livekit-connector/pkg/whatsapp"
)

// graphMetrics counts requests to Meta. Its label sets exist from the start.
type graphMetrics struct {
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
}

func newGraphMetrics(reg prometheus.Registerer) *graphMetrics {
	m := &graphMetrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "livekit_connector", Name: "graph_requests_total", Help: "Requests to Meta's Graph API, every try counted.",
		}, []string{"action", "outcome"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: "livekit_connector", Name: "graph_request_duration_seconds", Help: "How long Meta's Graph API took to answer.",
			Buckets: []float64{.025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}, []string{"action"}),
	}
	reg.MustRegister(m.requests, m.duration)
	for _, action := range whatsapp.Actions() {
		m.duration.WithLabelValues(action)
		for _, outcome := range whatsapp.Outcomes() {
			m.requests.WithLabelValues(action, outcome)
		}
	}
	return m
}

func (m *graphMetrics) observe(action, outcome string, took time.Duration) {
	m.requests.WithLabelValues(action, outcome).Inc()
	m.duration.WithLabelValues(action).Observe(took.Seconds())
}
