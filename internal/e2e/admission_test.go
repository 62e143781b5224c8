package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/internal/app"
	"github.com/livekit-connector/livekit-connector/pkg/fakemeta"
)

const (
	burst      = 500 // calls that are accepted at once
	burstLimit = 50  // of which so many can be
)

// Five hundred users call, and an application accepts all of them at once on a node that takes fifty. Fifty are answered, the
// others are refused before anything was begun for them: Meta is asked for nothing, and each can still be accepted when a
// place is free. All calls are whole, with media and a room each; only what the phones say is silence, encoded before. The test
// is not parallel, so that what is counted is its own.
func TestBurstOfAcceptsAgainstALimit(t *testing.T) {
	w := newWorld(t, worldOptions{
		meta: func(o *fakemeta.Options) { o.Timing.AcceptWindow = 5 * time.Minute },
		config: func(c *app.Config) {
			c.MaxActiveCalls = burstLimit
			c.ConnectTimeout = 20 * time.Second // fifty handshakes, both ends on the same CPUs
		},
	})
	b := newBurst(w)
	b.call()
	b.acceptAll()
	for _, c := range b.refused {
		require.Equal(t, fakemeta.StateOffered, c.State(), "meta was told nothing of a call that was refused")
	}
	w.showsThat(`livekit_connector_admission_refused_total{limit="max_active_calls"}`, "one for each refusal",
		func(v float64) bool { return v >= float64(len(b.refused)) })
	for len(b.answered) < burstLimit {
		b.acceptNext()
	}
	for _, c := range b.answered {
		require.NoError(t, c.Wait(wait(t), fakemeta.StateActive))
	}
	w.shows(`livekit_connector_calls_active{direction="inbound"}`, burstLimit)
	w.shows(`livekit_connector_capacity_used_ratio{resource="calls"}`, 1)
	w.awaitReady(http.StatusServiceUnavailable, "50 of 50 calls (max_active_calls)")

	// A place that is given back is taken by one that was refused.
	require.NoError(t, b.answered[0].HangUp())
	requireOver(t, b.answered[0])
	b.acceptNext()
	require.NoError(t, b.answered[burstLimit].Wait(wait(t), fakemeta.StateActive))
	requireCode(t, "resource_exhausted", b.accept(b.refused[0]))

	for _, c := range b.calls {
		_ = c.HangUp() // some are over
	}
	for _, c := range b.calls {
		requireOver(t, c)
	}
	require.NoError(t, w.app.Node().WaitEmpty(wait(t)))
	require.Zero(t, w.meta.ActiveCalls())
	w.shows(`livekit_connector_capacity_used_ratio{resource="calls"}`, 0)
	w.shows(`livekit_connector_calls_active{direction="inbound"}`, 0)
	http.DefaultClient.CloseIdleConnections() // of the SDK
	w.noGoroutineLeft()
	w.noSocketLeft()
}

// burstOf is many users who call at once, and an application that has not said anything to them.
type burstOf struct {
	*world
	sdk   sdk
	calls []*fakemeta.Call
	// What came of them.
	answered, refused []*fakemeta.Call
}

func newBurst(w *world) *burstOf {
	w.t.Helper()
	return &burstOf{world: w, sdk: newGoSDK(w.url, w.livekit.APIKey(), w.livekit.APISecret())}
}

// call has all users call.
func (b *burstOf) call() {
	b.t.Helper()
	silence := fakemeta.Speech{Loop: true}
	for _, p := range packets(b.t, pause(time.Second)) {
		silence.Packets = append(silence.Packets, p.Payload)
	}
	for i := range burst {
		user := b.meta.User(fmt.Sprintf("1556%07d", i))
		user.SetSpeech(silence)
		c, err := user.Call(wait(b.t), numberID)
		require.NoError(b.t, err)
		b.calls = append(b.calls, c)
	}
}

// acceptAll accepts all calls side by side and sorts them by what came of that. There are never more of them at once than there
// may be. On a machine that does too much else a call that has its place may fail for want of time: LiveKit's SDK joins a room
// within five seconds or not at all. Then its place may be another's.
func (b *burstOf) acceptAll() {
	b.t.Helper()
	outcomes := make([]error, len(b.calls))
	var accepting, counting sync.WaitGroup
	begin, done := make(chan struct{}), make(chan struct{})
	for i, c := range b.calls {
		accepting.Go(func() {
			<-begin
			outcomes[i] = b.accept(c)
		})
	}
	most := 0.0
	counting.Go(func() {
		look := time.NewTicker(20 * time.Millisecond)
		defer look.Stop()
		for {
			most = max(most, b.taken())
			select {
			case <-look.C:
			case <-done:
				return
			}
		}
	})
	close(begin)
	accepting.Wait()
	close(done)
	counting.Wait()
	require.Positive(b.t, most)
	require.LessOrEqual(b.t, most, 1.0, "of the places")
	failed := 0
	for i, err := range outcomes {
		if b.sort(b.calls[i], err) {
			failed++
		}
	}
	require.LessOrEqual(b.t, len(b.answered), burstLimit)
	require.GreaterOrEqual(b.t, len(b.refused), burst-burstLimit-failed)
}

// taken is the share of the places that calls have; negative if nobody says.
func (b *burstOf) taken() float64 {
	families, err := b.registry.Gather()
	if err != nil {
		return -1
	}
	for _, f := range families {
		if f.GetName() != "livekit_connector_capacity_used_ratio" {
			continue
		}
		for _, s := range f.GetMetric() {
			if s.GetLabel()[0].GetValue() == "calls" {
				return s.GetGauge().GetValue()
			}
		}
	}
	return -1
}

