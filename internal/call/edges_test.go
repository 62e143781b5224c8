package call_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/internal/call"
)

// Between the pick-up and the track in the room lies a round trip to LiveKit, or several.
func TestCallThatEndsWhileItsTrackIsPublishedWasAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript()
		s.block["publish"] = make(chan struct{})
		close(s.connected)
		close(s.firstAudio)
		c := begin(t, s, outbound)
		require.NoError(t, c.SetAnswer(t.Context(), "answer"))
		synctest.Wait()
		require.Equal(t, 1, s.count("publish"))
		require.True(t, c.Answered())
		s.closedByMeta = true
		close(s.metaDone)
		require.Equal(t, call.ReasonMetaClosed, ended(t, c))
		require.Equal(t, 1, s.count("leave normal"))
	})
}

// Publishing fails for the same reason for which the participant is gone, and may be heard of first.
func TestParticipantRemovedWhileItsTrackIsPublished(t *testing.T) {
	for range 20 {
		synctest.Test(t, func(t *testing.T) {
			s := newScript()
			s.block["publish"], s.fail["publish"] = make(chan struct{}), errScripted
			s.roomReason = call.ReasonParticipantRemoved
			close(s.connected)
			c := begin(t, s, nil)
			synctest.Wait()
			require.Equal(t, 1, s.count("publish"))
			close(s.roomDone)
			close(s.block["publish"])
			require.Equal(t, call.ReasonParticipantRemoved, ended(t, c))
		})
	}
}

func TestPickedUpCallWhoseTrackIsNeverPublishedEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript()
		s.block["publish"] = make(chan struct{})
		close(s.connected)
		close(s.firstAudio)
		c := begin(t, s, outbound)
		require.NoError(t, c.SetAnswer(t.Context(), "answer"))
		start := time.Now()
		require.Equal(t, call.ReasonRoomJoinFailed, ended(t, c))
		require.Equal(t, call.DefaultTimeouts().Publish, time.Since(start))
		require.Equal(t, 1, s.count("terminate"))
	})
}

// A request may have waited long for Meta before the phone could ring at all.
func TestRingingIsCountedFromWhenMetaTookTheCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript()
		start := time.Now()
		c := begin(t, s, func(o *call.Options) {
			o.Direction, o.Timeouts.Ringing, o.Started = call.Outbound, 5*time.Second, start.Add(-7*time.Second)
		})
		require.NoError(t, c.SetAnswer(t.Context(), "answer"))
		close(s.connected)
		time.Sleep(5*time.Second - time.Millisecond) // fake time
		_, stuck := c.Check(time.Now())
		require.False(t, stuck)
		require.Equal(t, call.ReasonNoAnswer, ended(t, c))
		require.Equal(t, 5*time.Second, time.Since(start))
	})
}

// The requester's patience may be less than what is kept for accept.
func TestRoomThatIsReadyIsNotMissedByAnImpatientRequester(t *testing.T) {
	for range 20 { // a select between two ready channels takes either
		synctest.Test(t, func(t *testing.T) {
			s := newScript()
			close(s.connected)
			close(s.ready)
			c := begin(t, s, func(o *call.Options) { o.WaitForRoom, o.SetupDeadline = true, time.Now().Add(time.Second) })
			select {
			case <-c.Active():
			case <-c.Ending():
				require.NoError(t, c.Err())
			}
		})
	}
}

func TestRefusedTerminateDoesNotKeepTheCallFromBeingRejected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript()
		s.fail["pre_accept"], s.fail["terminate"] = errScripted, errScripted
		c := begin(t, s, nil)
		require.Equal(t, call.ReasonMetaRefused, ended(t, c))
		require.Equal(t, 1, s.count("terminate"))
		require.Equal(t, 1, s.count("reject"))
		require.NoError(t, c.TerminateErr())
	})
}

