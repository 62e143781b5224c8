package e2e_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/livekit/protocol/livekit"
	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/internal/app"
	"github.com/livekit-connector/livekit-connector/internal/livekittest"
	"github.com/livekit-connector/livekit-connector/pkg/fakemeta"
)

// requireCode checks that a request failed with a Twirp code.
func requireCode(t *testing.T, code string, err error) {
	t.Helper()
	_ = refusal(t, code, err)
}

// refusal is requireCode for those who want to know more.
func refusal(t *testing.T, code string, err error) *sdkError {
	t.Helper()
	var e *sdkError
	require.ErrorAs(t, err, &e)
	require.Equal(t, code, e.Code, e)
	return e
}

func TestRepeatedOfferIsAnsweredOnce(t *testing.T) {
	t.Parallel()
	s := newScene(t, "race-repeated-offer", worldOptions{}, nil)
	_, err := s.app.sdk.do(wait(t), "accept", acceptRequest(s.call.ID(), s.call.Offer()))
	requireCode(t, "already_exists", err)
	require.Equal(t, 1, s.app.w.app.Node().Calls())
	require.Equal(t, fakemeta.StateActive, s.call.State())
	require.NoError(t, s.call.HangUp())
	requireOver(t, s.call)
	s.nothingLeft(s.room)
}

func TestRepeatedAnswerIsAppliedOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{})
	w.meta.SetDelivery(fakemeta.Delivery{Rules: []fakemeta.DeliveryRule{{Event: "connect", Copies: 2}}})
	a := w.newApplication(nil)
	dialled, err := a.sdk.do(wait(t), "dial", dialRequest().with(options{"roomName": "race-repeated-answer"}))
	require.NoError(t, err)
	c, err := w.meta.User(userNumber).NextCall(wait(t))
	require.NoError(t, err)
	answers := a.waitAll("connect", dialled.text("whatsappCallId"), 3)
	accepted := 0
	for _, got := range answers {
		if got.err == nil {
			accepted++
			continue
		}
		requireCode(t, "already_exists", got.err)
	}
	require.Equal(t, 1, accepted)
	require.NoError(t, c.PickUp())
	require.NoError(t, c.HangUp())
	requireOver(t, c)
	w.nothingLeft("race-repeated-answer")
}

func TestRepeatedWordOfTheEnd(t *testing.T) {
	t.Parallel()
	s := newScene(t, "race-repeated-end", worldOptions{}, func(a *application) { a.ignoreTerminate = true })
	s.meta.SetDelivery(fakemeta.Delivery{})
	require.NoError(t, s.call.HangUp())
	requireOver(t, s.call)
	over := options{"whatsappCallId": s.call.ID(), "disconnectReason": "USER_INITIATED"}
	_, err := s.app.sdk.do(wait(t), "disconnect", over)
	require.NoError(t, err)
	_, err = s.app.sdk.do(wait(t), "disconnect", over)
	requireCode(t, "not_found", err)
	s.nothingLeft(s.room)
}

func TestUserHangsUpWhileAcceptIsOnItsWay(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{config: func(c *app.Config) { c.WhatsApp.RequestTimeout = 8 * time.Second }})
	w.meta.Fail(fakemeta.Fault{Action: "accept", Delay: 7 * time.Second}) // time to hang up on any machine
	a := w.newApplication(func(a *application) { a.accept = options{"roomName": "race-accept"} })
	c, err := w.meta.User(userNumber).Call(wait(t), numberID)
	require.NoError(t, err)
	require.NoError(t, c.Wait(wait(t), fakemeta.StateActive))
	require.NoError(t, c.HangUp())
	requireOver(t, c)
	requireCode(t, "failed_precondition", a.wait("accept", c.ID()).err)
	require.NoError(t, a.wait("disconnect", c.ID()).err)
	require.Zero(t, c.Heard().EarlyPackets)
	w.nothingLeft("race-accept")
}

