package api_test

import (
	"net/http"
	"testing"

	"github.com/livekit/protocol/livekit"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/livekit-connector/livekit-connector/internal/api"
	"github.com/livekit-connector/livekit-connector/pkg/whatsapp"
)

// configured has credentials for the number of the tests' requests and for one without a token.
func configured(o *api.Options) {
	o.Credentials = func(id string) (whatsapp.Credentials, bool) {
		switch id {
		case "106540352242922":
			return whatsapp.Credentials{PhoneNumberID: id, AccessToken: "EAAconfigured", Version: "24.0"}, true
		case "200":
			return whatsapp.Credentials{PhoneNumberID: id, Version: "24.0"}, false
		default:
			return whatsapp.Credentials{}, false
		}
	}
}

func TestConfiguredCredentialsAreFilledIn(t *testing.T) {
	for name, tc := range map[string]struct {
		key, version         string
		wantKey, wantVersion string
	}{
		"both left out":    {"", "", "EAAconfigured", "24.0"},
		"key left out":     {" ", "25.0", "EAAconfigured", "25.0"},
		"version left out": {metaToken, "", metaToken, "24.0"},
		"both sent":        {metaToken, "25.0", metaToken, "25.0"},
	} {
		for _, e := range encodings {
			t.Run(name+"/"+e.name, func(t *testing.T) {
				n := newNode()
				inBubble(t, n, func(t *testing.T, s *stand) {
					w := s.post(t, e, dialMethod, dial(func(r *livekit.DialWhatsAppCallRequest) {
						r.WhatsappApiKey, r.WhatsappCloudApiVersion = tc.key, tc.version
					}), func(*http.Request) {})
					require.Equal(t, http.StatusOK, w.Code, w.Body.String())
					got := n.lastStart(t).GetDial()
					require.Equal(t, tc.wantKey, got.WhatsappApiKey)
					require.Equal(t, tc.wantVersion, got.WhatsappCloudApiVersion)

					w = s.post(t, e, acceptMethod, accept(func(r *livekit.AcceptWhatsAppCallRequest) {
						r.WhatsappApiKey, r.WhatsappCloudApiVersion = tc.key, tc.version
					}), func(*http.Request) {})
					require.Equal(t, http.StatusOK, w.Code, w.Body.String())
					require.Equal(t, tc.wantKey, n.lastStart(t).GetAccept().WhatsappApiKey)
					require.Equal(t, tc.wantVersion, n.lastStart(t).GetAccept().WhatsappCloudApiVersion)
				}, configured)
			})
		}
	}
}

func TestMissingCredentialsAreNamed(t *testing.T) {
	const none = ": send it, or configure it for this phone number ID under whatsapp.numbers, which has none for it"
	other := func(id, key, version string) proto.Message {
		return dial(func(r *livekit.DialWhatsAppCallRequest) {
			r.WhatsappPhoneNumberId, r.WhatsappApiKey, r.WhatsappCloudApiVersion = id, key, version
		})
	}
	missing := func(msg, argument string) failure {
		return failure{400, "invalid_argument", msg, map[string]string{"argument": argument}}
	}
	requireErrors(t, []errorCase{
		{
			name: "another number", method: dialMethod, req: other("100", "", "24.0"), options: configured,
			want: missing("whatsapp api key is required"+none, "whatsapp_api_key"),
		},
		{
			name: "number without a token", method: dialMethod, req: other("200", "", ""), options: configured,
			want: missing("whatsapp api key is required"+none, "whatsapp_api_key"),
		},
		{
			name: "version of another number", method: dialMethod, req: other("100", metaToken, ""), options: configured,
			want: missing("whatsapp cloud api version not supported: whatsapp_cloud_api_version is required"+none, "whatsapp_cloud_api_version"),
		},
		{
			name: "no numbers at all", method: dialMethod, req: other("100", "", "24.0"),
			want: missing("whatsapp api key is required: send it, or configure it under whatsapp.numbers and leave it out", "whatsapp_api_key"),
		},
		{
			name: "no number ID", method: dialMethod, req: other("", "", ""), options: configured,
			want: missing("whatsapp phone number id is required", "whatsapp_phone_number_id"),
		},
	})
}

func TestDisconnectWithoutKeyIsTheCallsOwn(t *testing.T) {
	n := newNode()
	inBubble(t, n, func(t *testing.T, s *stand) {
		w := s.post(t, encodings[0], disconnectMethod, disconnect(func(r *livekit.DisconnectWhatsAppCallRequest) { r.WhatsappApiKey = "" }), func(*http.Request) {})
		require.Equal(t, http.StatusOK, w.Code, w.Body.String())
		require.Empty(t, n.disconnects[0].GetRequest().GetWhatsappApiKey())
	}, configured)
}
