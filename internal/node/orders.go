package node

import (
	"strings"
	"unicode/utf8"

	"github.com/livekit/psrpc"

	"github.com/livekit-connector/livekit-connector/internal/call"
	"github.com/livekit-connector/livekit-connector/pkg/whatsapp"
	"github.com/livekit-connector/livekit-connector/proto/connectorpb"
)

// orders is what the reserved participant attributes of a request ask for, and the configuration where they do not.
type orders struct {
	recording, transcription *whatsapp.Capture
	recipient                string
}

// wishes is how a call wants to be treated, by the attributes of its request.
type wishes struct {
	orders
	audio call.Audio
}

func (n *Node) wishes(attributes map[string]string, d call.Direction) (wishes, error) {
	audio, err := n.audio(attributes)
	if err != nil {
		return wishes{}, err
	}
	o, err := n.orders(attributes, d)
	return wishes{orders: o, audio: audio}, err
}

// maxRecipient is more than any business-scoped user ID: a country, a dot and up to 128 letters and digits.
const maxRecipient = 131

// orders reads the reserved attributes of a request.
func (n *Node) orders(attributes map[string]string, d call.Direction) (orders, error) {
	o := orders{recording: n.opts.Recording, transcription: n.opts.Transcription}
	for _, c := range []struct {
		attribute string
		capture   **whatsapp.Capture
	}{{connectorpb.AttributeRecording, &o.recording}, {connectorpb.AttributeTranscription, &o.transcription}} {
		text, asked := attributes[c.attribute]
		if !asked {
			continue
		}
		capture, err := whatsapp.ParseCapture(text)
		if err != nil {
			return orders{}, psrpc.NewErrorf(psrpc.InvalidArgument, `participant attribute %s: %v: want JSON such as `+
				`{"purpose": "quality assurance", "announcement_language": "en_US"}, or {"status": "DISABLED"}`, c.attribute, err)
		}
		*c.capture = capture
	}
	recipient, asked := attributes[connectorpb.AttributeRecipient]
	switch {
	case !asked:
		return o, nil
	case d == call.Inbound:
		return orders{}, psrpc.NewErrorf(psrpc.InvalidArgument,
			"participant attribute %s: it says whom to dial, and belongs to DialWhatsAppCall alone", connectorpb.AttributeRecipient)
	case !validRecipient(recipient):
		return orders{}, psrpc.NewErrorf(psrpc.InvalidArgument,
			"participant attribute %s: want a user ID of Meta's such as US.13491208655302741918", connectorpb.AttributeRecipient)
	}
	o.recipient = recipient
	return o, nil
}

// validRecipient keeps out what is no ID, such as a phone number in the wrong place.
func validRecipient(id string) bool {
	country, rest, ok := strings.Cut(id, ".")
	if !ok || len(country) != 2 || rest == "" || utf8.RuneCountInString(id) > maxRecipient {
		return false
	}
	for _, c := range []byte(country + rest) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && c != '.' {
			return false
		}
	}
	return true
}

// reserved are the attributes that no room sees.
var reserved = []string{connectorpb.AttributeRecording, connectorpb.AttributeTranscription, connectorpb.AttributeRecipient}
