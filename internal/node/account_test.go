package node

import (
	"context"
	"testing"
	"time"

	"github.com/livekit/protocol/livekit"
	"github.com/livekit/psrpc"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/livekit-connector/livekit-connector/internal/call"
	"github.com/livekit-connector/livekit-connector/proto/connectorpb"
	"github.com/livekit-connector/livekit-connector/testdata"
)

// remembering is a stand that keeps what it held, with somebody who hears of it.
func remembering(t *testing.T) (*stand, *audience) {
	t.Helper()
	watcher := newAudience()
	return newStandWith(t, func(o *Options) { o.Watcher, o.History = watcher, History{Keep: time.Hour, Max: 10} }), watcher
}

// dialling places a call and waits until Meta has it.
func (s *stand) dialling(t *testing.T) (failed <-chan error) {
	t.Helper()
	failed = s.begin(wait(t))
	require.Equal(t, "connect", s.next(t))
	s.made(t)
	return failed
}

func (s *stand) hears(t *testing.T, req *connectorpb.ReportCallRequest) {
	t.Helper()
	_, err := s.ReportCall(wait(t), req)
	require.NoError(t, err)
}

// The pick-up and the end come in one webhook. Nobody has heard anything, and yet the user picked up.
func TestPickUpThatMetaTellsWithTheEndReachesTheRecord(t *testing.T) {
	s, watcher := remembering(t)
	failed := s.dialling(t)
	pickedUp := time.Now().Truncate(time.Second).UTC()
	status, end := pickedUp.Add(-time.Second), pickedUp.Add(7*time.Second)
	s.hears(t, &connectorpb.ReportCallRequest{CallId: dialledID, Event: ringing, At: timestamppb.New(status)})
	s.hears(t, &connectorpb.ReportCallRequest{CallId: dialledID, Event: accepted, At: timestamppb.New(pickedUp)})
	s.hears(t, &connectorpb.ReportCallRequest{
		CallId: dialledID, Event: terminated, At: timestamppb.New(end), AnsweredAt: timestamppb.New(pickedUp), Duration: durationpb.New(7 * time.Second),
	})
	require.Error(t, <-failed)
	watcher.next(t, EventCreated)
	event := watcher.hear(t)
	if event.name == EventRinging { // unless the end was faster
		event = watcher.hear(t)
	}
	require.Equal(t, EventAnswered, event.name)
	record := watcher.next(t, EventEnded)
	require.Equal(t, call.ReasonUserHangup.String(), record.GetEndReason())
	require.NotNil(t, record.GetAnsweredAt())
	require.False(t, record.GetAnsweredAt().AsTime().Before(record.GetCreatedAt().AsTime()))
	require.False(t, record.GetAnsweredAt().AsTime().After(record.GetEndedAt().AsTime()))
	require.Equal(t, "hangup", record.GetAttributes()[call.AttributeStatus])
	require.Equal(t, "user_hangup", record.GetAttributes()[call.AttributeEndReason])
	require.Empty(t, record.GetDiagnosis(), "who hangs up at once misses nothing")

	account := record.GetMeta()
	require.Equal(t, status, account.GetRingingAt().AsTime())
	require.Equal(t, pickedUp, account.GetAcceptedAt().AsTime())
	require.Equal(t, pickedUp, account.GetAnsweredAt().AsTime())
	require.Equal(t, end, account.GetTerminatedAt().AsTime())
	require.Nil(t, account.GetRejectedAt())
	require.Equal(t, 7*time.Second, account.GetDuration().AsDuration())
	require.False(t, account.GetFailed())
}

func TestRingingIsInTheEventThatTellsOfIt(t *testing.T) {
	s, watcher := remembering(t)
	failed := s.dialling(t)
	require.Equal(t, call.StatusDialing, watcher.next(t, EventCreated).GetAttributes()[call.AttributeStatus])
	s.hears(t, &connectorpb.ReportCallRequest{CallId: dialledID, Event: ringing})
	require.Equal(t, call.StatusRinging, watcher.next(t, EventRinging).GetAttributes()[call.AttributeStatus], "there is no participant yet")
	s.hears(t, &connectorpb.ReportCallRequest{CallId: dialledID, Event: rejected})
	require.Error(t, <-failed)
}

