package node

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/pion/rtp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/internal/call"
	"github.com/livekit-connector/livekit-connector/internal/roomleg"
	"github.com/livekit-connector/livekit-connector/media"
)

// quiet is a Meta leg on which nothing happens, with a network as told.
type quiet struct {
	done chan struct{}

	mu      sync.Mutex
	network call.Network
}

func (*quiet) WriteRTP(*rtp.Packet) error      { return nil }
func (*quiet) SetAnswer(string) error          { return nil }
func (*quiet) Connected() <-chan struct{}      { return nil }
func (*quiet) FirstAudio() <-chan struct{}     { return nil }
func (q *quiet) Done() <-chan struct{}         { return q.done }
func (*quiet) ClosedByMeta() bool              { return false }
func (*quiet) ICEConnected() (at time.Time)    { return at }
func (*quiet) Codec() media.Codec              { return media.CodecOpus }
func (*quiet) LogAttrs() []any                 { return nil }
func (*quiet) LastReceived() (at time.Time)    { return at }
func (*quiet) SetSink(media.Writer)            {}
func (*quiet) SetKeys(func(media.Key))         {}
func (*quiet) TakesKeys() bool                 { return false }
func (*quiet) Open()                           {}
func (*quiet) Close() error                    { return nil }
func (*quiet) Connection() (c call.Connection) { return c }
func (q *quiet) tell(n call.Network)           { q.mu.Lock(); q.network = n; q.mu.Unlock() }
func (q *quiet) Network() (got call.Network)   { q.mu.Lock(); got = q.network; q.mu.Unlock(); return got }

func TestAudioMetricsSumUpAllCallsAndNeverFall(t *testing.T) {
	pacer := media.NewPacer(1)
	defer pacer.Close()
	reg := prometheus.NewPedanticRegistry()
	m := newMetrics(&Options{Registerer: reg, Pacer: pacer, Logger: slog.New(slog.DiscardHandler)})
	newCall := func() (*call.Call, *quiet) {
		q := &quiet{done: make(chan struct{})}
		c := call.New(t.Context(), call.Options{
			ID: "wacid.test", Direction: call.Outbound, Meta: q, Pacer: pacer, Timeouts: call.DefaultTimeouts(),
			Join: func(context.Context, *media.Line) (call.RoomLeg, error) { return nil, context.Canceled },
		})
		m.started(c)
		return c, q
	}
	value := func(name string, labels ...string) float64 {
		t.Helper()
		families, err := reg.Gather()
		require.NoError(t, err)
		for _, f := range families {
			if f.GetName() != "livekit_connector_"+name {
				continue
			}
			for _, metric := range f.GetMetric() {
				got := make(map[string]string)
				for _, l := range metric.GetLabel() {
					got[l.GetName()] = l.GetValue()
				}
				matches := true
				for i := 0; i < len(labels); i += 2 {
					matches = matches && got[labels[i]] == labels[i+1]
				}
				if matches {
					return metric.GetCounter().GetValue()
				}
			}
		}
		require.Failf(t, "no such metric", "%s %v", name, labels)
		return 0
	}
	require.Zero(t, value("rtp_packets_total", "leg", "meta", "flow", "tx"), "shown before the first call")

	a, legA := newCall()
	_, legB := newCall()
	legA.tell(call.Network{Sent: 100, Expected: 50, Missed: 5})
	legB.tell(call.Network{Sent: 10, Expected: 20, Missed: 1})
	require.InDelta(t, 110, value("rtp_packets_total", "leg", "meta", "flow", "tx"), 0)
	require.InDelta(t, 64, value("rtp_packets_total", "leg", "meta", "flow", "rx"), 0)
	require.InDelta(t, 6, value("rtp_packets_lost_total", "leg", "meta", "flow", "rx"), 0)

	legA.tell(call.Network{Sent: 100, Expected: 50}) // what was lost came late
	require.InDelta(t, 6, value("rtp_packets_lost_total", "leg", "meta", "flow", "rx"), 0, "a counter never falls")
	m.audio.ended(a)
	legB.tell(call.Network{Sent: 30, Expected: 20, Missed: 9})
	require.InDelta(t, 130, value("rtp_packets_total", "leg", "meta", "flow", "tx"), 0, "calls that are over still count")
	require.InDelta(t, 9, value("rtp_packets_lost_total", "leg", "meta", "flow", "rx"), 0)

	m.audio.onRefused(roomleg.RefusedEncrypted)
	require.InDelta(t, 1, value("room_tracks_refused_total", "reason", "encrypted"), 0)
	require.Zero(t, value("room_tracks_refused_total", "reason", "codec"))

	problems, err := testutil.GatherAndLint(reg)
	require.NoError(t, err)
	require.Empty(t, problems)
}

func TestDelaysOfAllCallsAreOneHistogram(t *testing.T) {
	var d delays
	for range 2 {
		h := call.Heard{PhoneDelays: media.Delays{Mix: media.DelayCounts{Sum: 30 * time.Millisecond}}}
		h.PhoneDelays.Mix.Classes[0], h.PhoneDelays.Mix.Classes[len(media.DelayBounds)] = 1, 2
		d.add(&h)
	}
	to := make(chan prometheus.Metric, 4)
	d.collect(to)
	require.Len(t, to, 4, "every flow and mode, whether there were any or not")
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(collected(to))
	families, err := reg.Gather()
	require.NoError(t, err)
	require.Len(t, families, 1)
	for _, m := range families[0].GetMetric() {
		if m.GetLabel()[0].GetValue() != flowToPhone || m.GetLabel()[1].GetValue() != modeMix {
			require.Zero(t, m.GetHistogram().GetSampleCount())
			continue
		}
		h := m.GetHistogram()
		require.EqualValues(t, 6, h.GetSampleCount())
		require.InDelta(t, .06, h.GetSampleSum(), 1e-9)
		require.Len(t, h.GetBucket(), len(media.DelayBounds))
		require.EqualValues(t, 2, h.GetBucket()[0].GetCumulativeCount())
		require.EqualValues(t, 2, h.GetBucket()[len(media.DelayBounds)-1].GetCumulativeCount(), "what is beyond all bounds is in none")
	}
}

// collected hands out metrics that were made before.
type collected chan prometheus.Metric

func (c collected) Describe(to chan<- *prometheus.Desc) { to <- delayDesc }

func (c collected) Collect(to chan<- prometheus.Metric) {
	for range len(c) {
		to <- <-c
	}
}
