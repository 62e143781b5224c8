package call_test

import (
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/internal/call"
)

// The end and its reason come in two webhooks, and in any order.
func TestEndBeforeTheWordThatExplainsIt(t *testing.T) {
	tests := []struct {
		name   string
		word   call.Word
		reason call.Reason
		leave  string
		after  time.Duration
	}{
		{"declined", call.WordRejected, call.ReasonRejected, "leave rejected", 500 * time.Millisecond},
		{"picked up", call.WordAccepted, call.ReasonUserHangup, "leave normal", 500 * time.Millisecond},
		{"nothing more", call.WordUnknown, call.ReasonUnanswered, "leave unavailable", time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newScript()
				close(s.connected)
				c := begin(t, s, statuses)
				require.NoError(t, c.SetAnswer(t.Context(), "answer"))
				synctest.Wait()
				start := time.Now()
				c.Report(call.Report{Word: call.WordTerminated})
				close(s.metaDone)                  // Meta closes the connection with it
				time.Sleep(500 * time.Millisecond) // fake time
				c.Report(call.Report{Word: tt.word})
				require.Equal(t, tt.reason, ended(t, c))
				require.Equal(t, tt.after, time.Since(start))
				require.Equal(t, 1, s.count(tt.leave))
				require.Zero(t, s.count("terminate")+s.count("reject"), "Meta knows")
				require.Zero(t, s.count("open gate"))
			})
		})
	}
}

func TestFailureThatMetaDoesNotExplain(t *testing.T) {
	for _, direction := range call.Directions {
		t.Run(direction.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := begin(t, newScript(), func(o *call.Options) { o.Direction = direction })
				<-c.Joined()
				c.Report(call.Report{Word: call.WordTerminated, Failed: true})
				require.Equal(t, call.ReasonMetaFailed, ended(t, c))
			})
		})
	}
}

// Meta says that the call is over and the connection breaks off, while the call is busy with something else.
func TestWordOfTheEndCountsMoreThanTheConnectionThatBreaksOffWithIt(t *testing.T) {
	for range 20 { // whichever case a select takes
		synctest.Test(t, func(t *testing.T) {
			s := newScript()
			c := call.New(t.Context(), call.Options{
				ID: "wacid.test", Direction: call.Outbound, Meta: metaLeg{s}, Graph: graph{script: s}, Pacer: pacer(t),
				Timeouts: call.DefaultTimeouts(), Join: joinScript(s), StatusesSeen: true,
			})
			c.Report(call.Report{Word: call.WordTerminated})
			close(s.metaDone)
			require.Error(t, c.Run())
			require.Equal(t, call.ReasonUnanswered, ended(t, c))
		})
	}
}

// Pick-up and end come in one webhook, while the call is busy with something else.
func TestPickUpAndEndAtOnce(t *testing.T) {
	for try := range 100 { // whichever case a select takes
		t.Run(strconv.Itoa(try), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newScript()
				s.block["apply answer"] = make(chan struct{})
				close(s.connected)
				c := begin(t, s, statuses)
				time.Sleep(20 * time.Second) // fake time
				go func() { _ = c.SetAnswer(t.Context(), "answer") }()
				synctest.Wait()
				pickedUp := time.Now().Add(-9 * time.Second).Truncate(time.Second)
				c.Report(call.Report{Word: call.WordAccepted, At: pickedUp.Add(time.Second)})
				c.Report(call.Report{Word: call.WordTerminated, AnsweredAt: pickedUp, Duration: 8 * time.Second})
				close(s.block["apply answer"])
				require.Equal(t, call.ReasonUserHangup, ended(t, c))
				require.Zero(t, s.count("open gate"), "nobody is there to hear anything")
				f := c.Facts()
				require.Equal(t, pickedUp, f.AnsweredAt)
				require.Equal(t, pickedUp.Add(time.Second), f.Said.Meta.Accepted)
			})
		})
	}
}

func TestPickUpOfACallThatWasNeverOpened(t *testing.T) {
	tests := []struct {
		name    string
		reports func(begun time.Time) []call.Report
		after   time.Duration // from the beginning; the end comes after ten seconds
	}{
		{"by Meta's account", func(begun time.Time) []call.Report {
			return []call.Report{{Word: call.WordTerminated, AnsweredAt: begun.Add(4 * time.Second), Duration: 6 * time.Second}}
		}, 4 * time.Second},
		{"by a clock that is ahead", func(begun time.Time) []call.Report {
			return []call.Report{{Word: call.WordTerminated, AnsweredAt: begun.Add(time.Hour), Duration: 6 * time.Second}}
		}, 10 * time.Second},
		{"by a clock that is behind", func(begun time.Time) []call.Report {
			return []call.Report{{Word: call.WordTerminated, AnsweredAt: begun.Add(-time.Hour), Duration: 6 * time.Second}}
		}, 0},
		{"by its status", func(time.Time) []call.Report {
			return []call.Report{{Word: call.WordAccepted}, {Word: call.WordTerminated}}
		}, 10 * time.Second},
		{"by its duration", func(time.Time) []call.Report {
			return []call.Report{{Word: call.WordTerminated, Duration: 3 * time.Second}}
		}, 7 * time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begun := time.Now()
				c := begin(t, newScript(), statuses)
				time.Sleep(10 * time.Second) // fake time
				for _, r := range tt.reports(begun) {
					c.Report(r)
				}
				require.Equal(t, call.ReasonUserHangup, ended(t, c))
				require.Equal(t, tt.after, c.Facts().AnsweredAt.Sub(begun))
			})
		})
	}
}
