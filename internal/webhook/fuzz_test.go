package webhook_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/pkg/whatsapp"
)

// published are bodies of the shapes that Meta documents and that were captured live, numbers invented.
var published = []string{
	// A user calls; the caller as a contact.
	`{"object":"whatsapp_business_account","entry":[{"id":"1","changes":[{"value":{"messaging_product":"whatsapp","metadata":{"display_phone_number":"15550001111","phone_number_id":"100000000000001"},"contacts":[{"profile":{"name":"15550002222"},"wa_id":"15550002222"}],"calls":[{"id":"wacid.A","from":"15550002222","to":"15550001111","event":"connect","timestamp":"1760681506","direction":"USER_INITIATED","session":{"sdp":"v=0\r\n","sdp_type":"offer"}}]},"field":"calls"}]}]}`,
	// The answer to a dial, with the older connection beside session.
	`{"object":"whatsapp_business_account","entry":[{"id":"1","changes":[{"value":{"metadata":{"phone_number_id":"100000000000001"},"calls":[{"id":"wacid.B","from":"15550001111","to":"15550002222","event":"connect","timestamp":"1749196895","direction":"BUSINESS_INITIATED","biz_opaque_callback_data":"corr-7f3a","session":{"sdp_type":"answer","sdp":"v=0\r\n"},"connection":{"webrtc":{"sdp":"{\"sdp\":\"x\",\"type\":\"answer\"}"}}}]},"field":"calls"}]}]}`,
	// Statuses under calls.
	`{"object":"whatsapp_business_account","entry":[{"id":"1","changes":[{"value":{"metadata":{"phone_number_id":"100000000000001"},"statuses":[{"id":"wacid.B","timestamp":"1749197000","type":"call","status":"RINGING","recipient_id":"15550002222"},{"id":"wacid.B","timestamp":"1749197000","type":"call","status":"ACCEPTED"}]},"field":"calls"}]}]}`,
	// A failure, in both places.
	`{"object":"whatsapp_business_account","entry":[{"id":"1","changes":[{"value":{"metadata":{"phone_number_id":"100000000000001"},"calls":[{"id":"wacid.A","event":"terminate","timestamp":"1760681533","direction":"USER_INITIATED","start_time":"1760681513","end_time":"1760681533","duration":20,"status":"FAILED","errors":[{"code":138021,"title":"t","message":"m","error_data":{"details":"d"}}]}],"errors":[{"code":138021,"message":"m","href":"h","error_data":{}}]},"field":"calls"}]}]}`,
	// A permission reply.
	`{"object":"whatsapp_business_account","entry":[{"id":"1","changes":[{"value":{"messages":[{"from":"15550002222","id":"wamid.A","timestamp":"1767168000","context":{"id":"wacid.A"},"type":"interactive","interactive":{"type":"call_permission_reply","call_permission_reply":{"response":"accept","response_source":"automatic","expiration_timestamp":1768550400}}}]},"field":"messages"}]}]}`,
	`{"object":"page"}`, `[`, ``,
}

// FuzzSignedBody: whatever Meta may sign one day is answered with 200, and no call is begun twice.
func FuzzSignedBody(f *testing.F) {
	for _, body := range published {
		f.Add([]byte(body))
	}
	signed, err := os.ReadFile("../../testdata/webhook/signed-body.json")
	require.NoError(f, err)
	f.Add(signed)
	f.Fuzz(func(t *testing.T, body []byte) {
		synctest.Test(t, func(t *testing.T) {
			s := newStand(t)
			for range 2 {
				require.Equal(t, http.StatusOK, s.post(string(body)))
				synctest.Wait()
			}
			require.NoError(t, s.Close(t.Context()))
			begun := map[string]bool{}
			for _, req := range s.nodes.starts {
				id := req.GetAccept().GetWhatsappCallId()
				require.NotEmpty(t, id)
				require.NotEmpty(t, req.GetAccept().GetSdp().GetSdp())
				require.False(t, begun[id], "accepted twice")
				begun[id] = true
			}
			for _, k := range []string{"connect_inbound", "connect_outbound", "terminate", "ringing", "accepted", "rejected"} {
				require.Zero(t, s.count("webhook_events_total", k, "failed"))
			}
		})
	})
}

// FuzzRequest: no header makes a body count that was not signed, and every answer is one of those documented.
func FuzzRequest(f *testing.F) {
	good := whatsapp.Sign([]byte(published[0]), appSecret)
	for _, signature := range []string{good, strings.ToUpper(good), good[7:], "sha256=", "sha1=00", "", good + "\n", good + ", " + good} {
		f.Add("POST", signature, "", "")
	}
	f.Add("POST", good, "gzip", "")
	f.Add("GET", "", "", "hub.mode=subscribe&hub.challenge=1&hub.verify_token=verify-token")
	f.Add("GET", "", "", "hub.mode=subscribe&hub.challenge=%00&hub.verify_token=x")
	f.Fuzz(func(t *testing.T, method, signature, encoding, query string) {
		synctest.Test(t, func(t *testing.T) {
			s := newStand(t)
			r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/webhook", strings.NewReader(published[0]))
			r.Method, r.URL.RawQuery = method, query
			r.Header.Set(whatsapp.SignatureHeader, signature)
			r.Header.Set("Content-Encoding", encoding)
			w := httptest.NewRecorder()
			s.ServeHTTP(w, r)
			synctest.Wait()
			starts, _, _ := s.nodes.counts()
			if starts > 0 || method == http.MethodPost && w.Code == http.StatusOK {
				require.Equal(t, good, strings.ToLower(signature))
				require.Equal(t, http.MethodPost, method)
			}
			require.Contains(t, []int{200, 401, 403, 405, 415}, w.Code)
		})
	})
}
