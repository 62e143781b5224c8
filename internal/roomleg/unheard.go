package roomleg

import (
	"slices"
	"strings"

	"github.com/livekit/protocol/livekit"
	lksdk "github.com/livekit/server-sdk-go/v2"
	"github.com/pion/webrtc/v4"

	"github.com/livekit-connector/livekit-connector/media"
)

// AttributeUnheard names the tracks of the room that the phone cannot hear, and why:
// "TR_AMxyz:encrypted TR_AMabc:codec". Whoever publishes such a track finds out here why nobody answers. It is absent
// while there is none.
const AttributeUnheard = "lk.connector.unheardTracks"

// Refusal is why a track of the room is not heard.
type Refusal uint8

const (
	// RefusedNot is a track that is heard.
	RefusedNot Refusal = iota
	// RefusedEncrypted is a track with end-to-end encryption: its key stays with the room's participants, and a phone is none.
	RefusedEncrypted
	// RefusedCodec is a track in a codec other than Opus, PCMU and PCMA.
	RefusedCodec
)

// Refusals are all reasons, for label sets.
var Refusals = []Refusal{RefusedEncrypted, RefusedCodec}

func (r Refusal) String() string {
	switch r {
	case RefusedEncrypted:
		return "encrypted"
	case RefusedCodec:
		return "codec"
	default:
		return "not"
	}
}

// What a room carries, and what of it we ask for.
//
// LiveKit's clients publish Opus as RED (RFC 2198) where they can. livekit-server repairs with it what was lost on the way
// from the publisher, and hands the primary encoding on to subscribers that did not offer RED: that is what we do, because
// the way from the server to us is short, and two copies of each frame cost twice the packets' bytes. What is lost on that
// way stays lost, except for what Opus says twice: the SDK asks for video alone again. Seen with server 1.13.5: a
// subscriber on a single peer connection gets plain Opus even if it offers RED.
//
// PCMU and PCMA tracks come as they are; the server transcodes nothing.
//
// The audio-level extension (RFC 6464) is negotiated by SDK and server, but server 1.13.5 writes the headers of forwarded
// packets anew and leaves it out. Its number is handed to the line all the same, which uses it if a server sends it.
// Without it there are the server's speaker updates, and the packets themselves.

// redMIME is RFC 2198 as LiveKit names it; what it carries in a room is always Opus.
const redMIME = "audio/red"

// sourceOf says how the line has to take a track of a MIME type.
func sourceOf(mime string) (o media.SourceOptions, known bool) {
	switch {
	case strings.EqualFold(mime, webrtc.MimeTypeOpus):
		return media.SourceOptions{Codec: media.CodecOpus}, true
	case strings.EqualFold(mime, redMIME):
		return media.SourceOptions{Codec: media.CodecOpus, RED: true}, true
	case strings.EqualFold(mime, webrtc.MimeTypePCMU):
		return media.SourceOptions{Codec: media.CodecPCMU}, true
	case strings.EqualFold(mime, webrtc.MimeTypePCMA):
		return media.SourceOptions{Codec: media.CodecPCMA}, true
	default:
		return media.SourceOptions{}, false
	}
}

// refusalOf judges a track by what the room says of it, before it is asked for.
func refusalOf(info *livekit.TrackInfo) Refusal {
	if info.GetEncryption() != livekit.Encryption_NONE {
		return RefusedEncrypted
	}
	if mime := info.GetMimeType(); mime != "" {
		if _, known := sourceOf(mime); !known {
			return RefusedCodec
		}
	}
	return RefusedNot
}

// unheard are the tracks that are refused. Owned by watch.
type unheard struct {
	reasons map[string]Refusal // by track SID
	told    string             // the attribute as it was last set
}

// note refuses a track or not, and says so once.
func (l *Leg) note(pub *lksdk.RemoteTrackPublication) Refusal {
	reason := refusalOf(pub.TrackInfo())
	if reason == RefusedNot || l.unheard.reasons[pub.SID()] == reason {
		return reason
	}
	l.unheard.reasons[pub.SID()] = reason
	l.refuse(reason)
	if reason == RefusedEncrypted {
		l.log.Warn("room track not heard: it is end-to-end encrypted, and a phone call cannot be",
			"trackID", pub.SID(), "encryption", pub.TrackInfo().GetEncryption().String())
	} else {
		l.log.Warn("room track not heard: it is neither Opus nor G.711", "trackID", pub.SID(), "codec", pub.TrackInfo().GetMimeType())
	}
	return reason
}

// refuse counts a track that is not heard.
func (l *Leg) refuse(reason Refusal) {
	l.counts.refused[reason].Add(1)
	if l.opts.OnRefused != nil {
		l.opts.OnRefused(reason)
	}
}

// tellUnheard brings the attribute in line with the tracks that are there now.
func (l *Leg) tellUnheard(present map[string]bool) {
	var list []string
	for sid, reason := range l.unheard.reasons {
		if !present[sid] {
			delete(l.unheard.reasons, sid)
			continue
		}
		list = append(list, sid+":"+reason.String())
	}
	slices.Sort(list)
	text := strings.Join(list, " ")
	if text == l.unheard.told {
		return
	}
	if err := l.SetAttributes(map[string]string{AttributeUnheard: text}); err != nil {
		return // the leg is over
	}
	l.unheard.told = text
}
