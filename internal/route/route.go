// Package route brings requests of fronts to nodes over the bus: a new call to the node with the most room, everything
// else to the node that holds the call. The API and the webhook gateway are such fronts.
//
// What a front learns from an error:
//
//	ErrDraining, ErrNobody, ErrBusy   nothing was begun
//	ErrNotFound, ErrRegistry          no node was asked
//	ErrSilent, ErrClosed              a node was asked and has not answered: of a new call Meta may know by now
//	anything else                     what the node said, a psrpc.Error; or a node that broke
package route

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/livekit/psrpc"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/livekit-connector/livekit-connector/proto/connectorpb"
)

var (
	// ErrDraining is returned for a new call while this process takes none.
	ErrDraining = errors.New("route: this process takes no new calls")
	// ErrNobody is returned for a new call when no node answers the bus.
	ErrNobody = errors.New("route: no node answers")
	// ErrBusy is returned for a new call when nodes answer and none has room.
	ErrBusy = errors.New("route: no node has room for another call")
	// ErrNotFound is returned when no node holds the call.
	ErrNotFound = errors.New("route: no node holds this call")
	// ErrRegistry is returned, with the cause, when the registry cannot say which node holds the call.
	ErrRegistry = errors.New("route: the registry of calls failed")
	// ErrSilent is returned, with the cause, when the node did not answer in time.
	ErrSilent = errors.New("route: the node did not answer in time")
	// ErrClosed is returned, with the cause, when this front shut down while a node was asked.
	ErrClosed = errors.New("route: the request was given up")
)

// Budgets: how long after a request came in a node must have answered. SDKs wait 10 s, and 30 s for an Accept with
// wait_until_answered; Meta drops an inbound call that nobody took after 30 s to 60 s.
const (
	Budget     = 8 * time.Second
	WaitBudget = 28 * time.Second
	// MinBudget is left to a node however impatient the requester is: it stands for one request to Meta.
	MinBudget = time.Second
)

// busMargin is how much longer than the node's budget a front waits for the answer to come over the bus.
const busMargin = 500 * time.Millisecond

// How a node is chosen for a new call. Nodes bid their free share, 1 when idle; an idle one is taken at once, else the
// best bid within shortCircuit of the first. bidTimeout is only waited for when nobody bids at all; the node of a process
// whose CPUs are all taken by a burst of calls may need more than a second to.
const (
	bidTimeout   = 3 * time.Second
	shortCircuit = 20 * time.Millisecond
	idleBid      = 1
	// announce is ample for the bus to take one message.
	announce = 10 * time.Millisecond
)

// Registry knows the nodes, and which of them holds a call.
type Registry interface {
	// Owner returns the ID of the node that holds the call now; "" stands for unknown and for ended. It is asked before
	// a node is, so that an unknown ID is answered at once rather than after a wait on the bus.
	Owner(ctx context.Context, callID string) (nodeID string, err error)
	// Nodes returns the IDs of all nodes that are there.
	Nodes(ctx context.Context) (nodeIDs []string, err error)
}

// Options are what a Client is made of.
type Options struct {
	// Bus reaches the nodes. The caller closes it. It needs no middleware; above all none that sends a request again.
	// Required.
	Bus connectorpb.ConnectorInternalClient
	// Registry is required.
	Registry Registry
	// Cluster is the bus topic on which nodes take new calls.
	Cluster string
	// Draining reports that this process takes no new calls; everything else goes on. Nil means never. Leave it nil
	// where other nodes share the bus: those take the call then.
	Draining func() bool
	// Ended is told of the end of a call that no node holds, so that it is not begun afterwards. Nil means nobody.
	Ended func(ctx context.Context, req *connectorpb.ReportCallRequest) error
}

// Client reaches nodes. It holds nothing that has to be closed.
type Client struct {
	bus      connectorpb.ConnectorInternalClient
	registry Registry
	cluster  string
	draining func() bool                                                 // may be nil
	ended    func(context.Context, *connectorpb.ReportCallRequest) error // may be nil
}

// New makes a Client.
func New(o Options) *Client {
	return &Client{bus: o.Bus, registry: o.Registry, cluster: o.Cluster, draining: o.Draining, ended: o.Ended}
}

// Start lets the nodes bid for a new call and has the best one begin it. The node is to answer by answerBy, which Start
// writes into the request. What has begun goes on when ctx ends.
func (c *Client) Start(ctx context.Context, req *connectorpb.StartCallRequest, answerBy time.Time) (*connectorpb.StartCallResponse, error) {
	if c.draining != nil && c.draining() {
		return nil, ErrDraining
	}
	answerBy = soonest(answerBy)
	req.AnswerBy = timestamppb.New(answerBy)
	ctx, cancel, opt := detach(ctx, answerBy)
	defer cancel()
	choice := &election{giveUp: cancel}
	res, err := c.bus.StartCall(ctx, c.cluster, req, opt, psrpc.WithSelectionOpts(psrpc.SelectionOpts{
		MaximumAffinity:     idleBid,
		AffinityTimeout:     bidTimeout,
		ShortCircuitTimeout: shortCircuit,
		SelectionFunc:       choice.decide,
	}))
	if choice.busy {
		return nil, ErrBusy
	}
	return res, told(err)
}

