package call_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/internal/call"
	"github.com/livekit-connector/livekit-connector/media"
)

// fromPhone presses a key on the phone, inRoom one or several in the room.
func (s *script) fromPhone(k media.Key) { (*s.keySink.Load())(k) }
func (s *script) inRoom(text string)    { (*s.keyEar.Load())(text) }

func TestKeysOfThePhoneReachTheRoomOnceTheCallIsAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript()
		c := begin(t, s, nil)
		synctest.Wait()
		s.fromPhone(1)
		require.Zero(t, s.count("key 1"))
		close(s.connected)
		<-c.Active()
		s.fromPhone(2)
		s.fromPhone(11)
		s.fail["key 3"] = errScripted
		s.fromPhone(3)
		require.Equal(t, []int{1, 1}, []int{s.count("key 2"), s.count("key #")})
		require.Equal(t, call.KeyCounts{call.KeySent: 2, call.KeyEarly: 1, call.KeyDropped: 1}, c.Heard().KeysToRoom)
		c.End(call.ReasonBusinessHangup, nil)
		<-c.Done()
		require.Nil(t, *s.keySink.Load(), "nobody hears of keys after the end")
	})
}

func TestKeysOfTheRoom(t *testing.T) {
	for name, test := range map[string]struct {
		mode     call.KeyMode
		takes    bool
		presses  []string
		expected call.KeyCounts
		events   int
	}{
		"off":          {presses: []string{"1", "23"}, expected: call.KeyCounts{call.KeyOff: 3}},
		"as events":    {call.KeysEvents, true, []string{"1", "23"}, call.KeyCounts{call.KeySent: 3}, 21},
		"not at Meta":  {call.KeysEvents, false, []string{"1", "23"}, call.KeyCounts{call.KeyUnsupported: 3}, 0},
		"no keys":      {call.KeysEvents, true, []string{"", "1w2", "x"}, call.KeyCounts{call.KeyInvalid: 3}, 0},
		"far too many": {call.KeysEvents, true, []string{strings.Repeat("0", 65)}, call.KeyCounts{call.KeyDropped: 65}, 0},
		"no encoder":   {call.KeysTones, true, []string{"1"}, call.KeyCounts{call.KeyDropped: 1}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newScript()
				s.takesKeys = test.takes
				c := begin(t, s, func(o *call.Options) { o.Keys = test.mode })
				close(s.connected)
				<-c.Active()
				for _, text := range test.presses {
					s.inRoom(text)
				}
				time.Sleep(time.Second) // fake time
				require.Equal(t, test.expected, c.Heard().KeysToPhone)
				events := 0
				for _, p := range s.toPhone.all() {
					if p.PayloadType == media.EventPayloadType {
						events++
					}
				}
				require.Equal(t, test.events, events)
			})
		})
	}
}

func TestKeysOfTheRoomBeforeTheAnswerAndAfterTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript()
		s.takesKeys = true
		c := begin(t, s, func(o *call.Options) { o.Keys = call.KeysEvents })
		synctest.Wait()
		s.inRoom("12")
		close(s.connected)
		<-c.Active()
		s.inRoom("3456")
		time.Sleep(200 * time.Millisecond) // fake time: one is said
		c.End(call.ReasonBusinessHangup, nil)
		<-c.Done()
		s.inRoom("789")
		require.Equal(t, call.KeyCounts{call.KeySent: 1, call.KeyEarly: 2, call.KeyDropped: 3 + 3}, c.Heard().KeysToPhone)
	})
}

func TestEveryKeyOutcomeHasAName(t *testing.T) {
	seen := map[string]bool{}
	for _, o := range call.KeyOutcomes {
		require.NotEqual(t, "unknown", o.String())
		seen[o.String()] = true
	}
	require.Len(t, seen, len(call.KeyCounts{}))
	require.Equal(t, "unknown", call.KeyOutcome(99).String())
}
