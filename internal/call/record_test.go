package call_test

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/internal/call"
	"github.com/livekit-connector/livekit-connector/pkg/whatsapp"
)

// looker looks at a call's facts whenever a stage is reached.
type looker struct {
	call  func() *call.Call
	stage map[call.Stage]string
}

func (l *looker) Stage(_ call.Direction, s call.Stage, _ time.Duration) {
	if s == call.StageRinging || s == call.StageAnswered {
		l.stage[s] = l.call().Facts().Attributes[call.AttributeStatus]
	}
}

func (*looker) Ended(call.Direction, call.Reason, time.Duration) {}

// Events are sent when stages are reached.
func TestAttributesAreSetBeforeAnybodyHearsOfAStage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript()
		s.block["join"] = make(chan struct{})
		close(s.connected)
		l := &looker{stage: map[call.Stage]string{}}
		var c *call.Call
		l.call = func() *call.Call { return c }
		c = begin(t, s, func(o *call.Options) { o.Direction, o.StatusesSeen, o.Observer = call.Outbound, true, l })
		synctest.Wait()
		c.Report(call.Report{Word: call.WordRinging}) // before there is a participant
		synctest.Wait()
		close(s.block["join"])
		require.NoError(t, c.SetAnswer(t.Context(), "answer"))
		c.Report(call.Report{Word: call.WordAccepted})
		<-c.Active()
		require.Equal(t, map[call.Stage]string{
			call.StageRinging: call.StatusRinging, call.StageAnswered: call.StatusActive,
		}, l.stage)
	})
}

func TestCallThatTheRoomEndedSaysSoInItsFacts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript()
		s.roomReason = call.ReasonRoomDeleted
		close(s.connected)
		c := begin(t, s, nil)
		<-c.Active()
		close(s.roomDone)
		require.Equal(t, call.ReasonRoomDeleted, ended(t, c))
		require.Zero(t, s.count("status hangup"), "there is no participant to say it of")
		a := c.Facts().Attributes
		require.Equal(t, call.StatusHangup, a[call.AttributeStatus])
		require.Equal(t, "room_deleted", a[call.AttributeEndReason])
	})
}

func TestRefusalOfMetasCarriesItsCode(t *testing.T) {
	for _, step := range []string{"pre_accept", "accept"} {
		t.Run(step, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newScript()
				s.fail[step] = fmt.Errorf("ask meta: %w", &whatsapp.APIError{HTTPStatus: 400, Code: 138007})
				close(s.connected)
				c := begin(t, s, nil)
				require.Equal(t, call.ReasonMetaRefused, ended(t, c))
				require.Equal(t, "138007", s.attribute(call.AttributeEndCode))
			})
		})
	}
}

func TestFactsOfACallThatIsOverDoNotChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript()
		s.connection = func() call.Connection {
			time.Sleep(time.Millisecond) // fake time: a packet comes meanwhile
			return call.Connection{LastIn: time.Now()}
		}
		s.reported = call.Network{Sent: 7}
		close(s.connected)
		c := begin(t, s, nil)
		<-c.Active()
		c.End(call.ReasonBusinessHangup, errors.New("enough"))
		_ = ended(t, c)
		f := c.Facts()
		require.False(t, f.Meta.LastIn.After(f.EndedAt), "the last packet came before the end")
		s.mu.Lock()
		s.reported.Sent = 8
		s.mu.Unlock()
		require.Equal(t, uint64(7), c.Facts().Heard.Network.Sent)
	})
}
