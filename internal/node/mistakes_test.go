package node

import (
	"context"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/livekit/psrpc"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/internal/admission"
	"github.com/livekit-connector/livekit-connector/internal/call"
	"github.com/livekit-connector/livekit-connector/internal/panics"
	"github.com/livekit-connector/livekit-connector/media"
	"github.com/livekit-connector/livekit-connector/proto/connectorpb"
)

// newBrokenStand has room for one call.
func newBrokenStand(t *testing.T, change func(*Options)) *stand {
	t.Helper()
	return newStandWith(t, func(o *Options) {
		o.Gate = newGate(t, prometheus.NewRegistry(), admission.Limits{Calls: 1})
		change(o)
	})
}

// Between what Meta was told and a call's own goroutine nobody else would take the call down.
func TestAMistakeInMakingACallLeavesNothingOfIt(t *testing.T) {
	s := newBrokenStand(t, func(o *Options) { o.StatusesSeen = func(string) bool { panic("scripted") } })
	client := s.client(t)
	_, err := client.StartCall(wait(t), Cluster, dialRequest())
	requireCode(t, psrpc.FailedPrecondition, err) // Meta took the offer: an SDK must not repeat it
	require.Equal(t, "connect", s.next(t))
	require.Equal(t, "terminate", s.next(t))

	_, err = client.StartCall(wait(t), Cluster, acceptRequest(offer(t)))
	requireCode(t, psrpc.Internal, err)
	require.Empty(t, s.asked)
	require.Zero(t, s.Calls())
	require.NoError(t, s.Full())
}

type brokenWatcher struct{}

func (brokenWatcher) CallChanged(string, *connectorpb.CallRecord) { panic("scripted") }

func TestAMistakeInTellingOfACallCostsNoPlace(t *testing.T) {
	s := newBrokenStand(t, func(o *Options) { o.Watcher = brokenWatcher{} })
	e := s.dialled(t)
	e.call.End(call.ReasonUserHangup, nil)
	require.NoError(t, s.WaitEmpty(wait(t)))
	require.NoError(t, s.Full())
	require.Zero(t, s.gauge(t))
	require.Empty(t, s.metrics.audio.live)
}

// breaking is a Meta leg whose statistics break.
type breaking struct {
	*quiet
	broken atomic.Bool
}

func (b *breaking) Network() call.Network {
	if b.broken.Load() {
		panic("scripted")
	}
	return b.quiet.Network()
}

// A scrape reads all calls' statistics on a goroutine of the library's.
func TestAMistakeInACallsStatisticsCostsNoOtherCall(t *testing.T) {
	pacer := media.NewPacer(1)
	defer pacer.Close()
	registry, caught := prometheus.NewPedanticRegistry(), prometheus.NewRegistry()
	m := newMetrics(&Options{
		Registerer: registry, Pacer: pacer, Panics: panics.NewCounter(caught), Logger: slog.New(slog.DiscardHandler),
	}).audio
	start := func() (*call.Call, *breaking) {
		b := &breaking{quiet: &quiet{done: make(chan struct{})}}
		c := call.New(t.Context(), call.Options{Direction: call.Outbound, Meta: b, Pacer: pacer, Timeouts: call.DefaultTimeouts()})
		m.started(c)
		return c, b
	}
	good, fine := start()
	fine.tell(call.Network{Sent: 100})
	_, scraped := start()
	scraped.broken.Store(true)
	sum := m.sumUp()
	require.Contains(t, sum.counters, 100.0)
	_, err := registry.Gather()
	require.NoError(t, err)
	require.Len(t, m.live, 1, "it is asked no more")
	require.InDelta(t, 1, panicsIn(t, caught), 0)

	over, atEnd := start()
	atEnd.broken.Store(true)
	require.Panics(t, func() { m.ended(over) }) // the node guards each step
	require.Len(t, m.live, 1, "whose statistics are asked no more")
	m.ended(good)
	require.Empty(t, m.live)
	require.Contains(t, m.sumUp().counters, 100.0)
}

// panicsIn sums up those of all places.
func panicsIn(t *testing.T, registry *prometheus.Registry) (sum float64) {
	t.Helper()
	families, err := registry.Gather()
	require.NoError(t, err)
	for _, m := range families[0].GetMetric() {
		sum += m.GetCounter().GetValue()
	}
	return sum
}

// unwilling is a log that cannot take one event.
type unwilling struct{ slog.Handler }

func (unwilling) Enabled(context.Context, slog.Level) bool { return true }

func (u unwilling) Handle(ctx context.Context, r slog.Record) error {
	if r.Message == "call left behind" {
		panic("scripted")
	}
	return u.Handler.Handle(ctx, r)
}

func TestAMistakeInOneCallKeepsTheSweeperFromNoOther(t *testing.T) {
	pacer := media.NewPacer(1)
	defer pacer.Close()
	n := &Node{
		opts:  Options{Gate: newGate(t, prometheus.NewRegistry(), admission.Limits{})},
		log:   slog.New(unwilling{slog.DiscardHandler}),
		table: newTable(), history: newHistory(History{}),
	}
	var calls []*call.Call
	for _, id := range []string{"a", "b"} {
		c := call.New(t.Context(), call.Options{
			ID: id, Direction: call.Outbound, Meta: &quiet{done: make(chan struct{})}, Pacer: pacer, Timeouts: call.DefaultTimeouts(),
		})
		n.table.put(id, &entry{call: c})
		calls = append(calls, c)
	}
	stuck := make(map[*call.Call]bool)
	require.True(t, n.sweepOnce(time.Now().Add(time.Hour), stuck))
	for _, c := range calls {
		var end *call.EndError
		require.ErrorAs(t, c.Err(), &end)
		require.Equal(t, call.ReasonInternal, end.Reason)
	}
	n.opts.Gate = nil
	require.False(t, n.sweepOnce(time.Now(), stuck), "a round that broke off is no sign of life")
}
