package node

import (
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/livekit/psrpc"
	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/pkg/whatsapp"
	"github.com/livekit-connector/livekit-connector/proto/connectorpb"
)

// refuse answers with one of Meta's errors.
func refuse(status, code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = fmt.Fprintf(w, `{"error":{"message":"refused","type":"OAuthException","code":%d}}`, code)
	}
}

func answerWith(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, body) }
}

// permissions is an answer of call_permissions; at is when the action's limit ends.
func permissions(action string, allowed bool, at time.Time) http.HandlerFunc {
	return answerWith(fmt.Sprintf(`{"permission":{"status":"no_permission"},"actions":[{"action_name":%q,"can_perform_action":%t,
	  "limits":[{"time_period":"PT24H","max_allowed":1,"current_usage":1,"limit_expiration_time":%d}]}]}`, action, allowed, at.Unix()))
}

func TestRefusedDialSaysWhatToDoNext(t *testing.T) {
	next := time.Date(2026, 11, 24, 10, 0, 0, 0, time.UTC)
	broken := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	const sent = `{"messages":[{"id":"wamid.asked"}]}`
	tests := map[string]struct {
		status, code          int
		asks                  string // the text of the configuration
		permissions, messages http.HandlerFunc
		meta                  map[string]string
		says                  string
	}{
		"nobody is asked for permission": {
			status: 401, code: 138006, permissions: permissions("send_call_permission_request", true, time.Time{}),
			meta: map[string]string{"remedy": "permission", "permission_request": "off"}, says: "send him a call_permission_request",
		},
		"the user is asked": {
			status: 401, code: 138006, asks: "May we call?",
			permissions: permissions("send_call_permission_request", true, time.Time{}), messages: answerWith(sent),
			meta: map[string]string{"remedy": "permission", "permission_request": "sent", "permission_request_id": "wamid.asked"},
			says: "has just been asked",
		},
		"the user is asked though Meta does not say whether he may be": {
			status: 401, code: 138006, asks: "May we call?", permissions: refuse(400, 100), messages: answerWith(sent),
			meta: map[string]string{"remedy": "permission", "permission_request": "sent", "permission_request_id": "wamid.asked"},
			says: "has just been asked",
		},
		"the user was asked already": {
			status: 401, code: 138006, asks: "May we call?", permissions: permissions("send_call_permission_request", false, next),
			meta: map[string]string{"remedy": "permission", "permission_request": "too_soon", "retry_after": "2026-11-24T10:00:00Z"},
			says: "not before 2026-11-24T10:00:00Z",
		},
		"Meta refuses the question": {
			status: 401, code: 138006, asks: "May we call?",
			permissions: permissions("send_call_permission_request", true, time.Time{}), messages: refuse(400, 138011),
			meta: map[string]string{"remedy": "permission", "permission_request": "failed", "permission_request_error_code": "138011"},
			says: "within 24 hours of his last message",
		},
		"the question is lost": {
			status: 401, code: 138006, asks: "May we call?",
			permissions: permissions("send_call_permission_request", true, time.Time{}), messages: broken,
			meta: map[string]string{"remedy": "permission", "permission_request": "failed"}, says: "failed",
		},
		"called too often": {
			status: 400, code: 138012, permissions: permissions("start_call", false, next),
			meta: map[string]string{"remedy": "give_up", "retry_after": "2026-11-24T10:00:00Z"}, says: "not before 2026-11-24T10:00:00Z",
		},
		"called too often, who knows until when": {
			status: 400, code: 138012, permissions: refuse(400, 100),
			meta: map[string]string{"remedy": "give_up"}, says: "as often as Meta allows",
		},
		"the wrong country": {
			status: 400, code: 138013, meta: map[string]string{"remedy": "operator"}, says: "another country",
		},
		"anything else": {status: 400, code: 138001, meta: map[string]string{"remedy": "give_up"}, says: "refused"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := newStandWith(t, func(o *Options) { o.PermissionRequest = tt.asks })
			s.on("connect", refuse(tt.status, tt.code))
			s.on("call_permissions", tt.permissions)
			s.on("messages", tt.messages)
			_, err := s.StartCall(wait(t), dialRequest())
			requireCode(t, psrpc.UpstreamClientError, err)
			require.ErrorContains(t, err, tt.says)
			require.NotContains(t, err.Error(), "15550002222")
			got := metaOf(t, err)
			for key, value := range tt.meta {
				require.Equal(t, value, got[key], key)
			}
			for _, key := range []string{"permission_request", "permission_request_id", "permission_request_error_code", "retry_after"} {
				require.Equal(t, tt.meta[key], got[key], key)
			}
			require.Equal(t, fmt.Sprint(tt.code), got["whatsapp_error_code"])
			require.Zero(t, s.Calls())
		})
	}
}

func TestRateLimitSaysForHowLong(t *testing.T) {
	s := newStand(t)
	s.on("connect", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Retry-After", "30")
		refuse(http.StatusTooManyRequests, 138005)(w, r)
	})
	_, err := s.StartCall(wait(t), dialRequest())
	requireCode(t, psrpc.ResourceExhausted, err)
	got := metaOf(t, err)
	require.Equal(t, whatsapp.RemedyRetry.String(), got["remedy"])
	at, err := time.Parse(time.RFC3339, got["retry_after"])
	require.NoError(t, err)
	require.True(t, at.After(time.Now().Add(-patience)))
}

// metaOf is what an error carries for programs.
func metaOf(t *testing.T, err error) map[string]string {
	t.Helper()
	var e psrpc.Error
	require.ErrorAs(t, err, &e)
	for _, d := range e.Details() {
		if m, ok := d.(*connectorpb.ErrorMeta); ok {
			return m.GetMeta()
		}
	}
	t.Fatal("the error says nothing to programs")
	return nil
}
