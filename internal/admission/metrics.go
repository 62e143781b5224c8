package admission

import "github.com/prometheus/client_golang/prometheus"

const namespace = "livekit_connector"

var (
	usedDesc = prometheus.NewDesc(namespace+"_capacity_used_ratio",
		"What calls use, or are expected to use, of what they may; 1 or more refuses calls. Of what there is, if there is no limit.",
		[]string{"resource"}, nil)
	coresDesc = prometheus.NewDesc(namespace+"_capacity_cpu_cores",
		"CPU cores that the process has: of the machine, of its cgroup or as configured.", nil, nil)
	memoryDesc = prometheus.NewDesc(namespace+"_capacity_memory_bytes",
		"Memory that the process has: of the machine or of its cgroup.", nil, nil)
	callsDesc = prometheus.NewDesc(namespace+"_capacity_calls", "max_active_calls; 0 means no limit.", nil, nil)
	costDesc  = prometheus.NewDesc(namespace+"_call_cost_cores", "CPU cores that one call is expected to take.", []string{"mode"}, nil)
)

// register shows the gate. Every label set exists from the start.
func (g *Gate) register(reg prometheus.Registerer) {
	refused := prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: namespace, Name: "admission_refused_total", Help: "Calls that were refused for want of a place, by the limit that refused them.",
	}, []string{"limit"})
	g.refused = make(map[Limit]prometheus.Counter)
	for _, l := range AllLimits {
		g.refused[l] = refused.WithLabelValues(string(l))
	}
	reg.MustRegister(refused, g)
}

// Describe implements prometheus.Collector.
func (g *Gate) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{usedDesc, coresDesc, memoryDesc, callsDesc, costDesc} {
		to <- d
	}
}

// Collect implements prometheus.Collector.
func (g *Gate) Collect(to chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	l := g.Load()
	gauge(usedDesc, l.Calls.ratio(), "calls")
	gauge(usedDesc, l.Files.ratio(), "files")
	gauge(usedDesc, l.CPU.ratio(), "cpu")
	gauge(usedDesc, l.Memory.ratio(), "memory")
	gauge(coresDesc, l.CPU.Total)
	gauge(memoryDesc, l.Memory.Total)
	gauge(callsDesc, l.Calls.Total)
	for _, m := range Modes {
		gauge(costDesc, g.costs.of(m).CPU, m.String())
	}
}
