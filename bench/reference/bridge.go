package main

import (
	"context"
	"fmt"
	"sync"

	"github.com/livekit/protocol/livekit"
	"github.com/livekit/protocol/logger"
	"github.com/twitchtv/twirp"

	"github.com/livekit-connector/livekit-connector/internal/roomleg/sdklog"
	"github.com/livekit-connector/livekit-connector/pkg/whatsapp"
)

// bridge implements the part of livekit.Connector that a benchmark needs.
type bridge struct {
	livekit.Connector // the rest of it: never called

	graph            *whatsapp.Client
	url, key, secret string
	log              logger.Logger

	mu    sync.Mutex // guards calls
	calls map[string]*call
}

func newBridge(graph *whatsapp.Client, url, key, secret string) *bridge {
	return &bridge{
		graph: graph, url: url, key: key, secret: secret, log: sdklog.New(nil),
		calls: make(map[string]*call),
	}
}

// AcceptWhatsAppCall answers a call of a WhatsApp user and returns when both can hear each other.
func (b *bridge) AcceptWhatsAppCall(ctx context.Context, req *livekit.AcceptWhatsAppCallRequest) (*livekit.AcceptWhatsAppCallResponse, error) {
	credentials := whatsapp.Credentials{
		PhoneNumberID: req.GetWhatsappPhoneNumberId(), AccessToken: req.GetWhatsappApiKey(),
		Version: req.GetWhatsappCloudApiVersion(),
	}
	c, err := b.accept(ctx, credentials, req)
	if err != nil {
		return nil, twirp.NewError(twirp.FailedPrecondition, err.Error())
	}
	b.mu.Lock()
	b.calls[req.GetWhatsappCallId()] = c
	b.mu.Unlock()
	return &livekit.AcceptWhatsAppCallResponse{RoomName: req.GetRoomName()}, nil
}

func (b *bridge) accept(ctx context.Context, credentials whatsapp.Credentials, req *livekit.AcceptWhatsAppCallRequest) (_ *call, err error) {
	c := &call{log: b.log, credentials: credentials, connected: make(chan struct{})}
	defer func() {
		if err != nil {
			c.close()
		}
	}()
	answer, err := c.connectMeta(req.GetSdp().GetSdp())
	if err != nil {
		return nil, err
	}
	if err = b.graph.PreAccept(ctx, credentials, req.GetWhatsappCallId(), answer); err != nil {
		return nil, fmt.Errorf("pre-accept: %w", err)
	}
	if err = c.joinRoom(b.url, b.key, b.secret, req.GetRoomName(), req.GetParticipantIdentity()); err != nil {
		return nil, err
	}
	select {
	case <-c.connected:
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for media: %w", context.Cause(ctx))
	}
	err = b.graph.Accept(ctx, credentials, whatsapp.AcceptRequest{CallID: req.GetWhatsappCallId(), Answer: answer})
	if err != nil {
		return nil, fmt.Errorf("accept: %w", err)
	}
	if err = c.startAudio(); err != nil {
		return nil, err
	}
	return c, nil
}

// DisconnectWhatsAppCall ends a call.
func (b *bridge) DisconnectWhatsAppCall(ctx context.Context, req *livekit.DisconnectWhatsAppCallRequest) (*livekit.DisconnectWhatsAppCallResponse, error) {
	b.mu.Lock()
	c := b.calls[req.GetWhatsappCallId()]
	delete(b.calls, req.GetWhatsappCallId())
	b.mu.Unlock()
	if c == nil {
		return nil, twirp.NotFoundError("no such call")
	}
	c.close()
	if req.GetDisconnectReason() != livekit.DisconnectWhatsAppCallRequest_USER_INITIATED {
		if err := b.graph.Terminate(ctx, c.credentials, req.GetWhatsappCallId()); err != nil {
			return nil, twirp.NewError(twirp.FailedPrecondition, err.Error())
		}
	}
	return &livekit.DisconnectWhatsAppCallResponse{}, nil
}

func (b *bridge) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, c := range b.calls {
		c.close()
	}
	clear(b.calls)
}
