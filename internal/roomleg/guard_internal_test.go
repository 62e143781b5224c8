package roomleg

import (
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/livekit/protocol/livekit"
	lksdk "github.com/livekit/server-sdk-go/v2"
	"github.com/pion/interceptor"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/internal/panics"
	"github.com/livekit-connector/livekit-connector/media"
)

// newMistake is a leg in which much is missing, so that whoever enters it meets a nil.
func newMistake(reg *prometheus.Registry) *Leg {
	l := &Leg{
		opts: Options{Line: &media.Line{}, Panics: panics.NewCounter(reg)}, log: slog.New(slog.DiscardHandler),
		taps: newTaps(), done: make(chan struct{}), wake: make(chan struct{}, 1), online: make(chan struct{}, 1),
		listeners: make(map[string]*listener), dropped: make(map[string]lastHeard),
	}
	l.taps.broken = l.brokenAudio
	return l
}

// All of these run on goroutines of the leg or of others, where a panic would end every call.
func TestAPanicEndsTheLegAlone(t *testing.T) {
	packet, err := (&rtp.Packet{Header: rtp.Header{Version: 2, SSRC: 7}, Payload: []byte{1}}).Marshal()
	require.NoError(t, err)
	for name, test := range map[string]struct {
		where panics.Place
		enter func(t *testing.T, l *Leg)
	}{
		"watch":            {panics.Call, func(_ *testing.T, l *Leg) { l.watch() }},
		"track subscribed": {panics.Call, func(_ *testing.T, l *Leg) { l.callbacks().OnTrackSubscribed(nil, nil, nil) }},
		"track unsubscribed": {panics.Call, func(_ *testing.T, l *Leg) {
			l.listeners["a"], l.dropped = &listener{stream: &tapped{}}, nil
			l.callbacks().OnTrackUnsubscribed(nil, nil, nil)
		}},
		"own track heard": {panics.Call, func(_ *testing.T, l *Leg) { l.callbacks().OnLocalTrackSubscribed(nil, nil) }},
		"own track gone":  {panics.Call, func(_ *testing.T, l *Leg) { l.callbacks().OnLocalTrackUnpublished(nil, nil) }},
		"disconnected":    {panics.Call, func(_ *testing.T, l *Leg) { l.callbacks().OnDisconnected() }},
		"track bound":     {panics.Call, func(_ *testing.T, l *Leg) { l.trackBound() }},
		"data": {panics.Call, func(_ *testing.T, l *Leg) {
			l.OnKeys(func(string) { panic("a mistake") })
			l.callbacks().OnDataPacket(&livekit.SipDTMF{Digit: "1"}, lksdk.DataReceiveParams{})
		}},
		"keys": {panics.Call, func(t *testing.T, l *Leg) {
			told := make(chan error, 2)
			l.SendKey(1, func(err error) { told <- err })
			l.tasks.Wait()
			require.ErrorIs(t, <-told, ErrNotInRoom)
		}},
		"telling of a key": {panics.Call, func(_ *testing.T, l *Leg) { l.tell(keyPress{}, nil) }},
		"sending a key": {panics.Call, func(t *testing.T, l *Leg) {
			require.ErrorContains(t, l.publishKey(1), "internal error in call")
		}},
		"publishing": {panics.Call, func(t *testing.T, l *Leg) {
			require.ErrorContains(t, l.publishTrack(), "internal error in call")
		}},
		"joining": {panics.Call, func(t *testing.T, l *Leg) {
			require.ErrorContains(t, l.enter(t.Context(), "", nil), "internal error in call")
		}},
		"reading": {panics.Audio, func(_ *testing.T, l *Leg) { l.read("a", &listener{stream: &tapped{}}) }},
		"a packet that somebody else reads": {panics.Audio, func(t *testing.T, l *Leg) {
			in, err := l.taps.NewInterceptor("")
			require.NoError(t, err)
			l.taps.of(7).listen(func(*rtp.Packet, time.Duration) error { panic("a mistake") })
			n, _, err := in.BindRemoteStream(&interceptor.StreamInfo{SSRC: 7}, &wire{packets: [][]byte{packet}}).Read(make([]byte, maxPacket), nil)
			require.NoError(t, err)
			require.Equal(t, len(packet), n)
			l.taps.of(7).stop() // not locked
		}},
	} {
		t.Run(name, func(t *testing.T) {
			reg := prometheus.NewRegistry()
			l := newMistake(reg)
			test.enter(t, l)
			<-l.Done()
			var broken *panics.Error
			require.ErrorAs(t, l.Err(), &broken)
			require.Equal(t, test.where, broken.Place)
			require.Positive(t, caught(t, reg, test.where))
		})
	}
}

// caught is how many panics were counted in a place.
func caught(t *testing.T, reg *prometheus.Registry, where panics.Place) float64 {
	t.Helper()
	families, err := reg.Gather()
	require.NoError(t, err)
	for _, m := range families[0].GetMetric() {
		if m.GetLabel()[0].GetValue() == string(where) {
			return m.GetCounter().GetValue()
		}
	}
	return 0
}

// brokenServer is where nothing can be written to.
type brokenServer struct{ server }

func (*brokenServer) Write([]rtcp.Packet, interceptor.Attributes) (int, error) { panic("a mistake") }

// Reports are sent by a timer, and answers by whoever reads RTCP.
func TestAPanicInReportsIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		told := 0
		s := &brokenServer{}
		r, err := reporters{network: newNetwork(), broken: func(any) { told++ }}.NewInterceptor("")
		require.NoError(t, err)
		r.BindRTCPWriter(s)
		_, err = r.BindLocalStream(own, s.writer()).Write(&rtp.Header{SSRC: own.SSRC}, []byte{1}, nil)
		require.NoError(t, err)
		pass(time.Minute)
		require.Equal(t, 1, told, "the timer")

		raw, err := (&rtcp.ExtendedReport{SenderSSRC: 1, Reports: []rtcp.ReportBlock{&rtcp.ReceiverReferenceTimeReportBlock{}}}).Marshal()
		require.NoError(t, err)
		s.rtcp = [][]byte{raw}
		_, _, err = r.BindRTCPReader(s).Read(make([]byte, maxPacket), nil)
		require.NoError(t, err)
		require.Equal(t, 2, told, "the reader")
		require.NoError(t, r.Close(), "no lock is held and nothing waits")
	})
}