// Connect hands Meta's SDP answer to the node that dialled. The node is to answer by answerBy, which Connect writes into
// the request.
func (c *Client) Connect(ctx context.Context, req *connectorpb.ConnectCallRequest, answerBy time.Time) error {
	nodeID, err := c.find(ctx, req.GetRequest().GetWhatsappCallId())
	if err != nil {
		return err
	}
	answerBy = soonest(answerBy)
	req.AnswerBy = timestamppb.New(answerBy)
	ctx, cancel, opt := detach(ctx, answerBy)
	defer cancel()
	_, err = c.bus.ConnectCall(ctx, nodeID, req, opt)
	return told(err)
}

// Disconnect ends a call at the node that holds it.
func (c *Client) Disconnect(ctx context.Context, req *connectorpb.DisconnectCallRequest, answerBy time.Time) error {
	nodeID, err := c.find(ctx, req.GetRequest().GetWhatsappCallId())
	if err != nil {
		return err
	}
	ctx, cancel, opt := detach(ctx, soonest(answerBy))
	defer cancel()
	_, err = c.bus.DisconnectCall(ctx, nodeID, req, opt)
	return told(err)
}

// Report hands on what Meta's webhook said of a call to the node that holds it. The end of a call that none holds is
// ErrNotFound too, but remembered.
func (c *Client) Report(ctx context.Context, req *connectorpb.ReportCallRequest, answerBy time.Time) error {
	nodeID, err := c.find(ctx, req.GetCallId())
	if errors.Is(err, ErrNotFound) && req.GetEvent() == connectorpb.ReportCallRequest_TERMINATED && c.ended != nil {
		if endErr := c.ended(ctx, req); endErr != nil {
			return endErr
		}
	}
	if err != nil {
		return err
	}
	ctx, cancel, opt := detach(ctx, soonest(answerBy))
	defer cancel()
	_, err = c.bus.ReportCall(ctx, nodeID, req, opt)
	return told(err)
}

// Held says whether a node holds a call, or is making it. The error is ErrRegistry.
func (c *Client) Held(ctx context.Context, callID string) (bool, error) {
	_, err := c.find(ctx, callID)
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// find returns the node that holds a call. It answers for calls that none holds, without a round trip to the nodes.
func (c *Client) find(ctx context.Context, callID string) (nodeID string, err error) {
	nodeID, err = c.registry.Owner(ctx, callID)
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrRegistry, err)
	}
	if nodeID == "" {
		return "", ErrNotFound
	}
	return nodeID, nil
}

func soonest(answerBy time.Time) time.Time {
	if least := time.Now().Add(MinBudget); answerBy.Before(least) {
		return least
	}
	return answerBy
}

// detach makes the context and time limit for a request to a node. It does not end when the requester goes away: Node
// and Go SDKs close the connection when they lose patience, and Meta's call goes on all the same.
func detach(ctx context.Context, answerBy time.Time) (context.Context, context.CancelFunc, psrpc.RequestOption) {
	limit := time.Until(answerBy) + busMargin
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
	return ctx, cancel, psrpc.WithRequestTimeout(limit)
}

// told tells the bus's own errors from those of nodes. By identity: a node's errors come over the bus as new values.
func told(err error) error {
	switch {
	case errors.Is(err, psrpc.ErrRequestTimedOut):
		return fmt.Errorf("%w: %w", ErrSilent, err)
	case errors.Is(err, psrpc.ErrRequestCanceled), errors.Is(err, psrpc.ErrClientClosed):
		return fmt.Errorf("%w: %w", ErrClosed, err)
	}
	return err
}

// election chooses the node with the highest bid. psrpc's own choice would be the same, but it says in words alone
// whether nobody answered or nobody had room.
type election struct {
	giveUp context.CancelFunc // ends the request
	busy   bool               // nodes answered, none had room
}

// decide is psrpc's SelectionFunc; it runs on the goroutine of the request.
func (e *election) decide(bids []*psrpc.Claim) (serverID string, _ error) {
	if len(bids) == 0 {
		return "", ErrNobody
	}
	var best float32
	for _, bid := range bids {
		if bid.Affinity > best {
			best, serverID = bid.Affinity, bid.ServerID
		}
	}
	if serverID == "" {
		// A node that bid waits until the request expires to hear who was chosen, with a goroutine that also holds up its
		// shutdown. Tell it: psrpc announces nobody's ID as the winner, and soon after stops waiting for him.
		e.busy = true
		time.AfterFunc(announce, e.giveUp)
	}
	return serverID, nil
}
