package node

import (
	"log/slog"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/livekit-connector/livekit-connector/internal/call"
	"github.com/livekit-connector/livekit-connector/internal/panics"
	"github.com/livekit-connector/livekit-connector/internal/roomleg"
	"github.com/livekit-connector/livekit-connector/media"
)

// sum is one counter of the calls' audio: where its value is in the statistics of a call.
type sum struct {
	desc   *prometheus.Desc
	labels []string
	of     func(*call.Heard) float64
}

// audioMetrics sum up what became of the audio of all calls, those that are over included. Calls count for themselves;
// nothing is looked up or added here while they talk, only when somebody asks (Collect) or a call ends.
type audioMetrics struct {
	sums     []sum
	mos      *prometheus.HistogramVec
	loss     *prometheus.HistogramVec
	jitter   *prometheus.HistogramVec
	depth    *prometheus.HistogramVec
	rtt      *prometheus.HistogramVec
	drift    prometheus.Histogram
	refused  *prometheus.CounterVec
	findings *prometheus.CounterVec
	panics   *panics.Counter
	log      *slog.Logger

	mu sync.Mutex // guards what follows
	// live are the calls whose audio is not in past yet.
	live map[*call.Call]struct{}
	past []float64
	// delayed are the delays of calls that are over, by flow and mode.
	delayed delays
	// shown are the greatest values that were ever collected: a packet that is late is no longer lost, but a counter
	// must not fall.
	shown []float64
}

// The label values. Packets received from and sent to a leg are "rx" and "tx"; a direction of the audio is a flow.
const (
	flowToPhone = "to_phone"
	flowToRoom  = "to_room"
)

var flows = []string{flowToPhone, flowToRoom}

const (
	legMeta    = "meta"
	legRoom    = "room"
	packetsIn  = "rx"
	packetsOut = "tx"
)

func newAudioMetrics(reg prometheus.Registerer, caught *panics.Counter, log *slog.Logger) *audioMetrics {
	const namespace = "livekit_connector"
	histogram := func(name, help string, buckets []float64) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(
			prometheus.HistogramOpts{Namespace: namespace, Name: name, Help: help, Buckets: buckets}, []string{"flow"})
	}
	times := []float64{.001, .002, .005, .01, .02, .03, .05, .075, .1, .15, .2, .3, .5, 1}
	m := &audioMetrics{
		sums: audioSums(), live: make(map[*call.Call]struct{}), panics: caught, log: log,
		mos: histogram("call_mos", "Estimated mean opinion score of answered calls (E-model, ITU-T G.107), 1 to 4.41.",
			[]float64{1.5, 2, 2.5, 3, 3.25, 3.5, 3.75, 4, 4.2, 4.3, 4.4}),
		loss: histogram("call_loss_ratio", "Share of the audio of answered calls that was lost or made up.",
			[]float64{0, .001, .005, .01, .02, .05, .1, .2, .5}),
		jitter: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: namespace, Name: "call_jitter_seconds", Buckets: times,
			Help: "Interarrival jitter of what a leg received (rx) and sent (tx) when an answered call ended (RFC 3550).",
		}, []string{"leg", "flow"}),
		depth: histogram("call_buffer_seconds", "Greatest depth that the jitter buffer of a voice aimed at when a call ended that was mixed or transcoded.", times),
		rtt: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: namespace, Name: "call_rtt_seconds", Help: "Mean round trip of an answered call between the connector and Meta or livekit-server, by RTCP.",
			Buckets: times,
		}, []string{"leg"}),
		drift: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: namespace, Name: "call_clock_drift_ratio", Help: "Greatest difference of the clock of a room's voice from the connector's, of calls that were mixed.",
			Buckets: []float64{-5e-4, -2e-4, -1e-4, -5e-5, -2e-5, 0, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4},
		}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: namespace, Name: "room_tracks_refused_total", Help: "Tracks of rooms that a phone could not hear.",
		}, []string{"reason"}),
		findings: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: namespace, Name: "call_findings_total", Help: "What was wrong with the sound of answered calls, judged when they ended; a call may count under several.",
		}, []string{"finding"}),
	}
	m.past, m.shown = make([]float64, len(m.sums)), make([]float64, len(m.sums))
	for _, flow := range flows {
		for _, h := range []*prometheus.HistogramVec{m.mos, m.loss, m.depth} {
			h.WithLabelValues(flow)
		}
	}
	for _, leg := range []string{legMeta, legRoom} {
		m.rtt.WithLabelValues(leg)
		for _, flow := range []string{packetsIn, packetsOut} {
			m.jitter.WithLabelValues(leg, flow)
		}
	}
	for _, code := range call.FindingCodes() {
		m.findings.WithLabelValues(code)
	}
	for _, r := range roomleg.Refusals {
		m.refused.WithLabelValues(r.String())
	}
	reg.MustRegister(m, m.mos, m.loss, m.jitter, m.depth, m.rtt, m.drift, m.refused, m.findings)
	return m
}

