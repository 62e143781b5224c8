package e2e_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/internal/livekittest"
	"github.com/livekit-connector/livekit-connector/pkg/fakemeta"
)

// crowd is a connector, run as an operator runs it, with many answered calls, each in a room of its own.
type crowd struct {
	*world
	*process
	app   *application
	calls []*fakemeta.Call
}

func newCrowd(t *testing.T, calls int, environ ...string) *crowd {
	t.Helper()
	w, p := newOutside(t, environ...)
	c := &crowd{world: w, process: p}
	c.app = w.newApplication(func(a *application) { a.accept = options{"participantIdentity": "caller"} })
	const atOnce = 4 // each is to be answered within eight seconds, however slow this machine is
	for i := range calls {
		call, err := w.meta.User(fmt.Sprintf("1555%07d", i)).Call(wait(t), numberID)
		require.NoError(t, err)
		c.calls = append(c.calls, call)
		if i >= atOnce {
			require.NoError(t, c.app.wait("accept", c.calls[i-atOnce].ID()).err)
		}
	}
	for _, call := range c.calls {
		require.NoError(t, c.app.wait("accept", call.ID()).err)
	}
	return c
}

func (c *crowd) room(call *fakemeta.Call) string {
	return c.app.wait("accept", call.ID()).res.text("roomName")
}

// drains is what /drain says.
func (c *crowd) drains() (draining bool, calls int) {
	c.world.t.Helper()
	status, body := c.ask("/drain")
	require.Equal(c.world.t, http.StatusOK, status)
	var said struct {
		Draining bool `json:"draining"`
		Calls    int  `json:"calls"`
	}
	require.NoError(c.world.t, json.Unmarshal([]byte(body), &said))
	return said.Draining, said.Calls
}

// goesOn checks that calls are active and that each phone goes on hearing one continuous stream.
func goesOn(t *testing.T, calls []*fakemeta.Call) {
	t.Helper()
	before := make([]int, len(calls))
	for i, call := range calls {
		before[i] = len(call.Handset().Packets())
	}
	for i, call := range calls {
		heardAtLeast(t, call, max(1, before[i]+50-len(call.Handset().Packets())))
	}
	for _, call := range calls {
		require.Equal(t, fakemeta.StateActive, call.State(), call.Timeline())
		requireContinuous(t, call)
	}
}

// allHungUp waits until each call was ended by the connector, at Meta and in its room.
func (c *crowd) allHungUp() {
	t := c.world.t
	t.Helper()
	for _, call := range c.calls {
		requireOver(t, call)
		_, terminated := call.Moment(fakemeta.MomentTerminate)
		require.True(t, terminated, call.Timeline())
		requireContinuous(t, call)
		until(t, func() string {
			if n := c.callersIn(wait(t), c.room(call)); n > 0 {
				return "the caller is still in the room"
			}
			return ""
		})
	}
}

