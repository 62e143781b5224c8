package fakemeta_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/pkg/fakemeta"
)

func TestPermissionsAndSettings(t *testing.T) {
	srv := start(t, fakemeta.Options{DefaultPermission: fakemeta.PermissionNone})
	user := srv.User(caller)
	ask := func(query string) (int, map[string]any) {
		return graph(t, srv, "GET", "/v24.0/"+pnid+"/call_permissions?"+query, "")
	}
	status := func() string {
		_, got := ask("user_wa_id=" + caller)
		return got["permission"].(map[string]any)["status"].(string)
	}
	require.Equal(t, "no_permission", status())
	user.SetPermission(fakemeta.PermissionTemporary)
	require.Equal(t, "temporary", status())
	user.SetPermission(fakemeta.PermissionPermanent)
	require.Equal(t, "permanent", status())
	_, got := ask("recipient=" + user.ID())
	require.Equal(t, "permanent", got["permission"].(map[string]any)["status"])
	user.SetUncallable(true)
	require.Equal(t, "no_permission", status())
	code1, _ := ask("")
	require.Equal(t, 400, code1)

	path := "/v24.0/" + pnid + "/settings"
	_, got = graph(t, srv, "GET", path, "")
	require.Equal(t, "ENABLED", got["calling"].(map[string]any)["status"])
	s, got := graph(t, srv, "POST", path, `{"calling":{"status":"DISABLED","audio":{"additional_codecs":["PCMU"]}}}`)
	require.Equal(t, 200, s)
	require.Equal(t, true, got["success"])
	_, got = graph(t, srv, "GET", path, "")
	require.Equal(t, "DISABLED", got["calling"].(map[string]any)["status"])
	require.Equal(t, "DEFAULT", got["calling"].(map[string]any)["call_icon_visibility"])
	for _, wrong := range []string{`{}`, `{"calling":{"status":"ON"}}`, `{`} {
		s, _ = graph(t, srv, "POST", path, wrong)
		require.Equal(t, 400, s)
	}
}

func TestMessages(t *testing.T) {
	srv := start(t, fakemeta.Options{DefaultPermission: fakemeta.PermissionNone})
	events := srv.Events()
	send := func(interactive string) (int, map[string]any) {
		return graph(t, srv, "POST", "/v24.0/"+pnid+"/messages",
			`{"messaging_product":"whatsapp","to":"`+caller+`","type":"interactive","interactive":`+interactive+`}`)
	}
	request := `{"type":"call_permission_request","action":{"name":"call_permission_request"},"body":{"text":"May we call?"}}`
	status, got := send(request)
	require.Equal(t, 200, status)
	id := got["messages"].([]any)[0].(map[string]any)["id"].(string)
	for _, r := range []struct {
		reply fakemeta.PermissionReply
		says  []string
	}{
		{fakemeta.PermissionReply{Accept: true}, []string{`"response":"accept"`, `"is_permanent":false`, "expiration_timestamp", id, "user_action"}},
		{fakemeta.PermissionReply{Accept: true, Permanent: true, FromProfile: true}, []string{`"is_permanent":true`}},
		{fakemeta.PermissionReply{Accept: true, Automatic: true, Context: "wacid.X"}, []string{"automatic", "wacid.X"}},
		{fakemeta.PermissionReply{Automatic: true, FromProfile: true}, []string{`"response":"reject"`, "automatic"}},
		{fakemeta.PermissionReply{Accept: true, Permanent: true}, []string{id}},
	} {
		require.NoError(t, srv.User(caller).ReplyPermission(pnid, r.reply))
		e, err := events.Next(patience(t))
		require.NoError(t, err)
		require.Equal(t, "messages", e.Payload.Entry[0].Changes[0].Field)
		for _, text := range r.says {
			require.Contains(t, string(e.Body), text)
		}
		require.Equal(t, r.reply.FromProfile, !strings.Contains(string(e.Body), `"context"`))
	}
	status, got = send(request)
	require.Equal(t, 400, status)
	require.Equal(t, fakemeta.CodePermissionExists, code(got))
	srv.User(caller).SetPermission(fakemeta.PermissionNone)
	status, got = send(request)
	require.Equal(t, 400, status)
	require.Equal(t, fakemeta.CodePermissionRequestLimit, code(got))
	_, got = graph(t, srv, "GET", "/v24.0/"+pnid+"/call_permissions?user_wa_id="+caller, "")
	asking := got["actions"].([]any)[0].(map[string]any)
	require.Equal(t, false, asking["can_perform_action"])
	require.Contains(t, asking["limits"].([]any)[0], "limit_expiration_time")
	require.NotContains(t, asking["limits"].([]any)[1], "limit_expiration_time")
	other := srv.User("15550003333")
	status, _ = graph(t, srv, "POST", "/v24.0/"+pnid+"/messages",
		`{"messaging_product":"whatsapp","recipient":"`+other.ID()+`","type":"interactive","interactive":`+request+`}`)
	require.Equal(t, 200, status)
	require.Error(t, srv.User(caller).ReplyPermission("nobody", fakemeta.PermissionReply{}))

	status, _ = send(`{"type":"voice_call","action":{"name":"voice_call","parameters":{"display_text":"Call us","ttl_minutes":10}}}`)
	require.Equal(t, 200, status)
	for _, wrong := range []string{
		`{"type":"voice_call","action":{"name":"voice_call","parameters":{"display_text":"a text that is far too long"}}}`,
		`{"type":"voice_call","action":{"name":"other"}}`, `null`,
		`{"type":"call_permission_request","action":{"name":"call_permission_request"}}`,
	} {
		status, _ = send(wrong)
		require.Equal(t, 400, status, wrong)
	}
	for _, wrong := range []string{`{`, `{"to":"1"}`, `{"messaging_product":"whatsapp","to":"+1"}`} {
		status, _ = graph(t, srv, "POST", "/v24.0/"+pnid+"/messages", wrong)
		require.Equal(t, 400, status, wrong)
	}
}
