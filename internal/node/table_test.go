package node

import (
	"cmp"
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/proto/connectorpb"
)

func TestTableKnowsEachIDOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tab := newTable()
		require.NoError(t, tab.admit())
		require.NoError(t, tab.reserve("a"))
		require.ErrorIs(t, tab.reserve("a"), errExists)

		e := &entry{}
		tab.put("a", e)
		got, err := tab.find(t.Context(), "a")
		require.NoError(t, err)
		require.Same(t, e, got)

		e.said.Store(true)
		tab.end("a")
		_, err = tab.find(t.Context(), "a")
		require.ErrorIs(t, err, errEnded)
		require.ErrorIs(t, tab.reserve("a"), errEnded)

		time.Sleep(tombstoneTTL) // fake time
		require.NoError(t, tab.reserve("a"), "a tombstone does not last for ever")
	})
}

func TestEndedCallLingersForTheOneWhoSaysSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tab := newTable()
		for _, id := range []string{"said", "unsaid"} {
			require.NoError(t, tab.admit())
			require.NoError(t, tab.reserve(id))
			tab.put(id, &entry{})
			tab.end(id)
		}
		require.Zero(t, tab.size(), "a call that lingers takes no room")
		require.ErrorIs(t, tab.reserve("said"), errEnded)
		e, err := tab.find(t.Context(), "said")
		require.NoError(t, err)
		e.said.Store(true)
		spoken, err := tab.find(t.Context(), "said")
		require.ErrorIs(t, err, errEnded, "for those who steer")
		require.Same(t, e, spoken, "Meta may say more of it")
		tab.expire(time.Now())
		require.Len(t, tab.lingering, 2)
		time.Sleep(lingerTime + time.Second) // fake time
		tab.expire(time.Now())
		require.Empty(t, tab.lingering)
		_, err = tab.find(t.Context(), "unsaid")
		require.ErrorIs(t, err, errEnded)
	})
}

func TestTableForgetsWhatNeverHappened(t *testing.T) {
	tab := newTable()
	require.NoError(t, tab.admit())
	require.NoError(t, tab.reserve("a"))
	tab.drop("a")
	require.NoError(t, tab.reserve("a"))
	require.Zero(t, tab.size())
}

func TestTombstonesAreBounded(t *testing.T) {
	tab := newTable()
	var err error
	for i := range tombstoneMax + 10 {
		id := fmt.Sprint(i)
		err = cmp.Or(err, tab.admit(), tab.reserve(id))
		tab.end(id)
	}
	require.NoError(t, err)
	require.Len(t, tab.ended, tombstoneMax)
	require.Len(t, tab.order, tombstoneMax)
	require.NoError(t, tab.reserve("0"), "the oldest went first")
	require.ErrorIs(t, tab.reserve(fmt.Sprint(tombstoneMax)), errEnded)
}

func TestFindAnswersAnUnknownIDAtOnce(t *testing.T) {
	_, err := newTable().find(t.Context(), "nobody")
	require.ErrorIs(t, err, errUnknown)
}

func TestFindWaitsForRequestsThatAreStillWithMeta(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tab := newTable()
		identified := tab.dial()
		other := tab.dial()
		found := make(chan *entry, 1)
		go func() {
			if e, err := tab.find(t.Context(), "a"); err == nil {
				found <- e
			}
		}()
		synctest.Wait()
		require.Empty(t, found)
		e := &entry{}
		tab.put("a", e)
		identified()
		other()
		require.Same(t, e, <-found)
	})
}

func TestFindGivesUpWithItsRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tab := newTable()
		defer tab.dial()()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := tab.find(ctx, "a")
		require.ErrorIs(t, err, errUnknown)
	})
}

func TestWaitEmpty(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tab := newTable()
		require.NoError(t, tab.waitEmpty(t.Context()))
		require.NoError(t, tab.admit())
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.ErrorIs(t, tab.waitEmpty(ctx), context.DeadlineExceeded)
		go func() {
			time.Sleep(time.Minute) // fake time
			tab.free()
		}()
		require.NoError(t, tab.waitEmpty(t.Context()))
	})
}

func TestDialMemoryGivesARepetitionTheFirstAnswer(t *testing.T) {
	m := newDialMemory()
	now := time.Now()
	k := dialKey{apiKey: "key", requestID: "request"}
	a, first := m.claim(k, now)
	require.True(t, first)
	a.res = &connectorpb.StartCallResponse{CallId: "a"}
	close(a.done)

	again, first := m.claim(k, now.Add(dialMemoryTTL))
	require.False(t, first)
	require.Same(t, a, again)

	_, first = m.claim(dialKey{apiKey: "other", requestID: "request"}, now)
	require.True(t, first, "keys do not share request IDs")
	_, first = m.claim(k, now.Add(dialMemoryTTL+time.Second))
	require.True(t, first, "the memory ends")
}

func TestFindDoesNotWaitForRequestsThatCameLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tab := newTable()
		before := tab.dial()
		unknown := make(chan error, 1)
		go func() {
			_, err := tab.find(t.Context(), "a")
			unknown <- err
		}()
		synctest.Wait()
		later := tab.dial()
		before()
		synctest.Wait()
		require.Len(t, unknown, 1, "on a busy node there is always another request")
		require.ErrorIs(t, <-unknown, errUnknown)
		later()
	})
}

func TestFindWaitsForACallThatIsBeingMade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tab := newTable()
		require.NoError(t, tab.admit())
		require.NoError(t, tab.reserve("a"))
		found := make(chan *entry, 1)
		go func() {
			e, _ := tab.find(t.Context(), "a")
			found <- e
		}()
		synctest.Wait()
		require.Empty(t, found)
		e := &entry{}
		tab.put("a", e)
		require.Same(t, e, <-found)
	})
}

func TestFindHearsThatACallWasNotMade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tab := newTable()
		require.NoError(t, tab.admit())
		require.NoError(t, tab.reserve("a"))
		go tab.drop("a")
		_, err := tab.find(t.Context(), "a")
		require.ErrorIs(t, err, errUnknown)
		require.Empty(t, tab.making)
	})
}
