package node

import (
	"context"
	"errors"

	"github.com/livekit/psrpc"

	"github.com/livekit-connector/livekit-connector/internal/call"
	"github.com/livekit-connector/livekit-connector/proto/connectorpb"
)

// words are Meta's in the call's language.
var words = map[connectorpb.ReportCallRequest_Event]call.Word{
	connectorpb.ReportCallRequest_RINGING:    call.WordRinging,
	connectorpb.ReportCallRequest_ACCEPTED:   call.WordAccepted,
	connectorpb.ReportCallRequest_REJECTED:   call.WordRejected,
	connectorpb.ReportCallRequest_TERMINATED: call.WordTerminated,
}

// ReportCall takes what Meta's webhook said of a call. Meta repeats and reorders what it says, so a word that changes
// nothing is no error. The end of a call that nobody knows is remembered, so that it is not accepted afterwards; any
// other word about such a call is not_found.
func (n *Node) ReportCall(
	ctx context.Context, req *connectorpb.ReportCallRequest,
) (*connectorpb.ReportCallResponse, error) {
	ctx, cancel := until(ctx, nil)
	defer cancel()
	word, known := words[req.GetEvent()]
	if !known {
		return nil, psrpc.NewErrorf(psrpc.MalformedRequest, "no event that a call could hear of")
	}
	e, err := n.subject(ctx, req.GetCallId(), word)
	if err != nil {
		return nil, rpcError(err)
	}
	if e != nil {
		e.call.Report(call.Report{
			Word: word, At: timeOf(req.GetAt()), Code: int(req.GetErrorCode()), Title: req.GetErrorTitle(), Failed: req.GetFailed(),
			AnsweredAt: timeOf(req.GetAnsweredAt()), Duration: req.GetDuration().AsDuration(),
		})
	}
	n.retold(e)
	return &connectorpb.ReportCallResponse{}, nil
}

// subject finds the call that Meta speaks of, waiting for one that is being made. It is nil if the call is long over, or
// is known to be over from now on. Of one that is over without Meta, it may still say how.
func (n *Node) subject(ctx context.Context, id string, word call.Word) (*entry, error) {
	for {
		e, err := n.table.find(ctx, id)
		switch {
		case err == nil:
			return e, nil
		case errors.Is(err, errEnded):
			return e, nil
		case !errors.Is(err, errUnknown) || word != call.WordTerminated:
			return nil, err
		case n.table.bury(id):
			return nil, nil
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		}
	}
}

// Ended is ReportCall for the end of a call that Owner does not know: it may have begun meanwhile.
func (n *Node) Ended(ctx context.Context, req *connectorpb.ReportCallRequest) error {
	_, err := n.ReportCall(ctx, req)
	return err
}
