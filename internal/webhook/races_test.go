package webhook_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/livekit/protocol/connector"
	"github.com/livekit/psrpc"
	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/internal/route"
	"github.com/livekit-connector/livekit-connector/internal/rules"
	"github.com/livekit-connector/livekit-connector/internal/webhook"
	"github.com/livekit-connector/livekit-connector/proto/connectorpb"
)

const (
	terminated = connectorpb.ReportCallRequest_TERMINATED
	ringing    = connectorpb.ReportCallRequest_RINGING
	accepted   = connectorpb.ReportCallRequest_ACCEPTED
	rejected   = connectorpb.ReportCallRequest_REJECTED
)

func TestInboundCallIsAcceptedAsTheRuleSays(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var asked rules.Call
		s := newStand(t, func(o *webhook.Options) {
			decide := o.Decide
			o.Decide = func(c rules.Call) rules.Outcome { asked = c; return decide(c) }
		})
		value := calls(offer(callID, object{"cta_payload": "c", "deeplink_payload": "d", "from_user_id": "US.1"}))
		value["contacts"] = []object{{"wa_id": "15550009999", "profile": object{"name": "other"}}, {"wa_id": user, "profile": object{"name": "José"}}}
		require.Equal(t, http.StatusOK, s.post(envelope(numberID, value)))
		synctest.Wait()
		require.Equal(t, rules.Call{
			CallID: callID, PhoneNumberID: numberID, From: user, FromUserID: "US.1", Name: "José",
			CTAPayload: "c", DeeplinkPayload: "d", At: time.Unix(time.Now().Unix(), 0).UTC(),
		}, asked)
		require.Len(t, s.nodes.starts, 1)
		req := s.nodes.starts[0]
		require.Equal(t, apiKey, req.GetApiKey())
		require.Equal(t, "c", req.GetPlan().GetCtaPayload())
		require.Equal(t, user, req.GetPlan().GetUserNumber())
		require.Equal(t, "US.1", req.GetPlan().GetUserId())
		a := req.GetAccept()
		require.Equal(t, []any{"r", callID, numberID, metaToken, "24.0", "offer", "v=0\r\n", "José"}, []any{
			a.GetRoomName(), a.GetWhatsappCallId(), a.GetWhatsappPhoneNumberId(), a.GetWhatsappApiKey(), a.GetWhatsappCloudApiVersion(),
			a.GetSdp().GetType(), a.GetSdp().GetSdp(), a.GetParticipantName(),
		})
		require.Equal(t, 1, s.count("webhook_events_total", "connect_inbound", "done"))
		require.Zero(t, s.count("webhook_queue_length"))
	})
}

// Race 1: the user hung up at once, or connect timed out and was repeated.
func TestTerminateBeforeConnect(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStand(t)
		s.nodes.report = func(*connectorpb.ReportCallRequest) error { return route.ErrNotFound }
		s.post(envelope(numberID, calls(terminate(callID))))
		synctest.Wait()
		s.post(envelope(numberID, calls(offer(callID))))
		synctest.Wait()
		starts, _, _ := s.nodes.counts()
		require.Zero(t, starts)
		require.Equal(t, 1, s.count("webhook_events_total", "connect_inbound", "ended"))
		require.Empty(t, s.graph.calls(), "a call that is over need not be rejected")
	})
}

func TestTerminateAndConnectInOneWebhook(t *testing.T) {
	for name, values := range map[string][]object{
		"one change":   {calls(offer(callID), terminate(callID))},
		"two changes":  {calls(offer(callID)), calls(terminate(callID))},
		"other order":  {calls(terminate(callID), offer(callID))},
		"the callee's": {calls(answer(callID), terminate(callID))},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				s := newStand(t)
				s.post(envelope(numberID, values...))
				synctest.Wait()
				starts, connects, _ := s.nodes.counts()
				require.Zero(t, starts+connects)
				require.Equal(t, []connectorpb.ReportCallRequest_Event{terminated}, s.nodes.said(callID))
			})
		})
	}
}

// Race 3; race 2 is TestReplayedWebhookIsDoneOnce.
func TestDuplicateTerminateIsReportedOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStand(t)
		s.post(envelope(numberID, calls(terminate(callID, object{"start_time": "1760681513", "end_time": "1760681533", "duration": 20}))))
		s.post(envelope(numberID, calls(terminate(callID))))
		s.post(envelope(numberID, calls(terminate(callID, object{"status": "FAILED"}))))
		synctest.Wait()
		require.Equal(t, []connectorpb.ReportCallRequest_Event{terminated}, s.nodes.said(callID))
		require.Equal(t, 20*time.Second, s.nodes.reports[0].GetDuration().AsDuration(), "the first one counts")
	})
}

