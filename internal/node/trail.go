package node

import (
	"context"
	"log/slog"
	"time"

	"github.com/livekit-connector/livekit-connector/internal/call"
	"github.com/livekit-connector/livekit-connector/internal/logs"
	"github.com/livekit-connector/livekit-connector/internal/tracing"
)

// callLoggers are the loggers of one call's parts. The call itself adds who it is.
type callLoggers struct{ call, room *slog.Logger }

// callLog binds to all lines about a call who it is. The names of room and participant may have been made of the user's number,
// ID or name, which are hidden in them as far as known.
func (n *Node) callLog(t callTrace, leg metaLeg, d call.Direction, id string, p participant, user ...string) callLoggers {
	where := []any{"nodeID", n.opts.ID, "room", logs.Personal{Text: p.room, Of: user}, "participant", logs.Personal{Text: p.identity, Of: user}}
	if traceID := t.span.TraceID(); traceID != "" {
		where = append(where, "traceID", traceID)
	}
	who := append([]any{"callID", id, "direction", d.String()}, where...)
	leg.Bind(who...)
	return callLoggers{
		call: n.opts.Logger.With(logs.KeyComponent, logs.Call).With(where...),
		room: n.opts.Logger.With(logs.KeyComponent, logs.RoomLeg).With(who...),
	}
}

// callTrace is a call as a span of its request's trace.
type callTrace struct {
	ctx  context.Context //nolint:containedctx // the parent of the call, which outlives the request
	span *tracing.Span   // nil without tracing
}

// trace begins the span of a call under that of the request. It ends with the call, long after the request.
func (n *Node) trace(ctx context.Context, d call.Direction, id string) callTrace {
	var t callTrace
	t.ctx, t.span = n.opts.Tracer.Start(n.opts.Tracer.Under(n.calls, ctx), "call")
	t.span.Set(tracing.KeyDirection, d.String())
	t.span.Set(tracing.KeyCallID, logs.ID(id))
	return t
}

// phases are the spans of a call, each between two of its stages. One that has begun lasts to the call's end at most.
var phases = []struct {
	name     string
	from, to call.Stage
}{
	{"call setup", call.StageRequested, call.StageAnswered},
	{"room join", call.StageJoining, call.StageRoomJoined},
	{"media connect", call.StageDescribed, call.StageConnected},
	{"wait for the room", call.StageRoomJoined, call.StageRoomReady},
	{"ring", call.StageRinging, call.StageAnswered},
	{"track publish", call.StageAnswered, call.StagePublished},
	{"talk", call.StageAnswered, call.StageEnded},
	{"hang up", call.StageEnded, call.StageTold},
}

// always are the phases that a call has been in even if it never got to their end.
var always = map[string]bool{"call setup": true, "room join": true, "media connect": true, "ring": true}

// endTrace tells the call's course in its span, and ends it.
func (n *Node) endTrace(e *entry) {
	span := e.trace.span
	if span == nil {
		return
	}
	f := e.call.Facts()
	at := map[call.Stage]time.Time{call.StageRequested: f.Started}
	for _, m := range f.Timeline {
		span.Event(m.Stage.String(), m.At)
		if _, known := at[m.Stage]; !known {
			at[m.Stage] = m.At
		}
	}
	for _, p := range phases {
		from, began := at[p.from]
		to, done := at[p.to]
		if !done && always[p.name] {
			to, done = at[call.StageEnded]
		}
		if began && done {
			n.opts.Tracer.Past(e.trace.ctx, p.name, from, to)
		}
	}
	if f.End != nil {
		result := string(f.End.Reason.Result())
		span.Set(tracing.KeyReason, f.End.Reason.String())
		span.Set(tracing.KeyResult, result)
		if result != string(call.ResultSuccess) {
			span.Fail(f.End.Reason.String())
		}
	}
	span.End()
}
