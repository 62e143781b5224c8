package e2e_test

import (
	"fmt"
	"slices"
	"strings"

	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/internal/e2e/series"
)

// requireClosedSets checks what a connector without some settings shows. A label that takes its value from a request grows
// without bounds, and a metric that nobody knows of helps nobody.
func (w *world) requireClosedSets(without ...string) {
	w.t.Helper()
	families, err := w.registry.Gather()
	require.NoError(w.t, err)
	shown := make(map[string]bool)
	for _, f := range families {
		name := f.GetName()
		if strings.HasPrefix(name, "go_") || strings.HasPrefix(name, "process_") {
			continue
		}
		known, ok := series.Find(name)
		require.Truef(w.t, ok, "%s is not in internal/e2e/series", name)
		require.Equal(w.t, known.Kind, strings.ToLower(f.GetType().String()), name)
		shown[known.Name] = true
		for _, s := range f.GetMetric() {
			require.NoError(w.t, known.Check(labelsOf(s.GetLabel())))
		}
	}
	var missing []string
	for _, known := range series.All() {
		if !shown[known.Name] && !slices.Contains(without, known.When) {
			missing = append(missing, known.Name)
		}
	}
	require.Empty(w.t, missing, "in internal/e2e/series, and nobody shows it")
}

func labelsOf[Pair interface {
	GetName() string
	GetValue() string
}](pairs []Pair) map[string]string {
	labels := make(map[string]string)
	for _, p := range pairs {
		labels[p.GetName()] = p.GetValue()
	}
	return labels
}

// value is that of a counter or gauge, or the count of a histogram.
func (m *measured) value(name string, labels ...string) float64 {
	m.t.Helper()
	families, err := m.registry.Gather()
	require.NoError(m.t, err)
	sum := 0.0
	for _, f := range families {
		if f.GetName() != series.Prefix+name {
			continue
		}
		for _, s := range f.GetMetric() {
			got, fits := labelsOf(s.GetLabel()), true
			for i := 0; i < len(labels); i += 2 {
				fits = fits && got[labels[i]] == labels[i+1]
			}
			if fits {
				sum += s.GetCounter().GetValue() + s.GetGauge().GetValue() + float64(s.GetHistogram().GetSampleCount())
			}
		}
	}
	return sum
}

// requireCounted checks that what the load did is seen where operators look for it.
func (m *measured) requireCounted() {
	m.t.Helper()
	type counted struct {
		name   string
		labels []string
	}
	all := []counted{
		{"calls_total", []string{"direction", "inbound", "result", "success"}},
		{"calls_total", []string{"direction", "outbound", "result", "success"}},
		{"call_setup_seconds", []string{"direction", "inbound", "stage", "offer"}},
		{"call_setup_seconds", []string{"direction", "inbound", "stage", "graph"}},
		{"call_setup_seconds", []string{"direction", "inbound", "stage", "ice"}},
		{"call_setup_seconds", []string{"direction", "inbound", "stage", "dtls"}},
		{"call_setup_seconds", []string{"direction", "inbound", "stage", "room"}},
		{"call_setup_seconds", []string{"direction", "inbound", "stage", "first_audio"}},
		{"call_setup_seconds", []string{"direction", "outbound", "stage", "graph"}},
		{"media_added_latency_seconds", []string{"flow", "to_phone", "mode", "relay"}},
		{"media_added_latency_seconds", []string{"flow", "to_phone", "mode", "mix"}},
		{"media_added_latency_seconds", []string{"flow", "to_room", "mode", "relay"}},
		{"call_rtt_seconds", []string{"leg", "meta"}},
		{"call_rtt_seconds", []string{"leg", "room"}},
		{"call_jitter_seconds", []string{"leg", "room", "flow", "rx"}},
		{"call_mos", []string{"flow", "to_phone"}},
		{"graph_requests_total", []string{"action", "connect", "outcome", "rate_limited"}},
		{"graph_requests_total", []string{"action", "connect", "outcome", "upstream_error"}},
		{"graph_requests_total", []string{"action", "reject", "outcome", "success"}},
		{"webhooks_total", []string{"outcome", "forged"}},
		{"webhooks_total", []string{"outcome", "unsigned"}},
		{"webhooks_total", []string{"outcome", "verification_refused"}},
		{"webhook_events_total", []string{"outcome", "refused"}},
		{"webhook_events_total", []string{"outcome", "rejected"}},
		{"webhook_event_lag_seconds", nil},
		{"api_requests_total", []string{"code", "unauthenticated"}},
		{"api_requests_total", []string{"method", "unknown"}},
		{"ready", []string{"check", "livekit"}},
		{"events_total", []string{"outcome", "delivered"}},
	}
	until(m.t, func() string { // an event is counted after what it is about was done
		for _, c := range all {
			if m.value(c.name, c.labels...) == 0 {
				return fmt.Sprintf("%s %v is zero", c.name, c.labels)
			}
		}
		return ""
	})
}
