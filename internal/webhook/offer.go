package webhook

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"strings"
	"time"

	"github.com/livekit/protocol/livekit"
	"github.com/livekit/psrpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/livekit-connector/livekit-connector/internal/panics"
	"github.com/livekit-connector/livekit-connector/internal/route"
	"github.com/livekit-connector/livekit-connector/internal/rules"
	"github.com/livekit-connector/livekit-connector/pkg/whatsapp"
	"github.com/livekit-connector/livekit-connector/proto/connectorpb"
)

const (
	// rejectTimeout bounds a reject with its repetitions; Meta drops the call by itself after 30 s to 60 s.
	rejectTimeout = 20 * time.Second
	// endPause is how often a call is asked for of which a node was told a moment ago, to end it.
	endPause = 50 * time.Millisecond
	// heldTimeout bounds how long it may take to find out whether the application has a call.
	heldTimeout = 2 * time.Second
)

// offer answers a user's call, or declines it.
func (s *Server) offer(ctx context.Context, l *lane, e event) outcome {
	if l.isOver() {
		return outcomeEnded // the user hung up at once, or this is a late repetition
	}
	if s.opts.Decide == nil {
		return outcomeIgnored
	}
	creds, ours := s.opts.Credentials(e.number)
	if !ours {
		s.noteForeign(ctx, e)
		return outcomeNumber
	}
	if age := time.Since(e.at); !e.at.IsZero() && age > s.opts.MaxAge {
		s.log.InfoContext(ctx, "inbound call is too old to be answered", "callID", e.callID, "age", age.Round(time.Second))
		return outcomeStale
	}
	if !validSession(e.call.Session) {
		return s.unanswerable(ctx, e, creds, s.malformed(ctx, e))
	}
	d, decided := s.decide(e)
	switch {
	case !decided:
		return s.unanswerable(ctx, e, creds, outcomeFailed)
	case d.Reject:
		s.log.InfoContext(ctx, "inbound call is rejected by a rule", "callID", e.callID, "rule", d.Rule, "reason", d.Reason)
		return s.reject(ctx, e, creds, outcomeRejected)
	case d.Accept != nil:
		return s.accept(ctx, l, e, creds, d)
	case s.opts.RejectUnmatched:
		s.log.WarnContext(ctx, "inbound call is rejected: no rule matches", "callID", e.callID, "phoneNumberID", e.number)
		return s.reject(ctx, e, creds, outcomeNoRule)
	default:
		s.log.InfoContext(ctx, "inbound call is left alone: no rule matches", "callID", e.callID, "phoneNumberID", e.number)
		return outcomeNoRule
	}
}

// noteForeign says once of each number that it has no credentials: somebody may have forgotten them.
func (s *Server) noteForeign(ctx context.Context, e event) {
	s.mu.Lock()
	first := !s.foreign[e.number] && len(s.foreign) < maxForeign
	if first {
		s.foreign[e.number] = true
	}
	s.mu.Unlock()
	level := slog.LevelDebug
	if first {
		level = slog.LevelWarn
	}
	s.log.Log(ctx, level, "inbound call of a number without an access token in whatsapp.numbers is left alone",
		"callID", e.callID, "phoneNumberID", e.number)
}

// decide asks the rules. It returns false if they panic.
func (s *Server) decide(e event) (d rules.Outcome, ok bool) {
	defer s.opts.Panics.Recover(panics.Webhook, s.log.With("callID", e.callID, "event", e.kind), func() { d, ok = rules.Outcome{}, false })
	return s.opts.Decide(s.inbound(e)), true
}

// unanswerable declines, as one that no rule matches, a call that no rule can be asked about.
func (s *Server) unanswerable(ctx context.Context, e event, creds whatsapp.Credentials, o outcome) outcome {
	if !s.opts.RejectUnmatched {
		return o
	}
	return s.reject(ctx, e, creds, o)
}

func (s *Server) inbound(e event) rules.Call {
	at := e.at
	if at.IsZero() {
		at = e.received
	}
	return rules.Call{
		CallID: e.callID, PhoneNumberID: e.number, From: e.call.From, FromUserID: e.call.FromUserID, Name: e.name,
		CTAPayload: e.call.CTAPayload, DeeplinkPayload: e.call.DeeplinkPayload, At: at,
	}
}

// accept has a node take the call and waits until it is up or over. If the user hangs up meanwhile, the node is told at
// once.
func (s *Server) accept(ctx context.Context, l *lane, e event, creds whatsapp.Credentials, d rules.Outcome) outcome {
	req := s.acceptRequest(e, creds, d)
	answer := make(chan error, 1)
	go func() { // ends within the limit, which is waited for
		defer s.opts.Panics.Recover(panics.Webhook, s.log.With("callID", e.callID), func() {
			answer <- &panics.Error{Place: panics.Webhook}
		})
		_, err := s.opts.Nodes.Start(ctx, req, e.received.Add(s.opts.SetupTimeout))
		answer <- err
	}()
	select {
	case err := <-answer:
		return s.accepted(ctx, e, creds, d, err)
	case <-l.over:
		return s.takeBack(ctx, l, answer)
	}
}

