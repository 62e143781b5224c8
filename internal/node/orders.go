package node

import (
	"encoding/json"
	"errors"
	"io"
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
		capture, err := readCapture(text)
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

// readCapture returns nil if the text says that nothing is to be captured.
func readCapture(text string) (*whatsapp.Capture, error) {
	var c struct {
		Status   *string `json:"status"`
		Purpose  string  `json:"purpose"`
		Language string  `json:"announcement_language"`
	}
	d := json.NewDecoder(strings.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&c); err != nil {
		return nil, plainJSONError(err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("there is something behind the JSON object")
	}
	capture := whatsapp.Capture{Status: "ENABLED", Purpose: c.Purpose, AnnouncementLanguage: c.Language}
	if c.Status != nil {
		capture.Status = *c.Status
	}
	if err := capture.Validate("it"); err != nil {
		return nil, errors.New(strings.TrimPrefix(err.Error(), whatsapp.ErrInvalidRequest.Error()+": "))
	}
	if capture.Status == "DISABLED" {
		return nil, nil
	}
	return &capture, nil
}

// plainJSONError says what is wrong without the decoder's own vocabulary.
func plainJSONError(err error) error {
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &kind) && kind.Field != "":
		return errors.New(kind.Field + " must be text")
	case errors.As(err, &kind):
		return errors.New("it is not a JSON object")
	case strings.HasPrefix(err.Error(), "json: unknown field"):
		return errors.New(strings.TrimPrefix(err.Error(), "json: "))
	default:
		return errors.New("it is not JSON")
	}
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
