package app

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/livekit-connector/livekit-connector/internal/admission"
	"github.com/livekit-connector/livekit-connector/internal/logs"
)

// LimitsConfig is about how many calls a node takes, beside max_active_calls.
type LimitsConfig struct {
	MaxCPUUtilization    float64 `yaml:"max_cpu_utilization" group:"Limits" help:"Share of the CPU cores that calls may bring this process to; more are refused with resource_exhausted. Only what the process itself uses counts. 0 means no limit."`
	MaxMemoryUtilization float64 `yaml:"max_memory_utilization" help:"The same for the memory of the machine or of the process's cgroup. 0 means no limit."`
	CPUs                 float64 `yaml:"cpus" help:"CPU cores that there are for this process, on a machine that it shares. 0 means those of the machine, of its cpuset or of its cgroup's quota, whichever are fewest."`
	RelayCost            float64 `yaml:"relay_cost" help:"CPU cores that a call is expected to take while it is relayed. 0 means that the speed of this machine's Opus is measured at the start: 0.005 where docs/benchmark.md was."`
	MixCost              float64 `yaml:"mix_cost" help:"CPU cores that a call is expected to take while it is decoded and encoded. 0 means as relay_cost: 0.0186 there."`

	CallsPerKey    int            `yaml:"calls_per_key" help:"Calls held at once for one API key on this node. 0 means no limit."`
	CallsByKey     map[string]int `yaml:"calls_by_key" help:"The same for single API keys, instead of calls_per_key: {KEY: 10}. 0 means no limit."`
	CallsPerNumber int            `yaml:"calls_per_number" help:"Calls held at once for one business phone number on this node. 0 means no limit."`
	CallsByNumber  map[string]int `yaml:"calls_by_number" help:"The same for single numbers, by phone number ID, instead of calls_per_number: {'100000000000001': 10}. 0 means no limit."`
}

func defaultLimits() LimitsConfig {
	return LimitsConfig{MaxCPUUtilization: 0.9, MaxMemoryUtilization: 0.9}
}

func (v *validation) limits(c *Config) {
	l := &c.Limits
	for key, share := range map[string]float64{
		"limits.max_cpu_utilization": l.MaxCPUUtilization, "limits.max_memory_utilization": l.MaxMemoryUtilization,
	} {
		if share < 0 || share > 1 {
			v.add(key, "%v is not between 0 and 1, such as 0.9 for 90 %%", share)
		}
	}
	for key, cores := range map[string]float64{"limits.cpus": l.CPUs, "limits.relay_cost": l.RelayCost, "limits.mix_cost": l.MixCost} {
		if cores < 0 || cores > 1024 {
			v.add(key, "%v is not between 0 and 1024 cores", cores)
		}
	}
	for key, n := range map[string]int{"limits.calls_per_key": l.CallsPerKey, "limits.calls_per_number": l.CallsPerNumber} {
		if n < 0 {
			v.add(key, "must not be negative")
		}
	}
	for name, n := range l.CallsByKey {
		if n < 0 {
			v.add("limits.calls_by_key."+name, "must not be negative")
		}
		if _, known := c.SecretOf(name); !known && c.APIKey != "" {
			v.add("limits.calls_by_key."+name, "is no API key of api_key, keys or keys_file")
		}
	}
	for id, n := range l.CallsByNumber {
		if n < 0 {
			v.add("limits.calls_by_number."+id, "must not be negative")
		}
	}
}

// newGate finds out what there is for this process and what a call takes here.
func (a *App) newGate(reg prometheus.Registerer) (*admission.Gate, error) {
	l, log := &a.config.Limits, a.logOf(logs.Node)
	o := admission.Options{
		Limits: admission.Limits{
			Calls: a.config.MaxActiveCalls, CPU: l.MaxCPUUtilization, Memory: l.MaxMemoryUtilization,
			PerKey: l.CallsPerKey, ByKey: l.CallsByKey, PerNumber: l.CallsPerNumber, ByNumber: l.CallsByNumber,
			Files: a.shareFiles(),
		},
		Registerer: reg, Logger: log,
	}
	process, err := admission.FindProcess()
	o.Capacity = process.Capacity()
	if err != nil {
		log.Warn("what there is for this process is not known: calls are judged by what they are expected to cost", "error", err)
	} else {
		o.Measure = process.Use
	}
	if _, err = admission.CountFiles(); err == nil {
		o.OpenFiles = admission.CountFiles
	}
	if l.CPUs > 0 {
		o.Capacity.Cores, o.Capacity.CoresFrom = l.CPUs, "configuration"
	}
	if o.Costs, err = l.costs(); err != nil {
		return nil, err
	}
	gate, err := admission.New(o)
	if err != nil {
		return nil, fmt.Errorf("set up admission: %w", err)
	}
	log.Info("capacity", "cores", o.Capacity.Cores, "coresFrom", o.Capacity.CoresFrom,
		"memoryMiB", int(o.Capacity.Memory)>>20, "memoryFrom", o.Capacity.MemoryFrom,
		"relayCost", o.Costs.Relay.CPU, "mixCost", o.Costs.Mix.CPU, "maxActiveCalls", a.config.MaxActiveCalls)
	return gate, nil
}

// shareFiles has the connections of the API's port leave file descriptors for calls, and returns how many calls there are
// descriptors for; zero if nobody knows.
func (a *App) shareFiles() (calls int) {
	wanted := a.config.connections()
	connections, calls := admission.ShareFiles(wanted)
	if connections < wanted.Max {
		a.log.Warn("http.max_connections is lowered so that calls have file descriptors: raise the process's limit of open files "+
			"(LimitNOFILE=, --ulimit nofile=, ulimit -n)", "configured", wanted.Max, "connections", connections, "calls", calls)
	}
	a.config.HTTP.MaxConnections = connections
	return calls
}

// costs are the configured ones, and for what is not configured those that this machine's speed lets expect.
func (l *LimitsConfig) costs() (admission.Costs, error) {
	slowness := 1.0
	if l.RelayCost == 0 || l.MixCost == 0 {
		found, err := admission.Calibrate()
		if err != nil {
			return admission.Costs{}, fmt.Errorf("measure this machine's speed: %w", err)
		}
		slowness = found.Slowness
	}
	costs := admission.DefaultCosts(slowness)
	if l.RelayCost > 0 {
		costs.Relay.CPU = l.RelayCost
	}
	if l.MixCost > 0 {
		costs.Mix.CPU = l.MixCost
	}
	return costs, nil
}
