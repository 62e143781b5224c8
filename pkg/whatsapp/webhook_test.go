package whatsapp_test

import (
	"bytes"
	"encoding/json"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/pkg/whatsapp"
)

const (
	secret    = "test_app_secret"
	signature = "sha256=7dc79b00dd9ea4f14b7c306e16ac9426df7255a0a88f55085fc3626c0674e8bb"
)

func signedBody(tb testing.TB) []byte {
	tb.Helper()
	body, err := os.ReadFile("../../testdata/webhook/signed-body.json")
	require.NoError(tb, err)
	return body
}

func TestVerifySignature(t *testing.T) {
	body := signedBody(t)
	require.NoError(t, whatsapp.VerifySignature(body, signature, secret))
	require.NoError(t, whatsapp.VerifySignature(body, signature, "new", secret, "old"))
	require.Equal(t, signature, whatsapp.Sign(body, secret))

	decoded := bytes.ReplaceAll(body, []byte(`\u00e9`), []byte("é"))
	require.NotEqual(t, body, decoded)
	for name, err := range map[string]error{
		"body with another spelling": whatsapp.VerifySignature(decoded, signature, secret),
		"another secret":             whatsapp.VerifySignature(body, signature, "other"),
		"no secret":                  whatsapp.VerifySignature(body, signature),
		"empty secret":               whatsapp.VerifySignature(body, whatsapp.Sign(body, ""), ""),
		"no header":                  whatsapp.VerifySignature(body, "", secret),
		"another hash":               whatsapp.VerifySignature(body, strings.Replace(signature, "256", "1", 1), secret),
		"no hex":                     whatsapp.VerifySignature(body, signature[:len(signature)-1]+"x", secret),
		"short":                      whatsapp.VerifySignature(body, signature[:len(signature)-2], secret),
		"long":                       whatsapp.VerifySignature(body, signature+"00", secret),
		"one bit":                    whatsapp.VerifySignature(body, signature[:len(signature)-1]+"a", secret),
	} {
		require.ErrorIs(t, err, whatsapp.ErrSignature, name)
	}
}

func TestChallengeResponse(t *testing.T) {
	query := func(s string) url.Values {
		q, err := url.ParseQuery(s)
		require.NoError(t, err)
		return q
	}
	const good = "hub.mode=subscribe&hub.challenge=1158863600&hub.verify_token=mine"
	challenge, err := whatsapp.ChallengeResponse(query(good), "mine")
	require.NoError(t, err)
	require.Equal(t, "1158863600", challenge)
	for _, bad := range []string{
		"", strings.Replace(good, "mine", "min", 1), strings.Replace(good, "subscribe", "x", 1), strings.Replace(good, "1158863600", "", 1),
	} {
		_, err = whatsapp.ChallengeResponse(query(bad), "mine")
		require.ErrorIs(t, err, whatsapp.ErrChallenge, bad)
	}
	_, err = whatsapp.ChallengeResponse(query("hub.mode=subscribe&hub.challenge=1&hub.verify_token="), "")
	require.ErrorIs(t, err, whatsapp.ErrChallenge)
}

// change wraps the members of one change's value into a webhook and returns the change that Parse makes of it.
func change(t *testing.T, field, members string) whatsapp.Change {
	t.Helper()
	n, err := whatsapp.Parse([]byte(`{"object":"whatsapp_business_account","entry":[{"id":"1","changes":[{"field":"` + field + `","value":{
		"messaging_product":"whatsapp","metadata":{"display_phone_number":"15550001111","phone_number_id":"100000000000001"},` + members + `}}]}]}`))
	require.NoError(t, err)
	require.Len(t, n.Entries, 1)
	require.Len(t, n.Entries[0].Changes, 1)
	c := n.Entries[0].Changes[0]
	require.Equal(t, field, c.Field)
	require.Equal(t, whatsapp.Metadata{PhoneNumberID: "100000000000001", DisplayNumber: "15550001111"}, c.Metadata)
	return c
}

func at(seconds int64) time.Time { return time.Unix(seconds, 0).UTC() }

