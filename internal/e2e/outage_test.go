package e2e_test

import (
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/livekit/protocol/livekit"
	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/internal/app"
	"github.com/livekit-connector/livekit-connector/internal/livekittest"
	"github.com/livekit-connector/livekit-connector/pkg/fakemeta"
)

// LiveKit is away for longer than a call can wait. stream_test.go has it come back in time.
func TestOutageOfLiveKit(t *testing.T) {
	t.Parallel()
	server, err := livekittest.Start(wait(t), livekittest.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, server.Stop()) })
	s := newScene(t, "outage-livekit", worldOptions{livekit: server}, nil)
	dialled, err := s.app.sdk.do(wait(t), "dial", dialRequest().with(options{"whatsappToPhoneNumber": "15550005555", "roomName": "outage-dialled"}))
	require.NoError(t, err)
	callee, err := s.meta.User("15550005555").NextCall(wait(t))
	require.NoError(t, err)
	require.NoError(t, s.app.wait("connect", dialled.text("whatsappCallId")).err)
	require.NoError(t, callee.Wait(wait(t), fakemeta.StateRinging))
	require.NoError(t, callee.PickUp())
	require.NoError(t, callee.Wait(wait(t), fakemeta.StateActive))
	live := []*fakemeta.Call{s.call, callee}
	goesOn(t, live)
	require.NoError(t, s.listener.Leave()) // its SDK would look for the server long after the test

	server.Kill()
	heard := make([]int, len(live))
	for i, call := range live {
		heard[i] = len(call.Handset().Packets())
	}
	goesOn(t, live) // silence, in one stream
	s.awaitReady(http.StatusServiceUnavailable, `"livekit":{"ok":false,"reason":"`)
	status, body := s.probe("/livez")
	require.Equal(t, http.StatusOK, status, "a restart would not mend LiveKit, and end the calls: %s", body)
	s.refusesWithoutLiveKit() // which takes its time: the calls may be over by then

	for i, call := range live { // nobody came back
		requireOver(t, call)
		require.Greater(t, len(call.Handset().Packets()), heard[i]+250, "it waited")
		_, terminated := call.Moment(fakemeta.MomentTerminate)
		require.True(t, terminated, call.Timeline())
		requireContinuous(t, call)
	}
	require.NoError(t, s.world.app.Node().WaitEmpty(wait(t)))
	require.Equal(t, 2, strings.Count(s.log.String(), `"reason":"room_lost"`))

	require.NoError(t, server.Restart(wait(t)))
	s.awaitReady(http.StatusOK, `"livekit":{"ok":true`)
	again, err := s.meta.User(userNumber).Call(wait(t), numberID)
	require.NoError(t, err)
	require.NoError(t, s.app.wait("accept", again.ID()).err, "the next call is as ever")
	require.NoError(t, again.HangUp())
	requireOver(t, again)
	s.nothingLeft(s.room)
}

// awaitReady asks until /readyz answers so; what it says of LiveKit is some seconds old.
func (w *world) awaitReady(status int, part string) {
	w.t.Helper()
	until(w.t, func() string {
		if got, body := w.probe("/readyz"); got != status || !strings.Contains(body, part) {
			return body
		}
		return ""
	})
}

// refusesWithoutLiveKit makes calls that have no room to go to: their requesters hear so, and Meta is left with none.
func (s *scene) refusesWithoutLiveKit() {
	t := s.t
	t.Helper()
	calls := s.meta.ActiveCalls()
	inbound, err := s.meta.User("15550003333").Call(wait(t), numberID)
	require.NoError(t, err)
	refused := refusal(t, "failed_precondition", s.app.wait("accept", inbound.ID()).err)
	require.Contains(t, refused.Message, "room_join_failed")
	requireOver(t, inbound)
	require.Zero(t, inbound.Heard().EarlyPackets)
	placed := len(s.meta.Calls())
	_, err = s.app.sdk.do(wait(t), "dial", dialRequest().with(options{"whatsappToPhoneNumber": "15550004444"}))
	require.Contains(t, refusal(t, "unavailable", err).Message, "no call was begun, because there is no room for it")
	require.Len(t, s.meta.Calls(), placed, "nobody's phone rings for nothing")
	until(t, func() string {
		if s.meta.ActiveCalls() > calls {
			return "Meta has more calls than before"
		}
		return ""
	})
}

// way is the way to the Graph API, which can break.
type way struct {
	listener net.Listener
	target   string
	working  sync.WaitGroup

	mu    sync.Mutex // guards all following fields
	state wayState
	open  map[net.Conn]struct{}
}

type wayState int

const (
	wayOpen  wayState = iota
	wayReset          // connections are closed as soon as they are made
	wayHole           // connections are made, and nothing comes back
)

func newWay(t *testing.T, to string) *way {
	t.Helper()
	target, err := url.Parse(to)
	require.NoError(t, err)
	w := &way{target: target.Host, open: map[net.Conn]struct{}{}}
	w.listener, err = net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	w.working.Go(w.accept)
	t.Cleanup(func() {
		_ = w.listener.Close()
		w.set(wayReset)
		w.working.Wait()
	})
	return w
}

func (w *way) url() string { return "http://" + w.listener.Addr().String() }

// set changes the state; connections that there are break.
func (w *way) set(s wayState) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.state = s
	for c := range w.open {
		_ = c.Close()
	}
}

// keep adds a connection to those that set breaks.
func (w *way) keep(c net.Conn) wayState {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.open[c] = struct{}{}
	return w.state
}

func (w *way) drop(c net.Conn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.open, c)
	_ = c.Close()
}