// onRefused counts a track that a room leg does not hear.
func (m *audioMetrics) onRefused(r roomleg.Refusal) { m.refused.WithLabelValues(r.String()).Inc() }

// started lets a call count.
func (m *audioMetrics) started(c *call.Call) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.live[c] = struct{}{}
}

// ended keeps what a call counted; its audio is over.
func (m *audioMetrics) ended(c *call.Call) {
	h := m.settle(c)
	if c.Answered() {
		m.judge(c, &h)
	}
}

// settle moves a call from the live ones to the past. After a mistake in its statistics it is in neither.
func (m *audioMetrics) settle(c *call.Call) call.Heard {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.live, c)
	h := c.Heard()
	for i := range m.sums {
		m.past[i] += m.sums[i].of(&h)
	}
	m.delayed.add(&h)
	return h
}

// judge observes what is known of an answered call only when it is over.
func (m *audioMetrics) judge(c *call.Call, h *call.Heard) {
	facts := c.Facts()
	for _, f := range call.Diagnose(&facts) {
		m.findings.WithLabelValues(f.Code).Inc()
	}
	m.rate(flowToPhone, h.PhoneQuality, h.PhoneKnown)
	m.rate(flowToRoom, h.RoomQuality, h.RoomKnown)
	m.network(legMeta, &h.Network)
	m.network(legRoom, &h.Room)
	if v := &h.ToPhone.Voices; v.Packets > 0 {
		m.depth.WithLabelValues(flowToPhone).Observe(v.Target.Seconds())
		m.drift.Observe(v.DriftPPM / 1e6)
	}
	if v := &h.ToRoom.Voices; v.Packets > 0 {
		m.depth.WithLabelValues(flowToRoom).Observe(v.Target.Seconds())
	}
}

// network observes what a leg's reports told, if there were any, and what it received, if it did.
func (m *audioMetrics) network(leg string, n *call.Network) {
	if n.Reports > 0 {
		m.jitter.WithLabelValues(leg, packetsOut).Observe(n.Jitter.Seconds())
		if n.RTT > 0 {
			m.rtt.WithLabelValues(leg).Observe(n.RTT.Seconds())
		}
	}
	if n.Expected > 0 {
		m.jitter.WithLabelValues(leg, packetsIn).Observe(n.ReceivedJitter.Seconds())
	}
}

func (m *audioMetrics) rate(flow string, q media.Quality, known bool) {
	if known {
		m.mos.WithLabelValues(flow).Observe(q.MOS())
		m.loss.WithLabelValues(flow).Observe(q.Loss)
	}
}

// Describe implements prometheus.Collector.
func (m *audioMetrics) Describe(to chan<- *prometheus.Desc) {
	var before *prometheus.Desc
	for i := range m.sums {
		if d := m.sums[i].desc; d != before {
			to <- d
			before = d
		}
	}
	to <- delayDesc
	to <- modeDesc
}

// Collect implements prometheus.Collector.
func (m *audioMetrics) Collect(to chan<- prometheus.Metric) {
	s := m.sumUp()
	for i, value := range s.counters {
		to <- prometheus.MustNewConstMetric(m.sums[i].desc, prometheus.CounterValue, value, m.sums[i].labels...)
	}
	s.delayed.collect(to)
	to <- prometheus.MustNewConstMetric(modeDesc, prometheus.GaugeValue, float64(s.relaying), modeRelay)
	to <- prometheus.MustNewConstMetric(modeDesc, prometheus.GaugeValue, float64(s.mixing), modeMix)
}

// audioTotals are what Collect shows.
type audioTotals struct {
	counters         []float64 // as audioMetrics.sums
	delayed          delays
	mixing, relaying int // answered calls
}

func (m *audioMetrics) sumUp() audioTotals {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := audioTotals{counters: append([]float64(nil), m.past...), delayed: m.delayed}
	for c := range m.live {
		m.addLocked(&s, c)
	}
	for i, value := range s.counters {
		m.shown[i] = max(m.shown[i], value)
	}
	copy(s.counters, m.shown)
	return s
}

// addLocked adds what a live call counted. One whose statistics cannot be told for a mistake in them counts no longer: whoever
// scrapes runs this on a goroutine of its own, where a panic would end the process and everybody's calls.
func (m *audioMetrics) addLocked(s *audioTotals, c *call.Call) {
	defer m.panics.Recover(panics.Call, m.log, func() { delete(m.live, c) })
	h := c.Heard()
	switch {
	case !c.Answered():
	case h.Mixing:
		s.mixing++
	default:
		s.relaying++
	}
	s.delayed.add(&h)
	for i := range m.sums {
		s.counters[i] += m.sums[i].of(&h)
	}
}
