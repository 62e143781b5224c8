package app

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/internal/settings"
	"github.com/livekit-connector/livekit-connector/pkg/whatsapp"
)

func TestNumbersAndTheirSecrets(t *testing.T) {
	dir := t.TempDir()
	token, secret := filepath.Join(dir, "token"), filepath.Join(dir, "secret")
	require.NoError(t, os.WriteFile(token, []byte("EAAfrom-file\n"), 0o600))
	require.NoError(t, os.WriteFile(secret, []byte("secret-from-file\n"), 0o600))
	file := filepath.Join(dir, "c.yaml")
	require.NoError(t, os.WriteFile(file, []byte(`whatsapp:
  numbers:
    "100": {name: one, access_token: EAAplain, app_secret: shared}
    "200": {access_token_file: `+token+`, app_secret_file: `+secret+`, api_version: "25.0"}
    "300": {access_token_env: CONNECTOR_TOKEN_3, app_secret: shared}
    "400": {app_secret: solitary}
`), 0o600))
	line, err := parse(append([]string{"CONNECTOR_TOKEN_3=EAAfrom-env"}, minimal...), "--config", file)
	require.NoError(t, err)
	require.Empty(t, line.Warnings, "a variable that the file names is known")

	ns := newNumbers(&line.Config.WhatsApp, slog.New(slog.DiscardHandler))
	for id, want := range map[string]whatsapp.Credentials{
		"100": {AccessToken: "EAAplain", Version: "24.0"},
		"200": {AccessToken: "EAAfrom-file", Version: "25.0"},
		"300": {AccessToken: "EAAfrom-env", Version: "24.0"},
	} {
		want.PhoneNumberID = id
		got, ok := ns.Credentials(id)
		require.True(t, ok)
		require.Equal(t, want, got)
	}
	got, ok := ns.Credentials("400")
	require.False(t, ok, "it has no token")
	require.Equal(t, "24.0", got.Version)
	_, ok = ns.Credentials("500")
	require.False(t, ok)
	require.ElementsMatch(t, []string{"shared", "secret-from-file", "solitary"}, ns.AppSecrets())

	var shown bytes.Buffer
	require.NoError(t, settings.WriteYAML(&shown, line.Config, line.Origins))
	require.Contains(t, shown.String(), "api_version: \"25.0\"")
	for _, secret := range []string{"EAA", "shared", "secret-from", "solitary"} {
		require.NotContains(t, shown.String(), secret)
		require.NotContains(t, fmt.Sprintf("%v %+v", line.Config.WhatsApp, line.Config.WhatsApp.Numbers), secret)
	}
}

func TestProblemsOfNumbers(t *testing.T) {
	file := t.TempDir() + "/c.yaml"
	require.NoError(t, os.WriteFile(file, []byte(`whatsapp:
  api_versions: ["23.0", "25.0"]
  numbers:
    "+1 555": {access_token: EAAx}
    "100": {access_token: "hunter2 hunter2"}
    "200": {api_version: "24.0"}
    "300": {access_token: hunter2, access_token_file: /none}
    "400": {access_token_file: /none}
    "500": {access_token_env: NONE}
    "600": {acces_token: hunter2}
`), 0o600))
	_, err := parse(minimal, "--config", file)
	require.EqualError(t, err, strings.ReplaceAll(`F:10: whatsapp.numbers.600.acces_token: unknown key, did you mean access_token?
F:4: whatsapp.numbers.300.access_token_file: set this or access_token, not both
F:4: whatsapp.numbers.400.access_token_file: open /none: no such file or directory
F:4: whatsapp.numbers.500.access_token_env: $NONE is not set
F:4: whatsapp.numbers.+1 555: is no phone number ID of Meta's: want the ID, not the number
F:4: whatsapp.numbers.100.access_token: want printable ASCII without spaces or line ends
F:4: whatsapp.numbers.200: says nothing: want access_token, access_token_env or access_token_file, or the same of app_secret
F:4: whatsapp.numbers.200.api_version: 24.0 is not one of the allowed versions
F:4: whatsapp.numbers.600: says nothing: want access_token, access_token_env or access_token_file, or the same of app_secret`, "F", file))
	require.NotContains(t, err.Error(), "hunter2")
}