// The first signal cuts nothing, however many calls there are: they go on being heard and steered until they end.
func TestSignalLetsTwentyCallsEndByThemselves(t *testing.T) {
	c := newCrowd(t, 19)
	c.meta.User(userNumber).SetSpeech(says(speech(t, "caller")))
	dialled, err := c.app.sdk.do(wait(t), "dial", dialRequest().with(options{"roomName": "signal-dialled", "participantIdentity": "callee"}))
	require.NoError(t, err)
	twentieth, err := c.meta.User(userNumber).NextCall(wait(t))
	require.NoError(t, err)
	agent, err := c.livekit.Join(wait(t), livekittest.ParticipantOptions{Room: "signal-dialled", Identity: "agent"})
	require.NoError(t, err)
	defer func() { _ = agent.Leave() }()
	c.signal(syscall.SIGHUP) // nothing to read anew, nothing to end

	c.signal(syscall.SIGTERM)
	c.awaitLog("draining: no new calls")
	require.NoError(t, c.app.wait("connect", twentieth.ID()).err, "a call that was placed when the signal came goes on")
	c.refusesNewCalls()
	require.NoError(t, twentieth.Wait(wait(t), fakemeta.StateRinging))
	require.NoError(t, twentieth.PickUp())
	_, err = agent.Wait(wait(t), livekittest.Is(livekittest.EventTrackPublished, "callee"))
	require.NoError(t, err)
	talk(t, twentieth, agent, "callee")
	goesOn(t, c.calls)
	draining, left := c.drains()
	require.True(t, draining)
	require.Equal(t, 20, left)

	_, err = c.app.sdk.do(wait(t), "disconnect", options{"whatsappCallId": dialled.text("whatsappCallId"), "whatsappApiKey": metaToken})
	require.NoError(t, err, "requests for live calls are served")
	requireOver(t, twentieth)
	hook := c.background(t.Context(), "drain", "--url", c.admin) // what a preStop hook would run
	for i, call := range c.calls {
		require.NoError(t, call.HangUp())
		require.NoError(t, c.app.wait("disconnect", call.ID()).err, "so are webhooks")
		requireOver(t, call)
		_, terminated := call.Moment(fakemeta.MomentTerminate)
		require.False(t, terminated, "it ended by itself: %v", call.Timeline())
		if i == len(c.calls)/2 {
			goesOn(t, c.calls[i+1:])
		}
	}
	c.requireExit(0)
	out, err := hook()
	require.NoError(t, err, out)
	require.Regexp(t, "no call is left|the connector has ended", out)
}

// refusesNewCalls checks that a draining connector says so and takes no call, though it goes on.
func (c *crowd) refusesNewCalls() {
	t := c.world.t
	t.Helper()
	_, err := c.app.sdk.do(wait(t), "dial", dialRequest().with(options{"whatsappToPhoneNumber": "15550009999"}))
	require.Contains(t, refusal(t, "resource_exhausted", err).Message, "draining")
	refused, err := c.meta.User("15550008888").Call(wait(t), numberID)
	require.NoError(t, err)
	require.Contains(t, refusal(t, "resource_exhausted", c.app.wait("accept", refused.ID()).err).Message, "draining")
	c.answers("/readyz", http.StatusServiceUnavailable,
		`"draining":{"ok":false,"reason":"draining, 20 calls left"`, `"livekit":{"ok":true`)
	c.answers("/livez", http.StatusOK)
	_, body := c.ask("/metrics")
	for _, sample := range []string{"draining 1", "drain_calls_left 20", "drain_deadline_timestamp_seconds 1."} {
		require.Contains(t, body, "\nlivekit_connector_"+sample)
	}
	require.NoError(t, refused.HangUp())
}

func TestSignalBoundHangsUpTwentyCalls(t *testing.T) {
	c := newCrowd(t, 20, "CONNECTOR_DRAIN_TIMEOUT=2s")
	goesOn(t, c.calls)
	c.signal(syscall.SIGINT)
	c.allHungUp()
	c.requireExit(0)
	log := c.process.log.String()
	before, after, bound := strings.Cut(log, `"msg":"calls are left after drain_timeout: hanging up"`)
	require.True(t, bound)
	require.NotContains(t, before, `"msg":"call ended"`, "nothing is cut before its time")
	require.Equal(t, 20, strings.Count(after, `"reason":"shutdown"`))
	require.Zero(t, c.meta.ActiveCalls())
}

