// Package tracing follows a request through the connector as OpenTelemetry spans: from the API or a webhook over the bus into
// the call, its stages and its requests to Meta.
//
// A nil *Tracer traces nothing, and so does a nil *Span: the parts of the connector call them without asking whether tracing
// is on, and when it is off that allocates nothing, starts no goroutine and opens no connection. Nothing here is done for
// a packet.
//
// Attributes are named in this package alone, and no value is taken from outside of closed sets except a call's ID, which the
// caller has masked as the log does: no phone number, name, room, participant or URL is ever given to a collector.
package tracing

import (
	"context"
	"net/http"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// Names of attributes. docs/tracing.md lists them.
const (
	// KeyMethod is the name of an API's or a bus's method (rpc.method of the semantic conventions).
	KeyMethod = attribute.Key("rpc.method")
	// KeySystem is "twirp" or "psrpc" (rpc.system).
	KeySystem = attribute.Key("rpc.system")
	// KeyService is the service of the method (rpc.service).
	KeyService = attribute.Key("rpc.service")
	// KeyError is the code or outcome of what failed (error.type).
	KeyError = attribute.Key("error.type")
	// KeyCallID is the call's ID as the log has it.
	KeyCallID = attribute.Key("connector.call_id")
	// KeyDirection is "inbound" or "outbound".
	KeyDirection = attribute.Key("connector.direction")
	// KeyReason is why a call ended.
	KeyReason = attribute.Key("connector.reason")
	// KeyResult is the class of that reason.
	KeyResult = attribute.Key("connector.result")
	// KeyAction is a request to the Graph API.
	KeyAction = attribute.Key("graph.action")
	// KeyOutcome is what came of a Graph request or a webhook's event.
	KeyOutcome = attribute.Key("connector.outcome")
	// KeyEvent is what Meta's webhook told.
	KeyEvent = attribute.Key("webhook.event")
)

// Tracer starts spans. Nil starts none.
type Tracer struct{ tracer trace.Tracer }

// Span is something that takes time. Nil is none.
type Span struct{ span trace.Span }

// propagator writes and reads traceparent and tracestate (W3C Trace Context).
var propagator = propagation.TraceContext{}

// Start begins a span under that of ctx, or a new trace. The caller ends it. The returned context holds it.
func (t *Tracer) Start(ctx context.Context, name string) (context.Context, *Span) {
	if t == nil {
		return ctx, nil
	}
	return t.start(ctx, name, trace.SpanKindInternal)
}

// StartRequest begins the span of a request to Meta.
func (t *Tracer) StartRequest(ctx context.Context, name string) (context.Context, *Span) {
	if t == nil {
		return ctx, nil
	}
	return t.start(ctx, name, trace.SpanKindClient)
}

// StartServer begins the span of an HTTP request that was received at that time, under the caller's if headers name one. The
// caller of this function has verified who asks: headers say whether the trace is to be recorded.
func (t *Tracer) StartServer(ctx context.Context, name string, received time.Time, h http.Header) (context.Context, *Span) {
	if t == nil {
		return ctx, nil
	}
	return t.start(propagator.Extract(ctx, propagation.HeaderCarrier(h)), name, trace.SpanKindServer, trace.WithTimestamp(received))
}

// StartConsumer begins the trace of a message that was received at that time.
func (t *Tracer) StartConsumer(ctx context.Context, name string, received time.Time) (context.Context, *Span) {
	if t == nil {
		return ctx, nil
	}
	return t.start(ctx, name, trace.SpanKindConsumer, trace.WithTimestamp(received), trace.WithNewRoot())
}

func (t *Tracer) start(ctx context.Context, name string, kind trace.SpanKind, opts ...trace.SpanStartOption) (context.Context, *Span) {
	ctx, span := t.tracer.Start(ctx, name, append(opts, trace.WithSpanKind(kind))...)
	return ctx, &Span{span: span}
}

// Past records under the span of ctx what lasted from one time to another.
func (t *Tracer) Past(ctx context.Context, name string, from, to time.Time) {
	if t == nil || to.Before(from) {
		return
	}
	_, span := t.tracer.Start(ctx, name, trace.WithTimestamp(from))
	span.End(trace.WithTimestamp(to))
}

// Under returns parent with the span of ctx: what parent begins outlives the request of ctx and belongs to its trace.
func (t *Tracer) Under(parent, ctx context.Context) context.Context {
	if t == nil {
		return parent
	}
	return trace.ContextWithSpan(parent, trace.SpanFromContext(ctx))
}

// Set sets an attribute.
func (s *Span) Set(key attribute.Key, value string) {
	if s != nil {
		s.span.SetAttributes(key.String(value))
	}
}

// Event records that something happened at a time.
func (s *Span) Event(name string, at time.Time) {
	if s != nil {
		s.span.AddEvent(name, trace.WithTimestamp(at))
	}
}

// Fail says that what the span stands for failed. why is of a closed set.
func (s *Span) Fail(why string) {
	if s != nil {
		s.span.SetAttributes(KeyError.String(why))
		s.span.SetStatus(codes.Error, why)
	}
}

// End ends the span.
func (s *Span) End() {
	if s != nil {
		s.span.End()
	}
}

// TraceID returns the ID of the trace in hexadecimal, "" without a trace that is recorded.
func (s *Span) TraceID() string {
	if s == nil || !s.span.SpanContext().IsSampled() {
		return ""
	}
	return s.span.SpanContext().TraceID().String()
}