func TestCallThatIsOverBeforeItBeginsIsOnlyRejected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript()
		c := call.New(t.Context(), call.Options{
			ID: "wacid.test", Direction: call.Inbound, Meta: metaLeg{s}, Graph: graph{script: s}, Pacer: pacer(t),
			Timeouts: call.DefaultTimeouts(), Join: joinScript(s),
		})
		c.End(call.ReasonBusinessHangup, nil)
		require.Error(t, c.Run())
		require.Zero(t, s.count("pre_accept"))
		require.Zero(t, s.count("terminate"))
		require.Equal(t, 1, s.count("reject"))
		require.Equal(t, 1, s.count("close meta leg"))
	})
}

// ends hears how long a call was answered.
type ends struct{ talked chan time.Duration }

func (ends) Stage(call.Direction, call.Stage, time.Duration) {}

func (e ends) Ended(_ call.Direction, _ call.Reason, talked time.Duration) { e.talked <- talked }

func TestTimeThatMetaNeedsToHearOfTheEndIsNotTalked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, heard := newScript(), ends{make(chan time.Duration, 1)}
		s.block["terminate"] = make(chan struct{})
		close(s.connected)
		c := begin(t, s, func(o *call.Options) { o.Observer = heard })
		<-c.Active()
		time.Sleep(7 * time.Second) // fake time
		c.End(call.ReasonRoomDeleted, nil)
		require.Equal(t, 7*time.Second, <-heard.talked)
	})
}

// Whenever the end comes, the call takes only moves that its states know, and closes what it opened.
func TestEndAtAnyMoment(t *testing.T) {
	for _, d := range call.Directions {
		for _, step := range []string{"join", "pre_accept", "accept", "apply answer", "status ringing", "status active", "publish"} {
			for _, r := range []call.Reason{call.ReasonUserHangup, call.ReasonBusinessHangup, call.ReasonShutdown} {
				t.Run(d.String()+" "+step+" "+r.String(), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) { endAt(t, d, step, r) })
				})
			}
		}
	}
}

func endAt(t *testing.T, d call.Direction, step string, r call.Reason) {
	s, blocked := newScript(), make(chan struct{})
	s.block[step] = blocked
	close(s.connected)
	close(s.firstAudio)
	c := begin(t, s, func(o *call.Options) { o.Direction = d })
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		if d == call.Outbound {
			_ = c.SetAnswer(context.Background(), "answer")
		}
	}()
	synctest.Wait()
	c.End(r, nil)
	synctest.Wait()
	close(blocked)
	require.Equal(t, r, ended(t, c))
	<-answered
	require.Equal(t, 1, s.count("close meta leg"))
	state, _ := c.State()
	require.Equal(t, call.StateEnded, state)
	told := s.count("terminate") + s.count("reject")
	require.Equal(t, r == call.ReasonUserHangup, told == 0)
}

// Otherwise an outbound call would be picked up, and be silent until nobody rings any more.
func TestRoomThatIsNeverJoinedEndsARingingCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript()
		s.block["join"] = make(chan struct{})
		close(s.connected)
		close(s.firstAudio)
		start := time.Now()
		c := begin(t, s, outbound)
		require.NoError(t, c.SetAnswer(t.Context(), "answer"))
		require.Equal(t, call.ReasonRoomJoinFailed, ended(t, c))
		require.Equal(t, call.DefaultTimeouts().Join, time.Since(start))
		require.Equal(t, 1, s.count("terminate"))
	})
}

func TestConnectionThatIsLostAtOnceWasUp(t *testing.T) {
	for range 20 { // a select between two ready channels takes either
		synctest.Test(t, func(t *testing.T) {
			s := newScript()
			close(s.connected)
			close(s.metaDone)
			require.Equal(t, call.ReasonMediaLost, ended(t, begin(t, s, outbound)))
		})
	}
}

// A process that goes down does not wait for a Meta that does not answer.
func TestCallGivesUpTellingMeta(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript()
		s.block["terminate"] = make(chan struct{})
		close(s.connected)
		c := begin(t, s, nil)
		synctest.Wait()
		c.End(call.ReasonShutdown, nil)
		synctest.Wait()
		select {
		case <-c.Done():
			t.Fatal("it did not try")
		default:
		}
		start := time.Now()
		c.GiveUp()
		require.Equal(t, call.ReasonShutdown, ended(t, c))
		require.Zero(t, time.Since(start))
		require.ErrorIs(t, c.TerminateErr(), context.Canceled)
	})
}
