package call_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/internal/call"
)

// answered is a call with a company and a grace of ten seconds.
func answered(t *testing.T, s *script, company call.Company) *call.Call {
	t.Helper()
	close(s.connected)
	s.company = company
	c := begin(t, s, func(o *call.Options) { o.Timeouts.Alone = 10 * time.Second })
	<-c.Active()
	return c
}

func TestCallerWhoWasLeftAloneIsHungUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript()
		c := answered(t, s, call.CompanyPresent)
		time.Sleep(time.Hour) // fake time
		start := time.Now()
		s.becomes(call.CompanyLeft)
		require.Equal(t, call.ReasonLeftAlone, ended(t, c))
		require.Equal(t, 10*time.Second, time.Since(start))
		require.Equal(t, 1, s.count("terminate"))
		require.Equal(t, "left_alone", s.attribute(call.AttributeEndReason))
		require.Empty(t, s.attribute(call.AttributeEndCode))
	})
}

func TestSomebodyWhoComesInTimeKeepsTheCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript()
		c := answered(t, s, call.CompanyPresent)
		for range 3 { // an agent that restarts again and again
			s.becomes(call.CompanyLeft)
			time.Sleep(9 * time.Second) // fake time
			s.becomes(call.CompanyPresent)
			time.Sleep(9 * time.Second) // fake time
		}
		require.NoError(t, c.Err())
	})
}

// An agent who comes back while we are without LiveKit is seen only after it.
func TestNobodyIsMissedWhileTheRoomCannotBeSeen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript()
		c := answered(t, s, call.CompanyPresent)
		s.becomes(call.CompanyLeft)
		time.Sleep(5 * time.Second) // fake time
		s.becomes(call.CompanyUnknown)
		time.Sleep(20 * time.Second) // fake time
		require.NoError(t, c.Err())
		s.becomes(call.CompanyLeft) // the room fills again
		time.Sleep(9 * time.Second) // fake time
		require.NoError(t, c.Err(), "the grace starts afresh")
		s.becomes(call.CompanyPresent)
		time.Sleep(time.Minute) // fake time
		require.NoError(t, c.Err())
	})
}

func TestCallerWhoIsAloneFromTheStartMayWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := answered(t, newScript(), call.CompanyNone)
		time.Sleep(time.Hour) // fake time
		require.NoError(t, c.Err())
	})
}

func TestWhoLeftWhileThePhoneRangCountsFromTheAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript()
		c := answered(t, s, call.CompanyLeft)
		start := time.Now()
		require.Equal(t, call.ReasonLeftAlone, ended(t, c))
		require.Equal(t, 10*time.Second, time.Since(start))
	})
}

func TestCallerMayBeAloneForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript()
		close(s.connected)
		c := begin(t, s, func(o *call.Options) { o.Timeouts.Alone = 0 })
		<-c.Active()
		s.becomes(call.CompanyPresent)
		s.becomes(call.CompanyLeft)
		time.Sleep(time.Hour) // fake time
		require.NoError(t, c.Err())
	})
}

func TestCallIsAnsweredAloneIfAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript()
		close(s.connected)
		start := time.Now()
		c := begin(t, s, func(o *call.Options) {
			o.WaitForRoom, o.AnswerAlone, o.RoomDeadline = true, true, start.Add(10*time.Second)
		})
		<-c.Active()
		require.Equal(t, 10*time.Second, time.Since(start))
		require.Equal(t, 1, s.count("accept"))
	})
}

func TestCallThatEndsWhileItWaitsForTheRoomIsNotAnsweredAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript()
		close(s.connected)
		c := begin(t, s, func(o *call.Options) { o.WaitForRoom, o.AnswerAlone = true, true })
		time.Sleep(time.Second) // fake time
		c.Report(call.Report{Word: call.WordTerminated})
		require.Equal(t, call.ReasonUserHangup, ended(t, c))
		require.Zero(t, s.count("accept"))
	})
}
