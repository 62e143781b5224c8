package node

import (
	"github.com/livekit/psrpc"

	"github.com/livekit-connector/livekit-connector/internal/call"
	"github.com/livekit-connector/livekit-connector/media"
)

// AttributeMedia is the participant attribute by which the request for a call chooses its mode: "auto" or "transcode",
// as the configuration's media.mode. The room sees it like every attribute.
const AttributeMedia = "lk.connector.media"

// audio is how a call with these attributes treats audio.
func (n *Node) audio(attributes map[string]string) (call.Audio, error) {
	a := n.opts.Audio
	switch text, asked := attributes[AttributeMedia]; {
	case !asked:
	case text == media.ModeAuto.String():
		a.Mode = media.ModeAuto
	case text == media.ModeTranscode.String():
		a.Mode = media.ModeTranscode
	default:
		return call.Audio{}, psrpc.NewErrorf(psrpc.InvalidArgument, "participant attribute %s: want %s or %s",
			AttributeMedia, media.ModeAuto, media.ModeTranscode)
	}
	return a, nil
}
