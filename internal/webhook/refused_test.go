package webhook_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/livekit/psrpc"
	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/internal/route"
	"github.com/livekit-connector/livekit-connector/internal/rules"
	"github.com/livekit-connector/livekit-connector/internal/webhook"
	"github.com/livekit-connector/livekit-connector/proto/connectorpb"
)

func TestNoRule(t *testing.T) {
	for name, reject := range map[string]bool{"rejected": true, "ignored": false} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				s := newStand(t, func(o *webhook.Options) {
					o.Decide = func(rules.Call) rules.Outcome { return rules.Outcome{} }
					o.RejectUnmatched = reject
				})
				s.post(envelope(numberID, calls(offer(callID))))
				synctest.Wait()
				require.Equal(t, reject, len(s.graph.calls()) == 1)
				require.Equal(t, 1, s.count("webhook_events_total", "connect_inbound", "no_rule"))
			})
		})
	}
}

func TestRuleThatRejects(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStand(t, func(o *webhook.Options) {
			o.Decide = func(rules.Call) rules.Outcome { return rules.Outcome{Rule: "night", Reject: true, Reason: "closed"} }
			o.RejectUnmatched = false
		})
		s.post(envelope(numberID, calls(offer(callID))))
		synctest.Wait()
		require.Equal(t, []string{callID}, s.graph.calls())
		require.Equal(t, 1, s.count("webhook_events_total", "connect_inbound", "rejected"))
	})
}

func TestRejectThatFails(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStand(t, func(o *webhook.Options) {
			o.Decide = func(rules.Call) rules.Outcome { return rules.Outcome{} }
		})
		s.graph.err = errors.New("no way")
		s.post(envelope(numberID, calls(offer(callID))))
		synctest.Wait()
		require.Equal(t, 1, s.count("webhook_events_total", "connect_inbound", "failed"))
	})
}

func TestWithoutRulesInboundCallsAreSomebodyElses(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStand(t, func(o *webhook.Options) { o.Decide = nil })
		s.post(envelope(numberID, calls(offer(callID))))
		synctest.Wait()
		require.Empty(t, s.graph.calls())
		require.Equal(t, 1, s.count("webhook_events_total", "connect_inbound", "ignored"))
	})
}

func TestCallThatNoNodeTakes(t *testing.T) {
	for name, err := range map[string]error{
		"full": route.ErrBusy, "draining": route.ErrDraining, "no node": route.ErrNobody,
		"full since": psrpc.NewErrorf(psrpc.ResourceExhausted, "busy"), "bad SDP": psrpc.NewErrorf(psrpc.InvalidArgument, "sdp: no audio"),
		"broken": psrpc.NewErrorf(psrpc.Internal, "panic"),
	} {
		for _, reject := range []bool{true, false} {
			t.Run(name, func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					s := newStand(t, func(o *webhook.Options) { o.RejectRefused = reject })
					s.nodes.start = func(*connectorpb.StartCallRequest) error { return err }
					s.post(envelope(numberID, calls(offer(callID))))
					synctest.Wait()
					require.Equal(t, reject, len(s.graph.calls()) == 1)
					require.Equal(t, 1, s.count("webhook_events_total", "connect_inbound", "refused"))
				})
			})
		}
	}
}

func TestCallThatANodeTookAndLostIsTheNodes(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStand(t)
		s.nodes.start = func(*connectorpb.StartCallRequest) error {
			return psrpc.NewErrorf(psrpc.FailedPrecondition, "meta refused %s", metaToken)
		}
		s.post(envelope(numberID, calls(offer(callID))))
		synctest.Wait()
		require.Empty(t, s.graph.calls())
		require.Equal(t, 1, s.count("webhook_events_total", "connect_inbound", "failed"))
	})
}

// Both side by side: the application's own handler was faster, which is no error.
func TestApplicationWasFaster(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStand(t)
		s.nodes.start = func(*connectorpb.StartCallRequest) error { return psrpc.NewErrorf(psrpc.AlreadyExists, "taken") }
		s.nodes.connect = func(*connectorpb.ConnectCallRequest) error { return psrpc.NewErrorf(psrpc.AlreadyExists, "connected") }
		s.post(envelope(numberID, calls(offer(callID), answer("wacid.B"))))
		synctest.Wait()
		require.Empty(t, s.graph.calls())
		require.Equal(t, 1, s.count("webhook_events_total", "connect_inbound", "taken"))
		require.Equal(t, 1, s.count("webhook_events_total", "connect_outbound", "taken"))
		require.NotContains(t, s.log.String(), "level=ERROR")
		require.NotContains(t, s.log.String(), "level=INFO")
	})
}

// The application's Accept took the last place: the call that it is being accepted for is not to be rejected.
func TestApplicationTookTheLastPlace(t *testing.T) {
	for name, err := range map[string]error{
		"full": route.ErrBusy, "draining": route.ErrDraining, "full since": psrpc.NewErrorf(psrpc.ResourceExhausted, "busy"),
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				s := newStand(t)
				s.nodes.start = func(*connectorpb.StartCallRequest) error {
					s.nodes.hold(callID)
					return err
				}
				s.post(envelope(numberID, calls(offer(callID))))
				synctest.Wait()
				require.Empty(t, s.graph.calls())
				require.Equal(t, 1, s.count("webhook_events_total", "connect_inbound", "taken"))
			})
		})
	}
}

func TestCallThatNobodyIsKnownToHoldIsRejected(t *testing.T) {
	for name, owner := range map[string]func(context.Context) (bool, error){
		"no registry":   func(context.Context) (bool, error) { return false, route.ErrRegistry },
		"slow registry": func(ctx context.Context) (bool, error) { <-ctx.Done(); return false, ctx.Err() },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				s := newStand(t, func(o *webhook.Options) { o.Decide = func(rules.Call) rules.Outcome { return rules.Outcome{} } })
				s.nodes.owner = owner
				s.post(envelope(numberID, calls(offer(callID))))
				require.NoError(t, s.Close(t.Context()))
				require.Equal(t, []string{callID}, s.graph.calls())
			})
		})
	}
}

// No SDK waits behind a rule: the operator's own limit counts.
func TestSetupTimeoutIsTheOperators(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStand(t, func(o *webhook.Options) { o.SetupTimeout = 55 * time.Second })
		began := time.Now()
		s.post(envelope(numberID, calls(offer(callID))))
		synctest.Wait()
		require.Equal(t, []time.Time{began.Add(55 * time.Second)}, s.nodes.by)
	})
}

// What no node heard of is worth another try when Meta repeats it; the call is over all the same.
func TestTerminateThatFailedIsDoneWhenRepeated(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStand(t)
		s.nodes.report = func(*connectorpb.ReportCallRequest) error { return psrpc.NewErrorf(psrpc.Internal, "broken") }
		s.post(envelope(numberID, calls(terminate(callID))))
		synctest.Wait()
		s.nodes.report = nil
		s.post(envelope(numberID, calls(terminate(callID))))
		s.post(envelope(numberID, calls(offer(callID))))
		synctest.Wait()
		require.Equal(t, 1, s.count("webhook_events_total", "terminate", "failed"))
		require.Equal(t, 1, s.count("webhook_events_total", "terminate", "done"))
		starts, _, _ := s.nodes.counts()
		require.Zero(t, starts)
	})
}
