package relay_test

import (
	"os"
	"testing"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/pkg/fakemeta/handset"
	"github.com/livekit-connector/livekit-connector/pkg/fakemeta/hearing"
	"github.com/livekit-connector/livekit-connector/pkg/fakemeta/relay"
)

// speech gives the first three seconds of a sample.
func speech(t *testing.T, name string) []int16 {
	t.Helper()
	f, err := os.Open("../../../testdata/audio/" + name)
	require.NoError(t, err)
	defer f.Close()
	pcm, rate, err := hearing.ReadWAV(f)
	require.NoError(t, err)
	return pcm[:3*rate]
}

// mouth lets a handset speak for the business.
type mouth struct{ b *business }

func (m mouth) WriteRTP(p *rtp.Packet) error          { return m.b.track.WriteRTP(p) }
func (m mouth) WriteRTCP(packets []rtcp.Packet) error { return m.b.pc.WriteRTCP(packets) }

func TestSpeechSurvivesTheCallBothWays(t *testing.T) {
	t.Parallel()
	caller, agent := speech(t, "caller.wav"), speech(t, "agent.wav")
	r := listen(t)

	var phone *handset.Handset
	ready := make(chan struct{})
	s := session(t, r, relay.SessionOptions{
		OnRTP:  func(p *rtp.Packet, at time.Time) { <-ready; phone.HandleRTP(p, at) },
		OnRTCP: func(p []rtcp.Packet) { <-ready; phone.HandleRTCP(p) },
	})
	phone, err := handset.New(handset.Options{
		Sender: s, SSRC: 613016344, Voice: caller, SilenceBefore: 300 * time.Millisecond, RTCPInterval: time.Second,
	})
	require.NoError(t, err)
	close(ready)

	b := newBusiness(t)
	other, err := handset.New(handset.Options{Sender: mouth{b}, Voice: agent, Bitrate: 32000, RTCPInterval: time.Second})
	require.NoError(t, err)
	b.pc.OnTrack(func(track *webrtc.TrackRemote, _ *webrtc.RTPReceiver) {
		b.done.Go(func() {
			for {
				p, _, failure := track.ReadRTP()
				if failure != nil {
					return
				}
				other.HandleRTP(p, time.Now())
			}
		})
	})
	connect(t, r, s, b)
	phone.MarkAnswered()
	other.MarkAnswered()
	require.NoError(t, phone.Start())
	require.NoError(t, other.Start())
	await(t, "both to have spoken", func() bool {
		return !phone.Spoken().VoiceEnded.IsZero() && !other.Spoken().VoiceEnded.IsZero()
	})
	digits, err := phone.SendDTMF("42")
	require.NoError(t, err)
	closed(t, "digits", digits)
	await(t, "the tail of the speech", func() bool { return other.Spoken().Packets > 180 })
	phone.Stop()
	other.Stop()
	want := other.Spoken().Packets
	await(t, "all packets", func() bool {
		return uint64(phone.Report().Packets) == want && uint64(len(other.Packets())) == phone.Spoken().Packets
	})

	heard, rate := phone.Recording()
	verdict := hearing.Compare(agent, heard, rate)
	require.True(t, verdict.OK(), "the user heard: %v", verdict)
	require.Empty(t, phone.Report().Problems())
	require.NotZero(t, phone.Report().SenderReports)

	heard, rate = other.Recording()
	verdict = hearing.Compare(caller, heard, rate)
	require.True(t, verdict.OK(), "the business heard: %v", verdict)
	require.InDelta(t, 300, verdict.Lag.Milliseconds(), 20)
	require.Equal(t, 2*(5+3), other.Report().Events)
	require.Empty(t, other.Report().Problems())
}
