// Package series declares every metric that the connector shows: name, kind, labels, and all values that each label can
// take. The end-to-end tests hold /metrics to it after a mixed load, and this package's own tests hold docs/metrics.md, the
// dashboard, the rules and the alerts to it. What is not in it is a mistake somewhere: a label without bounds costs the
// operator his Prometheus.
//
// The values are written out here and not taken from the packages that have them, so that nobody adds one without
// deciding that it is fit for a label, and telling operators.
package series

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Prefix is what every name begins with.
const Prefix = "livekit_connector_"

// Kinds of metrics, as Prometheus calls them.
const (
	Counter   = "counter"
	Gauge     = "gauge"
	Histogram = "histogram"
)

// Labels are the values that each label can take. Any stands for a value that a build has and no request changes.
type Labels map[string][]string

// Any is a value that is fixed when the program is built, such as a version.
const Any = "*"

// Metric is one family of series.
type Metric struct {
	// Name is without Prefix.
	Name   string
	Kind   string
	Labels Labels
	// When says which setting brings the metric about; empty means that it is always there.
	When string
}

// Names returns the names of the labels, sorted.
func (m *Metric) Names() []string { return slices.Sorted(maps.Keys(m.Labels)) }

// Check says what is wrong with a set of labels; nil if nothing is.
func (m *Metric) Check(labels map[string]string) error {
	if len(labels) != len(m.Labels) {
		return fmt.Errorf("%s%s has the labels %s instead of %s", Prefix, m.Name, slices.Sorted(maps.Keys(labels)), m.Names())
	}
	for name, value := range labels {
		values, ok := m.Labels[name]
		switch {
		case !ok:
			return fmt.Errorf("%s%s has an unknown label %s", Prefix, m.Name, name)
		case slices.Equal(values, []string{Any}) && len(value) <= 64:
		case !slices.Contains(values, value):
			return fmt.Errorf("%s%s has an unknown value of %s: %q", Prefix, m.Name, name, value)
		}
	}
	return nil
}

// Find returns a metric by its whole name, that of a histogram's own series included.
func Find(name string) (Metric, bool) {
	name, ours := strings.CutPrefix(name, Prefix)
	if !ours {
		return Metric{}, false
	}
	for _, m := range All() {
		if m.Name == name {
			return m, true
		}
		if m.Kind != Histogram {
			continue
		}
		if suffix, ok := strings.CutPrefix(name, m.Name); ok && slices.Contains([]string{"_bucket", "_count", "_sum"}, suffix) {
			return m, true
		}
	}
	return Metric{}, false
}
