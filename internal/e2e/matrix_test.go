package e2e_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/internal/livekittest"
	"github.com/livekit-connector/livekit-connector/pkg/fakemeta"
)

// Each SDK, unmodified, places and takes a call, and sees what goes wrong as its own exception.
func TestEverySDKDrivesCallsBothWays(t *testing.T) {
	t.Parallel()
	for _, maker := range sdks() {
		t.Run(maker.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, worldOptions{})
			client := maker.make(t, w.url, w.livekit.APIKey(), w.livekit.APISecret())
			room := "sdk " + maker.name
			listener, err := w.livekit.Join(wait(t), livekittest.ParticipantOptions{Room: room, Identity: "listener"})
			require.NoError(t, err)
			defer func() { require.NoError(t, listener.Leave()) }()

			c, err := w.meta.User(userNumber).Call(wait(t), numberID, fakemeta.WithSpeech(says(speech(t, "caller"))))
			require.NoError(t, err)
			accepted, err := client.do(wait(t), "accept", acceptRequest(c.ID(), c.Offer()).with(options{
				"roomName": room, "participantIdentity": "caller", "participantName": "Zoë",
				"participantAttributes": options{"a_b": "1"}, "whatsappBizOpaqueCallbackData": "corr-7f3a",
			}))
			require.NoError(t, err)
			require.Equal(t, room, accepted.text("roomName"))
			p, err := w.livekit.Participant(wait(t), room, "caller")
			require.NoError(t, err)
			require.Equal(t, "Zoë", p.GetName())
			require.Equal(t, "1", p.GetAttributes()["a_b"])
			require.NoError(t, listener.Heard("caller").WaitCount(wait(t), 100))
			_, err = client.do(wait(t), "accept", acceptRequest(c.ID(), c.Offer()))
			requireCode(t, "already_exists", err)
			_, err = client.do(wait(t), "disconnect", options{"whatsappCallId": c.ID(), "whatsappApiKey": metaToken})
			require.NoError(t, err)
			requireOver(t, c)
			requireContinuous(t, c)

			events := w.meta.Events()
			defer events.Close()
			dialled, err := client.do(wait(t), "dial", dialRequest().with(options{"roomName": room, "participantIdentity": "callee"}))
			require.NoError(t, err)
			id := dialled.text("whatsappCallId")
			connect, err := events.NextCall(wait(t), id, "connect")
			require.NoError(t, err)
			_, err = client.do(wait(t), "connect", options{
				"whatsappCallId": id, "sdp": options{"type": "answer", "sdp": connect.Session.SDP},
			})
			require.NoError(t, err)
			c, err = w.meta.User(userNumber).NextCall(wait(t))
			require.NoError(t, err)
			require.NoError(t, c.PickUp())
			require.NoError(t, listener.Heard("callee").WaitCount(wait(t), 100))
			_, err = client.do(wait(t), "disconnect", options{"whatsappCallId": id, "whatsappApiKey": metaToken})
			require.NoError(t, err)
			requireOver(t, c)
			requireContinuous(t, c)
			w.nothingLeft(room)
		})
	}
}

func TestEverySDKShowsItsException(t *testing.T) {
	t.Parallel()
	const unknown = "wacid.unknown"
	answer := options{"type": "answer", "sdp": "v=0\r\n"}
	tests := []struct {
		name    string
		method  string
		args    options
		fault   *fakemeta.Fault
		code    string
		status  int
		message string
		meta    map[string]string
	}{
		{"wrong SDP type", "accept", acceptRequest(unknown, "v=0\r\n").with(options{"sdp": answer}), nil, "invalid_argument", 400, "sdp type", nil},
		{"no number", "dial", dialRequest().with(options{"whatsappToPhoneNumber": ""}), nil, "invalid_argument", 400, "to_phone_number is required", nil},
		{"version with a v", "dial", dialRequest().with(options{"whatsappCloudApiVersion": "v23.0"}), nil, "invalid_argument", 400, "version", nil},
		{"SDP that is none", "accept", acceptRequest(unknown, "v=0\r\n"), nil, "invalid_argument", 400, "sdp", nil},
		{"unknown call", "connect", options{"whatsappCallId": unknown, "sdp": answer}, nil, "not_found", 404, "whatsapp call not found", nil},
		{
			"Meta refuses", "dial", dialRequest(), &fakemeta.Fault{Action: "connect", Code: 138006, Subcode: 2494010},
			"invalid_argument", 400, "138006",
			map[string]string{"whatsapp_error_code": "138006", "whatsapp_error_subcode": "2494010"},
		},
		{
			"Meta is full", "dial", dialRequest(), &fakemeta.Fault{Action: "connect", Code: 138002},
			"resource_exhausted", 429, "138002",
			map[string]string{"whatsapp_error_code": "138002"},
		},
		{
			"nobody knows", "dial", dialRequest(), &fakemeta.Fault{Action: "connect", DropResponse: true},
			"failed_precondition", 412, "may have placed the call", nil,
		},
		{"Twilio", "twilio", options{"roomName": "r"}, nil, "unimplemented", 501, "", nil},
	}
	for _, maker := range sdks() {
		t.Run(maker.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, worldOptions{})
			client := maker.make(t, w.url, w.livekit.APIKey(), w.livekit.APISecret())
			stranger := maker.make(t, w.url, w.livekit.APIKey(), "not-the-secret-not-the-secret-not-it")
			_, err := stranger.do(wait(t), "dial", dialRequest())
			require.Equal(t, 401, refusal(t, "unauthenticated", err).Status)
			for _, tt := range tests {
				if tt.fault != nil {
					w.meta.Fail(*tt.fault)
				}
				_, err := client.do(wait(t), tt.method, tt.args)
				e := refusal(t, tt.code, err)
				require.Equal(t, tt.status, e.Status, tt.name)
				require.Contains(t, e.Message, tt.message, tt.name)
				for key, value := range tt.meta {
					if maker.showsMeta {
						require.Equal(t, value, e.Metadata[key], tt.name)
					}
				}
			}
		})
	}
}
