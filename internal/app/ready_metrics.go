package app

import "github.com/prometheus/client_golang/prometheus"

// readiness shows what /readyz says as a metric. Dials that are refused because LiveKit is away never become calls, so nothing
// that counts calls tells of it.
type readiness struct {
	probes *Probes
	desc   *prometheus.Desc
}

// registerReadiness adds the metric. Whoever scrapes asks as a probe does: what was found a moment ago stands, all who ask
// at the same time are one request to LiveKit, and nobody waits for longer than probeAnswer.
func registerReadiness(p *Probes, reg prometheus.Registerer) {
	reg.MustRegister(&readiness{probes: p, desc: prometheus.NewDesc("livekit_connector_ready",
		"1 where /readyz finds the node able to take calls, by what it checks.", []string{"check"}, nil)})
}

// Describe is for the registry.
func (r *readiness) Describe(descs chan<- *prometheus.Desc) { descs <- r.desc }

// Collect is for the registry.
func (r *readiness) Collect(metrics chan<- prometheus.Metric) {
	p := r.probes
	p.mu.Lock()
	checks := p.ready
	p.mu.Unlock()
	found := p.ask(p.ctx, checks)
	found["started"] = p.start()
	for name, f := range found {
		value := 0.0
		if f.OK {
			value = 1
		}
		metrics <- prometheus.MustNewConstMetric(r.desc, prometheus.GaugeValue, value, name)
	}
}
