package api

import (
	"context"
	"log/slog"
	"time"

	"github.com/livekit/protocol/connector"
	"github.com/livekit/protocol/livekit"
	"github.com/livekit/psrpc"
	"github.com/twitchtv/twirp"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/livekit-connector/livekit-connector/proto/connectorpb"
)

// How a node is chosen for a new call. Nodes bid their free share, 1 when idle; an idle one is taken at once, else the
// best bid within shortCircuit of the first.
const (
	bidTimeout   = time.Second
	shortCircuit = 20 * time.Millisecond
	idleBid      = 1
	// announce is ample for the bus to take one message.
	announce = 10 * time.Millisecond
)

// calls implements livekit.Connector for requests that serveConnector let through. Every error it returns is a
// twirp.Error: xtwirp and Twirp itself would fold anything else into a message of theirs.
type calls struct {
	log          *slog.Logger
	client       connectorpb.ConnectorInternalClient
	registry     Registry
	cluster      string
	draining     func() bool // may be nil
	checkVersion func(string) error
}

var _ livekit.Connector = (*calls)(nil)

// DialWhatsAppCall has a node call a WhatsApp user. It returns when Meta took the offer; the phone rings afterwards.
func (c *calls) DialWhatsAppCall(ctx context.Context, req *livekit.DialWhatsAppCallRequest) (*livekit.DialWhatsAppCallResponse, error) {
	if err := checkDial(req, c.checkVersion); err != nil {
		return nil, err
	}
	x := exchangeOf(ctx)
	res, err := c.start(ctx, x, budget, &connectorpb.StartCallRequest{
		Call: &connectorpb.StartCallRequest_Dial{Dial: req},
	}, req.WhatsappApiKey, req.WhatsappToPhoneNumber)
	if err != nil {
		return nil, err
	}
	x.callID = res.CallId
	return &livekit.DialWhatsAppCallResponse{WhatsappCallId: res.CallId, RoomName: res.RoomName}, nil
}

// AcceptWhatsAppCall has a node take a WhatsApp user's call.
func (c *calls) AcceptWhatsAppCall(ctx context.Context, req *livekit.AcceptWhatsAppCallRequest) (*livekit.AcceptWhatsAppCallResponse, error) {
	if err := checkAccept(req, c.checkVersion); err != nil {
		return nil, err
	}
	x := exchangeOf(ctx)
	x.callID = req.WhatsappCallId
	limit := budget
	if req.WaitUntilAnswered {
		limit = waitBudget
	}
	res, err := c.start(ctx, x, limit, &connectorpb.StartCallRequest{
		Call: &connectorpb.StartCallRequest_Accept{Accept: req},
	}, req.WhatsappApiKey)
	if err != nil {
		return nil, err
	}
	return &livekit.AcceptWhatsAppCallResponse{RoomName: res.RoomName}, nil
}

// ConnectWhatsAppCall hands Meta's answer to the node that dialled.
func (c *calls) ConnectWhatsAppCall(ctx context.Context, req *livekit.ConnectWhatsAppCallRequest) (*livekit.ConnectWhatsAppCallResponse, error) {
	if err := checkConnect(req); err != nil {
		return nil, err
	}
	x := exchangeOf(ctx)
	x.callID = req.WhatsappCallId
	nodeID, err := c.find(ctx, req.WhatsappCallId)
	if err != nil {
		return nil, err
	}
	answerBy := x.answerBy(ctx, budget)
	ctx, cancel, opt := detach(ctx, answerBy)
	defer cancel()
	_, err = c.client.ConnectCall(ctx, nodeID, &connectorpb.ConnectCallRequest{
		Request:    req,
		ApiKey:     x.apiKey,
		ReceivedAt: timestamppb.New(x.received),
		AnswerBy:   timestamppb.New(answerBy),
	}, opt)
	if err != nil {
		return nil, c.steerError(ctx, x, err)
	}
	return &livekit.ConnectWhatsAppCallResponse{}, nil
}

// DisconnectWhatsAppCall ends a call at the node that holds it.
func (c *calls) DisconnectWhatsAppCall(ctx context.Context, req *livekit.DisconnectWhatsAppCallRequest) (*livekit.DisconnectWhatsAppCallResponse, error) {
	if err := checkDisconnect(req); err != nil {
		return nil, err
	}
	x := exchangeOf(ctx)
	x.callID = req.WhatsappCallId
	nodeID, err := c.find(ctx, req.WhatsappCallId)
	if err != nil {
		return nil, err
	}
	ctx, cancel, opt := detach(ctx, x.answerBy(ctx, budget))
	defer cancel()
	_, err = c.client.DisconnectCall(ctx, nodeID, &connectorpb.DisconnectCallRequest{
		Request: req,
		ApiKey:  x.apiKey,
	}, opt)
	if err != nil {
		return nil, c.steerError(ctx, x, err, req.WhatsappApiKey)
	}
	return &livekit.DisconnectWhatsAppCallResponse{}, nil
}

// ConnectTwilioCall is not served.
func (c *calls) ConnectTwilioCall(context.Context, *livekit.ConnectTwilioCallRequest) (*livekit.ConnectTwilioCallResponse, error) {
	return nil, twirp.NewError(twirp.Unimplemented, "ConnectTwilioCall is not supported: livekit-connector carries WhatsApp calls")
}

// start lets the nodes bid for the call and has the best one begin it. secrets are kept out of what comes back.
func (c *calls) start(
	ctx context.Context, x *exchange, limit time.Duration, req *connectorpb.StartCallRequest, secrets ...string,
) (*connectorpb.StartCallResponse, error) {
	if c.draining != nil && c.draining() {
		return nil, errDraining
	}
	answerBy := x.answerBy(ctx, limit)
	req.ApiKey = x.apiKey
	req.RequestId = x.requestID
	req.ReceivedAt = timestamppb.New(x.received)
	req.AnswerBy = timestamppb.New(answerBy)

	ctx, cancel, opt := detach(ctx, answerBy)
	defer cancel()
	choice := &election{giveUp: cancel}
	res, err := c.client.StartCall(ctx, c.cluster, req, opt, psrpc.WithSelectionOpts(psrpc.SelectionOpts{
		MaximumAffinity:     idleBid,
		AffinityTimeout:     bidTimeout,
		ShortCircuitTimeout: shortCircuit,
		SelectionFunc:       choice.decide,
	}))
	if choice.busy {
		return nil, twirpOf(connector.ErrServerBusy)
	}
	if err != nil {
		return nil, c.startError(ctx, x, err, secrets...)
	}
	return res, nil
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
		return "", errNobody
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

// find returns the node that holds a call. It answers for calls that none holds, without a round trip to the nodes.
func (c *calls) find(ctx context.Context, callID string) (nodeID string, err error) {
	nodeID, err = c.registry.Owner(ctx, callID)
	if err != nil {
		c.log.ErrorContext(ctx, "call registry failed", "callID", callID, "error", err)
		return "", errNoRegistry
	}
	if nodeID == "" {
		return "", twirpOf(connector.ErrWhatsAppCallNotFound)
	}
	return nodeID, nil
}