func TestSignalsThatFollow(t *testing.T) {
	t.Run("the second hangs up", func(t *testing.T) {
		t.Parallel()
		c := newCrowd(t, 3)
		c.signal(syscall.SIGTERM)
		c.awaitLog("draining: no new calls")
		goesOn(t, c.calls)
		c.signal(syscall.SIGINT)
		c.allHungUp()
		c.requireExit(0)
	})
	t.Run("hanging up is bounded", func(t *testing.T) {
		t.Parallel()
		c := newCrowd(t, 2, "CONNECTOR_DRAIN_TIMEOUT=0s")
		c.meta.Fail(fakemeta.Fault{Action: "terminate", HTTPStatus: http.StatusServiceUnavailable, Times: -1})
		c.signal(syscall.SIGTERM)
		c.requireExit(1)
		require.Contains(t, c.process.log.String(), "2 calls did not end within")
		require.Equal(t, 2, strings.Count(c.process.log.String(), `"msg":"meta not told of the end"`))
		for _, call := range c.calls {
			require.Zero(t, c.callersIn(wait(t), c.room(call)), "rooms are left all the same")
		}
	})
	t.Run("the third ends the process", func(t *testing.T) {
		t.Parallel()
		c := newCrowd(t, 1)
		c.meta.Fail(fakemeta.Fault{Action: "terminate", HTTPStatus: http.StatusServiceUnavailable, Times: -1})
		c.signal(syscall.SIGTERM)
		c.awaitLog("draining: no new calls")
		c.signal(syscall.SIGTERM)
		c.awaitLog("second signal: hanging up")
		c.signal(syscall.SIGTERM)
		c.requireExit(130)
		require.NotContains(t, c.process.log.String(), `"msg":"connector stopped"`)
	})
	t.Run("a log that nobody reads any more ends no call", func(t *testing.T) {
		t.Parallel()
		logOfNobody(t)
	})
	t.Run("an operator drains, and takes it back", func(t *testing.T) {
		t.Parallel()
		drainsAndTakesBack(t)
	})
}

func logOfNobody(t *testing.T) {
	w, p := newOutside(t)
	p.signal(syscall.SIGTERM)
	p.requireExit(0) // only its world is needed

	read, write, err := os.Pipe()
	require.NoError(t, err)
	p = w.start(write, "CONNECTOR_PORT=0", "CONNECTOR_DRAIN_TIMEOUT=0s", "CONNECTOR_LOGGING_LEVEL=debug")
	require.NoError(t, write.Close())
	require.NoError(t, read.SetReadDeadline(time.Now().Add(patience)))
	for lines := bufio.NewReader(read); p.url == ""; {
		line, readErr := lines.ReadString('\n')
		require.NoError(t, readErr)
		if strings.Contains(line, "connector started") {
			p.readStart(line)
		}
	}
	require.NoError(t, read.Close())
	w.url = p.url
	a := w.newApplication(nil)
	call, err := w.meta.User(userNumber).Call(wait(t), numberID)
	require.NoError(t, err)
	require.NoError(t, a.wait("accept", call.ID()).err)
	goesOn(t, []*fakemeta.Call{call})
	p.signal(syscall.SIGTERM)
	requireOver(t, call)
	p.requireExit(0)
}

func drainsAndTakesBack(t *testing.T) {
	c := newCrowd(t, 1)
	code, out := c.command("drain", "--url", c.admin, "--timeout=1ms")
	require.Equal(t, 6, code, out)
	draining, left := c.drains()
	require.True(t, draining)
	require.Equal(t, 1, left)
	c.answers("/readyz", http.StatusServiceUnavailable, `"draining":{"ok":false`)
	code, out = c.command("drain", "--url", c.admin, "--cancel")
	require.Equal(t, 0, code, out)
	c.answers("/readyz", http.StatusOK)
	call, err := c.meta.User(userNumber).Call(wait(t), numberID)
	require.NoError(t, err)
	require.NoError(t, c.app.wait("accept", call.ID()).err, "calls are taken again")
	code, out = c.command("drain", "--url", c.process.url)
	require.Equal(t, 1, code)
	require.Contains(t, out, "is no connector's admin port")

	c.signal(syscall.SIGTERM)
	c.awaitLog("draining: no new calls")
	code, out = c.command("drain", "--url", c.admin, "--cancel")
	require.Equal(t, 1, code, "a signal is final")
	require.Contains(t, out, "start another one")
	goesOn(t, append(c.calls, call))
	for _, live := range append(c.calls, call) {
		require.NoError(t, live.HangUp())
	}
	c.requireExit(0)
}
