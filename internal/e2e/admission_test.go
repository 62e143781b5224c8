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
			c.Logging.Level = "info"
		},
	})
	b := newBurst(w)
	answered, refused := b.taken()
	require.Len(t, answered, burstLimit)
	require.Len(t, refused, burst-burstLimit)
	for _, c := range answered {
		require.NoError(t, c.Wait(wait(t), fakemeta.StateActive))
	}
	for _, c := range refused {
		require.Equal(t, fakemeta.StateOffered, c.State(), "meta was told nothing of a call that was refused")
	}
	require.Equal(t, burstLimit, w.app.Node().Calls())
	w.showsThat(`livekit_connector_admission_refused_total{limit="max_active_calls"}`, "450", func(v float64) bool { return v >= burst-burstLimit })
	w.shows(`livekit_connector_capacity_used_ratio{resource="calls"}`, 1)
	status, body := w.probe("/readyz")
	require.Equal(t, http.StatusServiceUnavailable, status)
	require.Contains(t, body, "50 of 50 calls (max_active_calls)")

	// A place that is given back is taken by one that was refused.
	require.NoError(t, answered[0].HangUp())
	requireOver(t, answered[0])
	until(t, func() string {
		err := b.accept(refused[0])
		if err == nil {
			return ""
		}
		require.NoError(t, b.requireRefusal(err))
		return err.Error()
	})
	require.NoError(t, refused[0].Wait(wait(t), fakemeta.StateActive))
	requireCode(t, "resource_exhausted", b.accept(refused[1]))

	for _, c := range b.calls {
		if c != answered[0] {
			require.NoError(t, c.HangUp())
		}
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
	b.calls = nil
	for i := range burst {
		user := b.meta.User(fmt.Sprintf("1556%07d", i))
		user.SetSpeech(silence)
		c, err := user.Call(wait(b.t), numberID)
		require.NoError(b.t, err)
		b.calls = append(b.calls, c)
	}
}

// taken is what comes of a burst. On a machine that does too much else a call that has its place may fail for want of time:
// LiveKit's SDK joins a room within five seconds or not at all. Then there is another burst.
func (b *burstOf) taken() (answered, refused []*fakemeta.Call) {
	b.t.Helper()
	for range 3 {
		b.call()
		var failed []error
		if answered, refused, failed = b.acceptAll(); len(failed) == 0 {
			return answered, refused
		}
		b.t.Logf("%d calls were begun and failed, the first: %v", len(failed), failed[0])
		for _, c := range b.calls {
			_ = c.HangUp() // some are over
		}
		require.NoError(b.t, b.app.Node().WaitEmpty(wait(b.t)))
	}
	b.t.Fatal("this machine is too busy for a burst")
	return nil, nil
}

// acceptAll accepts all calls side by side and sorts them by what came of that.
func (b *burstOf) acceptAll() (answered, refused []*fakemeta.Call, failed []error) {
	b.t.Helper()
	outcomes := make([]error, len(b.calls))
	var accepting sync.WaitGroup
	begin := make(chan struct{})
	for i, c := range b.calls {
		accepting.Go(func() {
			<-begin
			outcomes[i] = b.accept(c)
		})
	}
	close(begin)
	accepting.Wait()
	for i, err := range outcomes {
		said, is := errors.AsType[*sdkError](err)
		switch {
		case err == nil:
			answered = append(answered, b.calls[i])
		case is && (said.Code == "failed_precondition" || said.Code == "deadline_exceeded"): // begun, and over
			failed = append(failed, err)
		default:
			require.NoError(b.t, b.requireRefusal(err))
			refused = append(refused, b.calls[i])
		}
	}
	return answered, refused, failed
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
