package app

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/internal/metaleg"
	"github.com/livekit-connector/livekit-connector/media"
)

func TestMediaSectionIsChecked(t *testing.T) {
	_, err := parse(append([]string{`CONNECTOR_CONFIG_BODY=media:
  mode: both
  g711: true
  max_relay_bitrate: 5
  max_voices: 0
  gain_to_phone: 60
  gain_to_room: -21
  opus: {bitrate: 600, complexity: 11, expected_loss: 101, fec: 7}
  jitter: {min_delay: 400ms, max_delay: 300ms}
`}, minimal...))
	require.Error(t, err)
	require.Equal(t, `C:8: media.opus.fec: want true or false, got "7"
C:2: media.mode: "both" is not one of auto, transcode
C:3: media.g711: "true" is not one of off, fallback, prefer
C:4: media.max_relay_bitrate: 5 is not between 6000 and 510000
C:5: media.max_voices: 0 is not between 1 and 100
C:6: media.gain_to_phone: 60 is not between -20 and 20
C:7: media.gain_to_room: -21 is not between -20 and 20
C:8: media.opus.bitrate: 600 is not between 6000 and 510000
C:8: media.opus.complexity: 11 is not between 1 and 10
C:8: media.opus.expected_loss: 101 is not between 0 and 100
C:9: media.jitter.max_delay: 300ms is below min_delay 400ms`, strings.ReplaceAll(err.Error(), "$CONNECTOR_CONFIG_BODY", "C"))
}

func TestMediaSectionReachesTheCalls(t *testing.T) {
	for name, tt := range map[string]struct {
		body string
		g711 metaleg.G711
	}{
		"without quotes": {"media: {g711: off}", metaleg.G711Off},
		"fallback":       {"media: {g711: fallback}", metaleg.G711Fallback},
		"prefer":         {"media: {g711: prefer}", metaleg.G711Prefer},
		"nothing said":   {"{}", metaleg.G711Off},
	} {
		t.Run(name, func(t *testing.T) {
			line, err := parse(append([]string{"CONNECTOR_CONFIG_BODY=" + tt.body}, minimal...))
			require.NoError(t, err)
			require.Equal(t, tt.g711, line.Config.Media.g711())
		})
	}

	line, err := parse(append([]string{`CONNECTOR_CONFIG_BODY=media:
  mode: transcode
  max_relay_bitrate: 0
  max_voices: 3
  gain_to_phone: 6
  gain_to_room: -3
  agc_to_phone: true
  opus: {expected_loss: 4}
`}, minimal...))
	require.NoError(t, err)
	audio, err := line.Config.Media.audio()
	require.NoError(t, err)
	require.Equal(t, media.ModeTranscode, audio.Mode)
	require.Negative(t, audio.ToPhone.MaxRelayBitrate, "no limit")
	require.Equal(t, 3, audio.ToPhone.MaxVoices)
	require.InDelta(t, 6, audio.ToPhone.GainDB, 0)
	require.InDelta(t, -3, audio.ToRoom.GainDB, 0)
	require.True(t, audio.ToPhone.AGC)
	require.False(t, audio.ToRoom.AGC)
	require.Equal(t, 4, audio.ToPhone.ExpectedLoss)
	require.NotNil(t, audio.ToPhone.Codecs)
	require.NotNil(t, audio.ToRoom.Codecs)
	require.NotSame(t, audio.ToPhone.Codecs, audio.ToRoom.Codecs, "each direction has an encoder of its own kind")

	plain := DefaultConfig()
	audio, err = plain.Media.audio()
	require.NoError(t, err)
	require.Equal(t, media.ModeAuto, audio.Mode)
	require.Zero(t, audio.ToPhone.GainDB)
	require.False(t, audio.ToPhone.AGC || audio.ToRoom.AGC)
	require.Equal(t, 300*time.Millisecond, plain.Media.Jitter.MaxDelay)
}
