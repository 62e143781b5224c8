package call_test

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/internal/call"
	"github.com/livekit-connector/livekit-connector/internal/leaks"
)

func TestMain(m *testing.M) { leaks.Main(m) }

// ended waits for a call's end and returns the reason.
func ended(t *testing.T, c *call.Call) call.Reason {
	t.Helper()
	<-c.Done()
	var end *call.EndError
	require.ErrorAs(t, c.Err(), &end)
	return end.Reason
}

func TestInboundCallOpensTheGateOnlyAfterAccept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript()
		c := begin(t, s, nil)
		synctest.Wait()
		require.ElementsMatch(t, []string{"join", "pre_accept"}, s.all(), "joining and pre_accept go side by side")

		close(s.connected)
		<-c.Active()
		require.Equal(t, []string{"accept", "open gate", "status active", "publish"}, s.all()[2:])

		c.End(call.ReasonBusinessHangup, nil)
		require.Equal(t, call.ReasonBusinessHangup, ended(t, c))
		require.ElementsMatch(t, []string{"terminate", "status hangup", "leave normal", "close meta leg"}, s.all()[6:])
	})
}

func TestInboundCallEndsWhenASetupStepFails(t *testing.T) {
	tests := []struct {
		name   string
		fail   string
		reason call.Reason
		meta   []string // what Meta is told
	}{
		{"join fails", "join", call.ReasonRoomJoinFailed, []string{"terminate"}},
		{"meta refuses pre_accept", "pre_accept", call.ReasonMetaRefused, []string{"reject", "terminate"}},
		{"meta refuses accept", "accept", call.ReasonMetaRefused, []string{"terminate"}},
		{"publishing fails", "publish", call.ReasonRoomJoinFailed, []string{"terminate"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, may := newScript(), make(chan struct{})
				s.fail[tt.fail], s.block[tt.fail] = errScripted, may
				close(s.connected)
				c := begin(t, s, nil)
				synctest.Wait() // all that goes side by side with the step is done
				close(may)
				require.Equal(t, tt.reason, ended(t, c))
				require.ErrorIs(t, c.Err(), errScripted)
				for _, word := range tt.meta {
					require.Equal(t, 1, s.count(word), word)
				}
				require.Equal(t, 1, s.count("close meta leg"))
			})
		})
	}
}

func TestInboundCallWithoutMediaConnectionIsNotAccepted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript()
		start := time.Now()
		c := begin(t, s, nil)
		require.Equal(t, call.ReasonConnectFailed, ended(t, c))
		require.Equal(t, call.DefaultTimeouts().Connect, time.Since(start))
		require.Zero(t, s.count("accept"))
		require.Equal(t, 1, s.count("terminate"))
		require.Equal(t, 1, s.count("leave normal"))
	})
}

func TestInboundCallRingsUntilTheRoomIsReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript()
		close(s.connected)
		c := begin(t, s, func(o *call.Options) { o.WaitForRoom = true })
		time.Sleep(10 * time.Second) // fake time
		require.Zero(t, s.count("accept"))
		close(s.ready)
		<-c.Active()
		require.Equal(t, 1, s.count("accept"))
	})
}

func TestInboundCallIsNotAcceptedForAnEmptyRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript()
		close(s.connected)
		c := begin(t, s, func(o *call.Options) { o.WaitForRoom = true })
		require.Equal(t, call.ReasonRoomNotReady, ended(t, c))
		require.Zero(t, s.count("accept"))
		require.Equal(t, 1, s.count("terminate"))
	})
}

func TestUserHangsUpWhileAcceptIsUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript()
		close(s.connected)
		s.block["accept"] = make(chan struct{})
		c := begin(t, s, nil)
		synctest.Wait()
		require.Equal(t, 1, s.count("accept"))
		c.End(call.ReasonUserHangup, nil)
		require.Equal(t, call.ReasonUserHangup, ended(t, c))
		require.Zero(t, s.count("terminate"), "Meta knows")
		require.Zero(t, s.count("open gate"), "nothing may be sent to a call that was not accepted")
	})
}

