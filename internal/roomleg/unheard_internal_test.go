package roomleg

import (
	"testing"

	"github.com/livekit/protocol/livekit"
	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/media"
)

func TestWhatOfARoomIsHeard(t *testing.T) {
	for name, tt := range map[string]struct {
		info    *livekit.TrackInfo
		refusal Refusal
		source  media.SourceOptions
	}{
		"Opus":             {&livekit.TrackInfo{MimeType: "audio/opus"}, RefusedNot, media.SourceOptions{}},
		"RED":              {&livekit.TrackInfo{MimeType: "audio/red"}, RefusedNot, media.SourceOptions{RED: true}},
		"mu-law":           {&livekit.TrackInfo{MimeType: "audio/PCMU"}, RefusedNot, media.SourceOptions{Codec: media.CodecPCMU}},
		"A-law":            {&livekit.TrackInfo{MimeType: "audio/pcma"}, RefusedNot, media.SourceOptions{Codec: media.CodecPCMA}},
		"not said":         {&livekit.TrackInfo{}, RefusedNot, media.SourceOptions{}},
		"another codec":    {&livekit.TrackInfo{MimeType: "audio/G722"}, RefusedCodec, media.SourceOptions{}},
		"GCM":              {&livekit.TrackInfo{MimeType: "audio/opus", Encryption: livekit.Encryption_GCM}, RefusedEncrypted, media.SourceOptions{}},
		"their own cipher": {&livekit.TrackInfo{MimeType: "audio/opus", Encryption: livekit.Encryption_CUSTOM}, RefusedEncrypted, media.SourceOptions{}},
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, tt.refusal, refusalOf(tt.info))
			if source, known := sourceOf(tt.info.GetMimeType()); known {
				require.Equal(t, tt.source, source)
			}
		})
	}
}
