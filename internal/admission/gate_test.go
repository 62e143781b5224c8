package admission

import (
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
)

// machine is a process whose use a test writes.
type machine struct {
	began  time.Time
	cores  float64 // used from now on
	before time.Duration
	since  time.Time
	memory float64
	err    error
	log    strings.Builder
}

func (m *machine) use() (Use, error) {
	now := time.Now()
	m.before += time.Duration(m.cores * float64(now.Sub(m.since)))
	m.since = now
	return Use{CPU: m.before, Memory: m.memory}, m.err
}

// load changes what the process uses from now on.
func (m *machine) load(cores float64) {
	_, _ = m.use()
	m.cores = cores
}

func newMachine() *machine { now := time.Now(); return &machine{began: now, since: now, memory: 50e6} }

// gate is one on a machine of two cores and a billion bytes, where a relayed call takes 0.1 cores and 10 MB and a mixed one
// 0.3 and 20.
func (m *machine) gate(t *testing.T, l Limits) *Gate {
	t.Helper()
	g, err := New(Options{
		Limits: l, Costs: Costs{Relay: Cost{0.1, 10e6}, Mix: Cost{0.3, 20e6}}, Capacity: Capacity{Cores: 2, Memory: 1e9},
		Measure: m.use, Registerer: prometheus.NewRegistry(), Logger: slog.New(slog.NewTextHandler(&m.log, nil)),
	})
	require.NoError(t, err)
	return g
}

// seconds lets time pass as the owner of a gate does.
func seconds(g *Gate, n int) {
	for range n {
		time.Sleep(time.Second) // fake time
		g.Sample(time.Now())
	}
}

// fill takes places until there is none.
func fill(g *Gate, a Ask) (places []*Place, refusal error) {
	for {
		p, err := g.Reserve(a)
		if err != nil {
			return places, err
		}
		places = append(places, p)
	}
}

func requireLimit(t *testing.T, want Limit, err error) {
	t.Helper()
	e, ok := errors.AsType[*LimitError](err)
	require.True(t, ok, "%v", err)
	require.Equal(t, want, e.Limit)
	require.ErrorIs(t, err, ErrBusy)
}

func release(places []*Place) {
	for _, p := range places {
		p.Release()
	}
}

func TestCountsAreExactUnderABurst(t *testing.T) {
	g := newMachine().gate(t, Limits{Calls: 50})
	var (
		mu     sync.Mutex
		taken  []*Place
		asking sync.WaitGroup
	)
	for range 500 {
		asking.Go(func() {
			p, err := g.Reserve(Ask{})
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				taken = append(taken, p)
			}
		})
	}
	asking.Wait()
	require.Len(t, taken, 50)
	err := g.Full()
	requireLimit(t, LimitCalls, err)
	require.Equal(t, "50 of 50 calls (max_active_calls)", err.Error())
	require.InDelta(t, lastResort, g.Room(Ask{}), 1e-9)
	taken[0].Release()
	taken[0].Release()
	require.NoError(t, g.Full())
	release(taken)
	require.Zero(t, g.Load().Calls.Used)
	require.Empty(t, g.byKey)
	require.Empty(t, g.fresh)
	require.InDelta(t, 1, g.Room(Ask{}), 0)
}

func TestKeysAndNumbersHaveLimitsOfTheirOwn(t *testing.T) {
	g := newMachine().gate(t, Limits{
		PerKey: 3, ByKey: map[string]int{"vip": 5, "free": 0}, PerNumber: 4, ByNumber: map[string]int{"small": 1},
	})
	_, err := fill(g, Ask{Key: "a", PhoneNumberID: "1"})
	requireLimit(t, LimitKey, err)
	require.Equal(t, "3 of 3 calls of this API key (limits.calls_per_key)", err.Error())
	_, err = g.Reserve(Ask{Key: "b", PhoneNumberID: "1"})
	require.NoError(t, err)
	_, err = g.Reserve(Ask{Key: "b", PhoneNumberID: "1"})
	requireLimit(t, LimitNumber, err)
	require.Equal(t, "4 of 4 calls of this phone number (limits.calls_per_number)", err.Error())
	_, err = fill(g, Ask{Key: "c", PhoneNumberID: "small"})
	requireLimit(t, LimitNumber, err)
	places, err := fill(g, Ask{Key: "vip", PhoneNumberID: "2"})
	require.Len(t, places, 4, "the number's limit comes first")
	requireLimit(t, LimitNumber, err)
	release(places)
	for range 4 {
		_, err = g.Reserve(Ask{Key: "free", PhoneNumberID: "3"})
		require.NoError(t, err, "zero is no limit")
	}
	require.NoError(t, g.Full(), "others have room")
	require.InDelta(t, lastResort, g.Room(Ask{Key: "a"}), 1e-9, "this key has none")
}

