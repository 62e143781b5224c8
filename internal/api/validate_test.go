package api_test

import (
	"strings"
	"testing"
	"time"

	"github.com/livekit/protocol/livekit"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/livekit-connector/livekit-connector/proto/connectorpb"
)

func TestValidation(t *testing.T) {
	invalid := func(msg, argument string) failure {
		return failure{400, "invalid_argument", msg, map[string]string{"argument": argument}}
	}
	dialWith := func(name string, want failure, change func(*livekit.DialWhatsAppCallRequest)) errorCase {
		return errorCase{name: "Dial " + name, method: dialMethod, req: dial(change), want: want}
	}
	acceptWith := func(name string, want failure, change func(*livekit.AcceptWhatsAppCallRequest)) errorCase {
		return errorCase{name: "Accept " + name, method: acceptMethod, req: accept(change), want: want}
	}
	long := func(n int) string { return strings.Repeat("x", n) }
	requireErrors(t, []errorCase{
		dialWith("without phone number id", invalid("whatsapp phone number id is required", "whatsapp_phone_number_id"),
			func(r *livekit.DialWhatsAppCallRequest) { r.WhatsappPhoneNumberId = " " }),
		dialWith("without number", invalid("whatsapp to_phone_number is required", "whatsapp_to_phone_number"),
			func(r *livekit.DialWhatsAppCallRequest) { r.WhatsappToPhoneNumber = "" }),
		dialWith("number for an ID", invalid("must be 5 to 20 digits", "whatsapp_to_phone_number"),
			func(r *livekit.DialWhatsAppCallRequest) {
				r.WhatsappToPhoneNumber = "US.1349"
				r.ParticipantAttributes = map[string]string{connectorpb.AttributeRecipient: "US.1349"}
			}),
		dialWith("without key", invalid("whatsapp api key is required", "whatsapp_api_key"),
			func(r *livekit.DialWhatsAppCallRequest) { r.WhatsappApiKey = "" }),
		dialWith("version with v", invalid("whatsapp cloud api version not supported: write it without \"v\"", "whatsapp_cloud_api_version"),
			func(r *livekit.DialWhatsAppCallRequest) { r.WhatsappCloudApiVersion = "v23.0" }),
		dialWith("old version", invalid("whatsapp cloud api version not supported: use one from 23.0 to 26.0", "whatsapp_cloud_api_version"),
			func(r *livekit.DialWhatsAppCallRequest) { r.WhatsappCloudApiVersion = "22.0" }),
		dialWith("new version", invalid("version not supported", "whatsapp_cloud_api_version"),
			func(r *livekit.DialWhatsAppCallRequest) { r.WhatsappCloudApiVersion = "27.0" }),
		dialWith("no version", invalid("version not supported: whatsapp_cloud_api_version is required", "whatsapp_cloud_api_version"),
			func(r *livekit.DialWhatsAppCallRequest) { r.WhatsappCloudApiVersion = "" }),
		dialWith("key before version", invalid("whatsapp api key is required", "whatsapp_api_key"),
			func(r *livekit.DialWhatsAppCallRequest) { r.WhatsappApiKey, r.WhatsappCloudApiVersion = "", "v1" }),
		dialWith("version before limits", invalid("version not supported", "whatsapp_cloud_api_version"),
			func(r *livekit.DialWhatsAppCallRequest) { r.RoomName, r.WhatsappCloudApiVersion = long(257), "1" }),
		dialWith("path in phone number id", invalid("whatsapp_phone_number_id must be", "whatsapp_phone_number_id"),
			func(r *livekit.DialWhatsAppCallRequest) { r.WhatsappPhoneNumberId = "1/../2" }),
		dialWith("line end in key", invalid("whatsapp_api_key must be", "whatsapp_api_key"),
			func(r *livekit.DialWhatsAppCallRequest) { r.WhatsappApiKey = metaToken + "\n" }),
		dialWith("letters in number", invalid("must be 5 to 20 digits", "whatsapp_to_phone_number"),
			func(r *livekit.DialWhatsAppCallRequest) { r.WhatsappToPhoneNumber = "+1555CALLME" }),
		dialWith("short number", invalid("must be 5 to 20 digits", "whatsapp_to_phone_number"),
			func(r *livekit.DialWhatsAppCallRequest) { r.WhatsappToPhoneNumber = "+123 4" }),
		dialWith("long number", invalid("must be 5 to 20 digits", "whatsapp_to_phone_number"),
			func(r *livekit.DialWhatsAppCallRequest) { r.WhatsappToPhoneNumber = strings.Repeat("1", 21) }),
		dialWith("two plus signs", invalid("must be 5 to 20 digits", "whatsapp_to_phone_number"),
			func(r *livekit.DialWhatsAppCallRequest) { r.WhatsappToPhoneNumber = "++15550002222" }),
		dialWith("long room", invalid("room_name must not exceed 256 bytes", "room_name"),
			func(r *livekit.DialWhatsAppCallRequest) { r.RoomName = long(257) }),
		dialWith("long identity", invalid("participant_identity must not exceed 256", "participant_identity"),
			func(r *livekit.DialWhatsAppCallRequest) { r.ParticipantIdentity = long(257) }),
		dialWith("long name", invalid("participant_name must not exceed 256", "participant_name"),
			func(r *livekit.DialWhatsAppCallRequest) { r.ParticipantName = long(257) }),
		dialWith("long metadata", invalid("participant_metadata must not exceed 524288", "participant_metadata"),
			func(r *livekit.DialWhatsAppCallRequest) { r.ParticipantMetadata = long(512<<10 + 1) }),
		dialWith("long attributes", invalid("participant_attributes must not exceed 65536 bytes, keys and values together", "participant_attributes"),
			func(r *livekit.DialWhatsAppCallRequest) {
				r.ParticipantAttributes = map[string]string{"a": long(32 << 10), "b": long(32<<10 - 1)}
			}),
		dialWith("long callback data", invalid("whatsapp_biz_opaque_callback_data must not exceed 512 characters", "whatsapp_biz_opaque_callback_data"),
			func(r *livekit.DialWhatsAppCallRequest) { r.WhatsappBizOpaqueCallbackData = strings.Repeat("é", 513) }),
		dialWith("negative ringing", invalid("ringing_timeout must be between 1s and 5m0s", "ringing_timeout"),
			func(r *livekit.DialWhatsAppCallRequest) { r.RingingTimeout = durationpb.New(-time.Second) }),
		dialWith("endless ringing", invalid("ringing_timeout must be between 1s and 5m0s", "ringing_timeout"),
			func(r *livekit.DialWhatsAppCallRequest) { r.RingingTimeout = durationpb.New(time.Hour) }),

		acceptWith("answer, all else wrong too", invalid("incorrect sdp type", "sdp"),
			func(r *livekit.AcceptWhatsAppCallRequest) {
				r.Sdp.Type, r.WhatsappCloudApiVersion, r.WhatsappCallId = "answer", "v1", ""
			}),
		acceptWith("without sdp", invalid("incorrect sdp type", "sdp"),
			func(r *livekit.AcceptWhatsAppCallRequest) { r.Sdp = nil }),
		acceptWith("empty sdp", invalid("sdp is required", "sdp"),
			func(r *livekit.AcceptWhatsAppCallRequest) { r.Sdp.Sdp = "" }),
		acceptWith("without call id", invalid("whatsapp call id is required", "whatsapp_call_id"),
			func(r *livekit.AcceptWhatsAppCallRequest) { r.WhatsappCallId = "" }),
		acceptWith("without key", invalid("whatsapp api key is required", "whatsapp_api_key"),
			func(r *livekit.AcceptWhatsAppCallRequest) { r.WhatsappApiKey = "" }),
		acceptWith("without phone number id", invalid("whatsapp phone number id is required", "whatsapp_phone_number_id"),
			func(r *livekit.AcceptWhatsAppCallRequest) { r.WhatsappPhoneNumberId = "" }),
		acceptWith("version with v", invalid("version not supported", "whatsapp_cloud_api_version"),
			func(r *livekit.AcceptWhatsAppCallRequest) { r.WhatsappCloudApiVersion = "v23.0" }),
		acceptWith("long sdp", invalid("sdp must not exceed 65536 bytes", "sdp"),
			func(r *livekit.AcceptWhatsAppCallRequest) { r.Sdp.Sdp = long(64<<10 + 1) }),
		acceptWith("long call id", invalid("whatsapp_call_id must not exceed 512 bytes", "whatsapp_call_id"),
			func(r *livekit.AcceptWhatsAppCallRequest) { r.WhatsappCallId = long(513) }),
		acceptWith("blank in call id", invalid("whatsapp_call_id must be printable ASCII", "whatsapp_call_id"),
			func(r *livekit.AcceptWhatsAppCallRequest) { r.WhatsappCallId = "wacid. x" }),
		acceptWith("long room", invalid("room_name must not exceed 256 bytes", "room_name"),
			func(r *livekit.AcceptWhatsAppCallRequest) { r.RoomName = long(257) }),
		acceptWith("invalid ringing", invalid("ringing_timeout must be", "ringing_timeout"),
			func(r *livekit.AcceptWhatsAppCallRequest) {
				r.RingingTimeout = durationpb.New(time.Millisecond)
			}),

		{
			name: "Connect offer", method: connectMethod, want: invalid(`incorrect sdp type: it must be "answer"`, "sdp"),
			req: connect(func(r *livekit.ConnectWhatsAppCallRequest) { r.Sdp.Type, r.WhatsappCallId = "offer", "" }),
		},
		{
			name: "Connect without call id", method: connectMethod, want: invalid("whatsapp call id is required", "whatsapp_call_id"),
			req: connect(func(r *livekit.ConnectWhatsAppCallRequest) { r.WhatsappCallId = "" }),
		},
		{
			name: "Connect empty sdp", method: connectMethod, want: invalid("sdp is required", "sdp"),
			req: connect(func(r *livekit.ConnectWhatsAppCallRequest) { r.Sdp.Sdp = "\r\n" }),
		},
		{
			name: "Disconnect without call id", method: disconnectMethod, want: invalid("whatsapp call id is required", "whatsapp_call_id"),
			req: disconnect(func(r *livekit.DisconnectWhatsAppCallRequest) { r.WhatsappCallId = "" }),
		},
		{
			name: "Disconnect by business without key", method: disconnectMethod, want: invalid("whatsapp api key is required", "whatsapp_api_key"),
			req: disconnect(func(r *livekit.DisconnectWhatsAppCallRequest) { r.WhatsappApiKey = "" }),
		},
		{
			name: "Disconnect for another reason", method: disconnectMethod, want: invalid("disconnect_reason must be", "disconnect_reason"),
			req: disconnect(func(r *livekit.DisconnectWhatsAppCallRequest) { r.DisconnectReason = 7 }),
		},
	})
}