// Race 4: nobody waits in a room for a caller who is gone.
func TestTerminateWhileAcceptIsInFlight(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStand(t)
		over := make(chan struct{})
		s.nodes.start = func(*connectorpb.StartCallRequest) error {
			s.nodes.hold(callID) // the node has it, its agent is awaited
			<-over
			return psrpc.NewErrorf(psrpc.FailedPrecondition, "the call has ended")
		}
		s.nodes.report = func(*connectorpb.ReportCallRequest) error {
			if !s.nodes.holds(callID) {
				return route.ErrNotFound
			}
			close(over)
			return nil
		}
		began := time.Now()
		s.post(envelope(numberID, calls(offer(callID))))
		synctest.Wait()
		s.post(envelope(numberID, calls(terminate(callID))))
		synctest.Wait()
		require.Zero(t, time.Since(began))
		require.Equal(t, []connectorpb.ReportCallRequest_Event{terminated}, s.nodes.said(callID))
		require.Equal(t, 1, s.count("webhook_events_total", "connect_inbound", "ended"))
		require.Equal(t, 1, s.count("webhook_events_total", "terminate", "done"))
	})
}

func TestTerminateWhileNoNodeIsChosenYet(t *testing.T) {
	for name, result := range map[string]error{"taken": nil, "refused": route.ErrBusy} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				s := newStand(t)
				s.nodes.start = func(*connectorpb.StartCallRequest) error {
					time.Sleep(time.Second) // fake time
					return result
				}
				s.nodes.report = func(*connectorpb.ReportCallRequest) error {
					if !s.nodes.holds(callID) {
						return route.ErrNotFound
					}
					return nil
				}
				s.post(envelope(numberID, calls(offer(callID))))
				synctest.Wait()
				s.post(envelope(numberID, calls(terminate(callID))))
				require.NoError(t, s.Close(t.Context()))
				require.Equal(t, 1, s.count("webhook_events_total", "connect_inbound", "ended"))
				require.Equal(t, result == nil, s.nodes.holds(callID))
				if result == nil {
					require.Equal(t, 1, s.count("webhook_events_total", "terminate", "done"))
				}
				require.Empty(t, s.graph.calls())
			})
		})
	}
}

// Race 6, the webhook that beats the response, is the registry's, which waits; race 5, accept whose response is lost, is
// the node's.
func TestAnswerForACallThatIsDialled(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStand(t)
		s.post(envelope(otherNumber, calls(answer(callID, object{"connection": object{"webrtc": object{"sdp": "{}"}}}))))
		synctest.Wait()
		require.Len(t, s.nodes.connects, 1, "numbers need no credentials here: the dial had some")
		req := s.nodes.connects[0]
		require.True(t, req.GetFromMeta())
		require.Equal(t, "answer", req.GetRequest().GetSdp().GetType())
		require.Equal(t, "v=0\r\n", req.GetRequest().GetSdp().GetSdp())
		require.False(t, req.GetRequest().GetWaitUntilAnswered())
		require.Equal(t, 1, s.count("webhook_events_total", "connect_outbound", "done"))
	})
}

func TestAnswerThatCameTooEarlyIsTakenWhenRepeated(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStand(t)
		s.nodes.connect = func(*connectorpb.ConnectCallRequest) error { return route.ErrNotFound }
		s.post(envelope(numberID, calls(answer(callID))))
		synctest.Wait()
		require.Equal(t, 1, s.count("webhook_events_total", "connect_outbound", "unknown_call"))
		s.nodes.connect = nil
		s.post(envelope(numberID, calls(answer(callID))))
		synctest.Wait()
		require.Equal(t, 1, s.count("webhook_events_total", "connect_outbound", "done"))
	})
}

// Race 7: the pick-up counts, and then the end.
func TestAcceptedAndTerminateInOneWebhook(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStand(t)
		s.post(envelope(numberID, calls(terminate(callID, object{"start_time": "1760681513", "duration": "7"})),
			statuses(status(callID, "RINGING"), status(callID, "ACCEPTED"))))
		synctest.Wait()
		require.Equal(t, []connectorpb.ReportCallRequest_Event{ringing, accepted, terminated}, s.nodes.said(callID))
		last := s.nodes.reports[2]
		require.Equal(t, int64(1760681513), last.GetAnsweredAt().GetSeconds())
		require.Equal(t, 7*time.Second, last.GetDuration().AsDuration())
	})
}

func TestStatusesComeInAnyOrder(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStand(t)
		for _, value := range []object{
			statuses(status(callID, "ACCEPTED")), calls(answer(callID)), statuses(status(callID, "RINGING")),
			statuses(status(callID, "ACCEPTED")), statuses(status("wacid.B", "REJECTED")),
		} {
			s.post(envelope(numberID, value))
			synctest.Wait()
		}
		require.Equal(t, []connectorpb.ReportCallRequest_Event{accepted, ringing}, s.nodes.said(callID))
		require.Equal(t, []connectorpb.ReportCallRequest_Event{rejected}, s.nodes.said("wacid.B"))
		require.Len(t, s.nodes.connects, 1)
		require.Equal(t, time.Now().Unix(), s.nodes.reports[0].GetAt().GetSeconds())
	})
}

