package node

import (
	"testing"

	"github.com/livekit/psrpc"
	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/internal/call"
	"github.com/livekit-connector/livekit-connector/media"
	"github.com/livekit-connector/livekit-connector/proto/connectorpb"
)

func TestCallChoosesItsMode(t *testing.T) {
	n := &Node{opts: Options{Audio: call.Audio{ToPhone: media.LineOptions{MaxVoices: 7}}}}
	for name, tt := range map[string]struct {
		attributes map[string]string
		configured media.Mode
		want       media.Mode
	}{
		"nothing said":                    {nil, media.ModeTranscode, media.ModeTranscode},
		"transcode":                       {map[string]string{connectorpb.AttributeMedia: "transcode"}, media.ModeAuto, media.ModeTranscode},
		"auto, against the connector's":   {map[string]string{connectorpb.AttributeMedia: "auto"}, media.ModeTranscode, media.ModeAuto},
		"something else among attributes": {map[string]string{"media": "transcode"}, media.ModeAuto, media.ModeAuto},
	} {
		t.Run(name, func(t *testing.T) {
			n.opts.Audio.Mode = tt.configured
			got, err := n.audio(tt.attributes)
			require.NoError(t, err)
			require.Equal(t, tt.want, got.Mode)
			require.Equal(t, 7, got.ToPhone.MaxVoices)
		})
	}
	for _, wrong := range []string{"", "Transcode", "relay"} {
		_, err := n.audio(map[string]string{connectorpb.AttributeMedia: wrong})
		var coded psrpc.Error
		require.ErrorAs(t, err, &coded)
		require.Equal(t, psrpc.InvalidArgument, coded.Code())
		require.ErrorContains(t, err, "lk.connector.media: want auto or transcode")
	}
}