// sort keeps a call by what came of accepting it, and ends it at Meta if it was begun and failed.
func (b *burstOf) sort(c *fakemeta.Call, err error) (failed bool) {
	b.t.Helper()
	switch {
	case err == nil:
		b.answered = append(b.answered, c)
	case begunAndFailed(err):
		b.t.Logf("a call was begun and failed: %v", err)
		_ = c.HangUp() // it may be over
		requireOver(b.t, c)
		return true
	default:
		require.NoError(b.t, b.requireRefusal(err))
		b.refused = append(b.refused, c)
	}
	return false
}

// begunAndFailed says whether a call that was taken could not be set up in time.
func begunAndFailed(err error) bool {
	said, is := errors.AsType[*sdkError](err)
	return is && (said.Code == "failed_precondition" || said.Code == "deadline_exceeded")
}

// acceptNext accepts one of the refused calls, as soon as there is a place; the next one if that fails.
func (b *burstOf) acceptNext() {
	b.t.Helper()
	before := len(b.answered)
	until(b.t, func() string {
		c := b.refused[0]
		b.refused = b.refused[1:]
		err := b.accept(c)
		b.sort(c, err)
		if len(b.answered) > before {
			return ""
		}
		return err.Error()
	})
}

func (b *burstOf) accept(c *fakemeta.Call) error {
	ctx, cancel := context.WithTimeout(b.t.Context(), patience) // the Go SDK keeps a goroutine until then
	defer cancel()
	_, err := b.sdk.do(ctx, "accept", acceptRequest(c.ID(), c.Offer()).with(options{"roomName": "burst-" + strconv.Itoa(c.Index())}))
	return err
}

// requireRefusal returns nil for an error that says which limit it was.
func (b *burstOf) requireRefusal(err error) error {
	said, is := errors.AsType[*sdkError](err)
	if !is || said.Code != "resource_exhausted" || said.Metadata["limit"] != "max_active_calls" ||
		said.Message != "server is busy and cannot accept new calls: 50 of 50 calls (max_active_calls)" {
		return fmt.Errorf("another error than a refusal: %w", err)
	}
	return nil
}

// shows waits until a metric has a value.
func (w *world) shows(name string, want float64) {
	w.t.Helper()
	w.showsThat(name, fmt.Sprint(want), func(v float64) bool { return v == want })
}

// showsThat waits until a metric has a value that is right.
func (w *world) showsThat(name, want string, right func(float64) bool) {
	w.t.Helper()
	until(w.t, func() string {
		for line := range strings.Lines(w.metrics()) {
			text, is := strings.CutPrefix(line, name+" ")
			if !is {
				continue
			}
			if v, err := strconv.ParseFloat(strings.TrimSpace(text), 64); err == nil && right(v) {
				return ""
			}
			return line + " instead of " + want
		}
		return name + " is not there"
	})
}

// Whatever limit refuses a user's call that came by the webhook, Meta is told to reject it: the user hears that nobody takes it
// instead of waiting.
func TestGatewayRejectsByEachLimit(t *testing.T) {
	t.Parallel()
	for name, limit := range map[string]func(*app.LimitsConfig){
		"calls_per_key":    func(l *app.LimitsConfig) { l.CallsPerKey = 1 },
		"calls_per_number": func(l *app.LimitsConfig) { l.CallsByNumber = map[string]int{numberID: 1} },
		"cpu":              func(l *app.LimitsConfig) { l.MaxCPUUtilization, l.CPUs, l.RelayCost = 0.9, 100, 60 },
		"memory":           func(l *app.LimitsConfig) { l.MaxMemoryUtilization = 1e-6 },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			room := "gateway-limit-" + name
			g := newGateway(t, room, worldOptions{config: func(c *app.Config) { limit(&c.Limits) }}, into(room))
			first := g.answered()
			second, err := g.meta.User("15550003333").Call(wait(t), numberID)
			require.NoError(t, err)
			requireOver(t, second)
			require.Equal(t, "business", second.Report().EndedBy)
			g.event("connect_inbound", "refused")
			g.shows(fmt.Sprintf(`livekit_connector_admission_refused_total{limit=%q}`, name), 1)
			require.Equal(t, fakemeta.StateActive, first.State())
			require.NoError(t, first.HangUp())
			g.over(first)
			third, err := g.meta.User("15550003333").Call(wait(t), numberID)
			require.NoError(t, err)
			require.NoError(t, third.Wait(wait(t), fakemeta.StateActive), "the place is free again")
			require.NoError(t, third.HangUp())
			g.over(third)
		})
	}
}

// A call that has to be mixed costs more than one that is relayed. The costs are far above what this process can use, so that
// they alone are seen.
func TestGatewayMixedCallTakesMoreRoom(t *testing.T) {
	t.Parallel()
	s := newScene(t, "admission-mix", worldOptions{config: func(c *app.Config) {
		c.Limits.CPUs, c.Limits.RelayCost, c.Limits.MixCost = 100, 10, 50
	}}, nil)
	const ratio = `livekit_connector_capacity_used_ratio{resource="cpu"}`
	s.showsThat(ratio, "about 0.1", func(v float64) bool { return v >= 0.1 && v < 0.3 })
	human, guest := newSpeaker(t, s, "human"), newSpeaker(t, s, "guest")
	ctx, stop := context.WithCancel(wait(t))
	defer stop()
	var singing sync.WaitGroup
	song := packets(t, robin.sing(time.Second))
	for _, k := range []*speaker{human, guest} {
		singing.Go(func() {
			for k.play(ctx, song) == nil {
			}
		})
	}
	s.showsThat(ratio, "0.5 or more", func(v float64) bool { return v >= 0.5 })
	stop()
	singing.Wait()
	s.showsThat(ratio, "less again", func(v float64) bool { return v < 0.3 })
	hangUp(t, s)
}