// Race 8 and 11: other apps' calls and other numbers.
func TestWhatIsNotOursIsPassedOverQuietly(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStand(t, func(o *webhook.Options) { o.PhoneNumberIDs = []string{numberID} })
		s.nodes.report = func(*connectorpb.ReportCallRequest) error { return route.ErrNotFound }
		s.nodes.connect = func(*connectorpb.ConnectCallRequest) error { return connector.ErrWhatsAppCallNotFound }
		s.post(envelope(numberID, statuses(status("wacid.X", "ACCEPTED")), calls(answer("wacid.X"), terminate("wacid.Y"))))
		s.post(envelope(otherNumber, calls(offer("wacid.Z"), terminate("wacid.V")), statuses(status("wacid.W", "RINGING"))))
		synctest.Wait()
		starts, connects, reports := s.nodes.counts()
		require.Equal(t, []int{0, 1, 2}, []int{starts, connects, reports})
		require.Equal(t, 1, s.count("webhook_events_total", "accepted", "unknown_call"))
		require.Equal(t, 1, s.count("webhook_events_total", "connect_outbound", "unknown_call"))
		require.Equal(t, 1, s.count("webhook_events_total", "terminate", "unknown_call"))
		require.Equal(t, 1, s.count("webhook_events_total", "connect_inbound", "foreign_number"))
		require.Equal(t, 1, s.count("webhook_events_total", "ringing", "foreign_number"))
		require.NotContains(t, s.log.String(), "level=INFO")
		require.NotContains(t, s.log.String(), "level=WARN")
	})
}

func TestInboundCallOfANumberWithoutCredentials(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStand(t)
		s.post(envelope(otherNumber, calls(offer(callID))))
		synctest.Wait()
		starts, _, _ := s.nodes.counts()
		require.Zero(t, starts)
		require.Empty(t, s.graph.calls())
		require.Equal(t, 1, s.count("webhook_events_total", "connect_inbound", "foreign_number"))
		s.post(envelope(otherNumber, calls(offer("wacid.B"))))
		s.post(envelope("100000000000003", calls(offer("wacid.C"))))
		synctest.Wait()
		require.Equal(t, 2, strings.Count(s.log.String(), "level=WARN"), "once for each number")
		require.Contains(t, s.log.String(), "without an access token")
	})
}

// Race 12: a retry hours later finds nobody at the other end.
func TestStaleConnectIsNotAnswered(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStand(t)
		old := envelope(numberID, calls(offer(callID)))
		fresh := envelope(numberID, calls(offer("wacid.B")))
		time.Sleep(59 * time.Second) // fake time
		s.post(fresh)
		time.Sleep(2 * time.Second) // fake time
		s.post(old)
		ahead := envelope(numberID, calls(offer("wacid.C", object{"timestamp": "4000000000"}), offer("wacid.D", object{"timestamp": nil})))
		s.post(ahead)
		synctest.Wait()
		starts, _, _ := s.nodes.counts()
		require.Equal(t, 3, starts, "another clock, or none, is no reason")
		require.Equal(t, 1, s.count("webhook_events_total", "connect_inbound", "stale"))
		require.Empty(t, s.graph.calls())
	})
}

func TestNodeThatDoesNotHearIsToldAgain(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStand(t)
		times := 0
		s.nodes.report = func(*connectorpb.ReportCallRequest) error {
			if times++; times < 4 {
				return errors.Join(route.ErrSilent, psrpc.ErrRequestTimedOut)
			}
			return nil
		}
		s.post(envelope(numberID, calls(terminate(callID))))
		require.NoError(t, s.Close(t.Context()))
		require.Equal(t, 4, times)
		require.Equal(t, 1, s.count("webhook_events_total", "terminate", "done"))
	})
}

func TestPanicOfARuleCostsOneCall(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStand(t, func(o *webhook.Options) {
			decide := o.Decide
			o.Decide = func(c rules.Call) rules.Outcome {
				if c.CallID == callID {
					panic("secret " + user)
				}
				return decide(c)
			}
		})
		s.post(envelope(numberID, calls(offer(callID), offer("wacid.B"))))
		synctest.Wait()
		starts, _, _ := s.nodes.counts()
		require.Equal(t, 1, starts)
		require.Equal(t, 1, s.count("webhook_events_total", "connect_inbound", "failed"))
		require.Equal(t, []string{callID}, s.graph.calls(), "and that one does not ring on")
	})
}