func TestAcceptWhoseResponseIsLost(t *testing.T) {
	t.Parallel()
	s := newScene(t, "race-accept-lost", worldOptions{faults: []fakemeta.Fault{{Action: "accept", DropResponse: true}}}, nil)
	require.Equal(t, fakemeta.StateActive, s.call.State())
	heardAtLeast(t, s.call, 10)
	require.NoError(t, s.call.HangUp())
	requireOver(t, s.call)
	requireContinuous(t, s.call)
	s.nothingLeft(s.room)
}

func TestWebhookThatIsFasterThanTheResponse(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{})
	w.meta.SetDelivery(fakemeta.Delivery{ConnectBeforeResponse: true})
	a := w.newApplication(nil)
	dialled, err := a.sdk.do(wait(t), "dial", dialRequest().with(options{"roomName": "race-early-webhook"}))
	require.NoError(t, err)
	require.NoError(t, a.wait("connect", dialled.text("whatsappCallId")).err)
	c, err := w.meta.User(userNumber).NextCall(wait(t))
	require.NoError(t, err)
	require.NoError(t, c.PickUp())
	require.NoError(t, c.HangUp())
	requireOver(t, c)
	w.nothingLeft("race-early-webhook")
}

// Meta allows one call for each pair of business and user; who is second is refused.
func TestUserCallsWhileHeIsDialled(t *testing.T) {
	t.Parallel()
	s := newScene(t, "race-both-call", worldOptions{}, nil)
	_, err := s.app.sdk.do(wait(t), "dial", dialRequest())
	e := refusal(t, "invalid_argument", err)
	require.Equal(t, "138003", e.Metadata["whatsapp_error_code"])
	require.NotEmpty(t, e.Metadata["fbtrace_id"])
	require.Equal(t, fakemeta.StateActive, s.call.State(), "the first call goes on")
	require.NoError(t, s.call.HangUp())
	requireOver(t, s.call)
	s.nothingLeft(s.room)
}

// Where Meta lets both through they are two calls, and neither knows of the other.
func TestUserCallsWhileWeDialHim(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{meta: func(o *fakemeta.Options) { o.AllowSecondCall = true }})
	a := w.newApplication(func(a *application) { a.accept = options{"roomName": "race-crossing-in"} })
	dialled, err := a.sdk.do(wait(t), "dial", dialRequest().with(options{"roomName": "race-crossing-out"}))
	require.NoError(t, err)
	user := w.meta.User(userNumber)
	out, err := user.NextCall(wait(t))
	require.NoError(t, err)
	in, err := user.Call(wait(t), numberID)
	require.NoError(t, err)
	require.NoError(t, a.wait("accept", in.ID()).err)
	require.NoError(t, a.wait("connect", dialled.text("whatsappCallId")).err)
	require.NoError(t, out.Reject())
	requireOver(t, out)
	require.Equal(t, fakemeta.StateActive, in.State())
	require.NoError(t, in.HangUp())
	requireOver(t, in)
	w.nothingLeft("race-crossing-in")
	w.nothingLeft("race-crossing-out")
}

func TestBothSidesHangUpAtOnce(t *testing.T) {
	t.Parallel()
	s := newScene(t, "race-both-end", worldOptions{}, nil)
	hung := make(chan struct{})
	go func() {
		defer close(hung)
		_ = s.call.HangUp() // fails if the business was first
	}()
	_, err := s.app.sdk.do(wait(t), "disconnect", options{"whatsappCallId": s.call.ID(), "whatsappApiKey": metaToken})
	if err != nil { // the application's own webhook handler was faster
		requireCode(t, "not_found", err)
	}
	<-hung
	requireOver(t, s.call)
	s.requireLeft(livekit.DisconnectReason_CLIENT_INITIATED)
	s.nothingLeft(s.room)
}