// Nothing is measured yet when a burst comes: what its calls will cost counts.
func TestBurstOfCallsThatAreNotMeasuredYet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMachine()
		g := m.gate(t, Limits{CPU: 0.9})
		seconds(g, 10)
		places, err := fill(g, Ask{Mode: Relay})
		requireLimit(t, LimitCPU, err)
		require.Len(t, places, 18, "of 0.1 cores each, in 0.9 of 2")
		require.Equal(t, "18 calls use or will use 1.80 of 1.80 CPU cores (limits.max_cpu_utilization)", err.Error())
		release(places)
		places, err = fill(g, Ask{Mode: Mix})
		requireLimit(t, LimitCPU, err)
		require.Len(t, places, 6)
		seconds(g, 100)
		_, err = g.Reserve(Ask{})
		require.Error(t, err, "silent calls may begin to speak all at once")
	})
}

// A call is counted once: the measurement takes over what was expected of it, second by second.
func TestReservationPassesIntoTheMeasurement(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMachine()
		m.cores = 0.5 // there is other work
		g := m.gate(t, Limits{CPU: 0.9})
		first, err := g.Reserve(Ask{})
		require.NoError(t, err)
		first.SetMode(Relay, time.Now())
		seconds(g, 10)
		require.InDelta(t, 0.5, g.Load().CPU.Used, 1e-6)

		var places []*Place
		for range 5 {
			p, err := g.Reserve(Ask{})
			require.NoError(t, err)
			places = append(places, p)
		}
		seconds(g, 10)
		require.InDelta(t, 1.0, g.Load().CPU.Used, 1e-6, "they ring: nothing of them shows, all of it is kept")
		for _, p := range places {
			p.SetMode(Relay, time.Now())
		}
		m.load(1)
		for range windowSize + 3 {
			require.InDelta(t, 1.0, g.Load().CPU.Used, 1e-6)
			seconds(g, 1)
		}
		require.Empty(t, g.fresh)
	})
}

func TestCallsThatCostMoreThanExpectedCountAsMeasured(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMachine()
		g := m.gate(t, Limits{CPU: 0.9})
		for range 4 {
			p, err := g.Reserve(Ask{})
			require.NoError(t, err)
			p.SetMode(Relay, time.Now())
		}
		m.load(1.75)
		seconds(g, 10)
		requireLimit(t, LimitCPU, g.Full())
		m.load(1.6)
		seconds(g, 10)
		require.NoError(t, g.Full())
	})
}

func TestCallThatBeginsToMixCostsMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMachine()
		g := m.gate(t, Limits{CPU: 0.9})
		p, err := g.Reserve(Ask{})
		require.NoError(t, err)
		p.SetMode(Relay, time.Now())
		m.load(0.4)
		seconds(g, 10)
		require.InDelta(t, 0.4, g.Load().CPU.Used, 1e-6)
		p.SetMode(Mix, time.Now())
		require.InDelta(t, 0.6, g.Load().CPU.Used, 1e-6, "what it adds does not show yet")
		m.load(0.6)
		for range windowSize + 1 {
			seconds(g, 1)
			require.InDelta(t, 0.6, g.Load().CPU.Used, 1e-6)
		}
		p.SetMode(Relay, time.Now())
		m.load(0)
		seconds(g, windowSize+1)
		require.InDelta(t, 0.1, g.Load().CPU.Used, 1e-6)
		p.Release()
		p.SetMode(Mix, time.Now())
		require.Zero(t, g.Load().CPU.Used)
	})
}

