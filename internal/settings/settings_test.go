package settings_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/livekit-connector/livekit-connector/internal/settings"
)

type sample struct {
	Port       int                        `yaml:"port" group:"One" help:"A port."`
	Name       string                     `yaml:"name" env:"SHARED_NAME,OTHER_NAME" help:"A name."`
	Secret     settings.Secret            `yaml:"secret" help:"A secret."`
	SecretFile string                     `yaml:"secret_file" help:"Its file."`
	Keys       map[string]settings.Secret `yaml:"keys" help:"Keys."`
	KeysFile   string                     `yaml:"keys_file" help:"Their file."`
	Deep       section                    `yaml:"deep"`
}

type section struct {
	Wait    time.Duration `yaml:"wait" group:"Two" help:"A time."`
	On      bool          `yaml:"on" help:"A switch."`
	List    []string      `yaml:"list" help:"A list."`
	Servers []server      `yaml:"servers" help:"Servers."`

	Share  float64        `yaml:"share" help:"A share."`
	Counts map[string]int `yaml:"counts" help:"Counts."`
}

type server struct {
	URLs           []string        `yaml:"urls"`
	Credential     settings.Secret `yaml:"credential"`
	CredentialFile string          `yaml:"credential_file"`
}

type source struct {
	document string
	env      map[string]string
	args     []string
	files    map[string]string
}

func load(t *testing.T, s source) (sample, settings.Origins, error) {
	t.Helper()
	cfg := sample{Port: 8080, Deep: section{Wait: time.Second}}
	fields := settings.Fields(sample{}, "APP")
	flags, words, problems := settings.ParseArgs(s.args, settings.FlagsOf(fields))
	require.Empty(t, problems)
	require.Empty(t, words)
	origins, err := settings.Load(&cfg, settings.Input{
		Fields: fields, DocumentName: "c.yaml", Document: []byte(s.document), Flags: flags,
		Env: func(name string) (string, bool) { v, ok := s.env[name]; return v, ok },
		ReadFile: func(name string) ([]byte, error) {
			if text, ok := s.files[name]; ok {
				return []byte(text), nil
			}
			return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
		},
	})
	return cfg, origins, err
}

func TestLaterSourceWins(t *testing.T) {
	cfg, origins, err := load(t, source{
		document: "port: 1\nname: file\ndeep:\n  wait: 2s\n  on: yes\n  list: [a, b]\n",
		env:      map[string]string{"APP_PORT": "2", "OTHER_NAME": "env", "APP_DEEP_LIST": "c, d,"},
		args:     []string{"--port", "3", "-deep.wait=1m"},
	})
	require.NoError(t, err)
	require.Equal(t, sample{Port: 3, Name: "env", Deep: section{Wait: time.Minute, On: true, List: []string{"c", "d"}}}, cfg)
	require.Equal(t, settings.Origins{
		"port": "--port", "name": "$OTHER_NAME", "deep.wait": "--deep.wait", "deep.on": "c.yaml:5", "deep.list": "$APP_DEEP_LIST",
	}, origins)
}

func TestNumbers(t *testing.T) {
	cfg, _, err := load(t, source{document: "deep:\n  share: 0.5\n  counts: {a: 1, b: 20}\n"})
	require.NoError(t, err)
	require.InDelta(t, 0.5, cfg.Deep.Share, 0)
	require.Equal(t, map[string]int{"a": 1, "b": 20}, cfg.Deep.Counts)
	cfg, _, err = load(t, source{args: []string{"--deep.share", ".75", "--deep.counts", "{c: 3}"}})
	require.NoError(t, err)
	require.InDelta(t, 0.75, cfg.Deep.Share, 0)
	require.Equal(t, map[string]int{"c": 3}, cfg.Deep.Counts)
	for _, wrong := range []string{"share: half", "share: .inf", "share: NaN", "counts: {a: 1.5}", "counts: 3"} {
		_, _, err = load(t, source{document: "deep:\n  " + wrong + "\n"})
		require.ErrorContains(t, err, "c.yaml:2", wrong)
	}
}

func TestPreferredVariableWins(t *testing.T) {
	cfg, _, err := load(t, source{env: map[string]string{"SHARED_NAME": "preferred", "OTHER_NAME": "other"}})
	require.NoError(t, err)
	require.Equal(t, "preferred", cfg.Name)
}

func TestWhatIsEmptyIsNotSet(t *testing.T) {
	cfg, origins, err := load(t, source{document: "port:\nname:\ndeep:\n", env: map[string]string{"APP_PORT": ""}})
	require.NoError(t, err)
	require.Equal(t, 8080, cfg.Port)
	require.Empty(t, origins)
}