func TestParseConnect(t *testing.T) {
	c := change(t, whatsapp.FieldCalls, `"contacts":[{"profile":{"name":"15550002222"},"wa_id":"15550002222"}],
		"calls":[{"id":"wacid.A","from":"15550002222","to":"15550001111","event":"connect","timestamp":"1760681506",
		"direction":"USER_INITIATED","deeplink_payload":"d","cta_payload":"c","session":{"sdp":"v=0\r\n","sdp_type":"offer"}}]`)
	require.Equal(t, []whatsapp.Contact{{WAID: number, Name: number}}, c.Contacts)
	require.Equal(t, []whatsapp.Call{{
		ID: "wacid.A", Event: whatsapp.EventConnect, Direction: whatsapp.UserInitiated, From: number, To: "15550001111",
		Time: at(1760681506), Session: &whatsapp.Session{Type: "offer", SDP: "v=0\r\n"}, DeeplinkPayload: "d", CTAPayload: "c",
	}}, c.Calls)

	c = change(t, whatsapp.FieldCalls, `"calls":[{"id":"wacid.B","from":15550001111,"event":"connect","timestamp":1749196895,
		"direction":"BUSINESS_INITIATED","biz_opaque_callback_data":"corr-7f3a","session":{"sdp_type":"answer","sdp":"v=0\r\n"},
		"connection":{"webrtc":{"sdp":"{\"sdp\":\"old\",\"type\":\"answer\"}"}}}]`)
	require.Equal(t, []whatsapp.Call{{
		ID: "wacid.B", Event: whatsapp.EventConnect, Direction: whatsapp.BusinessInitiated, From: "15550001111",
		Time: at(1749196895), Session: &whatsapp.Session{Type: "answer", SDP: "v=0\r\n"}, BizOpaqueCallbackData: "corr-7f3a",
	}}, c.Calls)

	c = change(t, whatsapp.FieldCalls, `"contacts":[{"user_id":"US.1","parent_user_id":"P.1","profile":{"username":"jo"}}],
		"calls":[{"id":"wacid.C","event":"connect","from_user_id":"US.1","from_parent_user_id":"P.1"},{"id":"wacid.D"},{"event":"connect"},7,null]`)
	require.Equal(t, []whatsapp.Contact{{UserID: "US.1", ParentUserID: "P.1", Username: "jo"}}, c.Contacts)
	require.Equal(t, []whatsapp.Call{{ID: "wacid.C", Event: "connect", FromUserID: "US.1", FromParentUserID: "P.1"}}, c.Calls)
}

func TestParseTerminate(t *testing.T) {
	const failure = `{"code":138021,"title":"no media","message":"no media","error_data":{"details":"words"}}`
	want := []whatsapp.Failure{{Code: 138021, Title: "no media", Message: "no media", Details: "words"}}
	const live = `{"id":"wacid.A","event":"terminate","timestamp":"1760681533","direction":"USER_INITIATED","start_time":"1760681513",
		"end_time":"1760681533","duration":20,"status":"FAILED"`

	c := change(t, whatsapp.FieldCalls, `"calls":[`+live+`,"errors":[`+failure+`]}],"errors":[`+failure+`]`)
	require.Equal(t, want, c.Errors)
	require.Equal(t, []whatsapp.Call{{
		ID: "wacid.A", Event: whatsapp.EventTerminate, Direction: whatsapp.UserInitiated, Time: at(1760681533),
		Status: whatsapp.StatusFailed, StartTime: at(1760681513), EndTime: at(1760681533), Duration: 20 * time.Second, Errors: want,
	}}, c.Calls)
	require.True(t, c.Calls[0].Answered())
	require.Equal(t, whatsapp.RemedyOperator, c.Calls[0].Errors[0].Remedy())

	c = change(t, whatsapp.FieldCalls, `"calls":[`+live+`}],"errors":[{"code":"138021","message":"m","href":"h","error_data":"words"}]`)
	require.Equal(t, []whatsapp.Failure{{Code: 138021, Message: "m", Details: "words"}}, c.Calls[0].Errors)

	c = change(t, whatsapp.FieldCalls, `"calls":[`+live+`},`+live+`}],"errors":[`+failure+`]`)
	require.Empty(t, c.Calls[0].Errors, "nobody can tell whose they are")
	require.Empty(t, c.Calls[1].Errors)

	c = change(t, whatsapp.FieldCalls, `"calls":[{"id":"wacid.E","event":"terminate","status":["COMPLETED"],"duration":"0",
		"terminate_reason":"x"}]`)
	require.Equal(t, whatsapp.Call{ID: "wacid.E", Event: "terminate", Status: whatsapp.StatusCompleted, TerminateReason: "x"}, c.Calls[0])
	require.False(t, c.Calls[0].Answered())
}