func TestWhatMetaSaysToADialReachesTheApplication(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		fault fakemeta.Fault
		code  string
		meta  string
	}{
		{"no permission", fakemeta.Fault{Code: 138006}, "invalid_argument", "138006"},
		{"token expired", fakemeta.Fault{Code: 190}, "invalid_argument", "190"},
		{"too many calls", fakemeta.Fault{Code: 138002}, "resource_exhausted", "138002"},
		{"limit of calls to the user", fakemeta.Fault{Code: 138012, Details: "try tomorrow"}, "invalid_argument", "138012"},
		{"error without code", fakemeta.Fault{HTTPStatus: 500}, "failed_precondition", "131000"},
		{"garbage", fakemeta.Fault{HTTPStatus: 502, Body: "<html>bad gateway"}, "failed_precondition", "0"},
		{"garbage with success", fakemeta.Fault{Body: "{}"}, "failed_precondition", ""},
		{"no response", fakemeta.Fault{DropResponse: true}, "failed_precondition", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, worldOptions{})
			tt.fault.Action = "connect"
			w.meta.Fail(tt.fault)
			sdk := newGoSDK(w.url, w.livekit.APIKey(), w.livekit.APISecret())
			_, err := sdk.do(wait(t), "dial", dialRequest().with(options{"roomName": "meta-says-" + tt.meta}))
			e := refusal(t, tt.code, err)
			require.Equal(t, tt.meta, e.Metadata["whatsapp_error_code"], e)
			require.NoError(t, w.app.Node().WaitEmpty(wait(t)))
			require.NotContains(t, e.Message, userNumber)
			require.NotContains(t, e.Message, metaToken)
		})
	}
}

func TestWhatMetaSaysToAnAcceptReachesTheApplication(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		faults []fakemeta.Fault
		code   string
		meta   string
	}{
		{"pre_accept refused", []fakemeta.Fault{{Action: "pre_accept", Code: 138008}}, "invalid_argument", "138008"},
		{"accept refused", []fakemeta.Fault{{Action: "accept", Code: 138000}}, "invalid_argument", "138000"},
		{"accept fails for ever", []fakemeta.Fault{{Action: "accept", HTTPStatus: 500, Times: -1}}, "failed_precondition", "131000"},
		{"pre_accept answers garbage for ever", []fakemeta.Fault{{Action: "pre_accept", Body: "?", Times: -1}}, "failed_precondition", "0"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, worldOptions{})
			for _, f := range tt.faults {
				w.meta.Fail(f)
			}
			a := w.newApplication(func(a *application) { a.accept = options{"roomName": tt.name} })
			c, err := w.meta.User(userNumber).Call(wait(t), numberID)
			require.NoError(t, err)
			e := refusal(t, tt.code, a.wait("accept", c.ID()).err)
			require.Equal(t, tt.meta, e.Metadata["whatsapp_error_code"], e)
			requireOver(t, c)
			w.nothingLeft(tt.name)
		})
	}
}

// What Meta answers late or not at all costs a try, not the call.
func TestAcceptSurvivesAHiccup(t *testing.T) {
	t.Parallel()
	for i, f := range []fakemeta.Fault{
		{Action: "pre_accept", HTTPStatus: 503},
		{Action: "pre_accept", DropResponse: true},
		{Action: "pre_accept", DropRequest: true},
		{Action: "accept", HTTPStatus: 500},
		{Action: "accept", Code: 130429},
		{Action: "accept", DropRequest: true},
	} {
		t.Run(f.Action, func(t *testing.T) {
			t.Parallel()
			s := newScene(t, fmt.Sprint("hiccup-", i), worldOptions{faults: []fakemeta.Fault{f}}, nil)
			require.NoError(t, s.call.HangUp())
			requireOver(t, s.call)
			s.nothingLeft(s.room)
		})
	}
}

