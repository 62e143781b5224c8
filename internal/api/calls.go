package api

import (
	"context"
	"log/slog"
	"time"

	"github.com/livekit/protocol/livekit"
	"github.com/twitchtv/twirp"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/livekit-connector/livekit-connector/internal/route"
	"github.com/livekit-connector/livekit-connector/proto/connectorpb"
)

// calls implements livekit.Connector for requests that serveConnector let through. Every error it returns is a
// twirp.Error: xtwirp and Twirp itself would fold anything else into a message of theirs.
type calls struct {
	log          *slog.Logger
	nodes        *route.Client
	checkVersion func(string) error
	credentials  credentials
	permitted    permitted
}

var _ livekit.Connector = (*calls)(nil)

// DialWhatsAppCall has a node call a WhatsApp user. It returns when Meta took the offer; the phone rings afterwards.
func (c *calls) DialWhatsAppCall(ctx context.Context, req *livekit.DialWhatsAppCallRequest) (*livekit.DialWhatsAppCallResponse, error) {
	x := exchangeOf(ctx)
	if err := c.permitted.refuses(x.apiKey, req.WhatsappPhoneNumberId); err != nil {
		return nil, err
	}
	if err := checkDial(req, c.checkVersion, c.credentials); err != nil {
		return nil, err
	}
	res, err := c.start(ctx, x, route.Budget, &connectorpb.StartCallRequest{
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
	x := exchangeOf(ctx)
	if err := c.permitted.refuses(x.apiKey, req.WhatsappPhoneNumberId); err != nil {
		return nil, err
	}
	if err := checkAccept(req, c.checkVersion, c.credentials); err != nil {
		return nil, err
	}
	x.callID = req.WhatsappCallId
	limit := route.Budget
	if req.WaitUntilAnswered {
		limit = route.WaitBudget
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
	err := c.nodes.Connect(ctx, &connectorpb.ConnectCallRequest{
		Request:    req,
		ApiKey:     x.apiKey,
		ReceivedAt: timestamppb.New(x.received),
	}, x.answerBy(ctx, route.Budget))
	if err != nil {
		return nil, c.steerError(ctx, x, err)
	}
	return &livekit.ConnectWhatsAppCallResponse{}, nil
}

// DisconnectWhatsAppCall ends a call at the node that holds it.
func (c *calls) DisconnectWhatsAppCall(ctx context.Context, req *livekit.DisconnectWhatsAppCallRequest) (*livekit.DisconnectWhatsAppCallResponse, error) {
	if err := checkDisconnect(req, c.credentials); err != nil {
		return nil, err
	}
	x := exchangeOf(ctx)
	x.callID = req.WhatsappCallId
	err := c.nodes.Disconnect(ctx, &connectorpb.DisconnectCallRequest{
		Request: req,
		ApiKey:  x.apiKey,
	}, x.answerBy(ctx, route.Budget))
	if err != nil {
		return nil, c.steerError(ctx, x, err, req.WhatsappApiKey)
	}
	return &livekit.DisconnectWhatsAppCallResponse{}, nil
}

// ConnectTwilioCall is not served.
func (c *calls) ConnectTwilioCall(context.Context, *livekit.ConnectTwilioCallRequest) (*livekit.ConnectTwilioCallResponse, error) {
	return nil, twirp.NewError(twirp.Unimplemented, "ConnectTwilioCall is not supported: livekit-connector carries WhatsApp calls")
}

// start has a node begin the call. secrets are kept out of what comes back.
func (c *calls) start(
	ctx context.Context, x *exchange, limit time.Duration, req *connectorpb.StartCallRequest, secrets ...string,
) (*connectorpb.StartCallResponse, error) {
	req.ApiKey = x.apiKey
	req.RequestId = x.requestID
	req.ReceivedAt = timestamppb.New(x.received)
	res, err := c.nodes.Start(ctx, req, x.answerBy(ctx, limit))
	if err != nil {
		return nil, c.startError(ctx, x, err, secrets...)
	}
	return res, nil
}
