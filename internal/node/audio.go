package node

import (
	"github.com/livekit/psrpc"

	"github.com/livekit-connector/livekit-connector/internal/call"
	"github.com/livekit-connector/livekit-connector/media"
	"github.com/livekit-connector/livekit-connector/proto/connectorpb"
)

// audio is how a call with these attributes treats audio.
func (n *Node) audio(attributes map[string]string) (call.Audio, error) {
	a := n.opts.Audio
	switch text, asked := attributes[connectorpb.AttributeMedia]; {
	case !asked:
	case text == media.ModeAuto.String():
		a.Mode = media.ModeAuto
	case text == media.ModeTranscode.String():
		a.Mode = media.ModeTranscode
	default:
		return call.Audio{}, psrpc.NewErrorf(psrpc.InvalidArgument, "participant attribute %s: want %s or %s",
			connectorpb.AttributeMedia, media.ModeAuto, media.ModeTranscode)
	}
	return a, nil
}
