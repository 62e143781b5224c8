package node

import (
	"testing"
	"time"

	"github.com/livekit/psrpc"
	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/internal/call"
	"github.com/livekit-connector/livekit-connector/proto/connectorpb"
)

// audience hears of calls.
type audience struct{ events chan event }

// event is one of a call's, with the record that came with it.
type event struct {
	name   string
	record *connectorpb.CallRecord
}

func newAudience() *audience { return &audience{events: make(chan event, 100)} }

func (a *audience) CallChanged(name string, r *connectorpb.CallRecord) { a.events <- event{name, r} }

// hear waits for an event.
func (a *audience) hear(t *testing.T) event {
	t.Helper()
	select {
	case e := <-a.events:
		return e
	case <-wait(t).Done():
		t.Fatal("no event")
		return event{}
	}
}

// next waits for an event and returns what came with it.
func (a *audience) next(t *testing.T, want string) *connectorpb.CallRecord {
	t.Helper()
	e := a.hear(t)
	require.Equal(t, want, e.name)
	return e.record
}

func (s *stand) get(t *testing.T, id, apiKey string) (*connectorpb.CallRecord, error) {
	t.Helper()
	res, err := s.GetCall(wait(t), &connectorpb.GetCallRequest{CallId: id, ApiKey: apiKey})
	return res.GetCall(), err
}

func (s *stand) list(t *testing.T, apiKey string, ended bool) []string {
	t.Helper()
	res, err := s.ListCalls(wait(t), &connectorpb.ListCallsRequest{ApiKey: apiKey, Ended: ended})
	require.NoError(t, err)
	return ids(res.GetCalls())
}

func TestCallIsToldToItsKeyWhileItLivesAndAfterwards(t *testing.T) {
	watcher := newAudience()
	s := newStandWith(t, func(o *Options) {
		o.Watcher, o.History = watcher, History{Keep: time.Hour, Max: 10}
	})
	failed := s.begin(wait(t))
	created := watcher.next(t, EventCreated)
	require.Equal(t, dialledID, created.GetCallId())
	require.Equal(t, "outbound", created.GetDirection())
	require.Equal(t, "dialing", created.GetState())
	require.NotEmpty(t, created.GetRoomName())
	require.NotContains(t, created.GetAttributes(), attributePhoneNumber, "not configured")

	live, err := s.get(t, dialledID, "key")
	require.NoError(t, err)
	require.Equal(t, "test", live.GetNodeId())
	require.Nil(t, live.GetEndedAt())
	_, err = s.get(t, dialledID, "other")
	requireCode(t, psrpc.NotFound, err)
	require.Equal(t, []string{dialledID}, s.list(t, "key", false))
	require.Empty(t, s.list(t, "other", true))

	require.NoError(t, s.report(t, dialledID, connectorpb.ReportCallRequest_REJECTED))
	require.Error(t, <-failed)
	over := watcher.next(t, EventEnded)
	require.Equal(t, "ended", over.GetState())
	require.Equal(t, call.ReasonRejected.String(), over.GetEndReason())
	require.NotNil(t, over.GetEndedAt())
	require.NoError(t, s.WaitEmpty(wait(t)))
	require.Empty(t, s.list(t, "key", false))
	require.Equal(t, []string{dialledID}, s.list(t, "key", true))
	require.Empty(t, s.list(t, "other", true))
	_, err = s.get(t, dialledID, "other")
	requireCode(t, psrpc.NotFound, err)

	// Meta explains itself only now.
	_, err = s.ReportCall(wait(t), &connectorpb.ReportCallRequest{
		CallId: dialledID, Event: connectorpb.ReportCallRequest_TERMINATED, ErrorCode: 138020, ErrorTitle: "Client could not connect",
	})
	require.NoError(t, err)
	explained, err := s.get(t, dialledID, "key")
	require.NoError(t, err)
	require.Equal(t, int32(138020), explained.GetMetaErrorCode())
	require.Equal(t, "Client could not connect", explained.GetMetaError())
	require.Equal(t, over.GetEndReason(), explained.GetEndReason())
	require.Empty(t, watcher.events, "nothing after the end")
}

func TestUnknownCallIsNotToldAtOnce(t *testing.T) {
	s := newStand(t)
	_, err := s.get(t, "wacid.nobody", "key")
	requireCode(t, psrpc.NotFound, err)
	require.Empty(t, s.list(t, "key", true))
}
