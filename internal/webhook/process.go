package webhook

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/livekit/protocol/livekit"
	"github.com/livekit/psrpc"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/livekit-connector/livekit-connector/internal/panics"
	"github.com/livekit-connector/livekit-connector/internal/route"
	"github.com/livekit-connector/livekit-connector/pkg/whatsapp"
	"github.com/livekit-connector/livekit-connector/proto/connectorpb"
)

const (
	// A word that a node did not hear is said again: nothing else would tell it.
	retries    = 4
	firstPause = 250 * time.Millisecond

	maxSDPBytes   = 64 << 10
	maxTitleChars = 256

	// statusFailed is the status of a call that Meta counts as failed; it need not say why.
	statusFailed = "FAILED"
)

// process does one event.
func (s *Server) process(ctx context.Context, l *lane, e event) (o outcome) {
	defer s.opts.Panics.Recover(panics.Webhook, s.log.With("callID", e.callID, "event", e.kind), func() { o = outcomeFailed })
	switch e.kind {
	case kindOffer:
		return s.offer(ctx, l, e)
	case kindAnswer:
		return s.answer(ctx, l, e)
	case kindTerminate:
		if l.reported {
			return outcomeDone
		}
		return s.report(ctx, e)
	default:
		return s.report(ctx, e)
	}
}

// answer hands Meta's SDP answer to the call that was dialled, whoever dialled it. A call that is being dialled is waited
// for: Meta's webhook can beat its own response.
func (s *Server) answer(ctx context.Context, l *lane, e event) outcome {
	switch {
	case l.isOver():
		return outcomeEnded // and the terminate behind it says why
	case !validSession(e.call.Session):
		return s.malformed(ctx, e)
	}
	return s.tell(ctx, e, func() error {
		return s.opts.Nodes.Connect(ctx, &connectorpb.ConnectCallRequest{
			Request: &livekit.ConnectWhatsAppCallRequest{
				WhatsappCallId: e.callID,
				Sdp:            &livekit.SessionDescription{Type: "answer", Sdp: e.call.Session.SDP},
			},
			FromMeta:   true,
			ReceivedAt: timestamppb.New(e.received),
		}, time.Now().Add(route.Budget))
	})
}

func validSession(session *whatsapp.Session) bool {
	return session != nil && session.SDP != "" && len(session.SDP) <= maxSDPBytes
}

func (s *Server) malformed(ctx context.Context, e event) outcome {
	s.log.WarnContext(ctx, "webhook without a usable sdp: the call cannot be connected", "callID", e.callID, "event", e.kind)
	return outcomeMalformed
}

// report tells the call's node what Meta said.
func (s *Server) report(ctx context.Context, e event) outcome {
	return s.tell(ctx, e, func() error { return s.opts.Nodes.Report(ctx, reportOf(e), time.Now().Add(route.Budget)) })
}

var reported = map[kind]connectorpb.ReportCallRequest_Event{
	kindRinging:   connectorpb.ReportCallRequest_RINGING,
	kindAccepted:  connectorpb.ReportCallRequest_ACCEPTED,
	kindRejected:  connectorpb.ReportCallRequest_REJECTED,
	kindTerminate: connectorpb.ReportCallRequest_TERMINATED,
}

func reportOf(e event) *connectorpb.ReportCallRequest {
	req := &connectorpb.ReportCallRequest{CallId: e.callID, Event: reported[e.kind]}
	if !e.at.IsZero() {
		req.At = timestamppb.New(e.at)
	}
	if e.kind != kindTerminate {
		return req
	}
	if len(e.call.Errors) > 0 {
		failure := e.call.Errors[0]
		req.ErrorCode = int32(min(max(failure.Code, 0), 1<<31-1))
		req.ErrorTitle = firstChars(failure.Title, failure.Message)
	}
	req.Failed = strings.EqualFold(e.call.Status, statusFailed)
	if e.call.Answered() {
		req.AnsweredAt = timestamppb.New(e.call.StartTime)
		req.Duration = durationpb.New(e.call.Duration)
	}
	return req
}

// firstChars returns the first text that is not empty, cut.
func firstChars(texts ...string) string {
	for _, text := range texts {
		if text == "" {
			continue
		}
		if runes := []rune(text); len(runes) > maxTitleChars {
			return string(runes[:maxTitleChars])
		}
		return text
	}
	return ""
}

// tell asks a node for something that may be asked twice, until it answers.
func (s *Server) tell(ctx context.Context, e event, ask func() error) outcome {
	pause := firstPause
	for try := 1; ; try++ {
		err := ask()
		if !errors.Is(err, route.ErrSilent) && !errors.Is(err, route.ErrRegistry) || try > retries {
			return s.judge(ctx, e, err)
		}
		s.log.WarnContext(ctx, "node did not hear a webhook's event", "callID", e.callID, "event", e.kind, "try", try, "error", err)
		if !sleep(ctx, pause) {
			return s.judge(ctx, e, err)
		}
		pause *= 2
	}
}

// judge says what a node's answer to anything but an Accept comes to.
func (s *Server) judge(ctx context.Context, e event, err error) outcome {
	switch code := codeOf(err); {
	case err == nil:
		return outcomeDone
	case errors.Is(err, route.ErrNotFound), code == psrpc.NotFound:
		return outcomeUnknown
	case code == psrpc.AlreadyExists:
		return outcomeTaken
	case code == psrpc.FailedPrecondition:
		s.log.DebugContext(ctx, "webhook came too late", "callID", e.callID, "event", e.kind, "error", err)
		return outcomeEnded
	}
	s.log.ErrorContext(ctx, "webhook event failed", "callID", e.callID, "event", e.kind, "error", err)
	return outcomeFailed
}

// codeOf is the code of an error that a node returned, empty for others.
func codeOf(err error) psrpc.ErrorCode {
	if coded, ok := errors.AsType[psrpc.Error](err); ok {
		return coded.Code()
	}
	return ""
}

// sleep returns false if ctx ended before.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