func TestVersionOfANumberThatSaysNone(t *testing.T) {
	c := WhatsAppConfig{}
	require.Equal(t, "24.0", c.version(NumberConfig{}))
	require.Equal(t, "26.0", c.version(NumberConfig{APIVersion: "26.0"}))
	c.APIVersions = []string{"23.0", "25.0", "24.0"}
	require.Equal(t, "25.0", c.version(NumberConfig{}))
}

func TestRotatedTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		name := filepath.Join(t.TempDir(), "token")
		write := func(text string) {
			require.NoError(t, os.WriteFile(name, []byte(text), 0o600))
			time.Sleep(2 * time.Second) // fake time
		}
		write("EAAone")
		var log bytes.Buffer
		ns := newNumbers(&WhatsAppConfig{Numbers: map[string]NumberConfig{"100": {AccessTokenFile: name}}}, slog.New(slog.NewTextHandler(&log, nil)))
		now := func() string { c, _ := ns.Credentials("100"); return c.AccessToken }
		renewed := func(id, token string) string {
			return ns.Renew(whatsapp.Credentials{PhoneNumberID: id, AccessToken: token}).AccessToken
		}
		require.Equal(t, "EAAone", now())
		require.Equal(t, "EAAone", renewed("100", "EAAone"))
		write("EAAtwo")
		require.Equal(t, "EAAtwo", renewed("100", "EAAone"), "a call that began with the one before")
		require.Equal(t, "EAAtwo", now())
		require.Equal(t, "EAAtheirs", renewed("100", "EAAtheirs"), "somebody brought his own")
		require.Equal(t, "EAAone", renewed("200", "EAAone"), "another number's")

		require.NoError(t, os.Remove(name))
		time.Sleep(2 * time.Second) // fake time
		require.Equal(t, "EAAtwo", now())
		time.Sleep(2 * time.Second) // fake time
		require.Equal(t, "EAAtwo", now())
		require.Equal(t, 1, strings.Count(log.String(), "cannot use a secret"))
		for _, unusable := range []string{"", " \n", "EAAone EAAtwo", "EAA\nthree", "EAAth\xffree"} {
			write(unusable)
			require.Equal(t, "EAAtwo", now(), "%q is no token", unusable)
		}
		require.Equal(t, 1, strings.Count(log.String(), "cannot use a secret"), "told once, whatever is the matter")
		write(" EAAthree \r\n")
		require.Equal(t, "EAAthree", now())
		require.Equal(t, "EAAthree", renewed("100", "EAAone"))
		require.Contains(t, log.String(), "can be used again")
		require.NotContains(t, log.String(), "EAA")
	})
}

func TestRulesFileIsCheckedWithTheConfiguration(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "rules.yaml")
	require.NoError(t, os.WriteFile(file, []byte("rules:\n  - {nme: x}\n  - {match: {caller: nobody}}\n"), 0o600))
	_, err := parse(minimal, "--rules-file", file, "--port=-1")
	require.EqualError(t, err, "--port: port: -1 is not between 0 and 65535\n"+
		file+":2: rules[0].nme: unknown key, did you mean name?\n"+
		file+`:3: rules[1].match.caller: "nobody" is not one of hidden, known`)
	_, err = parse(append([]string{"CONNECTOR_RULES_FILE=/none"}, minimal...))
	require.EqualError(t, err, "$CONNECTOR_RULES_FILE: rules_file: open /none: no such file or directory")
	require.NoError(t, os.WriteFile(file, []byte("rules: [{}]"), 0o600))
	line, err := parse(minimal, "--rules-file", file)
	require.NoError(t, err)
	require.EqualError(t, errors.Join(line.Warnings...), "--rules-file: rules_file: has no effect without webhook.path: no call comes to the rules")
}
