// Package connectorpb holds the messages between an API front and the node that holds a call.
package connectorpb

// Participant attributes of a Dial or Accept request that are orders to the connector, for what the request has no field
// for. They are taken out before the participant joins, so that nobody in the room sees them.
const (
	// AttributeRecording and AttributeTranscription ask Meta to record or transcribe the call. The value is JSON as in
	// Meta's calls reference: {"purpose": "quality assurance", "announcement_language": "en_US"}.
	AttributeRecording     = "lk.connector.recording"
	AttributeTranscription = "lk.connector.transcription"
	// AttributeRecipient is the business-scoped user ID of whom to dial, where no phone number is known.
	AttributeRecipient = "lk.connector.recipient"
)

// AttributeMedia is the participant attribute by which the request for a call chooses its mode: "auto" or "transcode",
// as the configuration's media.mode. The room sees it like every attribute.
const AttributeMedia = "lk.connector.media"