func TestParseStatuses(t *testing.T) {
	n, err := whatsapp.Parse(signedBody(t))
	require.NoError(t, err)
	c := n.Entries[0].Changes[0]
	require.Equal(t, "José", c.Contacts[0].Name)
	require.Equal(t, []whatsapp.Status{{
		ID: "wacid.TEST", Type: "call", Status: whatsapp.StatusRinging, Time: at(1700000000), RecipientID: number,
	}}, c.Statuses)
	require.True(t, c.Statuses[0].IsCall())

	c = change(t, whatsapp.FieldCalls, `"statuses":[{"id":"wacid.B","timestamp":1749197000,"type":"call","status":"ACCEPTED",
		"recipient_user_id":"US.1","biz_opaque_callback_data":"corr"},{"id":"wamid.C","status":"read"},{"id":"x"}]`)
	require.Equal(t, []whatsapp.Status{
		{ID: "wacid.B", Type: "call", Status: whatsapp.StatusAccepted, Time: at(1749197000), RecipientUserID: "US.1", BizOpaqueCallbackData: "corr"},
		{ID: "wamid.C", Status: "read"},
	}, c.Statuses)
	require.False(t, c.Statuses[1].IsCall())
}

func TestParsePermissionReplies(t *testing.T) {
	for name, test := range map[string]struct {
		context, reply string
		contextID      string
		want           whatsapp.PermissionReply
	}{
		"temporary": {
			`"context":{"from":"1","id":"wamid.R"},`,
			`"response":"accept","is_permanent":false,"expiration_timestamp":"1768550400","response_source":"user_action"`,
			"wamid.R",
			whatsapp.PermissionReply{Accepted: true, Expiration: at(1768550400)},
		},
		"temporary, integer": {
			`"context":{"id":"wamid.R"},`, `"response":"accept","expiration_timestamp":1768550400`,
			"wamid.R",
			whatsapp.PermissionReply{Accepted: true, Expiration: at(1768550400)},
		},
		"permanent": {
			`"context":{"id":"wamid.R"},`, `"response":"accept","is_permanent":true,"response_source":"user_action"`,
			"wamid.R",
			whatsapp.PermissionReply{Accepted: true, Permanent: true},
		},
		"by profile": {``, `"response":"accept","is_permanent":"true"`, "", whatsapp.PermissionReply{Accepted: true, Permanent: true}},
		"reject":     {`"context":{"id":"wamid.R"},`, `"response":"reject"`, "wamid.R", whatsapp.PermissionReply{}},
		"by a call": {
			`"context":{"id":"wacid.C"},`,
			`"response":"accept","expiration_timestamp":"1768550400","response_source":"automatic"`,
			"wacid.C",
			whatsapp.PermissionReply{Accepted: true, Automatic: true, Expiration: at(1768550400)},
		},
		"revoked": {``, `"response":"reject","response_source":"automatic"`, "", whatsapp.PermissionReply{Automatic: true}},
	} {
		t.Run(name, func(t *testing.T) {
			c := change(t, whatsapp.FieldMessages, `"messages":[{"from":"15550002222","id":"wamid.M","timestamp":"1767168000",`+test.context+
				`"type":"interactive","interactive":{"type":"call_permission_reply","call_permission_reply":{`+test.reply+`}}}]`)
			require.Equal(t, []whatsapp.Message{{
				ID: "wamid.M", From: number, Time: at(1767168000), Type: "interactive", ContextID: test.contextID, PermissionReply: &test.want,
			}}, c.Messages)
		})
	}
	c := change(t, whatsapp.FieldMessages, `"messages":[{"id":"wacid.V","type":"audio"},{"type":"text"}]`)
	require.Equal(t, []whatsapp.Message{{ID: "wacid.V", Type: "audio"}}, c.Messages)
}

