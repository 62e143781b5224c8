package e2e_test

import (
	"fmt"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/internal/app"
	"github.com/livekit-connector/livekit-connector/pkg/fakemeta"
)

// asked waits until Meta has the number of calls.
func (w *world) asked(n int) {
	w.t.Helper()
	until(w.t, func() string {
		if now := w.meta.ActiveCalls(); now != n {
			return fmt.Sprintf("Meta has %d calls, not %d", now, n)
		}
		return ""
	})
}

// What Meta makes of a dial while the connector goes down must not ring on.
func TestSecondSignalHangsUpACallThatIsBeingDialled(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{faults: []fakemeta.Fault{{Action: "connect", Delay: 4 * time.Second}}})
	sdk := newGoSDK(w.url, w.livekit.APIKey(), w.livekit.APISecret())
	refused := make(chan error, 1)
	go func() {
		_, err := sdk.do(t.Context(), "dial", dialRequest().with(options{"roomName": "attack-dial-signal"}))
		refused <- err
	}()
	w.asked(1)
	w.signals <- syscall.SIGTERM
	w.signals <- syscall.SIGTERM
	w.awaitStop()
	w.asked(0)
	select {
	case err := <-refused:
		requireCode(t, "failed_precondition", err)
	case <-wait(t).Done():
		t.Fatal("the dial is not answered")
	}
}

func TestDrainingWaitsForACallThatIsBeingAccepted(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{faults: []fakemeta.Fault{{Action: "accept", Delay: time.Second}}})
	a := w.newApplication(func(a *application) { a.accept = options{"roomName": "attack-drain"} })
	c, err := w.meta.User(userNumber).Call(wait(t), numberID)
	require.NoError(t, err)
	require.NoError(t, c.Wait(wait(t), fakemeta.StatePreAccepted))
	w.signals <- syscall.SIGTERM
	require.NoError(t, a.wait("accept", c.ID()).err)
	require.Equal(t, fakemeta.StateActive, c.State())
	require.NoError(t, c.HangUp())
	w.awaitStop()
}

func TestManyAcceptsAtOnceMakeOneCall(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{})
	sdk := newGoSDK(w.url, w.livekit.APIKey(), w.livekit.APISecret())
	c, err := w.meta.User(userNumber).Call(wait(t), numberID)
	require.NoError(t, err)
	errs := make([]error, 8)
	var asking sync.WaitGroup
	for i := range errs {
		asking.Go(func() {
			_, errs[i] = sdk.do(t.Context(), "accept", acceptRequest(c.ID(), c.Offer()).with(options{"roomName": "attack-accepts"}))
		})
	}
	asking.Wait()
	accepted := 0
	for _, err := range errs {
		if err == nil {
			accepted++
			continue
		}
		requireCode(t, "already_exists", err)
	}
	require.Equal(t, 1, accepted)
	require.Equal(t, 1, w.app.Node().Calls())
	_, err = sdk.do(wait(t), "disconnect", options{"whatsappCallId": c.ID(), "whatsappApiKey": metaToken})
	require.NoError(t, err)
	requireOver(t, c)
	w.nothingLeft("attack-accepts")
}

func TestLiveKitThatIsDownAtAccept(t *testing.T) {
	t.Parallel()
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, closed.Close())
	w := newWorld(t, worldOptions{config: func(c *app.Config) { c.WSURL = "ws://" + closed.Addr().String() }})
	a := w.newApplication(nil)
	c, err := w.meta.User(userNumber).Call(wait(t), numberID)
	require.NoError(t, err)
	e := refusal(t, "failed_precondition", a.wait("accept", c.ID()).err)
	require.Contains(t, e.Message, "room_join_failed")
	requireOver(t, c)
	require.NoError(t, w.app.Node().WaitEmpty(wait(t)))
}

