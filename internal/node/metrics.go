package node

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/livekit-connector/livekit-connector/internal/call"
)

// metrics implements call.Observer. Every label set exists from the start, so that dashboards show zero, not nothing.
type metrics struct {
	active    *prometheus.GaugeVec
	total     *prometheus.CounterVec
	duration  *prometheus.HistogramVec
	setup     *prometheus.HistogramVec
	reaped    *prometheus.CounterVec
	available prometheus.Gauge
	audio     *audioMetrics
}

func newMetrics(reg prometheus.Registerer) *metrics {
	const namespace = "livekit_connector"
	m := &metrics{
		active: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Namespace: namespace, Name: "calls_active", Help: "Calls held now, from their request to the end of their teardown.",
		}, []string{"direction"}),
		total: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: namespace, Name: "calls_total", Help: "Calls that ended, by why.",
		}, []string{"direction", "result", "reason"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: namespace, Name: "call_duration_seconds", Help: "How long answered calls lasted.",
			Buckets: []float64{1, 5, 10, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200},
		}, []string{"direction"}),
		setup: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: namespace, Name: "call_setup_seconds", Help: "When a call reached a stage, counted from its request.",
			Buckets: []float64{.01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 20, 30, 60},
		}, []string{"direction", "stage"}),
		reaped: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: namespace, Name: "reaped_calls_total", Help: "Calls that nobody ended and the connector cleaned up.",
		}, []string{"reason"}),
		available: prometheus.NewGauge(prometheus.GaugeOpts{
			Namespace: namespace, Name: "node_available", Help: "1 while the node takes calls, 0 while it drains.",
		}),
	}
	m.audio = newAudioMetrics(reg)
	reg.MustRegister(m.active, m.total, m.duration, m.setup, m.reaped, m.available)
	for _, d := range call.Directions {
		m.active.WithLabelValues(d.String())
		m.duration.WithLabelValues(d.String())
		for _, s := range call.Stages() {
			m.setup.WithLabelValues(d.String(), s.String())
		}
		for _, r := range call.Reasons() {
			m.total.WithLabelValues(d.String(), string(r.Result()), r.String())
		}
	}
	for _, r := range call.Reasons() {
		if r.Reaped() {
			m.reaped.WithLabelValues(r.String())
		}
	}
	return m
}

// started counts a call in; Ended counts it out, and its audio goes with audio.ended.
func (m *metrics) started(c *call.Call) {
	m.active.WithLabelValues(c.Direction().String()).Inc()
	m.audio.started(c)
}

// Stage implements call.Observer.
func (m *metrics) Stage(d call.Direction, s call.Stage, after time.Duration) {
	m.setup.WithLabelValues(d.String(), s.String()).Observe(after.Seconds())
}

// Ended implements call.Observer.
func (m *metrics) Ended(d call.Direction, r call.Reason, talked time.Duration) {
	m.active.WithLabelValues(d.String()).Dec()
	m.total.WithLabelValues(d.String(), string(r.Result()), r.String()).Inc()
	if talked > 0 {
		m.duration.WithLabelValues(d.String()).Observe(talked.Seconds())
	}
	if r.Reaped() {
		m.reaped.WithLabelValues(r.String()).Inc()
	}
}
