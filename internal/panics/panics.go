// Package panics lets a mistake of the program end what it happened in, a request or a call, and not the process with
// everybody's calls.
//
// Where a goroutine of ours begins, and where others' goroutines enter our code, Counter.Recover is deferred. It cannot be
// everywhere: a panic in a goroutine that a library started for itself still ends the process, and so does, on purpose, one
// in what all calls share, which nobody could go on with: the pacer's own clock, the table of calls, start and stop. A
// supervisor starts it anew, and calls that were cut off end by themselves. The runtime's fatal errors (concurrent use of a map,
// no memory) cannot be caught at all.
package panics

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"runtime"
	"runtime/debug"

	"github.com/prometheus/client_golang/prometheus"
)

// Place is where a panic was caught; a closed set, fit for a metric label.
type Place string

// The places.
const (
	HTTP    Place = "http"    // a request to any port that none of the following served
	API     Place = "api"     // a request to the API or the read API
	Webhook Place = "webhook" // an event of Meta's, or passing webhooks on
	Event   Place = "event"   // telling the operator's servers of a call
	Bus     Place = "bus"     // a request to a node
	Call    Place = "call"    // a call's own goroutines: the call is ended
	Audio   Place = "audio"   // a packet or a frame of a call: the call is ended
	Sweeper Place = "sweeper" // looking for calls that were left behind: the call that was looked at is ended
	Probe   Place = "probe"   // a check of a probe, which fails
)

// Places are all of them.
func Places() []Place { return []Place{HTTP, API, Webhook, Event, Bus, Call, Audio, Sweeper, Probe} }

// Counter counts panics. A nil Counter counts nothing.
type Counter struct {
	caught *prometheus.CounterVec
}

// NewCounter registers livekit_connector_panics_total. A process has one.
func NewCounter(reg prometheus.Registerer) *Counter {
	c := &Counter{caught: prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: "livekit_connector", Name: "panics_total",
		Help: "Mistakes of the program that ended a request or a call, by where they were caught. Report each: the log has its stack.",
	}, []string{"where"})}
	for _, p := range Places() {
		c.caught.WithLabelValues(string(p))
	}
	reg.MustRegister(c.caught)
	return c
}

// Recover is to be deferred, itself. After a panic it counts and logs it, and calls then, unless that is nil.
// http.ErrAbortHandler is no mistake but how a handler drops its connection: it goes on.
func (c *Counter) Recover(p Place, log *slog.Logger, then func()) {
	v := recover()
	if v == nil {
		return
	}
	c.Caught(p, log, v)
	if then != nil {
		then()
	}
}

// Caught counts and logs the value of a panic that was recovered. It panics anew with http.ErrAbortHandler.
func (c *Counter) Caught(p Place, log *slog.Logger, v any) {
	if v == http.ErrAbortHandler { //nolint:errorlint // net/http compares it the same way
		panic(v)
	}
	if c != nil {
		c.caught.WithLabelValues(string(p)).Inc()
	}
	log.LogAttrs(context.Background(), slog.LevelError, "panic", slog.String("where", string(p)),
		slog.String("panic", describe(v)), slog.String("stack", string(debug.Stack())))
}

// describe tells no more than the type of a panic's value, which may hold anything, a request with its token too. Those of
// the runtime hold types and numbers.
func describe(v any) string {
	if e, ok := v.(runtime.Error); ok {
		return e.Error()
	}
	return fmt.Sprintf("%T", v)
}

// Error is what a panic comes to where an error is wanted. Nothing of the panic is in it.
type Error struct{ Place Place }

func (e *Error) Error() string {
	return "internal error in " + string(e.Place) + ": the log has its stack"
}
