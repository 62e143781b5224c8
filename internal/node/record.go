package node

import (
	"context"
	"slices"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/livekit-connector/livekit-connector/proto/connectorpb"
)

// GetCall tells about one call that this node holds, to the key that made it.
func (n *Node) GetCall(ctx context.Context, req *connectorpb.GetCallRequest) (*connectorpb.GetCallResponse, error) {
	e, err := n.steer(ctx, req.GetCallId(), req.GetApiKey())
	if err != nil {
		return nil, rpcError(err)
	}
	return &connectorpb.GetCallResponse{Call: n.record(e)}, nil
}

// ListCalls tells about the calls that this node holds, to the key that made them.
func (n *Node) ListCalls(_ context.Context, req *connectorpb.ListCallsRequest) (*connectorpb.ListCallsResponse, error) {
	var res connectorpb.ListCallsResponse
	for _, e := range n.table.all() {
		if e.apiKey == req.GetApiKey() {
			res.Calls = append(res.Calls, n.record(e))
		}
	}
	slices.SortFunc(res.Calls, func(a, b *connectorpb.CallRecord) int {
		return b.GetCreatedAt().AsTime().Compare(a.GetCreatedAt().AsTime())
	})
	return &res, nil
}

// record says what is known of a call.
func (n *Node) record(e *entry) *connectorpb.CallRecord {
	state, _ := e.call.State()
	r := &connectorpb.CallRecord{
		CallId: e.call.ID(), Direction: e.call.Direction().String(), State: state.String(), RoomName: e.room,
		PhoneNumberId: e.creds.PhoneNumberID, NodeId: n.opts.ID, CreatedAt: timestamppb.New(e.call.Started()),
	}
	for _, m := range e.call.Stages() {
		r.Timeline = append(r.Timeline, &connectorpb.CallStage{Stage: m.Stage.String(), At: timestamppb.New(m.At)})
	}
	return r
}
