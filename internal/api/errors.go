package api

import (
	"context"
	"errors"
	"strings"

	"github.com/livekit/protocol/connector"
	"github.com/livekit/psrpc"
	"github.com/twitchtv/twirp"

	"github.com/livekit-connector/livekit-connector/internal/route"
	"github.com/livekit-connector/livekit-connector/proto/connectorpb"
)

var (
	errInternal = twirp.NewError(twirp.Internal, "internal error: the connector's log has the details")
	errDraining = twirp.NewError(twirp.ResourceExhausted, "connector is draining and takes no new calls: none was begun").
			WithMeta("limit", "draining")
	errNoNode = twirp.NewError(twirp.Unavailable, "no connector node is running: no call was begun")
	errClosed = twirp.NewError(twirp.Unavailable, "connector is shutting down")
	errSilent = twirp.NewError(twirp.DeadlineExceeded,
		"the node that holds the call did not answer in time: the request may be sent again")
	errNoRegistry = twirp.NewError(twirp.Unavailable, "the registry of calls cannot be reached: send the request again")
	errUncertain  = twirp.NewError(twirp.FailedPrecondition,
		"the outcome of this call is unknown, Meta may have it: wait for Meta's webhooks before you try again")
)

// reservedMeta are keys by which SDKs take an error for something else: Kotlin, Ruby and Rust for a SIP status, Go for a
// gRPC status.
var reservedMeta = map[string]bool{"sip_status_code": true, "sip_status": true, "error_details": true}

// startError is the answer to a Dial or an Accept that failed on the bus or at the node. Once a node was chosen, Meta
// may have the call: whatever leaves that open must be nothing that an SDK sends again, or a second phone call follows.
func (c *calls) startError(ctx context.Context, x *exchange, err error, secrets ...string) twirp.Error {
	switch {
	case errors.Is(err, route.ErrDraining):
		return errDraining
	case errors.Is(err, route.ErrNobody):
		return errNoNode
	case errors.Is(err, route.ErrBusy):
		return twirpOf(connector.ErrServerBusy)
	case errors.Is(err, route.ErrSilent), errors.Is(err, route.ErrClosed):
		c.log.ErrorContext(ctx, "node did not answer", "method", x.method, "callID", x.callID, "error", err)
		return errUncertain
	}
	answer, said := nodeError(err, secrets)
	if !said {
		c.logBroken(ctx, x, err, secrets)
		return errUncertain
	}
	return answer
}

// steerError is the answer to a Connect or Disconnect that failed on the bus or at the node.
func (c *calls) steerError(ctx context.Context, x *exchange, err error, secrets ...string) twirp.Error {
	switch {
	case errors.Is(err, route.ErrNotFound):
		return twirpOf(connector.ErrWhatsAppCallNotFound)
	case errors.Is(err, route.ErrRegistry):
		c.log.ErrorContext(ctx, "call registry failed", "callID", x.callID, "error", err)
		return errNoRegistry
	case errors.Is(err, route.ErrSilent):
		c.log.ErrorContext(ctx, "node did not answer", "method", x.method, "callID", x.callID, "error", err)
		return errSilent
	case errors.Is(err, route.ErrClosed):
		return errClosed
	}
	answer, said := nodeError(err, secrets)
	if !said {
		c.logBroken(ctx, x, err, secrets)
		return errInternal
	}
	return answer
}

func (c *calls) logBroken(ctx context.Context, x *exchange, err error, secrets []string) {
	c.log.ErrorContext(ctx, "node failed", "method", x.method, "callID", x.callID, "error", redact(err.Error(), secrets))
}

// nodeError turns an error that a node chose to return into Twirp's. said is false for one that it did not choose: a
// plain error, a panic that it caught (it comes as internal), a broken encoding, a node that was
// stopped.
func nodeError(err error, secrets []string) (answer twirp.Error, said bool) {
	var nodeErr psrpc.Error
	if !errors.As(err, &nodeErr) {
		return nil, false
	}
	code := nodeErr.Code().ToTwirp()
	switch nodeErr.Code() {
	case psrpc.Internal, psrpc.MalformedResponse, psrpc.MalformedRequest, psrpc.Canceled, psrpc.OK:
		return nil, false
	default:
		// psrpc knows codes that Twirp lacks; they end here too.
		if code == twirp.Unknown {
			return nil, false
		}
	}
	answer = twirp.NewError(code, redact(nodeErr.Error(), secrets))
	for _, detail := range nodeErr.DetailsProto() {
		meta := new(connectorpb.ErrorMeta)
		if !detail.MessageIs(meta) || detail.UnmarshalTo(meta) != nil {
			continue
		}
		for k, v := range meta.Meta {
			if !reservedMeta[k] {
				answer = answer.WithMeta(k, redact(v, secrets))
			}
		}
	}
	return answer, true
}

// redact keeps a request's own secrets out of a text, should Meta or a library have quoted them.
func redact(text string, secrets []string) string {
	for _, secret := range secrets {
		if secret != "" {
			text = strings.ReplaceAll(text, secret, "[redacted]")
		}
	}
	return text
}

// twirpOf gives one of protocol/connector's errors to Twirp with its code and words. Twirp would find them by itself,
// but xtwirp in this version of the protocol would not (it puts "twirp error unknown:" before the message).
func twirpOf(err psrpc.Error) twirp.Error {
	return twirp.NewError(err.Code().ToTwirp(), err.Error())
}