func TestKubernetesServiceLinkIsNoSetting(t *testing.T) {
	cfg, _, err := load(t, source{env: map[string]string{"APP_PORT": "tcp://10.0.0.7:8080"}})
	require.NoError(t, err)
	require.Equal(t, 8080, cfg.Port)

	fields := settings.Fields(sample{}, "APP")
	require.Empty(t, settings.UnknownEnv([]string{
		"APP_SERVICE_HOST=10.0.0.7", "APP_SERVICE_PORT_HTTP=8080", "APP_PORT_8080_TCP_ADDR=10.0.0.7", "APP_PORT=tcp://10.0.0.7:8080",
		"OTHER=1", "APP_DEEP_ON=true", "APP_EXTRA=1",
	}, "APP", fields, "APP_EXTRA"))
	problems := settings.UnknownEnv([]string{"APP_DEEP_WIAT=3s"}, "APP", fields)
	require.EqualError(t, errors.Join(problems...), "$APP_DEEP_WIAT: unknown variable, did you mean APP_DEEP_WAIT?")
}

func TestEveryProblemIsReported(t *testing.T) {
	_, _, err := load(t, source{
		document: "prot: 1\nport: many\ndeep:\n  wait: 30\n  on: maybe\n  listt: []\n  list: {a: b}\n  servers:\n    - url: [x]\n    - nothing\nname: [a]\nport: 2\nzzzzzzzzzzz: 1\n",
		env:      map[string]string{"APP_DEEP_ON": "perhaps", "APP_KEYS": "[a]", "APP_DEEP_SERVERS": "{"},
		args:     []string{"--port=3x"},
	})
	require.EqualError(t, err, `c.yaml:1: prot: unknown key, did you mean port?
c.yaml:2: port: want a whole number, got "many"
c.yaml:4: deep.wait: want a duration such as 500ms, 30s or 5m, got "30"
c.yaml:5: deep.on: want true or false, got "maybe"
c.yaml:6: deep.listt: unknown key, did you mean list?
c.yaml:7: deep.list: want a list, got keys and values
c.yaml:9: deep.servers[0].url: unknown key, did you mean urls?
c.yaml:10: deep.servers[1]: want keys and values, got a single value
c.yaml:11: name: want one value, got a list
c.yaml:12: port: given twice, first on line 2
c.yaml:13: zzzzzzzzzzz: unknown key, did you mean deep?
--port: port: want a whole number, got "3x"
$APP_KEYS: keys: want keys and values, got a list
$APP_DEEP_ON: deep.on: want true or false, got "perhaps"
$APP_DEEP_SERVERS: deep.servers: is not YAML`)
}

func TestBrokenDocuments(t *testing.T) {
	for name, tc := range map[string]struct{ document, want string }{
		"syntax":       {"port: 1\nname: [a\n", "c.yaml: near line 1: did not find expected ',' or ']'"},
		"two of them":  {"port: 1\n---\nport: 2\n", "c.yaml:2: a second YAML document: everything belongs into one"},
		"no mapping":   {"- port\n", "c.yaml:1: want keys and values, got a list"},
		"tab":          {"deep:\n\ton: true\n", "c.yaml: near line 2: found character that cannot start any token"},
		"number range": {"port: 99999999999999999999", `c.yaml:1: port: "99999999999999999999" is out of range`},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := load(t, source{document: tc.document})
			require.EqualError(t, err, tc.want)
		})
	}
	_, _, err := load(t, source{document: "# nothing but a comment\n"})
	require.NoError(t, err)
}

func TestSecretsFromFiles(t *testing.T) {
	files := map[string]string{"/s": " from-file \r\n", "/k": "  one: 1\n  two: 2\n", "/empty": "\n"}
	t.Run("in the document", func(t *testing.T) {
		cfg, origins, err := load(t, source{files: files, document: "secret_file: /s\nkeys_file: /k\ndeep: {servers: [{urls: [u], credential_file: /s}]}\n"})
		require.NoError(t, err)
		require.Equal(t, "from-file", cfg.Secret.Reveal())
		require.Equal(t, map[string]settings.Secret{"one": "1", "two": "2"}, cfg.Keys)
		require.Equal(t, settings.Secret("from-file"), cfg.Deep.Servers[0].Credential)
		require.Equal(t, "c.yaml:1", origins["secret"])
	})
	t.Run("the stronger source wins", func(t *testing.T) {
		cfg, _, err := load(t, source{files: files, document: "secret: weak\n", env: map[string]string{"APP_SECRET_FILE": "/s"}})
		require.NoError(t, err)
		require.Equal(t, "from-file", cfg.Secret.Reveal())
		cfg, _, err = load(t, source{files: files, document: "secret_file: /s\n", env: map[string]string{"APP_SECRET": "strong"}})
		require.NoError(t, err)
		require.Equal(t, "strong", cfg.Secret.Reveal())
	})
	t.Run("what can be wrong", func(t *testing.T) {
		_, _, err := load(t, source{files: files, document: "secret: very-secret\nsecret_file: /s\nkeys_file: /missing\ndeep: {servers: [{credential: very-secret, credential_file: /s}, {credential_file: /empty}]}\n"})
		require.EqualError(t, err, `c.yaml:2: secret_file: set this or secret, not both
c.yaml:3: keys_file: open /missing: file does not exist
c.yaml:4: deep.servers[0].credential_file: set this or credential, not both
c.yaml:4: deep.servers[1].credential_file: /empty is empty`)
		require.NotContains(t, err.Error(), "very-secret")
	})
}

