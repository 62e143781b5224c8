package route_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/livekit/protocol/livekit"
	"github.com/livekit/psrpc"
	"github.com/livekit/psrpc/pkg/bus/localbus"
	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/internal/leaks"
	"github.com/livekit-connector/livekit-connector/internal/route"
	"github.com/livekit-connector/livekit-connector/proto/connectorpb"
)

func TestMain(m *testing.M) { leaks.Main(m) }

const cluster = "test"

// node answers the bus.
type node struct {
	connectorpb.ConnectorInternalServerImpl // nil: what no test asks

	bid     float32
	started chan *connectorpb.StartCallRequest
	told    chan *connectorpb.ReportCallRequest
	err     error
}

func (n *node) StartCallAffinity(context.Context, *connectorpb.StartCallRequest) float32 {
	return n.bid
}

func (n *node) StartCall(_ context.Context, req *connectorpb.StartCallRequest) (*connectorpb.StartCallResponse, error) {
	n.started <- req
	return &connectorpb.StartCallResponse{CallId: "a"}, n.err
}

func (n *node) ReportCall(_ context.Context, req *connectorpb.ReportCallRequest) (*connectorpb.ReportCallResponse, error) {
	n.told <- req
	return &connectorpb.ReportCallResponse{}, n.err
}

// registry maps call IDs to nodes.
type registry map[string]string

func (r registry) Owner(_ context.Context, id string) (string, error) {
	if id == "broken" {
		return "", errors.New("no registry")
	}
	return r[id], nil
}

func (r registry) Nodes(context.Context) ([]string, error) { return nil, nil }

// begin makes a client and a node for each bid, whose IDs are "0", "1" and so on. Call "a" is at node "0". It must be called
// inside a synctest bubble: bids count for some milliseconds.
func begin(t *testing.T, change func(*route.Options), bids ...float32) (*route.Client, []*node) {
	t.Helper()
	bus := localbus.New()
	client, err := connectorpb.NewConnectorInternalClient(bus)
	require.NoError(t, err)
	t.Cleanup(client.Close)
	var nodes []*node
	for i, bid := range bids {
		n := &node{bid: bid, started: make(chan *connectorpb.StartCallRequest, 1), told: make(chan *connectorpb.ReportCallRequest, 1)}
		server, err := connectorpb.NewConnectorInternalServer(n, bus)
		require.NoError(t, err)
		t.Cleanup(server.Shutdown)
		require.NoError(t, server.RegisterStartCallTopic(cluster))
		require.NoError(t, server.RegisterAllNodeTopics(string(rune('0'+i))))
		nodes = append(nodes, n)
	}
	o := route.Options{Bus: client, Registry: registry{"a": "0"}, Cluster: cluster}
	if change != nil {
		change(&o)
	}
	return route.New(o), nodes
}

func soon() time.Time { return time.Now().Add(route.Budget) }

func accept() *connectorpb.StartCallRequest {
	return &connectorpb.StartCallRequest{Call: &connectorpb.StartCallRequest_Accept{Accept: &livekit.AcceptWhatsAppCallRequest{WhatsappCallId: "a"}}}
}

func TestNewCallGoesWhereThereIsMostRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, nodes := begin(t, nil, .2, .9, .5)
		by := soon()
		res, err := c.Start(t.Context(), accept(), by)
		require.NoError(t, err)
		require.Equal(t, "a", res.GetCallId())
		require.True(t, by.Equal((<-nodes[1].started).GetAnswerBy().AsTime()))
	})
}

func TestNewCallThatNobodyTakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := begin(t, nil, 0, 0)
		_, err := c.Start(t.Context(), accept(), soon())
		require.ErrorIs(t, err, route.ErrBusy)
		c, _ = begin(t, nil)
		_, err = c.Start(t.Context(), accept(), soon())
		require.ErrorIs(t, err, route.ErrNobody)
		c, _ = begin(t, func(o *route.Options) { o.Draining = func() bool { return true } }, 1)
		_, err = c.Start(t.Context(), accept(), soon())
		require.ErrorIs(t, err, route.ErrDraining)
	})
}

func TestWhatANodeSaysComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, nodes := begin(t, nil, 1)
		nodes[0].err = psrpc.NewErrorf(psrpc.AlreadyExists, "taken")
		_, err := c.Start(t.Context(), accept(), soon())
		coded, ok := errors.AsType[psrpc.Error](err)
		require.True(t, ok)
		require.Equal(t, psrpc.AlreadyExists, coded.Code())
	})
}

func TestReportGoesToTheOwner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ended []*connectorpb.ReportCallRequest
		c, nodes := begin(t, func(o *route.Options) {
			o.Ended = func(_ context.Context, req *connectorpb.ReportCallRequest) error {
				ended = append(ended, req)
				return nil
			}
		}, 1, 1)
		report := func(id string, event connectorpb.ReportCallRequest_Event) error {
			return c.Report(t.Context(), &connectorpb.ReportCallRequest{CallId: id, Event: event, ErrorCode: 138021}, time.Time{}) // a node has time all the same
		}
		require.NoError(t, report("a", connectorpb.ReportCallRequest_TERMINATED))
		require.Equal(t, "a", (<-nodes[0].told).GetCallId())
		require.ErrorIs(t, report("b", connectorpb.ReportCallRequest_ACCEPTED), route.ErrNotFound)
		require.Empty(t, ended)
		require.ErrorIs(t, report("b", connectorpb.ReportCallRequest_TERMINATED), route.ErrNotFound)
		require.Len(t, ended, 1)
		require.Equal(t, "b", ended[0].GetCallId())
		require.Equal(t, int32(138021), ended[0].GetErrorCode(), "the call may live by now")
		require.ErrorIs(t, report("broken", connectorpb.ReportCallRequest_ACCEPTED), route.ErrRegistry)
		for id, want := range map[string]bool{"a": true, "b": false} {
			held, err := c.Held(t.Context(), id)
			require.NoError(t, err)
			require.Equal(t, want, held)
		}
		_, err := c.Held(t.Context(), "broken")
		require.ErrorIs(t, err, route.ErrRegistry)
		require.ErrorIs(t, c.Connect(t.Context(), &connectorpb.ConnectCallRequest{}, soon()), route.ErrNotFound)
		require.ErrorIs(t, c.Disconnect(t.Context(), &connectorpb.DisconnectCallRequest{}, soon()), route.ErrNotFound)
	})
}
