package node

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/livekit-connector/livekit-connector/internal/call"
	"github.com/livekit-connector/livekit-connector/media"
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

func newMetrics(o *Options) *metrics {
	const namespace = "livekit_connector"
	reg := o.Registerer
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
			Namespace: namespace, Name: "call_setup_seconds", Help: "When a call reached a stage of its setup, counted from its request.",
			Buckets: []float64{.01, .02, .05, .1, .2, .5, 1, 2, 5, 10, 20, 30},
		}, []string{"direction", "stage"}),
		reaped: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: namespace, Name: "reaped_calls_total", Help: "Calls that nobody ended and the connector cleaned up.",
		}, []string{"reason"}),
		available: prometheus.NewGauge(prometheus.GaugeOpts{
			Namespace: namespace, Name: "node_available", Help: "1 while the node takes calls, 0 while it drains.",
		}),
	}
	m.audio = newAudioMetrics(reg, o.Panics, o.Logger)
	registerClock(reg, o.Pacer)
	reg.MustRegister(m.active, m.total, m.duration, m.setup, m.reaped, m.available)
	for _, d := range call.Directions {
		m.active.WithLabelValues(d.String())
		m.duration.WithLabelValues(d.String())
		for _, s := range setupStages() {
			m.setup.WithLabelValues(d.String(), stageLabel(s))
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

// registerClock shows how late the clock of all calls was.
func registerClock(reg prometheus.Registerer, pacer *media.Pacer) {
	reg.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{
		Namespace: "livekit_connector", Name: "clock_skipped_ticks_total",
		Help: "Ticks of 20 ms for which the clock that paces mixes and silence came too late: the process had no CPU.",
	}, func() float64 { return float64(pacer.Stats().Skipped) }))
}

// started counts a call in; Ended counts it out, and its audio goes with audio.ended.
func (m *metrics) started(c *call.Call) {
	m.active.WithLabelValues(c.Direction().String()).Inc()
	m.audio.started(c)
	f := c.Facts()
	for _, mark := range f.Timeline { // what was reached before there was a call to tell of it
		if mark.Stage == call.StageDescribed || mark.Stage == call.StageDialed {
			m.Stage(f.Direction, mark.Stage, mark.At.Sub(f.Started))
		}
	}
}

// Stage implements call.Observer.
func (m *metrics) Stage(d call.Direction, s call.Stage, after time.Duration) {
	m.setup.WithLabelValues(d.String(), stageLabel(s)).Observe(after.Seconds())
}

// setupStages are those that are measured.
func setupStages() []call.Stage {
	return append([]call.Stage{call.StageDescribed, call.StageDialed}, call.Stages()...)
}

// stageLabel is the stage as dashboards know it: by who is waited for, the same for both directions where they wait for
// the same.
func stageLabel(s call.Stage) string {
	switch s {
	case call.StageDescribed:
		return "offer"
	case call.StageDialed, call.StagePreAccepted:
		return "graph"
	case call.StageConnected:
		return "dtls"
	case call.StageRoomJoined:
		return "room"
	default:
		return s.String()
	}
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
