package call_test

import (
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/internal/call"
)

var allWords = []call.Word{call.WordUnknown, call.WordConnected, call.WordRinging, call.WordAccepted, call.WordRejected, call.WordTerminated}

// brought are the states that a word can meet, each with how a call gets there.
var brought = map[call.State]struct {
	direction call.Direction
	bring     func(*testing.T, *script, *call.Call)
}{
	call.StateOffered: {call.Inbound, func(*testing.T, *script, *call.Call) {}},
	call.StatePreAccepted: {call.Inbound, func(_ *testing.T, s *script, _ *call.Call) {
		close(s.block["pre_accept"])
	}},
	call.StateDialing: {call.Outbound, func(*testing.T, *script, *call.Call) {}},
	call.StateRinging: {call.Outbound, func(t *testing.T, s *script, c *call.Call) {
		require.NoError(t, c.SetAnswer(t.Context(), "answer"))
		close(s.connected)
	}},
	call.StateActive: {call.Inbound, func(_ *testing.T, s *script, c *call.Call) {
		close(s.block["pre_accept"])
		close(s.connected)
		<-c.Active()
	}},
	call.StateEnding: {call.Outbound, func(_ *testing.T, s *script, c *call.Call) {
		s.mu.Lock()
		s.block["terminate"] = make(chan struct{})
		s.mu.Unlock()
		c.End(call.ReasonBusinessHangup, nil)
	}},
	call.StateEnded: {call.Outbound, func(_ *testing.T, _ *script, c *call.Call) {
		c.End(call.ReasonBusinessHangup, nil)
		<-c.Done()
	}},
}

// Every pair of a state and a word, once and once more: the call ends by it or goes on, and is never hurt.
func TestEveryWordInEveryState(t *testing.T) {
	type pair struct {
		state call.State
		word  call.Word
	}
	over := map[pair]call.Reason{
		{call.StateOffered, call.WordTerminated}:     call.ReasonUserHangup,
		{call.StatePreAccepted, call.WordTerminated}: call.ReasonUserHangup,
		{call.StateDialing, call.WordRejected}:       call.ReasonRejected,
		{call.StateDialing, call.WordTerminated}:     call.ReasonUnanswered,
		{call.StateRinging, call.WordRejected}:       call.ReasonRejected,
		{call.StateRinging, call.WordTerminated}:     call.ReasonUnanswered,
		{call.StateActive, call.WordTerminated}:      call.ReasonUserHangup,
	}
	for state, way := range brought {
		for _, word := range allWords {
			t.Run(state.String()+" on "+word.String(), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s := newScript()
					s.block["pre_accept"] = make(chan struct{})
					c := begin(t, s, func(o *call.Options) { o.Direction, o.StatusesSeen = way.direction, true })
					way.bring(t, s, c)
					synctest.Wait()
					got, _ := c.State()
					require.Equal(t, state, got)

					c.Report(call.Report{Word: word})
					c.Report(call.Report{Word: word})
					synctest.Wait()
					if reason, ends := over[pair{state, word}]; ends {
						require.Equal(t, reason, ended(t, c))
						require.Zero(t, s.count("terminate")+s.count("reject"), "Meta knows")
						return
					}
					if state == call.StateEnding || state == call.StateEnded {
						if word == call.WordTerminated {
							require.Equal(t, call.ReasonBusinessHangup, ended(t, c), "nobody has to be told any more")
							require.NoError(t, c.TerminateErr())
						}
						return
					}
					require.NoError(t, c.Err())
					if state == call.StateRinging && word == call.WordAccepted {
						<-c.Active()
					}
				})
			})
		}
	}
}

func TestErrorCodeOfMetaNamesTheEnd(t *testing.T) {
	for code, reason := range map[int]call.Reason{
		138007: call.ReasonMetaTimeout,
		138019: call.ReasonClientFailed, 138020: call.ReasonClientFailed, 138022: call.ReasonClientFailed,
		138021: call.ReasonMediaNotReceived, 138023: call.ReasonMediaNotReceived,
		131044: call.ReasonMetaFailed, 1: call.ReasonMetaFailed,
	} {
		for _, direction := range call.Directions {
			t.Run(strconv.Itoa(code)+" "+direction.String(), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s := newScript()
					c := begin(t, s, func(o *call.Options) { o.Direction = direction })
					<-c.Joined()
					c.Report(call.Report{Word: call.WordTerminated, Code: code, Title: "why"})
					require.Equal(t, reason, ended(t, c))
					require.Zero(t, s.count("terminate")+s.count("reject"))
					require.Equal(t, strconv.Itoa(code), s.attribute(call.AttributeEndCode))
					require.Equal(t, reason.String(), s.attribute(call.AttributeEndReason))
					require.Equal(t, "why", c.Said().Title)
				})
			})
		}
	}
}

func TestSecondTerminateChangesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := begin(t, newScript(), outbound)
		at := time.Now().Add(-time.Minute)
		c.Report(call.Report{Word: call.WordTerminated, AnsweredAt: at, Duration: time.Minute})
		said := c.Said()
		time.Sleep(time.Second) // fake time
		c.Report(call.Report{Word: call.WordTerminated, Code: 138021, Duration: time.Hour})
		require.Equal(t, said, c.Said())
		require.Equal(t, call.ReasonUserHangup, ended(t, c), "it was answered, by Meta's account")
	})
}

