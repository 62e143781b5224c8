package node

import (
	"context"

	"github.com/livekit-connector/livekit-connector/internal/call"
	"github.com/livekit-connector/livekit-connector/proto/connectorpb"
)

// ReportCall takes what Meta's webhook said of a call. Meta repeats and reorders what it says, so a word that changes
// nothing is no error.
func (n *Node) ReportCall(
	ctx context.Context, req *connectorpb.ReportCallRequest,
) (*connectorpb.ReportCallResponse, error) {
	e, err := n.table.find(ctx, req.GetCallId())
	if err != nil {
		return nil, rpcError(err)
	}
	switch req.GetEvent() {
	case connectorpb.ReportCallRequest_REJECTED:
		e.call.End(call.ReasonRejected, nil)
	case connectorpb.ReportCallRequest_TERMINATED:
		e.said.Store(true)
		e.call.End(userEnded(e.call), nil)
	default:
	}
	return &connectorpb.ReportCallResponse{}, nil
}