func TestSecretNeverShows(t *testing.T) {
	s := struct{ S settings.Secret }{"hunter2"}
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "s", s.S)
	j, err := json.Marshal(s)
	require.NoError(t, err)
	y, err := yaml.Marshal(s)
	require.NoError(t, err)
	text := fmt.Sprintf("%v %+v %#v %s %q", s, s, s, s.S, s.S) + log.String() + string(j) + string(y)
	require.NotContains(t, text, "hunter2")
	require.Contains(t, text, "[redacted]")
	require.Empty(t, settings.Secret("").String())
}

func TestWriteYAML(t *testing.T) {
	cfg, origins, err := load(t, source{
		document: "secret: hunter2\nkeys: {b: hunter2, a: hunter2}\ndeep:\n  servers:\n    - urls: [x]\n      credential: hunter2\n",
		args:     []string{"--deep.wait=90s", "--name=on"},
	})
	require.NoError(t, err)
	var out bytes.Buffer
	require.NoError(t, settings.WriteYAML(&out, cfg, origins))
	require.Equal(t, `port: 8080
name: on # --name
secret: '[redacted]' # c.yaml:1
secret_file: ""
keys: # c.yaml:2
  a: '[redacted]'
  b: '[redacted]'
keys_file: ""
deep:
  wait: 1m30s # --deep.wait
  on: false
  list: []
  servers: # c.yaml:5
    - urls:
        - x
      credential: '[redacted]'
      credential_file: ""
  share: 0
  counts: {}
`, out.String())
}

func TestParseArgs(t *testing.T) {
	known := []settings.Flag{{Name: "port"}, {Name: "on", Bool: true}}
	flags, words, problems := settings.ParseArgs([]string{"run", "--on", "word", "--port", "-1", "-on=false", "--", "--port"}, known)
	require.Empty(t, problems)
	require.Equal(t, []string{"run", "word", "--port"}, words)
	require.Equal(t, map[string][]string{"on": {"true", "false"}, "port": {"-1"}}, flags)

	flags, words, problems = settings.ParseArgs([]string{"--on", "false", "run", "--on", "true", "--on"}, known)
	require.Empty(t, problems)
	require.Equal(t, []string{"run"}, words)
	require.Equal(t, map[string][]string{"on": {"false", "true", "true"}}, flags)

	_, _, problems = settings.ParseArgs([]string{"--prot=secret", "--other", "--port"}, known)
	require.EqualError(t, errors.Join(problems...), "--prot: unknown flag, did you mean --port?\n--other: unknown flag, did you mean --on?\n--port: needs a value")
}

func TestUsageNamesEveryField(t *testing.T) {
	fields := settings.Fields(sample{}, "APP")
	var usage, table bytes.Buffer
	require.NoError(t, settings.WriteUsage(&usage, fields, sample{Port: 1}))
	require.NoError(t, settings.WriteMarkdown(&table, fields, sample{Port: 1}))
	for _, f := range fields {
		require.Contains(t, usage.String(), "--"+f.Flag+" ")
		require.Contains(t, usage.String(), "$"+f.Env[0])
		require.Contains(t, table.String(), "| `"+f.Key+"` |")
	}
	require.Contains(t, usage.String(), "\nTwo\n  --deep.wait duration  [$APP_DEEP_WAIT]\n        A time.\n")
	require.Contains(t, table.String(), "| `port` | `1` | `APP_PORT` | A port. |\n")
}

func TestNearestName(t *testing.T) {
	known := []settings.Flag{{Name: "port"}, {Name: "health-port"}, {Name: "max-active-calls"}, {Name: "max-call-duration"}, {Name: "api-key"}}
	for given, want := range map[string]string{
		"prot": "port", "healthPort": "health-port", "health_prot": "health-port", "max-calls": "max-active-calls", "apikey": "api-key",
	} {
		_, _, problems := settings.ParseArgs([]string{"--" + given}, known)
		require.EqualError(t, errors.Join(problems...), "--"+given+": unknown flag, did you mean --"+want+"?")
	}
}

func FuzzDocument(f *testing.F) {
	f.Add("port: 1\ndeep: {wait: 3s, servers: [{urls: [a]}]}\n")
	f.Add("a: &a [*a]\nkeys: {? [x] : y}\n")
	f.Add("deep: &d {list: [x]}\nkeys: *d\n")
	fields := settings.Fields(sample{}, "APP")
	f.Fuzz(func(t *testing.T, document string) {
		var cfg sample
		_, err := settings.Load(&cfg, settings.Input{
			Fields: fields, DocumentName: "c.yaml", Document: []byte(document),
			Env: func(string) (string, bool) { return "", false }, ReadFile: func(string) ([]byte, error) { return nil, fs.ErrNotExist },
		})
		if err == nil {
			return
		}
		require.NotEmpty(t, err.Error())
	})
}
