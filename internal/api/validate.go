package api

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/livekit/protocol/connector"
	"github.com/livekit/protocol/livekit"
	"github.com/livekit/psrpc"
	"github.com/twitchtv/twirp"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/livekit-connector/livekit-connector/proto/connectorpb"
)

// Limits. Those on rooms and participants are livekit-server's own, in bytes as there: it would refuse the join when the
// phone is ringing already.
const (
	maxNameBytes       = 256
	maxMetadataBytes   = 512 << 10
	maxAttributesBytes = 64 << 10
	maxSDPBytes        = 64 << 10
	maxCallIDBytes     = 512
	maxOpaqueChars     = 512 // Meta, "biz_opaque_callback_data"
	maxPhoneIDBytes    = 64
	maxTokenBytes      = 4 << 10
	minPhoneDigits     = 5
	maxPhoneDigits     = 20
	minRinging         = time.Second
	maxRinging         = 5 * time.Minute
)

const (
	sdpOffer  = "offer"
	sdpAnswer = "answer"
)

// verdicts are a request's checks in their order; the first that failed is the answer.
type verdicts []twirp.Error

func (v verdicts) first() twirp.Error {
	for _, err := range v {
		if err != nil {
			return err
		}
	}
	return nil
}

// checkDial also rewrites the number to the digits that Meta wants, and fills in what is configured for the phone number.
func checkDial(req *livekit.DialWhatsAppCallRequest, version func(string) error, known credentials) twirp.Error {
	known.fill(req.WhatsappPhoneNumberId, &req.WhatsappApiKey, &req.WhatsappCloudApiVersion)
	err := verdicts{
		required(req.WhatsappPhoneNumberId, "whatsapp_phone_number_id", connector.ErrMissingWhatsAppPhoneNumberId),
		requiredCallee(req),
		known.requireToken(req.WhatsappApiKey),
		known.requireVersion(req.WhatsappCloudApiVersion, version),
		checkPhoneID(req.WhatsappPhoneNumberId),
		checkToken(req.WhatsappApiKey),
		checkOpaque(req.WhatsappBizOpaqueCallbackData),
		checkJoin(req),
		checkRinging(req.RingingTimeout),
	}.first()
	if err != nil || req.WhatsappToPhoneNumber == "" {
		return err
	}
	req.WhatsappToPhoneNumber, err = phoneDigits(req.WhatsappToPhoneNumber)
	return err
}

// requiredCallee: the user is named by his number, or by his ID at Meta in a participant attribute.
func requiredCallee(req *livekit.DialWhatsAppCallRequest) twirp.Error {
	if req.ParticipantAttributes[connectorpb.AttributeRecipient] != "" && req.WhatsappToPhoneNumber == "" {
		return nil
	}
	return required(req.WhatsappToPhoneNumber, "whatsapp_to_phone_number", connector.ErrMissingWhatsAppToNumber)
}

// checkAccept also fills in what is configured for the phone number.
func checkAccept(req *livekit.AcceptWhatsAppCallRequest, version func(string) error, known credentials) twirp.Error {
	known.fill(req.WhatsappPhoneNumberId, &req.WhatsappApiKey, &req.WhatsappCloudApiVersion)
	return verdicts{
		checkSDPType(req.Sdp, sdpOffer),
		required(req.WhatsappPhoneNumberId, "whatsapp_phone_number_id", connector.ErrMissingWhatsAppPhoneNumberId),
		known.requireToken(req.WhatsappApiKey),
		required(req.WhatsappCallId, "whatsapp_call_id", connector.ErrMissingWhatsAppCallId),
		requiredSDP(req.Sdp),
		known.requireVersion(req.WhatsappCloudApiVersion, version),
		checkSDPSize(req.Sdp),
		checkCallID(req.WhatsappCallId),
		checkPhoneID(req.WhatsappPhoneNumberId),
		checkToken(req.WhatsappApiKey),
		checkOpaque(req.WhatsappBizOpaqueCallbackData),
		checkJoin(req),
		checkRinging(req.RingingTimeout),
	}.first()
}

func checkConnect(req *livekit.ConnectWhatsAppCallRequest) twirp.Error {
	return verdicts{
		checkSDPType(req.Sdp, sdpAnswer),
		required(req.WhatsappCallId, "whatsapp_call_id", connector.ErrMissingWhatsAppCallId),
		requiredSDP(req.Sdp),
		checkSDPSize(req.Sdp),
		checkCallID(req.WhatsappCallId),
	}.first()
}

// checkDisconnect lets the key be left out where it can be configured: the call has one then.
func checkDisconnect(req *livekit.DisconnectWhatsAppCallRequest, known credentials) twirp.Error {
	if err := required(req.WhatsappCallId, "whatsapp_call_id", connector.ErrMissingWhatsAppCallId); err != nil {
		return err
	}
	switch req.DisconnectReason {
	case livekit.DisconnectWhatsAppCallRequest_USER_INITIATED:
	case livekit.DisconnectWhatsAppCallRequest_BUSINESS_INITIATED:
		if known != nil {
			break
		}
		if err := known.requireToken(req.WhatsappApiKey); err != nil {
			return err
		}
	default:
		return invalid("disconnect_reason", "disconnect_reason must be BUSINESS_INITIATED or USER_INITIATED")
	}
	return verdicts{checkCallID(req.WhatsappCallId), checkToken(req.WhatsappApiKey)}.first()
}

