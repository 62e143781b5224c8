package app

import (
	"errors"
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
F:8: webhook.forward[0].url: must begin with https:// unless webhook.allow_insecure is set: anybody on the way could read what is sent
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
		"/agent": false, "/whip/v1": false, "/debug/rooms": false,
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
	log := NewLogger(&c, os.Stderr)
	numbers := newNumbers(&c.WhatsApp, log)
	secrets, err := newAppSecrets(&c.Webhook, numbers, log)
	require.NoError(t, err)
	require.Equal(t, []string{"three", "four", "one", "two"}, secrets.current())
	c.WhatsApp.Numbers["300"], c.WhatsApp.Numbers["400"] = NumberConfig{AppSecret: "five"}, NumberConfig{}
	secrets, err = newAppSecrets(&c.Webhook, newNumbers(&c.WhatsApp, log), log)
	require.NoError(t, err)
	require.Equal(t, []string{"four", "one", "two", "five"}, secrets.of("300"))
	require.Equal(t, []string{"four", "one", "two", "three"}, secrets.of("100"))
	require.Empty(t, secrets.of("400"), "any will do")
	require.Empty(t, secrets.of("500"))
	delete(c.WhatsApp.Numbers, "300")
	delete(c.WhatsApp.Numbers, "400")

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

func TestWebhookThatCanDoNothingIsWarnedOf(t *testing.T) {
	dir := t.TempDir()
	set, file := dir+"/rules.yaml", dir+"/c.yaml"
	require.NoError(t, os.WriteFile(set, []byte("rules: [{}]"), 0o600))
	const head = `webhook:
  path: /webhook
  verify_token: v
  app_secrets: [a]
  forward:
    - {url: "https://bot.example.com", fields: [messages, calls]}
`
	const wrong = `    - {url: "https://bot.example.com", fields: [message, calls]}
`
	warnings := func(text string) string {
		require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
		line, err := parse(minimal, "--config", file)
		require.NoError(t, err)
		return strings.ReplaceAll(errorText(line.Warnings), dir, "")
	}
	const number = "whatsapp:\n  numbers:\n    \"100\": {"
	require.Empty(t, warnings(head))
	require.Equal(t, `/c.yaml:6: webhook.forward[1].fields: "message" is no field of Meta's webhooks that is known here, did you mean messages?
/c.yaml:8: rules_file: has no effect: no number in whatsapp.numbers has an access token, so all inbound calls are left alone`,
		warnings(head+wrong+"rules_file: "+set+"\n"))
	require.Contains(t, warnings(head+"rules_file: "+set+"\n"+number+"app_secret: x}\n"), "no number in whatsapp.numbers has an access token")
	require.Empty(t, warnings(head+"rules_file: "+set+"\n"+number+"access_token: x}\n"))
}

func errorText(errs []error) string {
	if len(errs) == 0 {
		return ""
	}
	return errors.Join(errs...).Error()
}
