package rules

import (
	"strings"

	"github.com/livekit-connector/livekit-connector/internal/settings"
	"github.com/livekit-connector/livekit-connector/media"
	"github.com/livekit-connector/livekit-connector/pkg/whatsapp"
	"github.com/livekit-connector/livekit-connector/proto/connectorpb"
)

// reserved begins the names of attributes that the connector reads or writes.
const reserved = "lk.connector."

// orders are the reserved attributes that a rule may set.
var orders = []string{connectorpb.AttributeMedia, connectorpb.AttributeRecording, connectorpb.AttributeTranscription}

// order checks an attribute that is an order to the connector: a wrong one would have every call of the rule refused.
func (b *builder) order(key, name string, t *template) {
	if !strings.HasPrefix(name, reserved) {
		return
	}
	if len(t.names()) > 0 {
		b.problem(key, "is an order to the connector: want fixed text, without placeholders")
		return
	}
	text := t.render(&values{})
	switch name {
	case connectorpb.AttributeMedia:
		if text != media.ModeAuto.String() && text != media.ModeTranscode.String() {
			b.problem(key, "want %s or %s", media.ModeAuto, media.ModeTranscode)
		}
	case connectorpb.AttributeRecording, connectorpb.AttributeTranscription:
		if _, err := whatsapp.ParseCapture(text); err != nil {
			b.problem(key, `%v: want JSON such as {"purpose": "quality assurance", "announcement_language": "en_US"}, or {"status": "DISABLED"}`, err)
		}
	case connectorpb.AttributeRecipient:
		b.problem(key, "says whom to dial, and belongs to DialWhatsAppCall alone")
	default:
		b.problem(key, "attributes that begin with "+reserved+" are the connector's own%s", settings.Suggest(name, orders))
	}
}