// Whatever makes a process without calls busy, it takes one: else a wrong measurement would keep it empty for ever.
func TestEmptyNodeTakesACallWhateverIsMeasured(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMachine()
		m.cores, m.memory = 2, 2e9
		g := m.gate(t, Limits{CPU: 0.9, Memory: 0.9})
		seconds(g, 10)
		p, err := g.Reserve(Ask{Mode: Mix})
		require.NoError(t, err)
		_, err = g.Reserve(Ask{})
		requireLimit(t, LimitCPU, err)
		m.load(0)
		seconds(g, 10)
		_, err = g.Reserve(Ask{})
		requireLimit(t, LimitMemory, err)
		require.Equal(t, "1 calls use or will use 1926 of 858 MiB memory (limits.max_memory_utilization)", err.Error())
		p.Release()
		require.NoError(t, g.Full())
	})
}

func TestMemoryCountsFromWhatTheProcessHasWithoutCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMachine()
		m.memory = 500e6
		g := m.gate(t, Limits{Memory: 0.9})
		places, err := fill(g, Ask{})
		requireLimit(t, LimitMemory, err)
		require.Len(t, places, 40, "of 10 MB each, from 500 to 900")
	})
}

func TestBlindGateGoesByWhatCallsCost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMachine()
		g := m.gate(t, Limits{CPU: 0.9})
		m.err = errors.New("no such file")
		seconds(g, 3)
		places, err := fill(g, Ask{})
		requireLimit(t, LimitCPU, err)
		require.Len(t, places, 18)
		require.Equal(t, 1, strings.Count(m.log.String(), "cannot be measured"), m.log.String())
	})
}

func TestLogTellsOfRefusalsOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMachine()
		g := m.gate(t, Limits{Calls: 1})
		_, err := g.Reserve(Ask{})
		require.NoError(t, err)
		for range 100 {
			_, err = g.Reserve(Ask{})
			require.Error(t, err)
			seconds(g, 1)
		}
		require.Equal(t, 1, strings.Count(m.log.String(), "no place for another call"), m.log.String())
		require.Equal(t, 1, strings.Count(m.log.String(), "calls are refused"), m.log.String())
		require.Contains(t, m.log.String(), "limit=max_active_calls refused=59 calls=1")
		seconds(g, 120)
		_, err = g.Reserve(Ask{})
		require.Error(t, err)
		require.Equal(t, 2, strings.Count(m.log.String(), "no place for another call"), "told again after a pause")
	})
}

func TestRoomFallsWithEveryCall(t *testing.T) {
	g := newMachine().gate(t, Limits{})
	last := float32(2)
	for range 10 {
		room := g.Room(Ask{})
		require.Less(t, room, last)
		last = room
		_, err := g.Reserve(Ask{})
		require.NoError(t, err)
	}
}

func TestMetrics(t *testing.T) {
	m := newMachine()
	reg := prometheus.NewPedanticRegistry()
	g, err := New(Options{
		Limits: Limits{Calls: 2}, Costs: DefaultCosts(1), Capacity: Capacity{Cores: 2, Memory: 1e9}, Measure: m.use,
		Registerer: reg, Logger: slog.New(slog.DiscardHandler),
	})
	require.NoError(t, err)
	_, refusal := fill(g, Ask{})
	require.Error(t, refusal)
	families, err := reg.Gather()
	require.NoError(t, err)
	got := map[string]float64{}
	for _, f := range families {
		for _, s := range f.GetMetric() {
			name := strings.TrimPrefix(f.GetName(), "livekit_connector_")
			for _, l := range s.GetLabel() {
				name += "," + l.GetValue()
			}
			got[name] = s.GetGauge().GetValue() + s.GetCounter().GetValue()
		}
	}
	require.InDelta(t, 0.052, got["capacity_used_ratio,memory"], 0.001)
	delete(got, "capacity_used_ratio,memory")
	require.Equal(t, map[string]float64{
		"admission_refused_total,max_active_calls": 1, "admission_refused_total,calls_per_key": 0,
		"admission_refused_total,calls_per_number": 0, "admission_refused_total,cpu": 0, "admission_refused_total,memory": 0,
		"admission_refused_total,open_files": 0,
		"capacity_used_ratio,calls":          1, "capacity_used_ratio,files": 0, "capacity_used_ratio,cpu": 0.005,
		"capacity_cpu_cores": 2, "capacity_memory_bytes": 1e9, "capacity_calls": 2,
		"call_cost_cores,relay": 0.005, "call_cost_cores,mix": 0.0186,
	}, got)
}