// Meta bills until it knows of the end.
func TestTerminateIsRepeatedUntilItTook(t *testing.T) {
	t.Parallel()
	s := newScene(t, "terminate-repeated", worldOptions{}, func(a *application) { a.ignoreTerminate = true })
	for _, f := range []fakemeta.Fault{{HTTPStatus: 500}, {Code: 130429}, {DropRequest: true}, {HTTPStatus: 502, Body: "<html>"}} {
		f.Action = "terminate"
		s.meta.Fail(f)
	}
	require.NoError(t, s.livekit.DeleteRoom(wait(t), s.room))
	requireOver(t, s.call)
	s.nothingLeft(s.room)
}

func TestAcceptThatWaitsForTheRoom(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{})
	a := w.newApplication(func(a *application) {
		a.accept = options{"roomName": "wait-for-agent", "waitUntilAnswered": true}
	})
	c, err := w.meta.User(userNumber).Call(wait(t), numberID)
	require.NoError(t, err)
	require.NoError(t, c.Wait(wait(t), fakemeta.StatePreAccepted))
	agent, err := w.livekit.Join(wait(t), livekittest.ParticipantOptions{Room: "wait-for-agent", Identity: "agent"})
	require.NoError(t, err)
	defer func() { _ = agent.Leave() }()
	require.Equal(t, fakemeta.StatePreAccepted, c.State(), "a participant without audio is nobody to talk with")
	_, err = agent.Publish(livekittest.TrackOptions{})
	require.NoError(t, err)
	require.NoError(t, a.wait("accept", c.ID()).err)
	require.NoError(t, c.HangUp())
	requireOver(t, c)
}

func TestAcceptThatWaitsForNobody(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{})
	a := w.newApplication(func(a *application) {
		a.accept = options{"roomName": "wait-for-nobody", "waitUntilAnswered": true, "ringingTimeout": "2s"}
	})
	c, err := w.meta.User(userNumber).Call(wait(t), numberID)
	require.NoError(t, err)
	e := refusal(t, "deadline_exceeded", a.wait("accept", c.ID()).err)
	require.Contains(t, e.Message, "timeout waiting for participants to publish")
	requireOver(t, c)
	require.Zero(t, c.Heard().EarlyPackets)
	w.nothingLeft("wait-for-nobody")
}

func TestConnectThatWaitsForThePickUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{})
	w.meta.User(userNumber).SetAnswering(fakemeta.Answering{PickUpAfter: time.Second})
	a := w.newApplication(func(a *application) { a.connect = options{"waitUntilAnswered": true} })
	dialled, err := a.sdk.do(wait(t), "dial", dialRequest().with(options{"roomName": "wait-for-pick-up"}))
	require.NoError(t, err)
	require.NoError(t, a.wait("connect", dialled.text("whatsappCallId")).err)
	c, err := w.meta.User(userNumber).NextCall(wait(t))
	require.NoError(t, err)
	require.Equal(t, fakemeta.StateActive, c.State())
}

func TestCallBelongsToTheKeyThatMadeIt(t *testing.T) {
	t.Parallel()
	const otherKey, otherSecret = "other-key", "other-secret-other-secret-other-secret"
	s := newScene(t, "key-owns-call", worldOptions{config: func(c *app.Config) {
		c.Keys = map[string]app.Secret{otherKey: otherSecret}
	}}, nil)
	_, err := newGoSDK(s.url, otherKey, otherSecret).do(wait(t), "disconnect", options{"whatsappCallId": s.call.ID(), "whatsappApiKey": metaToken})
	requireCode(t, "permission_denied", err)
	require.Equal(t, fakemeta.StateActive, s.call.State())
}

func TestDialIsNotRepeatedForTheSameRequestID(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{})
	request := func() (string, error) {
		return dialWithRequestID(wait(t), w, "7214dcaf-0000-4000-8000-000000000001", dialRequest().with(options{"roomName": "same-request"}))
	}
	first, err := request()
	require.NoError(t, err)
	again, err := request()
	require.NoError(t, err)
	require.Equal(t, first, again)
	require.Equal(t, 1, w.meta.ActiveCalls())
	require.Equal(t, 1, w.app.Node().Calls())
}

var errNoCallID = errors.New("no call id in the answer")
