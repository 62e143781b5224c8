package route_test

import (
	"context"
	"testing"
	"time"

	"github.com/livekit/psrpc"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/livekit-connector/livekit-connector/internal/route"
	"github.com/livekit-connector/livekit-connector/proto/connectorpb"
)

// told is a bus on which each node tells of its calls; one that is not there says nothing.
type told struct {
	connectorpb.ConnectorInternalClient // nil: what no test asks

	nodes map[string][]*connectorpb.CallRecord
}

func (b told) GetCall(
	_ context.Context, nodeID string, req *connectorpb.GetCallRequest, _ ...psrpc.RequestOption,
) (*connectorpb.GetCallResponse, error) {
	calls, ok := b.nodes[nodeID]
	if !ok {
		return nil, psrpc.ErrRequestTimedOut
	}
	for _, r := range calls {
		if r.GetCallId() == req.GetCallId() {
			return &connectorpb.GetCallResponse{Call: r}, nil
		}
	}
	return nil, psrpc.NewErrorf(psrpc.NotFound, "whatsapp call not found")
}

func (b told) ListCalls(
	_ context.Context, nodeID string, _ *connectorpb.ListCallsRequest, _ ...psrpc.RequestOption,
) (*connectorpb.ListCallsResponse, error) {
	calls, ok := b.nodes[nodeID]
	if !ok {
		return nil, psrpc.ErrRequestTimedOut
	}
	return &connectorpb.ListCallsResponse{Calls: calls}, nil
}

// census is a registry that knows nodes.
type census []string

func (c census) Owner(context.Context, string) (string, error)   { return "", nil }
func (c census) Nodes(context.Context) (ids []string, err error) { return c, nil }

func TestReadingAsksEveryNode(t *testing.T) {
	at := func(s int64) *timestamppb.Timestamp { return timestamppb.New(time.Unix(s, 0)) }
	bus := told{nodes: map[string][]*connectorpb.CallRecord{
		"a": {{CallId: "x", CreatedAt: at(1)}, {CallId: "y", CreatedAt: at(2)}},
		"b": {{CallId: "x", CreatedAt: at(3)}},
	}}
	both := route.New(route.Options{Bus: bus, Registry: census{"a", "b"}})
	r, err := both.Call(t.Context(), "key", "x")
	require.NoError(t, err)
	require.Equal(t, int64(3), r.GetCreatedAt().GetSeconds(), "the newest of an ID")
	r, err = both.Call(t.Context(), "key", "y")
	require.NoError(t, err)
	require.Equal(t, "y", r.GetCallId())
	_, err = both.Call(t.Context(), "key", "z")
	require.ErrorIs(t, err, route.ErrNotFound)
	calls, err := both.Calls(t.Context(), "key", true)
	require.NoError(t, err)
	require.Len(t, calls, 3)

	// One node is silent: what the others know is told, and what they do not know is not denied.
	some := route.New(route.Options{Bus: bus, Registry: census{"a", "gone"}})
	_, err = some.Call(t.Context(), "key", "y")
	require.NoError(t, err)
	_, err = some.Call(t.Context(), "key", "z")
	require.ErrorIs(t, err, route.ErrSilent)
	calls, err = some.Calls(t.Context(), "key", true)
	require.ErrorIs(t, err, route.ErrSilent)
	require.Len(t, calls, 2)
}