// checkSDPType comes before everything else, as on LiveKit Cloud: it tells a caller who mixed up Accept and Connect.
func checkSDPType(sdp *livekit.SessionDescription, want string) twirp.Error {
	if sdp.GetType() == want {
		return nil
	}
	return invalid("sdp", fmt.Sprintf("%s: it must be %q", connector.ErrIncorrectSDPType, want))
}

func required(value, field string, missing psrpc.Error) twirp.Error {
	if strings.TrimSpace(value) != "" {
		return nil
	}
	return invalid(field, missing.Error())
}

func requiredSDP(sdp *livekit.SessionDescription) twirp.Error {
	if strings.TrimSpace(sdp.GetSdp()) != "" {
		return nil
	}
	return invalid("sdp", "sdp is required: pass on the text of session.sdp from Meta's webhook")
}

func checkSDPSize(sdp *livekit.SessionDescription) twirp.Error {
	return atMost("sdp", len(sdp.GetSdp()), maxSDPBytes, "bytes")
}

// checkCallID keeps out what a bus or a log could misread; Meta's IDs are "wacid." and base64.
func checkCallID(id string) twirp.Error {
	if err := atMost("whatsapp_call_id", len(id), maxCallIDBytes, "bytes"); err != nil {
		return err
	}
	if !printable(id) {
		return invalid("whatsapp_call_id", "whatsapp_call_id must be printable ASCII without spaces")
	}
	return nil
}

// checkPhoneID: the ID becomes a part of the Graph URL's path.
func checkPhoneID(id string) twirp.Error {
	ok := len(id) <= maxPhoneIDBytes
	for _, c := range []byte(id) {
		ok = ok && (c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '-' || c == '_')
	}
	if !ok {
		return invalid("whatsapp_phone_number_id",
			fmt.Sprintf("whatsapp_phone_number_id must be Meta's ID of the phone number, at most %d letters and digits", maxPhoneIDBytes))
	}
	return nil
}

// checkToken: the key becomes a header's value.
func checkToken(token string) twirp.Error {
	if len(token) <= maxTokenBytes && printable(token) {
		return nil
	}
	return invalid("whatsapp_api_key", fmt.Sprintf(
		"whatsapp_api_key must be an access token of Meta's: printable ASCII without spaces or line ends, at most %d bytes", maxTokenBytes))
}

func checkOpaque(data string) twirp.Error {
	return atMost("whatsapp_biz_opaque_callback_data", utf8.RuneCountInString(data), maxOpaqueChars, "characters")
}

func checkRinging(timeout *durationpb.Duration) twirp.Error {
	if timeout == nil {
		return nil
	}
	d := timeout.AsDuration()
	if timeout.CheckValid() == nil && (d == 0 || d >= minRinging && d <= maxRinging) {
		return nil
	}
	return invalid("ringing_timeout", fmt.Sprintf("ringing_timeout must be between %s and %s, or left out", minRinging, maxRinging))
}

// joinRequest is what Dial and Accept share.
type joinRequest interface {
	GetRoomName() string
	GetParticipantIdentity() string
	GetParticipantName() string
	GetParticipantMetadata() string
	GetParticipantAttributes() map[string]string
}

func checkJoin(req joinRequest) twirp.Error {
	attributes := 0
	for k, v := range req.GetParticipantAttributes() {
		attributes += len(k) + len(v)
	}
	return verdicts{
		atMost("room_name", len(req.GetRoomName()), maxNameBytes, "bytes"),
		atMost("participant_identity", len(req.GetParticipantIdentity()), maxNameBytes, "bytes"),
		atMost("participant_name", len(req.GetParticipantName()), maxNameBytes, "bytes"),
		atMost("participant_metadata", len(req.GetParticipantMetadata()), maxMetadataBytes, "bytes"),
		atMost("participant_attributes", attributes, maxAttributesBytes, "bytes, keys and values together"),
	}.first()
}

// phoneDigits strips what people write into numbers. SDK documentation asks for no "+", SDK test suites send it.
func phoneDigits(number string) (string, twirp.Error) {
	digits := strings.Map(func(r rune) rune {
		if strings.ContainsRune(" -.()\u00a0", r) {
			return -1
		}
		return r
	}, strings.TrimSpace(number))
	digits = strings.TrimPrefix(digits, "+")
	ok := len(digits) >= minPhoneDigits && len(digits) <= maxPhoneDigits
	for _, c := range []byte(digits) {
		ok = ok && c >= '0' && c <= '9'
	}
	if !ok {
		return "", invalid("whatsapp_to_phone_number", fmt.Sprintf(
			"whatsapp to_phone_number must be %d to %d digits, beginning with the country code", minPhoneDigits, maxPhoneDigits))
	}
	return digits, nil
}

func printable(s string) bool {
	for _, c := range []byte(s) {
		if c <= ' ' || c > '~' {
			return false
		}
	}
	return true
}

func atMost(field string, n, limit int, unit string) twirp.Error {
	if n <= limit {
		return nil
	}
	return invalid(field, fmt.Sprintf("%s must not exceed %d %s", field, limit, unit))
}

// invalid names the field in meta as twirp.InvalidArgumentError does, but leaves the message to us.
func invalid(field, msg string) twirp.Error {
	return twirp.NewError(twirp.InvalidArgument, msg).WithMeta("argument", field)
}
