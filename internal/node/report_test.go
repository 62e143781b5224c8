package node

import (
	"testing"
	"time"

	"github.com/livekit/psrpc"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/livekit-connector/livekit-connector/internal/call"
	"github.com/livekit-connector/livekit-connector/proto/connectorpb"
)

const (
	terminated = connectorpb.ReportCallRequest_TERMINATED
	rejected   = connectorpb.ReportCallRequest_REJECTED
	ringing    = connectorpb.ReportCallRequest_RINGING
	accepted   = connectorpb.ReportCallRequest_ACCEPTED
)

func (s *stand) report(t *testing.T, id string, event connectorpb.ReportCallRequest_Event) error {
	t.Helper()
	_, err := s.ReportCall(wait(t), &connectorpb.ReportCallRequest{CallId: id, Event: event})
	return err
}

func endOf(t *testing.T, e *entry) call.Reason {
	t.Helper()
	select {
	case <-e.call.Done():
	case <-wait(t).Done():
		t.Fatal("the call does not end")
	}
	var end *call.EndError
	require.ErrorAs(t, e.call.Err(), &end)
	return end.Reason
}

// A user who hangs up at once: Meta's terminate can arrive before its connect, by hours even.
func TestCallThatWasOverBeforeWeHeardOfItIsNotAccepted(t *testing.T) {
	s := newStand(t)
	require.NoError(t, s.report(t, "wacid.offered", terminated))
	require.NoError(t, s.report(t, "wacid.offered", terminated), "said again")
	require.NoError(t, s.report(t, "wacid.offered", ringing), "late")
	_, err := s.StartCall(wait(t), acceptRequest(offer(t)))
	requireCode(t, psrpc.FailedPrecondition, err)
	require.Empty(t, s.asked)
	require.Zero(t, s.Calls())
}

func TestWordAboutAnUnknownCallIsNotFound(t *testing.T) {
	s := newStand(t)
	for _, word := range []connectorpb.ReportCallRequest_Event{ringing, accepted, rejected} {
		requireCode(t, psrpc.NotFound, s.report(t, "wacid.foreign", word))
	}
	requireCode(t, psrpc.MalformedRequest, s.report(t, "wacid.foreign", connectorpb.ReportCallRequest_UNKNOWN))
}

// Meta's webhook can beat its own answer to the dial.
func TestWordWaitsForTheDialItIsAbout(t *testing.T) {
	for word, reason := range map[connectorpb.ReportCallRequest_Event]call.Reason{
		terminated: call.ReasonUnanswered, rejected: call.ReasonRejected,
	} {
		t.Run(word.String(), func(t *testing.T) {
			s := newStand(t)
			release := s.held(t, "connect", placed)
			failed := s.begin(wait(t))
			require.Equal(t, "connect", s.next(t))
			said := make(chan error, 1)
			go func() { said <- s.report(t, dialledID, word) }()
			s.on("terminate", expired) // must not be asked for
			release()
			require.NoError(t, <-said)
			requireCode(t, psrpc.FailedPrecondition, <-failed)
			require.NoError(t, s.WaitEmpty(wait(t)))
			require.Empty(t, s.asked, "Meta knows")
			require.Equal(t, reason, endOf(t, s.made(t)))
		})
	}
}

// made returns the dialled call, which may be over.
func (s *stand) made(t *testing.T) *entry {
	t.Helper()
	e, err := s.table.find(wait(t), dialledID)
	require.NoError(t, err)
	return e
}

func TestTerminateCarriesWhatMetaKnows(t *testing.T) {
	s := newStand(t)
	failed := s.begin(wait(t))
	require.Equal(t, "connect", s.next(t))
	e := s.made(t)
	at := time.Unix(1767168000, 0).UTC()
	_, err := s.ReportCall(wait(t), &connectorpb.ReportCallRequest{
		CallId: dialledID, Event: terminated, ErrorCode: 138021, ErrorTitle: "no media",
		AnsweredAt: timestamppb.New(at), Duration: durationpb.New(20 * time.Second),
	})
	require.NoError(t, err)
	require.Error(t, <-failed)
	require.Equal(t, call.ReasonMediaNotReceived, endOf(t, e))
	said := e.call.Said()
	require.Equal(t, 138021, said.Code)
	require.Equal(t, "no media", said.Title)
	require.Equal(t, at, said.AnsweredAt)
	require.Equal(t, 20*time.Second, said.Duration)
}

// The application hears the same webhook, and says so: with it nothing is wrong.
func TestApplicationMayRepeatWhatMetaSaid(t *testing.T) {
	s := newStand(t)
	failed := s.begin(wait(t))
	require.Equal(t, "connect", s.next(t))
	require.NoError(t, s.report(t, dialledID, terminated))
	require.Error(t, <-failed)
	require.NoError(t, s.disconnect(wait(t), byUser, ""))
	requireCode(t, psrpc.NotFound, s.disconnect(wait(t), byUser, ""))
	require.NoError(t, s.report(t, dialledID, terminated))
}
