package webhook_test

import (
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/livekit/protocol/livekit"
	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/internal/rules"
	"github.com/livekit-connector/livekit-connector/internal/webhook"
	"github.com/livekit-connector/livekit-connector/pkg/whatsapp"
	"github.com/livekit-connector/livekit-connector/proto/connectorpb"
)

// Everything but id and event may be missing or of another type.
func TestFailureOfACallIsReported(t *testing.T) {
	failure := object{"code": 138021, "title": "no media", "message": "no media", "error_data": object{"details": "words"}}
	documented := object{"code": "138021", "message": "no media", "href": "h", "error_data": object{}}
	beside := calls(terminate(callID))
	beside["errors"] = []object{documented}
	for name, value := range map[string]object{
		"in the call":                           calls(terminate(callID, object{"errors": []object{failure}, "status": "FAILED"})),
		"beside the call, as documented":        beside,
		"a status that is a list":               calls(terminate(callID, object{"errors": []object{failure}, "status": []string{"FAILED"}})),
		"an integer as timestamp, no direction": calls(terminate(callID, object{"errors": []object{failure}, "timestamp": 1760681533, "direction": nil})),
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				s := newStand(t)
				s.post(envelope(numberID, value))
				synctest.Wait()
				require.Len(t, s.nodes.reports, 1)
				r := s.nodes.reports[0]
				require.Equal(t, terminated, r.GetEvent())
				require.Equal(t, int32(138021), r.GetErrorCode())
				require.Equal(t, "no media", r.GetErrorTitle())
				require.Nil(t, r.GetAnsweredAt(), "no start_time: it was never answered, whatever status says")
			})
		})
	}
}

// Meta need not say why a call failed.
func TestTerminateSaysThatACallFailed(t *testing.T) {
	for status, failed := range map[string]bool{"FAILED": true, "COMPLETED": false, "": false} {
		t.Run(status, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				s := newStand(t)
				s.post(envelope(numberID, calls(terminate(callID, object{"status": status}))))
				synctest.Wait()
				require.Len(t, s.nodes.reports, 1)
				require.Equal(t, failed, s.nodes.reports[0].GetFailed())
				require.Zero(t, s.nodes.reports[0].GetErrorCode())
			})
		})
	}
}

func TestLeastThatMetaSays(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var mu sync.Mutex // calls are decided side by side
		var asked []rules.Call
		s := newStand(t, func(o *webhook.Options) {
			o.Decide = func(c rules.Call) rules.Outcome {
				mu.Lock()
				defer mu.Unlock()
				asked = append(asked, c)
				return rules.Outcome{Accept: &livekit.AcceptWhatsAppCallRequest{}}
			}
			o.Credentials = func(id string) (whatsapp.Credentials, bool) {
				return whatsapp.Credentials{PhoneNumberID: numberID, AccessToken: metaToken}, id == "" || id == numberID
			}
		})
		bare := object{"id": callID, "event": "connect", "session": object{"sdp": "v=0\r\n"}}
		s.post(marshal(object{"object": "whatsapp_business_account", "entry": []object{
			{"changes": []object{{"field": "calls", "value": calls(bare)}}},
		}}))
		hidden := calls(offer("wacid.B", object{"from": nil, "from_user_id": "US.1"}))
		hidden["contacts"] = []object{{"user_id": "US.1", "profile": object{"username": "jo"}}}
		s.post(envelope(numberID, hidden))
		s.post(envelope(numberID, calls(object{"id": "wacid.C", "event": "connect", "session": object{"sdp": "v=0\r\n", "sdp_type": "answer"}})))
		s.post(envelope(numberID, statuses(object{"id": "wacid.D", "status": "RINGING"}, object{"id": "wacid.D", "status": "ACCEPTED", "type": "call"})))
		s.post(envelope(numberID, calls(object{"id": "wacid.E", "event": "terminate"})))
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		require.ElementsMatch(t, []rules.Call{
			{CallID: callID, At: time.Now()},
			{CallID: "wacid.B", PhoneNumberID: numberID, FromUserID: "US.1", Name: "jo", At: time.Unix(time.Now().Unix(), 0).UTC()},
		}, asked)
		require.Len(t, s.nodes.starts, 2)
		for _, req := range s.nodes.starts {
			require.Equal(t, numberID, req.GetAccept().GetWhatsappPhoneNumberId())
		}
		require.Len(t, s.nodes.connects, 1)
		require.Equal(t, []connectorpb.ReportCallRequest_Event{ringing, accepted}, s.nodes.said("wacid.D"))
		require.Equal(t, []connectorpb.ReportCallRequest_Event{terminated}, s.nodes.said("wacid.E"))
	})
}

func TestConnectWithoutSDP(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStand(t)
		big := make([]byte, 65<<10)
		for i := range big {
			big[i] = 'x'
		}
		s.post(envelope(numberID, calls(offer(callID, object{"session": nil}), answer("wacid.B", object{"session": object{"sdp_type": "answer"}}),
			offer("wacid.C", object{"session": object{"sdp": string(big)}}), offer(string(big)))))
		synctest.Wait()
		starts, connects, _ := s.nodes.counts()
		require.Zero(t, starts+connects)
		require.Equal(t, 3, s.count("webhook_events_total", "connect_inbound", "malformed"))
		require.Equal(t, 1, s.count("webhook_events_total", "connect_outbound", "malformed"))
		require.ElementsMatch(t, []string{callID, "wacid.C"}, s.graph.calls(), "nobody lets them ring")
	})
}

func TestConnectWithoutSDPIsLeftToOthersIfSoConfigured(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStand(t, func(o *webhook.Options) { o.RejectUnmatched = false })
		s.post(envelope(numberID, calls(offer(callID, object{"session": nil}))))
		synctest.Wait()
		require.Equal(t, 1, s.count("webhook_events_total", "connect_inbound", "malformed"))
		require.Empty(t, s.graph.calls())
	})
}

func TestBatchOfEverything(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStand(t)
		var entries []object
		for _, ids := range [][]string{{"wacid.1", "wacid.2"}, {"wacid.3", "wacid.4"}} {
			entries = append(entries, object{"id": "1", "changes": []object{
				{"field": "calls", "value": merge(calls(offer(ids[0]), offer(ids[1])), []object{{"metadata": object{"phone_number_id": numberID}}})},
				{"field": "messages", "value": object{"messages": []object{{"id": "wamid.M", "type": "text"}}}},
				{"field": "calls", "value": statuses(status("wacid.9", "RINGING"), status(ids[0]+"o", "RINGING"))},
			}})
		}
		require.Equal(t, http.StatusOK, s.post(marshal(object{"object": "whatsapp_business_account", "entry": entries})))
		synctest.Wait()
		starts, _, reports := s.nodes.counts()
		require.Equal(t, 4, starts)
		require.Equal(t, 3, reports)
	})
}
