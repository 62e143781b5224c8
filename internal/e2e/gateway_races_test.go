package e2e_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/internal/livekittest"
	"github.com/livekit-connector/livekit-connector/pkg/fakemeta"
)

// TestGatewayBadDays takes a call each way through every way in which Meta's webhooks are known to come.
func TestGatewayBadDays(t *testing.T) {
	t.Parallel()
	every := func(r fakemeta.DeliveryRule) []fakemeta.DeliveryRule { return []fakemeta.DeliveryRule{r} }
	for name, d := range map[string]fakemeta.Delivery{
		"everything three times":        {Rules: every(fakemeta.DeliveryRule{Copies: 2})},
		"everything again a bit later":  {Rules: every(fakemeta.DeliveryRule{Copies: 1, CopyDelay: 300 * time.Millisecond})},
		"side by side":                  {Parallel: true},
		"in batches":                    {BatchWindow: 200 * time.Millisecond},
		"with calls of others":          {Foreign: true},
		"with what nobody knows":        {Unknown: true},
		"without contacts":              {OmitContacts: true},
		"with the user's ID alone":      {OmitFrom: true, OmitContacts: true},
		"with the older connection":     {Legacy: true},
		"with ID, event and SDP alone":  {OmitOptional: true, OmitContacts: true},
		"with numbers exchanged":        {SwapNumbers: true},
		"with other types":              {OtherTypes: true},
		"with slashes escaped":          {EscapeSlashes: true},
		"before the response to a dial": {ConnectBeforeResponse: true},
		"status before the answer":      {Rules: every(fakemeta.DeliveryRule{Event: "connect", Delay: 700 * time.Millisecond})},
		"all of it": {
			Rules:       every(fakemeta.DeliveryRule{Copies: 1}),
			BatchWindow: 100 * time.Millisecond, Foreign: true, Unknown: true, OmitContacts: true, OmitFrom: true, Legacy: true,
			EscapeSlashes: true, Parallel: true, OtherTypes: true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			room := "gateway " + name
			g := newGateway(t, room, worldOptions{}, into(room))
			g.meta.SetDelivery(d)
			in := g.answered()
			g.event("connect_inbound", "done")
			heardAtLeast(t, in, 10)
			require.NoError(t, in.HangUp())
			g.over(in)
			out := g.dialled()
			g.event("connect_outbound", "done")
			require.NoError(t, out.PickUp())
			_, err := g.listener.Wait(wait(t), livekittest.Is(livekittest.EventTrackPublished, "callee"))
			require.NoError(t, err)
			heardAtLeast(t, out, 10)
			require.NoError(t, out.HangUp())
			g.over(out)
			require.Empty(t, in.Report().Problems)
			require.Empty(t, out.Report().Problems)
		})
	}
}

// Meta's documentation has the errors of a call beside it, its traffic in both places.
func TestGatewayErrorsOfACall(t *testing.T) {
	t.Parallel()
	for name, d := range map[string]fakemeta.Delivery{
		"in both places": {}, "in the call": {ErrorsIn: "call"}, "beside the call": {ErrorsIn: "value"},
		"with a code that is a string": {OtherTypes: true, ErrorsIn: "value"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			room := "gateway errors " + name
			g := newGateway(t, room, worldOptions{}, into(room))
			g.meta.SetDelivery(d)
			c := g.answered()
			caller, err := g.listener.Wait(wait(t), isCaller(livekittest.EventJoined))
			require.NoError(t, err)
			require.NoError(t, c.Fail(138021))
			requireEnd(t, g.listener, caller.Identity, "media_not_received", "138021")
			g.over(c)
		})
	}
}

// The user hung up at once; Meta tells of the end first.
func TestGatewayTerminateBeforeConnect(t *testing.T) {
	t.Parallel()
	g := newGateway(t, "gateway-end-first", worldOptions{}, into("gateway-end-first"))
	g.meta.SetDelivery(fakemeta.Delivery{Rules: []fakemeta.DeliveryRule{{Event: "connect", After: "terminate"}}})
	c, err := g.meta.User(userNumber).Call(wait(t), numberID)
	require.NoError(t, err)
	require.NoError(t, c.HangUp())
	g.event("connect_inbound", "ended")
	g.over(c)
	require.Zero(t, g.listener.Count(isCaller(livekittest.EventJoined)))
	// An application that hears of connect as late as that is told so.
	_, err = newGoSDK(g.url, g.livekit.APIKey(), g.livekit.APISecret()).do(wait(t), "accept", acceptRequest(c.ID(), c.Offer()))
	requireCode(t, "failed_precondition", err)
}

