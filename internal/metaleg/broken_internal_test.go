package metaleg

import (
	"log/slog"
	"testing"

	"github.com/pion/rtp"
	"github.com/pion/transport/v5/packetio"
	"github.com/pion/webrtc/v4"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/internal/panics"
)

type brokenSink struct{}

func (brokenSink) WriteRTP(*rtp.Packet) error { panic("a mistake") }

// Packets come on a goroutine of Pion's, where a panic would end every call.
func TestAPanicEndsTheLegAlone(t *testing.T) {
	l := &Leg{
		track: newOutgoing(), firstAudio: make(chan struct{}), done: make(chan struct{}),
		log: newLegLog(slog.New(slog.DiscardHandler)), panics: panics.NewCounter(prometheus.NewRegistry()),
	}
	l.payloadTypes.Store(opusPayloadType | eventPayloadType<<8)
	l.SetSink(brokenSink{})
	raw, err := speech().Marshal()
	require.NoError(t, err)
	i := l.newInlet(packetio.RTPBufferPacket, 1)
	for range 2 {
		n, err := i.Write(raw)
		require.NoError(t, err)
		require.LessOrEqual(t, n, len(raw))
	}
	<-l.Done()
	require.ErrorContains(t, l.Err(), "internal error in audio")
}

// So do those that the leg starts itself, and those by which Pion tells of states.
func TestAPanicOutsideOfPacketsEndsTheLegAlone(t *testing.T) {
	for name, enter := range map[string]func(l *Leg){
		"goroutine": func(l *Leg) {
			l.spawn(func() { panic("a mistake") })
			l.wg.Wait()
		},
		"report": func(l *Leg) { // there is no connection to write to
			l.track.bound.Store(&binding{})
			l.report()
			l.wg.Wait()
		},
		"state": func(l *Leg) { l.onState(webrtc.PeerConnectionStateFailed) },
		"pair":  func(l *Leg) { l.onPair(nil) },
	} {
		t.Run(name, func(t *testing.T) {
			l := &Leg{
				track: newOutgoing(), done: make(chan struct{}),
				log: newLegLog(slog.New(slog.DiscardHandler)), panics: panics.NewCounter(prometheus.NewRegistry()),
			}
			enter(l)
			<-l.Done()
			require.ErrorContains(t, l.Err(), "internal error in call")
		})
	}
}
