package whatsapp_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/pkg/whatsapp"
)

// requireClean fails if text holds anything that must not leave the package.
func requireClean(t *testing.T, text string) {
	t.Helper()
	for _, secret := range []string{token, "EAAG", number, "0002222", "v=0", "IN IP4", "user_wa_id", "sekret"} {
		require.NotContains(t, text, secret)
	}
}

func TestSecretsStayOutOfErrorsAndLogs(t *testing.T) {
	leaky := func(status, code int) http.HandlerFunc {
		return refuse(status, code, "Malformed access token "+token+" for +1 555 000 2222\nand "+number,
			"wa_id "+number+" and 447700900123, EAAGotherTokenOfSomebody1234, a=ice-pwd:sekret, retry at 1745622600, id 100000000000001")
	}
	var logged bytes.Buffer
	log := slog.New(slog.NewTextHandler(&logged, nil))
	redirect := func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://127.0.0.1:1/?user_wa_id="+number, http.StatusFound)
	}
	for name, script := range map[string]http.HandlerFunc{
		"refused": leaky(400, 138001), "server error": leaky(500, 131000), "rate limited": leaky(429, 613), "lost": lose, "redirected": redirect,
		"token refused": leaky(401, 190),
	} {
		t.Run(name, func(t *testing.T) {
			g := newGraph(t, script)
			c := newClient(t, whatsapp.Options{BaseURL: g.URL, Logger: log, Attempts: 2})
			_, err := c.Connect(t.Context(), creds, whatsapp.ConnectRequest{To: number, Offer: offer})
			require.Error(t, err)
			requireClean(t, err.Error())
			_, err = c.CallPermission(t.Context(), creds, number)
			require.Error(t, err)
			requireClean(t, fmt.Sprintf("%v %+v %#v", err, err, err))
			err = c.Accept(t.Context(), creds, whatsapp.AcceptRequest{CallID: callID, Answer: answer})
			require.Error(t, err)
			requireClean(t, err.Error())
			var e *whatsapp.APIError
			if errors.As(err, &e) && e.Code != 0 {
				require.Contains(t, e.Details, "retry at 1745622600, id 100000000000001")
				require.NotContains(t, e.Details, "447700900123")
				require.NotContains(t, e.Message, "\n")
			}
		})
	}
	c := newClient(t, whatsapp.Options{BaseURL: "http://" + refusing(t), Logger: log, Attempts: 1})
	_, err := c.CallPermission(t.Context(), creds, number)
	require.Error(t, err)
	requireClean(t, err.Error())
	requireClean(t, logged.String())
	require.Contains(t, logged.String(), "repeating graph request")
}

func TestCredentialsAndRequestsPrintWithoutSecrets(t *testing.T) {
	connect := whatsapp.ConnectRequest{To: number, Offer: offer}
	accept := whatsapp.AcceptRequest{CallID: callID, Answer: answer}
	holder := struct{ C whatsapp.Credentials }{creds}
	for _, v := range []any{creds, &creds, connect, &connect, accept, &accept, holder, []whatsapp.Credentials{creds}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			requireClean(t, fmt.Sprintf(verb, v))
		}
	}
	require.Contains(t, creds.String(), "100000000000001")
	var text, asJSON bytes.Buffer
	slog.New(slog.NewTextHandler(&text, nil)).Info("x", slog.Any("creds", creds), slog.Any("holder", holder), slog.Any("connect", connect))
	slog.New(slog.NewJSONHandler(&asJSON, nil)).Info("x", slog.Any("creds", creds), slog.Any("holder", holder),
		slog.Any("connect", connect), slog.Any("accept", accept))
	requireClean(t, text.String())
	requireClean(t, asJSON.String())
	b, err := json.Marshal(holder)
	require.NoError(t, err)
	requireClean(t, string(b))
	require.Contains(t, string(b), "[redacted]")
}
