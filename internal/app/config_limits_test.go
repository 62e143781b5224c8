package app

import (
	"log/slog"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/internal/admission"
)

func TestLimitsThatMakeNoSense(t *testing.T) {
	_, err := parse(minimal, "--limits.max-cpu-utilization=90", "--limits.max-memory-utilization=-0.1", "--limits.cpus=-1",
		"--limits.relay-cost=5000", "--limits.calls-per-key=-1", "--limits.calls-per-number=-1",
		"--limits.calls-by-key={stranger: 3, key: -2}", "--limits.calls-by-number={'100': -1}")
	for _, want := range []string{
		"limits.max_cpu_utilization: 90 is not between 0 and 1, such as 0.9 for 90 %", "limits.max_memory_utilization: -0.1 is not",
		"limits.cpus: -1 is not between", "limits.relay_cost: 5000 is not between", "limits.calls_per_key: must not be negative",
		"limits.calls_per_number: must not be negative", "limits.calls_by_key.stranger: is no API key of api_key, keys or keys_file",
		"limits.calls_by_key.key: must not be negative", "limits.calls_by_number.100: must not be negative",
	} {
		require.ErrorContains(t, err, want)
	}
}

func TestLimitsReachTheGate(t *testing.T) {
	line, err := parse(minimal, "--max-active-calls=7", "--limits.cpus=1.5", "--limits.relay-cost=0.01", "--limits.mix-cost=0.05",
		"--limits.calls-by-key={key: 1}", "--limits.calls-per-number=2")
	require.NoError(t, err)
	a := &App{config: line.Config, log: slog.New(slog.DiscardHandler)}
	gate, err := a.newGate(prometheus.NewRegistry())
	require.NoError(t, err)
	load := gate.Load()
	require.InDelta(t, 7, load.Calls.Limit, 0)
	require.InDelta(t, 1.35, load.CPU.Limit, 1e-9)
	require.Positive(t, load.Memory.Limit)
	_, err = gate.Reserve(admission.Ask{Key: "key", Mode: admission.Mix})
	require.NoError(t, err)
	require.InDelta(t, 0.05, gate.Load().CPU.Used, 1e-9)
	_, err = gate.Reserve(admission.Ask{Key: "key"})
	require.ErrorContains(t, err, "limits.calls_per_key")
}

func TestCostsAreMeasuredUnlessConfigured(t *testing.T) {
	costs, err := (&LimitsConfig{MixCost: 0.3}).costs()
	require.NoError(t, err)
	require.Positive(t, costs.Relay.CPU)
	require.InDelta(t, 0.3, costs.Mix.CPU, 0)
}