func TestGatewayConnectRepeatedAfterTheEnd(t *testing.T) {
	t.Parallel()
	g := newGateway(t, "gateway-late-copy", worldOptions{}, into("gateway-late-copy"))
	g.meta.SetDelivery(fakemeta.Delivery{Rules: []fakemeta.DeliveryRule{{Event: "connect", Copies: 1, CopyAfter: "terminate"}}})
	c := g.answered()
	require.NoError(t, c.HangUp())
	g.event("connect_inbound", "duplicate")
	g.over(c)
	require.Equal(t, 1, g.listener.Count(isCaller(livekittest.EventJoined)))
}

func TestGatewayUserHangsUpWhileAcceptIsOnItsWay(t *testing.T) {
	t.Parallel()
	g := newGateway(t, "gateway-accept", worldOptions{}, into("gateway-accept"))
	g.meta.Fail(fakemeta.Fault{Action: "accept", Delay: 4 * time.Second})
	c, err := g.meta.User(userNumber).Call(wait(t), numberID)
	require.NoError(t, err)
	require.NoError(t, c.Wait(wait(t), fakemeta.StateActive))
	require.NoError(t, c.HangUp())
	g.over(c)
	g.event("connect_inbound", "ended")
	g.event("terminate", "done")
}

// While the agent is awaited nobody waits for a caller who is gone.
func TestGatewayUserHangsUpWhileTheAgentIsAwaited(t *testing.T) {
	t.Parallel()
	g := newGateway(t, "gateway-awaited", worldOptions{},
		"rules:\n  - room: {name: gateway-awaited}\n    participant: {identity: \"caller-{random}\"}\n    wait_until_answered: true\n")
	c, err := g.meta.User(userNumber).Call(wait(t), numberID)
	require.NoError(t, err)
	require.NoError(t, c.Wait(wait(t), fakemeta.StatePreAccepted))
	_, err = g.listener.Wait(wait(t), isCaller(livekittest.EventJoined))
	require.NoError(t, err)
	require.NoError(t, c.HangUp())
	_, err = g.listener.Wait(wait(t), isCaller(livekittest.EventLeft))
	require.NoError(t, err)
	g.over(c)
	g.event("connect_inbound", "ended")
	require.Zero(t, c.Heard().EarlyPackets)
}

func TestGatewayAcceptWhoseResponseIsLost(t *testing.T) {
	t.Parallel()
	g := newGateway(t, "gateway-lost", worldOptions{faults: []fakemeta.Fault{{Action: "accept", DropResponse: true}}}, into("gateway-lost"))
	c := g.answered()
	require.NoError(t, c.HangUp())
	g.over(c)
	requireContinuous(t, c)
}

// The pick-up counts even if the end comes in the same webhook.
func TestGatewayPickUpAndEndInOneWebhook(t *testing.T) {
	t.Parallel()
	g := newGateway(t, "gateway-one-webhook", worldOptions{}, "")
	c := g.dialled()
	g.meta.SetDelivery(fakemeta.Delivery{BatchWindow: time.Second})
	require.NoError(t, c.PickUp())
	require.NoError(t, c.HangUp())
	g.over(c)
	g.event("accepted", "done")
	g.event("terminate", "done")
}

func TestGatewayBothSidesHangUpAtOnce(t *testing.T) {
	t.Parallel()
	g := newGateway(t, "gateway-both-end", worldOptions{}, into("gateway-both-end"))
	c := g.answered()
	hung := make(chan struct{})
	go func() {
		defer close(hung)
		_ = c.HangUp() // fails if the business was first
	}()
	require.NoError(t, g.livekit.DeleteRoom(wait(t), g.room))
	select {
	case <-hung:
	case <-wait(t).Done():
		t.Fatal("the user cannot hang up")
	}
	g.over(c)
}

// Meta lets both through: two calls, each in its room.
func TestGatewayUserCallsWhileWeDialHim(t *testing.T) {
	t.Parallel()
	g := newGateway(t, "gateway-crossing", worldOptions{meta: func(o *fakemeta.Options) { o.AllowSecondCall = true }}, into("gateway-crossing"))
	out := g.dialled()
	in := g.answered()
	require.NoError(t, out.Reject())
	requireOver(t, out)
	require.Equal(t, fakemeta.StateActive, in.State())
	require.NoError(t, in.HangUp())
	g.over(in)
}

// A number that is not ours, on the same webhook.
func TestGatewayForeignNumber(t *testing.T) {
	t.Parallel()
	g := newGateway(t, "gateway-foreign", worldOptions{}, into("gateway-foreign"))
	const foreign = "1000555000222"
	require.NoError(t, g.meta.AddNumber(g.number(foreign, "15550004444")))
	theirs, err := g.meta.User("15550003333").Call(wait(t), foreign)
	require.NoError(t, err)
	g.event("connect_inbound", "foreign_number")
	ours := g.answered()
	require.Equal(t, fakemeta.StateOffered, theirs.State(), "neither accepted nor rejected")
	require.NoError(t, theirs.HangUp())
	requireOver(t, theirs)
	g.event("terminate", "unknown_call")
	require.NoError(t, ours.HangUp())
	g.over(ours)
}
