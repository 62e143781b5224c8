package call_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/rtp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/internal/call"
	"github.com/livekit-connector/livekit-connector/internal/panics"
	"github.com/livekit-connector/livekit-connector/media"
)

// A mistake in any of a call's goroutines ends that call alone, in good order: Meta is told, the room left, the connection
// closed, and nobody waits for it for ever.
func TestAPanicEndsTheCallAlone(t *testing.T) {
	for step, at := range map[string]struct {
		reason call.Reason
		left   int // "leave normal" is the step itself, or the room was never entered
	}{
		"join": {call.ReasonInternal, 0}, "pre_accept": {call.ReasonInternal, 1}, "accept": {call.ReasonInternal, 1},
		"publish": {call.ReasonInternal, 1}, "status active": {call.ReasonInternal, 1}, "terminate": {call.ReasonBusinessHangup, 1},
		"leave normal": {call.ReasonBusinessHangup, 1}, "status hangup": {call.ReasonBusinessHangup, 0},
		"close meta leg": {call.ReasonBusinessHangup, 1},
	} {
		t.Run(step, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				registry := prometheus.NewRegistry()
				s, may := newScript(), make(chan struct{})
				s.fail[step], s.block[step] = errPanics, may
				close(s.connected)
				c := begin(t, s, func(o *call.Options) { o.Panics = panics.NewCounter(registry) })
				synctest.Wait() // all that goes side by side with the step is done
				close(may)
				synctest.Wait()
				if at.reason == call.ReasonBusinessHangup {
					c.End(call.ReasonBusinessHangup, nil)
				}
				require.Equal(t, at.reason, ended(t, c))
				<-c.Told()
				require.Equal(t, step == "terminate", c.TerminateErr() != nil, "nobody knows whether Meta heard of it")
				require.Equal(t, 1, s.count("close meta leg"))
				require.Equal(t, 1, s.count("terminate"))
				require.Equal(t, at.left, s.count("leave normal"))
				require.InDelta(t, 1, caught(t, registry), 0)
			})
		})
	}
}

// breakingLeg cannot tell its statistics any more once it is broken.
type breakingLeg struct {
	metaLeg
	broken *atomic.Bool
}

func (b breakingLeg) Network() call.Network {
	if b.broken.Load() {
		panic(errPanics)
	}
	return b.metaLeg.Network()
}

// What a call is told of, and what it tells of itself, keeps none of its ends from being taken down.
func TestAPanicInStatisticsLeavesNothingOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, broken := newScript(), new(atomic.Bool)
		close(s.connected)
		c := begin(t, s, func(o *call.Options) { o.Meta = breakingLeg{metaLeg{s}, broken} })
		<-c.Active()
		broken.Store(true)
		require.Panics(t, func() { c.Check(time.Now()) }) // the sweeper catches it
		require.True(t, c.Answered(), "no lock is held")
		c.End(call.ReasonBusinessHangup, nil)
		require.Equal(t, call.ReasonBusinessHangup, ended(t, c))
		require.NoError(t, c.TerminateErr())
		for _, step := range []string{"terminate", "leave normal", "close meta leg"} {
			require.Equal(t, 1, s.count(step), step)
		}
		state, _ := c.State()
		require.Equal(t, call.StateEnded, state)
	})
}

// caught sums up the panics of all places.
func caught(t *testing.T, registry *prometheus.Registry) (sum float64) {
	t.Helper()
	require.Equal(t, len(panics.Places()), testutil.CollectAndCount(registry))
	families, err := registry.Gather()
	require.NoError(t, err)
	for _, m := range families[0].GetMetric() {
		sum += m.GetCounter().GetValue()
	}
	return sum
}

type deafRoom struct{ roomLeg }

func (deafRoom) WriteRTP(*rtp.Packet) error { panic(errPanics) }

// mutePhone takes the frame that opens the stream, on the call's own goroutine, and none of the pacer's.
type mutePhone struct {
	metaLeg
	frames *atomic.Uint32
}

func (m mutePhone) WriteRTP(*rtp.Packet) error {
	if m.frames.Add(1) > 1 {
		panic(errPanics)
	}
	return nil
}

// Packets come, and frames are due, on goroutines that are not the call's: Pion's and the pacer's, which others need.
func TestAPanicOfAudioEndsTheCallAlone(t *testing.T) {
	t.Run("from the phone", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := newScript()
			close(s.connected)
			c := begin(t, s, func(o *call.Options) {
				o.Join = func(context.Context, *media.Line) (call.RoomLeg, error) { return deafRoom{roomLeg{s}}, nil }
			})
			synctest.Wait()
			require.NoError(t, (*s.sink.Load()).WriteRTP(&rtp.Packet{Header: rtp.Header{PayloadType: 111}, Payload: media.SilenceFrame}))
			require.Equal(t, call.ReasonInternal, ended(t, c))
			require.Equal(t, 1, s.count("terminate"))
		})
	})
	t.Run("to the phone", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			shared := pacer(t)
			other := newScript()
			close(other.connected)
			begin(t, other, func(o *call.Options) { o.Pacer = shared })
			s := newScript()
			close(s.connected)
			c := begin(t, s, func(o *call.Options) {
				o.Pacer, o.Meta = shared, mutePhone{metaLeg: metaLeg{s}, frames: new(atomic.Uint32)}
			})
			require.Equal(t, call.ReasonInternal, ended(t, c))
			before := len(other.toPhone.all())
			<-c.Done()
			synctest.Wait()
			time.Sleep(11 * media.FrameDuration) // fake time
			synctest.Wait()
			require.GreaterOrEqual(t, len(other.toPhone.all()), before+10, "the clock goes on for the others")
		})
	})
}

var errPanics = errors.New("scripted panic")