func TestFirstReasonToEndWins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript()
		close(s.connected)
		c := begin(t, s, nil)
		<-c.Active()
		c.End(call.ReasonBusinessHangup, nil)
		c.End(call.ReasonUserHangup, nil)
		require.Equal(t, call.ReasonBusinessHangup, ended(t, c))
		require.Equal(t, 1, s.count("terminate"))
	})
}

func TestEndsThatTheLegsReport(t *testing.T) {
	tests := []struct {
		name   string
		happen func(*script)
		reason call.Reason
	}{
		{"room deleted", func(s *script) { s.roomReason = call.ReasonRoomDeleted; close(s.roomDone) }, call.ReasonRoomDeleted},
		{"participant removed", func(s *script) { s.roomReason = call.ReasonParticipantRemoved; close(s.roomDone) }, call.ReasonParticipantRemoved},
		{"Meta closes the connection", func(s *script) { s.closedByMeta = true; close(s.metaDone) }, call.ReasonMetaClosed},
		{"connection to Meta lost", func(s *script) { close(s.metaDone) }, call.ReasonMediaLost},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newScript()
				close(s.connected)
				c := begin(t, s, nil)
				<-c.Active()
				synctest.Wait()
				tt.happen(s)
				require.Equal(t, tt.reason, ended(t, c))
				require.Equal(t, 1, s.count("terminate"))
			})
		})
	}
}

func TestCallWithoutMediaFromMetaIsFoundAfterThirtySeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript()
		close(s.connected)
		c := begin(t, s, nil)
		<-c.Active()
		time.Sleep(20 * time.Second) // fake time
		metaLeg{s}.hear(time.Now())
		time.Sleep(30*time.Second - time.Millisecond) // fake time
		_, left := c.Check(time.Now())
		require.False(t, left)
		time.Sleep(time.Millisecond) // fake time
		r, left := c.Check(time.Now())
		require.True(t, left)
		require.Equal(t, call.ReasonMediaTimeout, r)
	})
}

func TestOutboundCallWaitsForPickUpWithTheGateShut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript()
		c := begin(t, s, outbound)
		require.NoError(t, c.SetAnswer(t.Context(), "answer"))
		close(s.connected)
		time.Sleep(20 * time.Second) // fake time
		require.ElementsMatch(t, []string{"join", "apply answer", "status ringing"}, s.all())
		close(s.firstAudio)
		<-c.Active()
		require.Equal(t, []string{"open gate", "status active", "publish"}, s.all()[3:])
	})
}

func TestOutboundCallEndsInTime(t *testing.T) {
	tests := []struct {
		name   string
		happen func(*testing.T, *script, *call.Call)
		reason call.Reason
	}{
		{"no SDP answer", func(*testing.T, *script, *call.Call) {}, call.ReasonNoSDPAnswer},
		{"nobody picks up", func(t *testing.T, s *script, c *call.Call) {
			require.NoError(t, c.SetAnswer(t.Context(), "answer"))
			close(s.connected)
		}, call.ReasonNoAnswer},
		{"media never connects", func(t *testing.T, _ *script, c *call.Call) {
			require.NoError(t, c.SetAnswer(t.Context(), "answer"))
		}, call.ReasonConnectFailed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newScript()
				start := time.Now()
				c := begin(t, s, func(o *call.Options) { o.Direction, o.Timeouts.Ringing = call.Outbound, 45*time.Second })
				tt.happen(t, s, c)
				require.Equal(t, tt.reason, ended(t, c))
				require.Equal(t, 45*time.Second, time.Since(start))
				require.Equal(t, 1, s.count("terminate"))
				require.Zero(t, s.count("open gate"))
			})
		})
	}
}

func TestUserDeclinesAnOutboundCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript()
		c := begin(t, s, outbound)
		require.NoError(t, c.SetAnswer(t.Context(), "answer"))
		c.End(call.ReasonRejected, nil)
		require.Equal(t, call.ReasonRejected, ended(t, c))
		require.Equal(t, 1, s.count("leave rejected"))
		require.Zero(t, s.count("terminate"))
	})
}

func TestMetaClosesTheConnectionOfARingingCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript()
		c := begin(t, s, outbound)
		require.NoError(t, c.SetAnswer(t.Context(), "answer"))
		s.closedByMeta = true
		close(s.metaDone)
		require.Equal(t, call.ReasonMetaClosedUnanswered, ended(t, c))
		require.Equal(t, 1, s.count("leave rejected"))
	})
}

func TestAnswerThatCannotBeAppliedLeavesTheCallWaitingForABetterOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript()
		s.fail["apply bad"] = errScripted
		c := begin(t, s, outbound)
		require.ErrorIs(t, c.SetAnswer(t.Context(), "bad"), errScripted)
		require.NoError(t, c.SetAnswer(t.Context(), "good"))
		var state *call.StateError
		require.ErrorAs(t, c.SetAnswer(t.Context(), "again"), &state)
		require.Zero(t, s.count("apply again"))
	})
}

func TestTwoAnswersAtOnceAreAppliedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript()
		s.block["join"] = make(chan struct{})
		c := begin(t, s, outbound)
		results := make(chan error, 2)
		for range 2 {
			go func() { results <- c.SetAnswer(t.Context(), "answer") }()
		}
		errs := []error{<-results, <-results}
		require.Equal(t, 1, s.count("apply answer"))
		require.True(t, slices.Contains(errs, nil))
		require.False(t, errs[0] == nil && errs[1] == nil)
		close(s.block["join"])
	})
}

func TestAnswerAfterTheEndDoesNotReviveTheCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript()
		c := begin(t, s, outbound)
		c.End(call.ReasonBusinessHangup, nil)
		<-c.Done()
		require.Error(t, c.SetAnswer(t.Context(), "late"))
		require.Zero(t, s.count("apply late"))
	})
}

func TestRequestsTokenEndsTheCallAndTheCallsOwnIsTheFallback(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript()
		close(s.connected)
		s.fail["newer terminate"] = errScripted
		c := begin(t, s, nil)
		<-c.Active()
		c.EndWith(call.ReasonBusinessHangup, nil, graph{script: s, name: "newer "})
		<-c.Done()
		require.NoError(t, c.TerminateErr())
		require.Equal(t, 1, s.count("newer terminate"))
		require.Equal(t, 1, s.count("terminate"))
	})
}

func TestMetaThatCannotBeToldIsReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript()
		close(s.connected)
		s.block["terminate"] = make(chan struct{})
		c := begin(t, s, nil)
		<-c.Active()
		c.End(call.ReasonRoomDeleted, nil)
		<-c.Done()
		require.ErrorIs(t, c.TerminateErr(), context.DeadlineExceeded)
		require.Equal(t, 1, s.count("leave normal"), "the room does not wait for Meta")
	})
}

func TestLongestDurationEndsTheCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript()
		close(s.connected)
		c := begin(t, s, func(o *call.Options) { o.Timeouts.MaxDuration = time.Hour })
		require.Equal(t, call.ReasonMaxDuration, ended(t, c))
	})
}

func TestCallIsOverWhenItsNodeGoesDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript()
		close(s.connected)
		ctx, cancel := context.WithCancel(t.Context())
		c := call.New(ctx, call.Options{
			ID: "wacid.test", Direction: call.Inbound, Meta: metaLeg{s}, Graph: graph{script: s}, Pacer: pacer(t),
			Timeouts: call.DefaultTimeouts(), Join: joinScript(s),
		})
		go func() { _ = c.Run() }()
		<-c.Active()
		cancel()
		require.Equal(t, call.ReasonShutdown, ended(t, c))
		require.Equal(t, 1, s.count("terminate"))
	})
}

func TestEveryReasonHasAName(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range call.Reasons() {
		require.NotEmpty(t, r.String())
		require.NotEmpty(t, r.Result())
		require.False(t, seen[r.String()], r.String())
		seen[r.String()] = true
	}
}