func (w *way) accept() {
	for {
		c, err := w.listener.Accept()
		if err != nil {
			return
		}
		w.working.Go(func() { w.carry(c) })
	}
}

func (w *way) carry(c net.Conn) {
	defer w.drop(c)
	switch w.keep(c) {
	case wayReset:
		return
	case wayHole:
		_, _ = io.Copy(io.Discard, c)
		return
	case wayOpen:
	}
	far, err := net.Dial("tcp", w.target)
	if err != nil {
		return
	}
	defer w.drop(far)
	w.keep(far)
	back := make(chan struct{})
	go func() {
		defer close(back)
		_, _ = io.Copy(c, far)
		_ = c.Close()
	}()
	_, _ = io.Copy(far, c)
	_ = far.Close()
	<-back
}

// Meta cannot be reached, in one way or another. Live calls do not need it; ends that it was not told of are told when it
// is back.
func TestOutageOfMeta(t *testing.T) {
	t.Parallel()
	for name, state := range map[string]wayState{"connections break": wayReset, "nothing comes back": wayHole} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var road *way
			room := "outage-meta-" + strings.ReplaceAll(name, " ", "-")
			s := newScene(t, room, worldOptions{config: func(c *app.Config) {
				road = newWay(t, c.WhatsApp.GraphURL)
				c.WhatsApp.GraphURL, c.WhatsApp.RequestTimeout = road.url(), 2*time.Second
			}}, nil)
			road.set(state)
			goesOn(t, []*fakemeta.Call{s.call})
			s.awaitReady(http.StatusOK, `"livekit":{"ok":true`) // every other node would say the same

			_, err := s.app.sdk.do(wait(t), "dial", dialRequest().with(options{"whatsappToPhoneNumber": "15550005555"}))
			var refused *sdkError
			require.ErrorAs(t, err, &refused, "the connector answers, and in time")
			require.Contains(t, []string{"unavailable", "failed_precondition"}, refused.Code, refused)
			inbound, err := s.meta.User("15550003333").Call(wait(t), numberID)
			require.NoError(t, err)
			require.Error(t, s.app.wait("accept", inbound.ID()).err)

			require.NoError(t, s.livekit.DeleteRoom(wait(t), s.room))
			_, err = s.listener.Wait(wait(t), livekittest.Is(livekittest.EventDisconnected, ""))
			require.NoError(t, err)
			require.Equal(t, fakemeta.StateActive, s.call.State(), "Meta has not heard of the end")
			road.set(wayOpen)
			requireOver(t, s.call)
			requireOver(t, inbound)
			requireContinuous(t, s.call)
			s.nothingLeft(s.room)
		})
	}
}

// Graph answers late, but answers: an SDK, which gives up after 10 s, has its answer before, and no call is made twice.
func TestOutageThatIsSlowness(t *testing.T) {
	t.Parallel()
	t.Run("a dial that takes 3 s succeeds", func(t *testing.T) {
		t.Parallel()
		require.Greater(t, app.DefaultConfig().WhatsApp.RequestTimeout, 3*time.Second)
		w := newWorld(t, worldOptions{
			config: func(c *app.Config) { c.WhatsApp.RequestTimeout = 8 * time.Second }, // a slow machine takes its time, too
			faults: []fakemeta.Fault{{Action: "connect", Delay: 3 * time.Second}},
		})
		a := w.newApplication(nil)
		dialled, err := a.sdk.do(wait(t), "dial", dialRequest().with(options{"roomName": "outage-slow-dial"}))
		require.NoError(t, err)
		c, err := w.meta.User(userNumber).NextCall(wait(t))
		require.NoError(t, err)
		require.Equal(t, c.ID(), dialled.text("whatsappCallId"))
		require.NoError(t, a.wait("connect", c.ID()).err)
		require.NoError(t, c.PickUp())
		heardAtLeast(t, c, 50)
		require.NoError(t, c.HangUp())
		requireOver(t, c)
		require.Len(t, w.meta.Calls(), 1)
		w.nothingLeft("outage-slow-dial")
	})
	t.Run("the outcome of a dial that takes 7 s is not known", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, worldOptions{faults: []fakemeta.Fault{{Action: "connect", Delay: 7 * time.Second}}})
		sdk := newGoSDK(w.url, w.livekit.APIKey(), w.livekit.APISecret())
		_, err := sdk.do(wait(t), "dial", dialRequest().with(options{"roomName": "outage-slower-dial"}))
		requireCode(t, "failed_precondition", err)
		require.Len(t, w.meta.Calls(), 1, "no second one")
		require.NoError(t, w.app.Node().WaitEmpty(wait(t)))
	})
	t.Run("a caller whose accept takes 3 s is answered", func(t *testing.T) {
		t.Parallel()
		s := newScene(t, "outage-slow-accept", worldOptions{faults: []fakemeta.Fault{{Action: "accept", Delay: 3 * time.Second}}}, nil)
		goesOn(t, []*fakemeta.Call{s.call})
		require.NoError(t, s.call.HangUp())
		requireOver(t, s.call)
		s.requireLeft(livekit.DisconnectReason_CLIENT_INITIATED)
		s.nothingLeft(s.room)
	})
	t.Run("one whose accept is never answered is hung up in time", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, worldOptions{faults: []fakemeta.Fault{{Action: "accept", Delay: 7 * time.Second, Times: -1}}})
		a := w.newApplication(func(a *application) { a.accept = options{"roomName": "outage-slower-accept"} })
		c, err := w.meta.User(userNumber).Call(wait(t), numberID)
		require.NoError(t, err)
		requireCode(t, "failed_precondition", a.wait("accept", c.ID()).err)
		requireOver(t, c)
		w.nothingLeft("outage-slower-accept")
	})
}
