package settings_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/livekit-connector/livekit-connector/internal/settings"
)

type document struct {
	Wait  *time.Duration `yaml:"wait"`
	Rules []struct {
		Name  string    `yaml:"name"`
		From  []string  `yaml:"from"`
		Open  *bool     `yaml:"open"`
		Other yaml.Node `yaml:"other"`
		Match struct {
			Day string `yaml:"day"`
		} `yaml:"match"`
	} `yaml:"rules"`
	Numbers map[string]struct {
		Name string `yaml:"name"`
		Size int    `yaml:"size"`
	} `yaml:"numbers"`
}

func TestDecodeTellsThePlaceOfEverything(t *testing.T) {
	var d document
	places, err := settings.Decode(&d, "f", []byte(`rules:
  - name: a
    from: 15550001111
    match:
      day: mon
  - open: false
    from: [1, 2]
    other: {deep: [1]}
numbers:
  "1": {name: x}
`))
	require.NoError(t, err)
	require.Nil(t, d.Wait)
	require.Nil(t, d.Rules[0].Open)
	require.False(t, *d.Rules[1].Open)
	require.Equal(t, []string{"15550001111"}, d.Rules[0].From)
	require.Equal(t, []string{"1", "2"}, d.Rules[1].From)
	require.Equal(t, "x", d.Numbers["1"].Name)
	require.Equal(t, yaml.MappingNode, d.Rules[1].Other.Kind)
	for key, where := range map[string]string{
		"rules[0]": "f:2", "rules[0].from": "f:3", "rules[0].match": "f:5", "rules[0].match.day": "f:5",
		"rules[1].open": "f:6", "rules[1].from[1]": "f:7", "numbers.1": "f:10", "numbers.1.name": "f:10",
	} {
		require.Equal(t, where, places[key], key)
	}
}

func TestDecodeTellsEveryProblem(t *testing.T) {
	var d document
	_, err := settings.Decode(&d, "f", []byte(`wait: soon
rules:
  - nam: a
    open: perhaps
    match: [mon]
  - name: b
    name: c
numbers:
  "1": {size: big, nme: y}
`))
	require.EqualError(t, err, `f:1: wait: want a duration such as 500ms, 30s or 5m, got "soon"
f:3: rules[0].nam: unknown key, did you mean name?
f:4: rules[0].open: want true or false, got "perhaps"
f:5: rules[0].match: want keys and values, got a list
f:7: rules[1].name: given twice, first on line 6
f:9: numbers.1.size: want a whole number, got "big"
f:9: numbers.1.nme: unknown key, did you mean name?`)
}

func TestSecretsInMapsOfStructs(t *testing.T) {
	type number struct {
		Token     settings.Secret `yaml:"token"`
		TokenFile string          `yaml:"token_file"`
		TokenEnv  string          `yaml:"token_env"`
	}
	type config struct {
		Numbers map[string]number `yaml:"numbers" help:"Numbers."`
	}
	load := func(body string) (config, error) {
		var c config
		_, err := settings.Load(&c, settings.Input{
			Fields: settings.Fields(c, "X"), DocumentName: "f", Document: []byte(body),
			Env: func(name string) (string, bool) { return map[string]string{"TOKEN": "from-env"}[name], true },
			ReadFile: func(name string) ([]byte, error) {
				if name != "/secret" {
					return nil, os.ErrNotExist
				}
				return []byte("from-file\n"), nil
			},
		})
		return c, err
	}
	c, err := load(`numbers: {"1": {token: plain}, "2": {token_file: /secret}, "3": {token_env: TOKEN}}`)
	require.NoError(t, err)
	require.Equal(t, "plain", c.Numbers["1"].Token.Reveal())
	require.Equal(t, "from-file", c.Numbers["2"].Token.Reveal())
	require.Equal(t, "from-env", c.Numbers["3"].Token.Reveal())
	_, err = load(`numbers: {"1": {token: hunter2, token_file: /secret}, "2": {token_file: /none}, "3": {token_env: NONE}, "4": {token_env: TOKEN, token_file: /secret}}`)
	require.EqualError(t, err, `f:1: numbers.1.token_file: set this or token, not both
f:1: numbers.2.token_file: file does not exist
f:1: numbers.3.token_env: $NONE is not set
f:1: numbers.4.token_env: set one of token, token_env and token_file`)
}

func TestSecretFileFollowsTheFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		name := filepath.Join(t.TempDir(), "token")
		reads := 0
		f := settings.NewSecretFile(name, func(name string) ([]byte, error) { reads++; return os.ReadFile(name) })
		require.Equal(t, name, f.Name())
		_, err := f.Secret()
		require.ErrorIs(t, err, os.ErrNotExist)

		write := func(text string) {
			require.NoError(t, os.WriteFile(name, []byte(text), 0o600))
			time.Sleep(time.Second) // fake time
		}
		write("one\n")
		var secret settings.Secret
		for range 3 {
			secret, err = f.Secret()
			require.NoError(t, err)
			require.Equal(t, "one", secret.Reveal())
		}
		require.Equal(t, 2, reads, "a burst reads once")
		write("two\r\n")
		secret, err = f.Secret()
		require.NoError(t, err)
		require.Equal(t, "two", secret.Reveal())
		write("\n")
		secret, err = f.Secret()
		require.ErrorContains(t, err, "is empty")
		require.Equal(t, "two", secret.Reveal(), "what it held before")
		require.NotContains(t, errors.Join(err).Error(), "two")
	})
}

func TestListsOfSecretsHideThemselves(t *testing.T) {
	type config struct {
		Secrets []settings.Secret `yaml:"secrets" help:"Secrets."`
	}
	c := config{}
	fields := settings.Fields(c, "X")
	_, err := settings.Load(&c, settings.Input{Fields: fields, Document: []byte("secrets: [hunter2, hunter3]"), Env: func(string) (string, bool) { return "", false }})
	require.NoError(t, err)
	require.Equal(t, "hunter3", c.Secrets[1].Reveal())
	require.Equal(t, "[redacted],[redacted]", fields[0].Text(c))
}