func statuses(o *call.Options) { o.Direction, o.StatusesSeen = call.Outbound, true }

func TestRingbackToneIsNoPickUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript()
		close(s.connected)
		close(s.firstAudio)
		c := begin(t, s, statuses)
		c.Report(call.Report{Word: call.WordConnected})
		require.NoError(t, c.SetAnswer(t.Context(), "answer"))
		time.Sleep(20 * time.Second) // fake time
		require.Zero(t, s.count("open gate"))
		require.Zero(t, s.count("status ringing"), "Meta has not said so")
		c.Report(call.Report{Word: call.WordRinging})
		synctest.Wait()
		require.Equal(t, 1, s.count("status ringing"))
		c.Report(call.Report{Word: call.WordAccepted})
		<-c.Active()
		require.Equal(t, []string{"open gate", "status active", "publish"}, s.all()[3:])
	})
}

func TestSilentStatusesLetThePhoneRingItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript()
		close(s.connected)
		close(s.firstAudio)
		start := time.Now()
		c := begin(t, s, statuses)
		c.Report(call.Report{Word: call.WordConnected})
		require.NoError(t, c.SetAnswer(t.Context(), "answer"))
		require.Equal(t, call.ReasonNoAnswer, ended(t, c))
		require.Equal(t, call.DefaultTimeouts().Ringing, time.Since(start))
	})
}

// The gateway is configured, and Meta's webhooks still go elsewhere.
func TestCallOfWhichNothingIsHeardIsPickedUpByItsAudio(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript()
		close(s.connected)
		c := begin(t, s, statuses)
		require.NoError(t, c.SetAnswer(t.Context(), "answer"))
		time.Sleep(20 * time.Second) // fake time
		close(s.firstAudio)
		at := time.Now()
		<-c.Active()
		require.Equal(t, 2*time.Second, time.Since(at), "a word might have been on its way")
	})
}

func TestPickUpIsKeptUntilTheAnswerComes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript()
		c := begin(t, s, statuses)
		c.Report(call.Report{Word: call.WordAccepted})
		c.Report(call.Report{Word: call.WordRinging})
		synctest.Wait()
		require.Zero(t, s.count("open gate"))
		require.NoError(t, c.SetAnswer(t.Context(), "answer"))
		synctest.Wait()
		require.Zero(t, s.count("open gate"), "there is no way for media yet")
		close(s.connected)
		<-c.Active()
		require.Equal(t, call.StatusActive, s.attribute(call.AttributeStatus))
	})
}

func TestPhoneThatRingsBeforeTheRoomIsJoined(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript()
		s.block["join"] = make(chan struct{})
		c := begin(t, s, statuses)
		c.Report(call.Report{Word: call.WordRinging})
		synctest.Wait()
		require.Zero(t, s.count("status ringing"))
		close(s.block["join"])
		synctest.Wait()
		require.Equal(t, 1, s.count("status ringing"), "before the SDP answer, too")
	})
}

func TestPickUpBeatsADecline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript()
		close(s.connected)
		c := begin(t, s, statuses)
		c.Report(call.Report{Word: call.WordAccepted})
		c.Report(call.Report{Word: call.WordRejected})
		require.NoError(t, c.SetAnswer(t.Context(), "answer"))
		<-c.Active()
	})
}

func TestDeclineIsNotMistakenForNoAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript()
		c := begin(t, s, statuses)
		require.NoError(t, c.SetAnswer(t.Context(), "answer"))
		c.Report(call.Report{Word: call.WordRejected})
		c.Report(call.Report{Word: call.WordTerminated})
		require.Equal(t, call.ReasonRejected, ended(t, c))
		require.Equal(t, 1, s.count("leave rejected"))
	})
}

func TestMetaIsGivenTimeToSayWhyItClosedTheConnection(t *testing.T) {
	tests := []struct {
		name   string
		say    func(*call.Call)
		reason call.Reason
	}{
		{"it says so", func(c *call.Call) { c.Report(call.Report{Word: call.WordTerminated, Code: 138021}) }, call.ReasonMediaNotReceived},
		{"it says nothing", func(*call.Call) {}, call.ReasonMetaClosed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newScript()
				close(s.connected)
				c := begin(t, s, func(o *call.Options) { o.StatusesSeen = true })
				<-c.Active()
				s.closedByMeta = true
				close(s.metaDone)
				time.Sleep(time.Second) // fake time
				require.NoError(t, c.Err())
				tt.say(c)
				require.Equal(t, tt.reason, ended(t, c))
			})
		})
	}
}

func TestBothSidesHangUpAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript()
		close(s.connected)
		s.block["terminate"] = make(chan struct{})
		c := begin(t, s, nil)
		<-c.Active()
		c.End(call.ReasonBusinessHangup, nil)
		synctest.Wait()
		require.Equal(t, 1, s.count("terminate"))
		start := time.Now()
		c.Report(call.Report{Word: call.WordTerminated})
		require.Equal(t, call.ReasonBusinessHangup, ended(t, c))
		require.NoError(t, c.TerminateErr(), "Meta knows, whatever came of our word")
		require.Zero(t, time.Since(start))
	})
}
