package tracing

import (
	"context"
	"errors"

	"github.com/livekit/psrpc"
	"github.com/livekit/psrpc/pkg/metadata"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/protobuf/proto"
)

const systemBus = "psrpc"

// ClientOptions has requests over the bus carry their trace, as metadata of the message. Requests that belong to none are left
// alone. Without a Tracer there are no options.
func (t *Tracer) ClientOptions() []psrpc.ClientOption {
	if t == nil {
		return nil
	}
	return []psrpc.ClientOption{psrpc.WithClientRPCInterceptors(t.send)}
}

func (t *Tracer) send(info psrpc.RPCInfo, next psrpc.ClientRPCHandler) psrpc.ClientRPCHandler {
	return func(ctx context.Context, req proto.Message, opts ...psrpc.RequestOption) (proto.Message, error) {
		if !trace.SpanContextFromContext(ctx).IsValid() {
			return next(ctx, req, opts...)
		}
		ctx, span := t.start(ctx, "bus "+info.Method, trace.SpanKindClient)
		defer span.End()
		span.method(info)
		carrier := propagation.MapCarrier{}
		propagator.Inject(ctx, carrier)
		pairs := make([]string, 0, 2*len(carrier))
		for key, value := range carrier {
			pairs = append(pairs, key, value)
		}
		res, err := next(metadata.AppendMetadataToOutgoingContext(ctx, pairs...), req, opts...)
		span.failed(err)
		return res, err
	}
}

// ServerInterceptors has requests over the bus go on in the trace that they carry.
func (t *Tracer) ServerInterceptors() []psrpc.ServerRPCInterceptor {
	if t == nil {
		return nil
	}
	return []psrpc.ServerRPCInterceptor{t.receive}
}

func (t *Tracer) receive(ctx context.Context, req proto.Message, info psrpc.RPCInfo, handle psrpc.ServerRPCHandler) (proto.Message, error) {
	header := metadata.IncomingHeader(ctx)
	if header == nil {
		return handle(ctx, req)
	}
	ctx = propagator.Extract(ctx, propagation.MapCarrier(header.Metadata))
	if !trace.SpanContextFromContext(ctx).IsValid() {
		return handle(ctx, req)
	}
	ctx, span := t.start(ctx, "node "+info.Method, trace.SpanKindServer)
	defer span.End()
	span.method(info)
	res, err := handle(ctx, req)
	span.failed(err)
	return res, err
}

func (s *Span) method(info psrpc.RPCInfo) {
	s.Set(KeySystem, systemBus)
	s.Set(KeyService, info.Service)
	s.Set(KeyMethod, info.Method)
}

// failed notes the code of an error, never its text.
func (s *Span) failed(err error) {
	if err == nil {
		return
	}
	if coded, ok := errors.AsType[psrpc.Error](err); ok {
		s.Fail(string(coded.Code()))
		return
	}
	s.Fail("unknown")
}
