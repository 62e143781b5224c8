package app

import (
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestWrongWebhookIsToldWithItsPlace(t *testing.T) {
	file := t.TempDir() + "/c.yaml"
	require.NoError(t, os.WriteFile(file, []byte(`webhook:
  path: twirp/x
  on_no_rule: hang up
  on_refused: ""
  max_age: 1s
  queue_size: 0
  forward:
    - {url: "http://bot.example.com/hush", secret: hush}
    - {url: "https://bot.example.com", fields: [messages]}
`), 0o600))
	_, err := parse(append([]string{"CONNECTOR_CONFIG_FILE=" + file}, minimal...))
	require.Error(t, err)
	require.Equal(t, `F:3: webhook.on_no_rule: "hang up" is not one of reject, ignore
F:4: webhook.on_refused: "" is not one of reject, ignore
F:5: webhook.max_age: 1s is not between 5s and 1h0m0s
F:6: webhook.queue_size: 0 is not between 1 and 1000000
F:8: webhook.forward[0].url: must begin with https:// unless webhook.allow_insecure is set: anybody on the way could read the messages
F:2: webhook.path: want a path such as /webhook, without a host and without ?
webhook.verify_token: is missing: any text of your own, the same as in Meta's app dashboard (set it in the file, with $CONNECTOR_WEBHOOK_VERIFY_TOKEN or with --webhook.verify-token)
webhook.app_secrets: are missing: the app secret is in Meta's app dashboard under App settings, Basic (set it in the file, with $CONNECTOR_WEBHOOK_APP_SECRETS or with --webhook.app-secrets)`,
		strings.ReplaceAll(err.Error(), file, "F"))
	require.NotContains(t, err.Error(), "hush")
}

func TestWebhookPaths(t *testing.T) {
	for path, good := range map[string]bool{
		"/webhook": true, "/meta/webhook": true, "/webhook/": true, "/": false, "webhook": false, "https://x/webhook": false,
		"/webhook?x": false, "/a//b": false, "/twirp": false, "/twirp/x": false, "/metrics": false, "/connector/v1": false, "/rtc": false,
	} {
		c := DefaultConfig()
		c.WSURL, c.APIKey, c.APISecret = "ws://x", "k", "s"
		c.Webhook.Path, c.Webhook.VerifyToken, c.Webhook.AppSecrets = path, "v", []Secret{"a"}
		if err := c.Validate(); good {
			require.NoError(t, err, path)
		} else {
			require.ErrorContains(t, err, "webhook.path", path)
		}
	}
}

func TestExampleShowsForwards(t *testing.T) {
	text, err := os.ReadFile(exampleFile)
	require.NoError(t, err)
	for field := range reflect.TypeFor[ForwardConfig]().Fields() {
		require.Contains(t, string(text), " "+field.Tag.Get("yaml")+": ")
	}
}

func TestAppSecretsComeFromEverywhere(t *testing.T) {
	file := t.TempDir() + "/secrets"
	require.NoError(t, os.WriteFile(file, []byte("one\ntwo\n"), 0o600))
	c := DefaultConfig()
	c.WhatsApp.Numbers = map[string]NumberConfig{"100": {AppSecret: "three"}, "200": {AppSecret: "three", AccessToken: "t"}}
	c.Webhook.AppSecrets, c.Webhook.AppSecretsFile = []Secret{"four"}, file
	log := NewLogger(c.Logging, os.Stderr)
	numbers := newNumbers(&c.WhatsApp, log)
	secrets, err := newAppSecrets(&c.Webhook, numbers, log)
	require.NoError(t, err)
	require.Equal(t, []string{"three", "four", "one", "two"}, secrets.current())

	_, ok := numbers.called("")
	require.False(t, ok, "which of the two?")
	delete(c.WhatsApp.Numbers, "100")
	creds, ok := newNumbers(&c.WhatsApp, log).called("")
	require.True(t, ok)
	require.Equal(t, "200", creds.PhoneNumberID)

	c.Webhook.AppSecretsFile = file + "-not-there"
	_, err = newAppSecrets(&c.Webhook, numbers, log)
	require.ErrorContains(t, err, "webhook.app_secrets_file")
}