func TestRecordOfACallOfWhichMetaToldNothing(t *testing.T) {
	s, _ := remembering(t)
	failed := s.dialling(t)
	r, err := s.get(t, dialledID, "key")
	require.NoError(t, err)
	require.Nil(t, r.GetMeta())
	require.NoError(t, s.disconnect(wait(t), livekit.DisconnectWhatsAppCallRequest_BUSINESS_INITIATED, ""))
	require.Error(t, <-failed)
}

// The application ends the call, and Meta's account of it comes a moment later.
func TestWhatMetaSaysAfterADisconnectReachesTheRecord(t *testing.T) {
	s, _ := remembering(t)
	failed := s.dialling(t)
	require.NoError(t, s.disconnect(wait(t), livekit.DisconnectWhatsAppCallRequest_BUSINESS_INITIATED, ""))
	require.Error(t, <-failed)
	require.NoError(t, s.WaitEmpty(wait(t)))
	owner, err := s.Owner(wait(t), dialledID)
	require.NoError(t, err)
	require.Equal(t, "test", owner, "a gateway has to find it")
	s.hears(t, &connectorpb.ReportCallRequest{
		CallId: dialledID, Event: terminated, ErrorCode: 138021, ErrorTitle: "no media", Duration: durationpb.New(20 * time.Second), Failed: true,
	})
	r, err := s.get(t, dialledID, "key")
	require.NoError(t, err)
	require.Equal(t, "business_hangup", r.GetEndReason())
	require.Equal(t, int32(138021), r.GetMetaErrorCode())
	require.Equal(t, 20*time.Second, r.GetMeta().GetDuration().AsDuration())
	require.True(t, r.GetMeta().GetFailed())
	requireCode(t, psrpc.NotFound, s.disconnect(wait(t), byUser, ""))
}

// A front looked for the call before it was there, and tells of its end when it is.
func TestEndOfACallThatBeganMeanwhileKeepsItsExplanation(t *testing.T) {
	s, _ := remembering(t)
	failed := s.dialling(t)
	e := s.made(t)
	require.NoError(t, s.Ended(wait(t), &connectorpb.ReportCallRequest{CallId: dialledID, Event: terminated, ErrorCode: 138020}))
	require.Error(t, <-failed)
	require.Equal(t, call.ReasonClientFailed, endOf(t, e))
}

func TestFailureWithoutAnErrorIsNoSuccess(t *testing.T) {
	s, _ := remembering(t)
	failed := s.dialling(t)
	e := s.made(t)
	s.hears(t, &connectorpb.ReportCallRequest{CallId: dialledID, Event: terminated, Failed: true})
	require.Error(t, <-failed)
	require.Equal(t, call.ReasonMetaFailed, endOf(t, e))
}

// An application connects the call that the gateway, which got the same webhook, has connected before.
func TestApplicationThatConnectsAfterTheGateway(t *testing.T) {
	s := newStandWith(t, func(o *Options) { o.StatusesSeen = func(string) bool { return true } })
	failed := s.dialling(t)
	connect := func(ctx context.Context, fromMeta, wait bool) error {
		_, err := s.ConnectCall(ctx, &connectorpb.ConnectCallRequest{
			FromMeta: fromMeta, ApiKey: "key", Request: &livekit.ConnectWhatsAppCallRequest{
				WhatsappCallId: dialledID, WaitUntilAnswered: wait, Sdp: &livekit.SessionDescription{Type: "answer", Sdp: answerTo(t)},
			},
		})
		return err
	}
	require.NoError(t, connect(wait(t), true, false))
	require.NoError(t, connect(wait(t), false, false))
	requireCode(t, psrpc.AlreadyExists, connect(wait(t), true, false))
	waiting := make(chan error, 1)
	go func() { waiting <- connect(wait(t), false, true) }()
	s.hears(t, &connectorpb.ReportCallRequest{CallId: dialledID, Event: rejected})
	requireCode(t, psrpc.FailedPrecondition, <-waiting)
	require.Error(t, <-failed)
}

// answerTo is one of Meta's answers, with nobody behind its candidates.
func answerTo(t *testing.T) string {
	t.Helper()
	text, err := testdata.SDP.ReadFile("sdp/08-bic-answer-meta-metadocs-reference.sdp")
	require.NoError(t, err)
	return candidates.ReplaceAllString(string(text), "$1 127.0.0.1 9")
}