func (s *Server) acceptRequest(e event, creds whatsapp.Credentials, d rules.Outcome) *connectorpb.StartCallRequest {
	accept := proto.CloneOf(d.Accept)
	accept.WhatsappCallId = e.callID
	accept.WhatsappPhoneNumberId = cmp.Or(creds.PhoneNumberID, e.number)
	accept.WhatsappApiKey = creds.AccessToken
	accept.WhatsappCloudApiVersion = creds.Version
	accept.Sdp = &livekit.SessionDescription{Type: "offer", Sdp: e.call.Session.SDP}
	plan := &connectorpb.CallPlan{Rule: d.Rule}
	if d.Plan != nil {
		plan = proto.CloneOf(d.Plan)
	}
	plan.UserNumber, plan.UserId, plan.UserName = e.call.From, e.call.FromUserID, e.name
	return &connectorpb.StartCallRequest{
		Call:       &connectorpb.StartCallRequest_Accept{Accept: accept},
		ApiKey:     s.opts.APIKey,
		ReceivedAt: timestamppb.New(e.received),
		Plan:       plan,
	}
}

// accepted judges what became of an Accept. A call that a node took and lost was told to Meta by the node; one that broke
// (internal) did so before it had the call.
func (s *Server) accepted(ctx context.Context, e event, creds whatsapp.Credentials, d rules.Outcome, err error) outcome {
	switch code := codeOf(err); {
	case err == nil:
		s.log.InfoContext(ctx, "inbound call accepted", "callID", e.callID, "rule", d.Rule)
		return outcomeDone
	case code == psrpc.AlreadyExists:
		return outcomeTaken
	case errors.Is(err, route.ErrBusy), errors.Is(err, route.ErrDraining), errors.Is(err, route.ErrNobody),
		code == psrpc.ResourceExhausted, code == psrpc.InvalidArgument, code == psrpc.Internal:
		s.log.ErrorContext(ctx, "inbound call cannot be taken", "callID", e.callID, "rule", d.Rule, "rejected", s.opts.RejectRefused,
			"error", without(err, creds.AccessToken))
		if s.opts.RejectRefused {
			return s.reject(ctx, e, creds, outcomeRefused)
		}
		return outcomeRefused
	default:
		s.log.ErrorContext(ctx, "inbound call failed", "callID", e.callID, "rule", d.Rule, "error", without(err, creds.AccessToken))
		return outcomeFailed
	}
}

// without is the error's text with a secret kept out, should Meta or a library have quoted it.
func without(err error, secret string) string {
	if secret == "" {
		return err.Error()
	}
	return strings.ReplaceAll(err.Error(), secret, "[redacted]")
}

// takeBack ends a call whose Accept is on its way. The node may not know of it yet.
func (s *Server) takeBack(ctx context.Context, l *lane, answer <-chan error) outcome {
	end := *l.end
	for {
		if s.report(ctx, end) == outcomeDone {
			l.reported = true
			if err := <-answer; err != nil {
				s.log.DebugContext(ctx, "user hung up before the call was answered", "callID", end.callID)
			}
			return outcomeEnded
		}
		select {
		case err := <-answer:
			if err == nil {
				l.reported = s.report(ctx, end) == outcomeDone
			}
			return outcomeEnded
		case <-time.After(endPause):
		}
	}
}

// reject declines the call, so that Meta does not count us as not answering. A call that the application has taken, or is
// taking, is left to it.
func (s *Server) reject(ctx context.Context, e event, creds whatsapp.Credentials, o outcome) outcome {
	if s.held(ctx, e) {
		return outcomeTaken
	}
	ctx, cancel := context.WithTimeout(ctx, rejectTimeout)
	defer cancel()
	if err := s.opts.Graph.Reject(ctx, creds, e.callID); err != nil {
		s.log.ErrorContext(ctx, "call could not be rejected", "callID", e.callID, "error", err)
		return outcomeFailed
	}
	return o
}

// held says whether a node has the call. If that cannot be found out none has: Meta would let the user wait.
func (s *Server) held(ctx context.Context, e event) bool {
	ctx, cancel := context.WithTimeout(ctx, heldTimeout)
	defer cancel()
	held, err := s.opts.Nodes.Held(ctx, e.callID)
	if err != nil {
		s.log.WarnContext(ctx, "whether the application has a call that is to be rejected is not known", "callID", e.callID, "error", err)
	}
	return held
}