func TestAnswersThatComeTooLateOrAreNone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{})
	a := w.newApplication(nil)
	dialled, err := a.sdk.do(wait(t), "dial", dialRequest().with(options{"roomName": "attack-answers"}))
	require.NoError(t, err)
	id := dialled.text("whatsappCallId")
	require.NoError(t, a.wait("connect", id).err)
	c, err := w.meta.User(userNumber).NextCall(wait(t))
	require.NoError(t, err)
	require.NoError(t, c.PickUp())
	answer := func(sdp string) error {
		_, refused := a.sdk.do(wait(t), "connect", options{"whatsappCallId": id, "sdp": options{"type": "answer", "sdp": sdp}})
		return refused
	}
	requireCode(t, "already_exists", answer("v=0\r\ngarbage"))
	_, err = a.sdk.do(wait(t), "accept", acceptRequest(id, c.Offer()))
	requireCode(t, "already_exists", err)
	require.NoError(t, c.HangUp())
	require.NoError(t, a.wait("disconnect", id).err)
	w.nothingLeft("attack-answers")
	var late *sdkError
	require.ErrorAs(t, answer("v=0\r\ngarbage"), &late)
	require.Contains(t, []string{"not_found", "failed_precondition"}, late.Code)
}

func TestGarbageDoesNotKeepTheAnswerOut(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{})
	sdk, events := newGoSDK(w.url, w.livekit.APIKey(), w.livekit.APISecret()), w.meta.Events()
	defer events.Close()
	dialled, err := sdk.do(wait(t), "dial", dialRequest().with(options{"roomName": "attack-garbage"}))
	require.NoError(t, err)
	id := dialled.text("whatsappCallId")
	answer := func(sdp string) error {
		_, refused := sdk.do(wait(t), "connect", options{"whatsappCallId": id, "sdp": options{"type": "answer", "sdp": sdp}})
		return refused
	}
	for _, sdp := range []string{"garbage", "v=0\r\n", strings.Repeat("a", 60<<10)} {
		requireCode(t, "invalid_argument", answer(sdp))
	}
	connect, err := events.NextCall(wait(t), id, "connect")
	require.NoError(t, err)
	require.NoError(t, answer(connect.Session.SDP))
	c, err := w.meta.User(userNumber).NextCall(wait(t))
	require.NoError(t, err)
	require.NoError(t, c.PickUp())
	require.NoError(t, c.Wait(wait(t), fakemeta.StateActive))
	require.NoError(t, c.HangUp())
	requireOver(t, c)
	w.nothingLeft("attack-garbage")
}

// The token that the call began with is too old when it ends.
func TestExpiredTokenIsReplacedByALaterDisconnect(t *testing.T) {
	t.Parallel()
	s := newScene(t, "attack-token", worldOptions{}, func(a *application) { a.ignoreTerminate = true })
	s.meta.Fail(fakemeta.Fault{Action: "terminate", Code: 190, Times: 1})
	require.NoError(t, s.livekit.DeleteRoom(wait(t), s.room))
	require.NoError(t, s.app.w.app.Node().WaitEmpty(wait(t)))
	require.Equal(t, fakemeta.StateActive, s.call.State(), "meta does not know")
	_, err := s.app.sdk.do(wait(t), "disconnect", options{"whatsappCallId": s.call.ID(), "whatsappApiKey": metaToken})
	require.NoError(t, err)
	requireOver(t, s.call)
	_, err = s.app.sdk.do(wait(t), "disconnect", options{"whatsappCallId": s.call.ID(), "whatsappApiKey": metaToken})
	requireCode(t, "not_found", err)
}

func TestLongCallID(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{})
	sdk := newGoSDK(w.url, w.livekit.APIKey(), w.livekit.APISecret())
	for _, id := range []string{"wacid." + strings.Repeat("A", 506), "wacid.*.>|{}/%2F..", strings.Repeat(".", 512)} {
		_, err := sdk.do(wait(t), "disconnect", options{"whatsappCallId": id, "disconnectReason": "USER_INITIATED"})
		requireCode(t, "not_found", err)
	}
	_, err := sdk.do(wait(t), "disconnect", options{"whatsappCallId": strings.Repeat("A", 513), "disconnectReason": "USER_INITIATED"})
	requireCode(t, "invalid_argument", err)
}
