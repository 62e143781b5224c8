package metaleg_test

import (
	"strings"
	"testing"
	"time"

	"github.com/pion/rtp"
	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/internal/metaleg"
	"github.com/livekit-connector/livekit-connector/media"
	"github.com/livekit-connector/livekit-connector/pkg/fakemeta/relay"
)

func event(seq uint16, payload ...byte) *rtp.Packet {
	return &rtp.Packet{
		Header:  rtp.Header{Version: 2, PayloadType: media.EventPayloadType, SequenceNumber: seq, Timestamp: 7 * 960, Marker: true},
		Payload: payload,
	}
}

// Events go both ways under Meta's own number for them, in the one source that the audio has.
func TestEventsGoBothWays(t *testing.T) {
	for name, number := range map[string]string{"as always": "126", "under another number": "101"} {
		t.Run(name, func(t *testing.T) {
			m := newMeta(t, newRelay(t))
			l, answer, err := newStack(t, loopback()).Answer(t.Context(), strings.ReplaceAll(m.sdp("audio"), "126", number))
			require.NoError(t, err)
			t.Cleanup(func() { require.NoError(t, l.Close()) })
			require.Contains(t, answer, "a=rtpmap:"+number+" telephone-event/8000")
			require.True(t, l.TakesKeys())
			m.take(answer, relay.DTLSRoleServer)
			closed(t, "connection", l.Connected())
			closed(t, "Meta's connection", m.session.Connected())

			pressed := make(chan media.Key, 8)
			l.SetKeys(func(k media.Key) { pressed <- k })
			typ := uint8(126)
			if number == "101" {
				typ = 101
			}
			for i, key := range []byte{5, 11} {
				for seq := range uint16(3) { // three times
					p := event(uint16(i)*3+seq, key, 10, 0, 160)
					p.PayloadType, p.SSRC, p.Timestamp = typ, m.ssrc, uint32(i)*4800
					require.NoError(t, m.session.WriteRTP(p))
				}
			}
			for _, want := range []string{"5", "#"} {
				select {
				case k := <-pressed:
					require.Equal(t, want, k.String())
				case <-time.After(patience):
					t.Fatal("no key came")
				}
			}
			l.SetKeys(nil)
			require.Zero(t, l.Times().FirstRTPIn, "no audio")
			require.NotZero(t, l.Times().LastRTPIn, "a phone that sends a key in place of the audio has not stopped sending")

			require.ErrorIs(t, l.WriteRTP(event(1, 1, 10, 0, 160)), metaleg.ErrGateShut)
			l.Open()
			require.NoError(t, l.WriteRTP(packet(1, "speech")))
			require.NoError(t, l.WriteRTP(event(2, 1, 10, 0, 160)))
			require.NoError(t, l.WriteRTP(packet(3, "speech")))
			m.until("three packets", func() bool { return len(m.heard) >= 3 })
			m.mu.Lock()
			defer m.mu.Unlock()
			require.Equal(t, []uint8{111, typ, 111}, []uint8{m.heard[0].PayloadType, m.heard[1].PayloadType, m.heard[2].PayloadType})
			require.Equal(t, m.heard[0].SSRC, m.heard[1].SSRC)
			require.EqualValues(t, 2, m.heard[1].SequenceNumber)
			require.EqualValues(t, 7*960, m.heard[1].Timestamp)
			require.True(t, m.heard[1].Marker)
			require.Equal(t, []byte{1, 10, 0, 160}, m.heard[1].Payload)
			require.Empty(t, pressed, "each press once")
		})
	}
}

func TestNoEventsForAMetaThatHasNone(t *testing.T) {
	m := newMeta(t, newRelay(t))
	offer := strings.ReplaceAll(strings.ReplaceAll(m.sdp("audio"), " 126\r\n", "\r\n"), "a=rtpmap:126 telephone-event/8000\r\n", "")
	l, answer, err := newStack(t, loopback()).Answer(t.Context(), offer)
	require.NoError(t, err)
	defer func() { require.NoError(t, l.Close()) }()
	require.NotContains(t, answer, "telephone-event")
	require.False(t, l.TakesKeys())
	m.take(answer, relay.DTLSRoleServer)
	closed(t, "connection", l.Connected())
	closed(t, "Meta's connection", m.session.Connected())
	l.Open()
	require.ErrorIs(t, l.WriteRTP(event(1, 1, 10, 0, 160)), metaleg.ErrNoEvents)
	require.NoError(t, l.WriteRTP(packet(1, "speech")))
	require.EqualValues(t, 1, l.Stats().SentPackets)
}