func TestParseTakesWhatIsNotKnown(t *testing.T) {
	for _, body := range []string{
		`{"object":"whatsapp_business_account"}`,
		`{"object":"whatsapp_business_account","entry":null}`,
		`{"object":"whatsapp_business_account","entry":{"id":1}}`,
		` {"object":"whatsapp_business_account","entry":[null,1,"x",[],{"id":{},"changes":7},{"changes":[null,{"field":7,"value":"x"}]}]}` + "\n",
		`{"object":"whatsapp_business_account","entry":[{"changes":[{"field":"account_update","value":{"event":"ACCOUNT_RESTRICTION","calls":"x"}}]}]}`,
		`{"object":"whatsapp_business_account","entry":[{"changes":[{"value":{"metadata":[],"contacts":[{"profile":9}],"calls":[{"session":"x"}],"errors":[[]]}}]}]}`,
	} {
		_, err := whatsapp.Parse([]byte(body))
		require.NoError(t, err, body)
	}
	c := change(t, whatsapp.FieldCalls, `"calls":[{"id":"wacid.A","event":"call_recording_available","call_recording":{"audio":{"id":"1"}},
		"timestamp":{"odd":1},"session":{"sdp":["v=0"]},"from":{"x":1},"errors":{"code":1}},
		{"id":"wacid.B","event":"terminate","timestamp":"-5","start_time":"soon","duration":1e300}]`)
	require.Equal(t, []whatsapp.Call{
		{ID: "wacid.A", Event: "call_recording_available", Session: &whatsapp.Session{SDP: "v=0"}},
		{ID: "wacid.B", Event: "terminate"},
	}, c.Calls)

	many, err := whatsapp.Parse([]byte(`{"object":"whatsapp_business_account","entry":[
		{"id":"1","changes":[{"field":"calls","value":{"calls":[{"id":"a","event":"terminate"},{"id":"a","event":"connect"}]}},
		{"field":"calls","value":{"statuses":[{"id":"b","status":"RINGING","type":"call","timestamp":1760681506123}]}}]},{"id":"2"}]}`))
	require.NoError(t, err)
	require.Len(t, many.Entries, 2)
	require.Len(t, many.Entries[0].Changes[0].Calls, 2)
	require.Equal(t, time.UnixMilli(1760681506123).UTC(), many.Entries[0].Changes[1].Statuses[0].Time)
}

func TestParseRefusesWhatIsNotAWebhook(t *testing.T) {
	for _, body := range []string{
		"", "null", "[]", "{}", `"whatsapp_business_account"`, `{"object":"page"}`, `{"object":"whatsapp_business_account"`, "\xff",
		`{"object":"whatsapp_business_account"} x`,
	} {
		_, err := whatsapp.Parse([]byte(body))
		require.ErrorIs(t, err, whatsapp.ErrWebhook, body)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(signedBody(f))
	for _, seed := range []string{
		`{"object":"whatsapp_business_account","entry":[{"id":1,"changes":[{"field":"calls","value":{"calls":[{"id":"a","event":"connect"}]}}]}]}`,
		`{"object":"whatsapp_business_account","entry":[{"changes":[{"value":{"calls":[{"id":["x",["y"]],"event":"terminate",` +
			`"timestamp":1e999,"duration":"-9223372036854775808","status":[],"errors":[{"code":"x","error_data":null}]}],"errors":7}}]}]}`,
		`{"object":["whatsapp_business_account"],"entry":[[]]}`, `[[[[`, `{"object":"page"}`, "",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		n, err := whatsapp.Parse(body)
		if err != nil {
			require.ErrorIs(t, err, whatsapp.ErrWebhook)
			require.Nil(t, n)
			return
		}
		require.True(t, json.Valid(body))
		for _, e := range n.Entries {
			for _, c := range e.Changes {
				for _, call := range c.Calls {
					require.NotEmpty(t, call.ID)
					require.NotEmpty(t, call.Event)
					require.GreaterOrEqual(t, call.Duration, time.Duration(0))
				}
			}
		}
	})
}

func FuzzVerifySignature(f *testing.F) {
	body := signedBody(f)
	for _, header := range []string{signature, strings.ToUpper(signature), "sha256=", "sha1=00", "", "sha256=zz", signature + "\n"} {
		f.Add(header)
	}
	f.Fuzz(func(t *testing.T, header string) {
		if whatsapp.VerifySignature(body, header, secret) == nil {
			require.True(t, strings.HasPrefix(header, "sha256="))
			require.Equal(t, signature, strings.ToLower(header))
		}
	})
}
