package node

import (
	"context"
	"errors"

	"github.com/livekit/protocol/connector"
	"github.com/livekit/protocol/livekit"
	"github.com/livekit/psrpc"

	"github.com/livekit-connector/livekit-connector/internal/call"
	"github.com/livekit-connector/livekit-connector/proto/connectorpb"
)

// Owner returns this node's ID for a call that it holds, "" for any other: the registry of a deployment of one node. An ID
// that nobody knows while a dial request is still with Meta is waited for, because it may be that call's. Anything else is
// answered at once. The error is always nil: the table is in memory.
func (n *Node) Owner(ctx context.Context, callID string) (nodeID string, err error) {
	if e, _ := n.table.find(ctx, callID); e == nil { // unknown and ended are answers
		return "", nil
	}
	return n.opts.ID, nil
}

// Nodes returns this node's ID: the registry of a deployment of one node. The error is always nil.
func (n *Node) Nodes(context.Context) (nodeIDs []string, err error) { return []string{n.opts.ID}, nil }

// steer finds a call that the key may steer.
func (n *Node) steer(ctx context.Context, callID, apiKey string) (*entry, error) {
	e, err := n.table.find(ctx, callID)
	if err != nil {
		return nil, err
	}
	if e.apiKey != apiKey {
		return nil, psrpc.NewErrorf(psrpc.PermissionDenied,
			"this call was made with another api key; only that key may steer it")
	}
	return e, nil
}

// ConnectCall hands Meta's SDP answer to an outbound call. With wait_until_answered it returns after the pick-up.
func (n *Node) ConnectCall(
	ctx context.Context, req *connectorpb.ConnectCallRequest,
) (*connectorpb.ConnectCallResponse, error) {
	r := req.GetRequest()
	ctx, cancel := until(ctx, req)
	defer cancel()
	steer := n.steer
	if req.GetFromMeta() {
		steer = func(ctx context.Context, id, _ string) (*entry, error) { return n.table.find(ctx, id) }
	}
	e, err := steer(ctx, r.GetWhatsappCallId(), req.GetApiKey())
	if err != nil {
		return nil, rpcError(err)
	}
	if e.call.Direction() != call.Outbound {
		return nil, psrpc.NewErrorf(psrpc.FailedPrecondition,
			"this call is inbound and has been accepted: ConnectWhatsAppCall is for calls made with DialWhatsAppCall")
	}
	if req.GetFromMeta() {
		e.call.Report(call.Report{Word: call.WordConnected})
	}
	if err := e.call.SetAnswer(ctx, r.GetSdp().GetSdp()); err != nil && !metaWasFaster(e.call, req, err) {
		return nil, rpcError(err)
	}
	if !r.GetWaitUntilAnswered() {
		return &connectorpb.ConnectCallResponse{}, nil
	}
	select {
	case <-e.call.Active():
		return &connectorpb.ConnectCallResponse{}, nil
	case <-e.call.Ending():
		return nil, rpcError(&setupError{end: e.call.Err()})
	case <-ctx.Done():
		return nil, psrpc.NewErrorf(psrpc.DeadlineExceeded, "%s: the phone still rings, and goes on ringing",
			connector.ErrAcceptTimeout.Error())
	}
}

// metaWasFaster says that an application's answer came second to the webhook that both got: what it asks for is done.
func metaWasFaster(c *call.Call, req *connectorpb.ConnectCallRequest, err error) bool {
	state, has := errors.AsType[*call.StateError](err)
	if !has || req.GetFromMeta() || state.State != call.StateRinging && state.State != call.StateActive {
		return false
	}
	said := c.Said()
	return !said.ConnectedAt.IsZero()
}

// DisconnectCall ends a call, or says of one that ended by itself a moment ago that it did; saying so twice is an error, as
// it is for a call that never was, unless Meta could not be told. It returns when Meta knows, or when the requester has to
// be answered: the rest is then done without him.
func (n *Node) DisconnectCall(
	ctx context.Context, req *connectorpb.DisconnectCallRequest,
) (*connectorpb.DisconnectCallResponse, error) {
	r := req.GetRequest()
	ctx, cancel := until(ctx, nil)
	defer cancel()
	e, err := n.steer(ctx, r.GetWhatsappCallId(), req.GetApiKey())
	if err != nil {
		return nil, rpcError(err)
	}
	if !e.said.CompareAndSwap(false, true) {
		return nil, rpcError(errEnded)
	}
	if r.GetDisconnectReason() == livekit.DisconnectWhatsAppCallRequest_USER_INITIATED {
		e.call.End(userEnded(e.call), nil)
		return &connectorpb.DisconnectCallResponse{}, nil // Meta knows: it said so
	}
	creds := e.creds
	if k := r.GetWhatsappApiKey(); k != "" {
		creds.AccessToken = k
	}
	if err := hangUp(ctx, e, graph{client: n.opts.Graph, creds: creds, callID: e.call.ID()}); err != nil {
		e.said.Store(false)
		return nil, rpcError(&terminateError{err: err})
	}
	return &connectorpb.DisconnectCallResponse{}, nil
}

// hangUp ends a call in the name of the business. For one that ended before without Meta hearing of it, g is another try:
// its token may be newer than the call's.
func hangUp(ctx context.Context, e *entry, g graph) error {
	late := e.call.Err() != nil
	e.call.EndWith(call.ReasonBusinessHangup, nil, g)
	select {
	case <-e.call.Told():
	case <-ctx.Done():
		return nil
	}
	err := e.call.TerminateErr()
	if err != nil && late {
		err = g.Terminate(ctx)
	}
	return err
}

// userEnded tells a hang-up from a refusal: a user who ends an outbound call before answering it declined it.
func userEnded(c *call.Call) call.Reason {
	if c.Direction() == call.Outbound && !c.Answered() {
		return call.ReasonRejected
	}
	return call.ReasonUserHangup
}
