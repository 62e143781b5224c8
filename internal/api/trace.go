package api

import (
	"context"
	"net/http"

	"github.com/twitchtv/twirp"

	"github.com/livekit-connector/livekit-connector/internal/logs"
	"github.com/livekit-connector/livekit-connector/internal/tracing"
)

// trace begins the span of a request, under the trace that its headers name. Only those who have shown a token get one.
func (s *Server) trace(x *exchange, r *http.Request) context.Context {
	ctx, span := s.tracer.StartServer(r.Context(), "livekit.Connector/"+x.method, x.received, r.Header)
	span.Set(tracing.KeySystem, "twirp")
	span.Set(tracing.KeyService, "livekit.Connector")
	span.Set(tracing.KeyMethod, x.method)
	x.span = span
	return ctx
}

// endTrace says what came of the request.
func (x *exchange) endTrace() {
	if x.span == nil {
		return
	}
	if x.callID != "" {
		x.span.Set(tracing.KeyCallID, logs.ID(x.callID))
	}
	if x.code != twirp.NoError {
		x.span.Fail(string(x.code))
	}
	x.span.End()
}
