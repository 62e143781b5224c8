package e2e_test

import (
	"testing"

	"github.com/livekit/protocol/livekit"
	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/internal/livekittest"
	"github.com/livekit-connector/livekit-connector/pkg/fakemeta"
	"github.com/livekit-connector/livekit-connector/proto/connectorpb"
)

// settledAccount is a call's record once Meta has told of its end.
func (g *gateway) settledAccount(c *fakemeta.Call) *connectorpb.CallRecord {
	g.t.Helper()
	return g.recordWhen(c.ID(), "over by Meta's account", func(r *connectorpb.CallRecord) bool {
		return isOver(r) && r.GetMeta().GetTerminatedAt() != nil
	})
}

// An application that keeps its webhook handler gets every webhook that the gateway gets. Whoever is first with the SDP
// answer and with the word of the end, the application is told that what it asks for is so.
func TestLifecycleApplicationBesideTheGateway(t *testing.T) {
	t.Parallel()
	g := newGateway(t, "life-beside", worldOptions{}, "")
	a := g.newApplication(func(a *application) { a.connect = options{"waitUntilAnswered": true} })
	c := g.dialled()
	require.NoError(t, c.PickUp())
	require.NoError(t, a.wait("connect", c.ID()).err)
	g.pickedUp()
	require.NoError(t, c.HangUp())
	left := requireEnd(t, g.listener, "callee", "user_hangup", "")
	require.Equal(t, livekit.DisconnectReason_CLIENT_INITIATED, left.Reason)
	require.NoError(t, a.wait("disconnect", c.ID()).err)
	requireOver(t, c)
	account := g.settledAccount(c).GetMeta()
	require.NotNil(t, account.GetRingingAt())
	require.NotNil(t, account.GetAcceptedAt())
	require.NotNil(t, account.GetAnsweredAt())
	require.False(t, account.GetFailed())
	g.nothingLeft(g.room)
}

// The gateway was first with everything, and yet the application connects, waits and ends the call as if it were alone.
func TestLifecycleApplicationIsSecondToTheGateway(t *testing.T) {
	t.Parallel()
	g := newGateway(t, "life-second", worldOptions{}, "")
	c := g.dialled()
	g.recordWhen(c.ID(), "connected by the gateway", func(r *connectorpb.CallRecord) bool { return r.GetState() == "ringing" })
	sdk := newGoSDK(g.url, g.livekit.APIKey(), g.livekit.APISecret())
	connect := func(wait bool) <-chan error {
		done := make(chan error, 1)
		ctx := t.Context()
		go func() {
			_, err := sdk.do(ctx, "connect", options{
				"whatsappCallId": c.ID(), "sdp": options{"type": "answer", "sdp": c.Answer()}, "waitUntilAnswered": wait,
			})
			done <- err
		}()
		return done
	}
	require.NoError(t, <-connect(false))
	waiting := connect(true)
	require.NoError(t, c.PickUp())
	require.NoError(t, <-waiting)
	g.pickedUp()

	disconnect := func(reason string) error {
		_, err := sdk.do(wait(t), "disconnect", options{
			"whatsappCallId": c.ID(), "whatsappApiKey": metaToken, "disconnectReason": reason,
		})
		return err
	}
	require.NoError(t, disconnect("BUSINESS_INITIATED"))
	requireOver(t, c)
	require.Equal(t, "business", c.Report().EndedBy)
	record := g.settledAccount(c)
	require.Equal(t, "business_hangup", record.GetEndReason())
	require.NotNil(t, record.GetMeta().GetAnsweredAt(), "what Meta says after our hang-up counts, too")
	requireCode(t, "not_found", disconnect("USER_INITIATED"))
	g.nothingLeft(g.room)
}

// Meta tells of a declined call in two webhooks, of which the second may come first.
func TestLifecycleDeclineAfterTheEnd(t *testing.T) {
	t.Parallel()
	g := newGateway(t, "life-decline-late", worldOptions{}, "")
	c := g.dialled()
	g.meta.SetDelivery(fakemeta.Delivery{Rules: []fakemeta.DeliveryRule{{Event: "REJECTED", After: "terminate"}}})
	require.NoError(t, c.Reject())
	left := requireEnd(t, g.listener, "callee", "rejected", "")
	require.Equal(t, livekit.DisconnectReason_USER_REJECTED, left.Reason)
	requireOver(t, c)
	g.nothingLeft(g.room)
}

// Meta refuses our accept, with a code that tells why.
func TestLifecycleRefusedAcceptCarriesMetasCode(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{faults: []fakemeta.Fault{{Action: "accept", HTTPStatus: 400, Code: 138007}}})
	const room = "life-refused"
	listener, err := w.livekit.Join(wait(t), livekittest.ParticipantOptions{Room: room, Identity: "listener"})
	require.NoError(t, err)
	t.Cleanup(func() { _ = listener.Leave() })
	a := w.newApplication(func(a *application) { a.accept = options{"roomName": room, "participantIdentity": "caller"} })
	c, err := w.meta.User(userNumber).Call(wait(t), numberID)
	require.NoError(t, err)
	require.Error(t, a.wait("accept", c.ID()).err)
	requireEnd(t, listener, "caller", "meta_refused", "138007")
	requireOver(t, c)
	record := w.recordWhen(c.ID(), "over", isOver)
	require.Equal(t, int32(138007), record.GetMetaErrorCode())
	w.nothingLeft(room)
}
