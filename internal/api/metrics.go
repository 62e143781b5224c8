package api

import (
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twitchtv/twirp"
)

// methodUnknown stands for requests to the service that name none of its methods.
const methodUnknown = "unknown"

// codes are all that an answer can carry.
var codes = []twirp.ErrorCode{
	twirp.NoError, twirp.Canceled, twirp.Unknown, twirp.InvalidArgument, twirp.Malformed, twirp.DeadlineExceeded,
	twirp.NotFound, twirp.BadRoute, twirp.AlreadyExists, twirp.PermissionDenied, twirp.Unauthenticated,
	twirp.ResourceExhausted, twirp.FailedPrecondition, twirp.Aborted, twirp.OutOfRange, twirp.Unimplemented,
	twirp.Internal, twirp.Unavailable, twirp.DataLoss,
}

// codeLabel is the code as metrics and logs name it.
func codeLabel(code twirp.ErrorCode) string {
	if code == twirp.NoError {
		return "ok"
	}
	return string(code)
}

type metrics struct {
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
}

// newMetrics makes every series at once, so that a rate over a code that never happened is zero and not missing.
func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "livekit_connector", Subsystem: "api", Name: "requests_total",
			Help: "Requests to livekit.Connector and the read API that were answered, by method and Twirp code (ok for none).",
		}, []string{"method", "code"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: "livekit_connector", Subsystem: "api", Name: "request_duration_seconds",
			Help:    "Time from a request's header to its answer, by method.",
			Buckets: []float64{.001, .005, .025, .1, .25, .5, 1, 2, 4, 8, 10, 15, 20, 28, 30},
		}, []string{"method"}),
	}
	methods := append([]string{methodUnknown}, readMethods...)
	for method := range grantOf {
		methods = append(methods, method)
	}
	for _, method := range methods {
		m.duration.WithLabelValues(method)
		for _, code := range codes {
			m.requests.WithLabelValues(method, codeLabel(code))
		}
	}
	if reg == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.requests, m.duration} {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("register metrics: %w", err)
		}
	}
	return m, nil
}

func (m *metrics) observe(method string, code twirp.ErrorCode, took time.Duration) {
	m.requests.WithLabelValues(method, codeLabel(code)).Inc()
	m.duration.WithLabelValues(method).Observe(took.Seconds())
}
