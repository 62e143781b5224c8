package metaleg

import (
	"slices"

	"github.com/pion/webrtc/v4"

	"github.com/livekit-connector/livekit-connector/media"
)

// G711 says whether a call may be in G.711 (PCMU or PCMA) instead of Opus. Meta
// takes it only from numbers whose settings name it (additional_codecs), and
// transcodes to the user's Opus itself. A description of ours then lists more than
// one codec in offers only; an answer names the one that is used.
type G711 uint8

const (
	// G711Off is Opus and nothing else.
	G711Off G711 = iota
	// G711Fallback takes Opus wherever Meta has it, else G.711.
	G711Fallback
	// G711Prefer takes G.711 wherever Meta has it, else Opus.
	G711Prefer
)

// codecs are what we negotiate, in our order.
func (g G711) codecs() []media.Codec {
	switch g {
	case G711Fallback:
		return []media.Codec{media.CodecOpus, media.CodecPCMU, media.CodecPCMA}
	case G711Prefer:
		return []media.Codec{media.CodecPCMU, media.CodecPCMA, media.CodecOpus}
	default:
		return []media.Codec{media.CodecOpus}
	}
}

// payload is a codec and the payload type that stands for it.
type payload struct {
	codec media.Codec
	typ   uint8
}

// choose takes the codec of a call from Meta's offer. The order of our two kinds is
// the policy's, PCMU and PCMA are taken in the order of the offer.
func (g G711) choose(offered []payload) (payload, bool) {
	ours := g.codecs()
	isOpus := func(p payload) bool { return p.codec == media.CodecOpus }
	opus := slices.IndexFunc(offered, isOpus)
	g711 := slices.IndexFunc(offered, func(p payload) bool { return !isOpus(p) && slices.Contains(ours, p.codec) })
	switch {
	case g711 >= 0 && (opus < 0 || g == G711Prefer):
		return offered[g711], true
	case opus >= 0:
		return offered[opus], true
	default:
		return payload{}, false
	}
}

// accept takes the codec of a call from Meta's answer: the first one that we
// offered (RFC 3264 section 6.1: the answerer's preference comes first).
func (g G711) accept(answered []payload) (payload, bool) {
	ours := g.codecs()
	i := slices.IndexFunc(answered, func(p payload) bool { return slices.Contains(ours, p.codec) })
	if i < 0 {
		return payload{}, false
	}
	return answered[i], true
}

// mimeTypes are Pion's names of the codecs.
var mimeTypes = map[media.Codec]string{
	media.CodecOpus: webrtc.MimeTypeOpus, media.CodecPCMU: webrtc.MimeTypePCMU, media.CodecPCMA: webrtc.MimeTypePCMA,
}

// ownCodecs is what Pion negotiates for codecs. Opus has no fmtp here: Pion
// compares it with the remote one and, with telephone-event beside it, drops a
// codec that differs. With none it takes Meta's as it is.
func ownCodecs(codecs []media.Codec) []webrtc.RTPCodecParameters {
	static := map[media.Codec]webrtc.PayloadType{ // RFC 3551 section 6
		media.CodecOpus: opusPayloadType, media.CodecPCMU: 0, media.CodecPCMA: 8,
	}
	var own []webrtc.RTPCodecParameters
	for _, c := range codecs {
		p := webrtc.RTPCodecParameters{
			RTPCodecCapability: webrtc.RTPCodecCapability{MimeType: mimeTypes[c], ClockRate: c.ClockRate()},
			PayloadType:        static[c],
		}
		if c == media.CodecOpus {
			p.Channels = 2 // RFC 7587 section 7: always, whatever is in it
		}
		own = append(own, p)
	}
	return append(own, webrtc.RTPCodecParameters{
		RTPCodecCapability: webrtc.RTPCodecCapability{MimeType: "audio/telephone-event", ClockRate: 8000},
		PayloadType:        eventPayloadType,
	})
}
