package node

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/livekit-connector/livekit-connector/proto/connectorpb"
)

var dawn = time.Unix(1_800_000_000, 0)

func record(id string, at time.Time) *connectorpb.CallRecord {
	return &connectorpb.CallRecord{CallId: id, CreatedAt: timestamppb.New(at)}
}

func told(r *connectorpb.CallRecord) func() *connectorpb.CallRecord {
	return func() *connectorpb.CallRecord { return r }
}

func ids(records []*connectorpb.CallRecord) []string {
	got := []string{}
	for _, r := range records {
		got = append(got, r.GetCallId())
	}
	return got
}

func TestHistoryForgetsTheOldestOfTooManyAndWhatIsTooOld(t *testing.T) {
	h := newHistory(History{Keep: time.Hour, Max: 3})
	for i := range 5 {
		h.add(told(record(fmt.Sprint("call-", i), dawn)), "key", dawn.Add(time.Duration(i)*time.Minute))
	}
	require.Equal(t, []string{"call-2", "call-3", "call-4"}, ids(h.all("key", dawn)))
	require.Empty(t, h.all("other", dawn), "a key sees its own calls only")
	require.Nil(t, h.get("call-3", "other", dawn))
	require.NotNil(t, h.get("call-3", "key", dawn))

	later := dawn.Add(time.Hour + 3*time.Minute)
	require.Nil(t, h.get("call-3", "key", later))
	require.Equal(t, []string{"call-4"}, ids(h.all("key", later)))
	h.expire(later.Add(time.Hour))
	require.Empty(t, h.calls)
	require.Empty(t, h.order)
}

func TestHistoryHoldsOneRecordOfAnID(t *testing.T) {
	h := newHistory(History{Keep: time.Hour, Max: 10})
	h.add(told(record("a", dawn)), "key", dawn)
	h.add(told(record("b", dawn)), "key", dawn)
	again := record("a", dawn.Add(time.Minute)) // refused by Meta at first, taken with a better token
	h.add(told(again), "key", dawn.Add(2*time.Minute))
	require.Equal(t, []string{"b", "a"}, ids(h.all("key", dawn)))
	require.Same(t, again, h.get("a", "key", dawn))

	more := record("a", dawn.Add(time.Minute))
	more.MetaErrorCode = 138021
	h.change("a", told(more))
	require.Same(t, more, h.get("a", "key", dawn))
	h.change("a", told(record("a", dawn))) // of the first one
	require.Same(t, more, h.get("a", "key", dawn))
	h.change("c", told(record("c", dawn)))
	require.Nil(t, h.get("c", "key", dawn))
}

func TestHistoryCanBeOff(t *testing.T) {
	for _, off := range []History{{}, {Keep: time.Hour}, {Max: 10}} {
		h := newHistory(off)
		h.add(told(record("a", dawn)), "key", dawn)
		require.Empty(t, h.all("key", dawn))
	}
}

// Meta's word and the end of a call come from two goroutines: whoever is second must tell of both.
func TestHistoryAsksForARecordWhenNobodyElseCan(t *testing.T) {
	h := newHistory(History{Keep: time.Hour, Max: 10})
	alone := func(r *connectorpb.CallRecord) func() *connectorpb.CallRecord {
		return func() *connectorpb.CallRecord {
			require.False(t, h.mu.TryLock(), "a newer record could come between")
			return r
		}
	}
	h.add(alone(record("a", dawn)), "key", dawn)
	h.change("a", alone(record("a", dawn)))
}
