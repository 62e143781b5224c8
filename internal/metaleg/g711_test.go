package metaleg_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/internal/metaleg"
	"github.com/livekit-connector/livekit-connector/media"
	"github.com/livekit-connector/livekit-connector/pkg/fakemeta/relay"
)

func TestCodecOfAnInboundCall(t *testing.T) {
	tests := map[string]struct {
		policy  metaleg.G711
		formats string
		codec   media.Codec
		typ     uint8
	}{
		"Opus alone":              {metaleg.G711Prefer, "111", media.CodecOpus, 111},
		"G.711 is off":            {metaleg.G711Off, "0 8 111", media.CodecOpus, 111},
		"G.711 is not needed":     {metaleg.G711Fallback, "0 8 111", media.CodecOpus, 111},
		"G.711 is all there is":   {metaleg.G711Fallback, "8", media.CodecPCMA, 8},
		"G.711 is wanted":         {metaleg.G711Prefer, "111 0 8", media.CodecPCMU, 0},
		"A-law comes first":       {metaleg.G711Prefer, "111 8 0", media.CodecPCMA, 8},
		"A-law is all that there": {metaleg.G711Prefer, "111 8", media.CodecPCMA, 8},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			m := newMeta(t, newRelay(t))
			m.formats, m.typ = tt.formats, tt.typ
			config := loopback()
			config.G711 = tt.policy
			l, answer, err := newStack(t, config).Answer(t.Context(), m.sdp("audio"))
			require.NoError(t, err)
			defer func() { require.NoError(t, l.Close()) }()
			require.Equal(t, tt.codec, l.Codec())
			require.Regexp(t, `(?m)^m=audio \d+ UDP/TLS/RTP/SAVPF `+format(tt.typ)+` 126\r$`, answer, "one codec, so that nobody changes it")
			m.take(answer, relay.DTLSRoleServer)
			bothHear(t, m, l, tt.typ)
		})
	}
}

func TestCodecOfAnOutboundCall(t *testing.T) {
	tests := map[string]struct {
		policy   metaleg.G711
		offered  string
		answered string
		codec    media.Codec
		typ      uint8
	}{
		"Opus alone":               {metaleg.G711Off, "111", "111", media.CodecOpus, 111},
		"an echo of more":          {metaleg.G711Off, "111", "0 8 111", media.CodecOpus, 111},
		"Opus first":               {metaleg.G711Fallback, "111 0 8", "111 0 8", media.CodecOpus, 111},
		"G.711 is what Meta takes": {metaleg.G711Fallback, "111 0 8", "0", media.CodecPCMU, 0},
		"G.711 first":              {metaleg.G711Prefer, "0 8 111", "8 0 111", media.CodecPCMA, 8},
		"G.711 is not enabled":     {metaleg.G711Prefer, "0 8 111", "111", media.CodecOpus, 111},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			m := newMeta(t, newRelay(t))
			m.setup, m.formats, m.typ = "active", tt.answered, tt.typ
			config := loopback()
			config.G711 = tt.policy
			l, offer, err := newStack(t, config).Offer(t.Context())
			require.NoError(t, err)
			defer func() { require.NoError(t, l.Close()) }()
			require.Regexp(t, `(?m)^m=audio \d+ UDP/TLS/RTP/SAVPF `+tt.offered+` 126\r$`, offer)
			m.take(offer, relay.DTLSRoleClient)
			require.NoError(t, l.SetAnswer(m.sdp("0")))
			require.Equal(t, tt.codec, l.Codec())
			bothHear(t, m, l, tt.typ)
		})
	}
}

func TestG711OnlyIsRefusedByName(t *testing.T) {
	m := newMeta(t, newRelay(t))
	m.formats = "0 8"
	_, _, err := newStack(t, loopback()).Answer(t.Context(), m.sdp("audio"))
	require.ErrorIs(t, err, metaleg.ErrSDP)
	require.ErrorContains(t, err, "media.g711")
}

// bothHear sends a packet each way and looks at its payload type.
func bothHear(t *testing.T, m *meta, l *metaleg.Leg, typ uint8) {
	t.Helper()
	closed(t, "connection", l.Connected())
	closed(t, "Meta's connection", m.session.Connected())
	e := newEar()
	l.SetSink(e)
	m.say("phone", 1)
	require.Equal(t, "phone", string(e.waitFor(t, 1)[0].Payload))
	l.Open()
	require.NoError(t, l.WriteRTP(packet(1, "room")))
	m.until("a packet", func() bool { return len(m.heard) == 1 })
	m.mu.Lock()
	defer m.mu.Unlock()
	require.Equal(t, typ, m.heard[0].PayloadType)
}

func format(typ uint8) string {
	return map[uint8]string{111: "111", 0: "0", 8: "8"}[typ]
}
