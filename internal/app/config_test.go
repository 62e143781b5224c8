package app

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/livekit-connector/livekit-connector/internal/settings"
)

const exampleFile = "../../config.example.yaml"

// minimal is the environment of a connector that is configured with the least.
var minimal = []string{"LIVEKIT_URL=ws://127.0.0.1:7880", "LIVEKIT_API_KEY=key", "LIVEKIT_API_SECRET=hunter2hunter2"}

func parse(environ []string, args ...string) (*CommandLine, error) {
	return ParseCommandLine(args, Env{Environ: environ, ReadFile: os.ReadFile})
}

func TestExampleConfigLoads(t *testing.T) {
	line, err := parse(nil, "--config", exampleFile)
	require.NoError(t, err)
	require.Empty(t, line.Warnings)
	want := DefaultConfig()
	want.WSURL, want.APIKey, want.APISecret = "ws://127.0.0.1:7880", "devkey", "secret"
	want.Keys = map[string]Secret{}
	want.Limits.CallsByKey, want.Limits.CallsByNumber = map[string]int{}, map[string]int{}
	want.Logging.Components = map[string]string{}
	for _, list := range []*[]string{
		&want.BindAddresses, &want.HTTP.TrustedProxies, &want.Events.URLs, &want.WhatsApp.APIVersions, &want.RTC.NAT1To1IPs, &want.RTC.Interfaces.Includes,
		&want.RTC.Interfaces.Excludes, &want.Webhook.PhoneNumberIDs, &want.RTC.IPs.Includes, &want.RTC.IPs.Excludes,
	} {
		*list = []string{}
	}
	want.RTC.ICEServers = []ICEServer{}
	want.Webhook.AppSecrets, want.Webhook.Forward = []Secret{}, []ForwardConfig{}
	want.WhatsApp.Numbers = map[string]NumberConfig{}
	require.Equal(t, want, line.Config, "the example shows the defaults")
}

func TestExampleConfigNamesEveryKey(t *testing.T) {
	text, err := os.ReadFile(exampleFile)
	require.NoError(t, err)
	var tree map[string]any
	require.NoError(t, yaml.Unmarshal(text, &tree))
	for _, f := range ConfigFields() {
		var at any = tree
		for name := range strings.SplitSeq(f.Key, ".") {
			section, ok := at.(map[string]any)
			require.True(t, ok, f.Key)
			require.Contains(t, section, name, "config.example.yaml does not show %s", f.Key)
			at = section[name]
		}
	}
	for field := range reflect.TypeFor[NumberConfig]().Fields() {
		key, _, _ := strings.Cut(field.Tag.Get("yaml"), ",")
		require.Contains(t, string(text), " "+key+": ", "config.example.yaml does not show numbers' %s", key)
	}
	for field := range reflect.TypeFor[ICEServer]().Fields() {
		key, _, _ := strings.Cut(field.Tag.Get("yaml"), ",")
		require.Contains(t, string(text), " "+key+": ", "config.example.yaml does not show ice_servers' %s", key)
	}
}

func TestEveryKeyHasHelpAndHeading(t *testing.T) {
	for _, f := range ConfigFields() {
		require.NotEmpty(t, f.Group, f.Key)
		require.Regexp(t, `\.$`, f.Help, f.Key)
	}
}

func TestReadmeTableIsCurrent(t *testing.T) {
	const begin, end = "<!-- settings -->\n", "<!-- end of settings -->\n"
	text, err := os.ReadFile("../../README.md")
	require.NoError(t, err)
	head, rest, ok := strings.Cut(string(text), begin)
	require.True(t, ok)
	_, tail, ok := strings.Cut(rest, end)
	require.True(t, ok)
	var table bytes.Buffer
	require.NoError(t, settings.WriteMarkdown(&table, ConfigFields(), DefaultConfig()))
	want := head + begin + table.String() + "\n" + end + tail
	if want == string(text) {
		return
	}
	if os.Getenv("UPDATE_README") != "" {
		require.NoError(t, os.WriteFile("../../README.md", []byte(want), 0o644))
		return
	}
	t.Fatal("the tables of README.md are not those of Config: run make docs")
}

func TestLeastConfiguration(t *testing.T) {
	line, err := parse(minimal)
	require.NoError(t, err)
	require.Equal(t, CommandRun, line.Command)
	require.Equal(t, "http://127.0.0.1:7880", line.Config.HTTPURL())
	require.Equal(t, "ws://127.0.0.1:7880", line.Config.WebSocketURL())
	secret, ok := line.Config.SecretOf("key")
	require.True(t, ok)
	require.Equal(t, "hunter2hunter2", secret.Reveal())
	_, ok = line.Config.SecretOf("")
	require.False(t, ok)
}

func TestEveryKeyCanBeSetByFlagAndEnvironment(t *testing.T) {
	other := map[string]string{"true|false": "true", "number": "9000", "duration": "7s", "list": "10.0.0.1", "text": "x", "secret": "y"}
	special := map[string]string{
		"ws_url": "https://lk.example.com/", "whatsapp.graph_url": "http://127.0.0.1:1", "whatsapp.api_versions": "24.0",
		"rtc.ice_servers": `[{"urls": ["stun:s.example.com"]}]`, "keys": "{other: secret}", "logging.level": "debug", "logging.components": "{call: debug}", "dtmf.to_phone": "tones",
		"allow_empty_grants": "false", "rtc.use_ipv6": "false",
		"events.urls": "https://a.example.com/events,http://localhost:3000", "events.api_key": "key", "events.max_attempts": "9",
		"whatsapp.numbers": `{"100": {access_token: EAAx}}`,
		"webhook.path":     "/webhook", "webhook.on_no_rule": "ignore", "webhook.on_refused": "ignore", "webhook.public_url": "https://calls.example.com/webhook",
		"webhook.forward": "[{url: https://bot.example.com}]",
		"health_port":     "9001", "prometheus_port": "9002",
		"media.mode": "transcode", "media.g711": "prefer", "media.max_voices": "7", "media.gain_to_phone": "6",
		"media.gain_to_room": "-6", "media.opus.complexity": "9", "media.opus.expected_loss": "10", "media.opus.fec": "false",
		"media.jitter.min_delay": "20ms", "media.jitter.max_delay": "500ms",
		"limits.max_cpu_utilization": "0.8", "limits.max_memory_utilization": "0.8", "limits.cpus": "2.5", "limits.relay_cost": "0.01",
		"limits.mix_cost": "0.05", "limits.calls_by_key": "{key: 3}", "limits.calls_by_number": "{'100': 3}",
	}
	needed := map[string][]string{
		"tls.admin": {"CONNECTOR_TLS_CERT_FILE=c", "CONNECTOR_TLS_KEY_FILE=k"}, "tls.cert_file": {"CONNECTOR_TLS_KEY_FILE=k"},
		"tls.key_file": {"CONNECTOR_TLS_CERT_FILE=c"},
		"webhook.path": {"CONNECTOR_WEBHOOK_VERIFY_TOKEN=v", "CONNECTOR_WEBHOOK_APP_SECRETS=a,b"},
		"whatsapp.recording.enabled": {
			"CONNECTOR_WHATSAPP_RECORDING_PURPOSE=quality", "CONNECTOR_WHATSAPP_RECORDING_ANNOUNCEMENT_LANGUAGE=en_US",
		},
		"whatsapp.transcription.enabled": {
			"CONNECTOR_WHATSAPP_TRANSCRIPTION_PURPOSE=quality", "CONNECTOR_WHATSAPP_TRANSCRIPTION_ANNOUNCEMENT_LANGUAGE=en_US",
		},
		"whatsapp.permission_request.enabled": {"CONNECTOR_WHATSAPP_PERMISSION_REQUEST_TEXT=May we call?"},
	}
	for _, f := range ConfigFields() {
		if strings.HasSuffix(f.Key, "_file") {
			continue
		}
		value := special[f.Key]
		if value == "" {
			value = other[f.Type()]
		}
		t.Run(f.Key, func(t *testing.T) {
			environ, args := append([]string{}, minimal...), []string{"--" + f.Flag + "=" + value}
			if strings.HasPrefix(f.Key, "rtc.port_range") {
				environ = append(environ, "CONNECTOR_RTC_PORT_RANGE_START=9000", "CONNECTOR_RTC_PORT_RANGE_END=9000")
			}
			environ = append(environ, needed[f.Key]...)
			byFlag, err := parse(environ, args...)
			require.NoError(t, err)
			require.Equal(t, "--"+f.Flag, byFlag.Origins[f.Key])
			byEnv, err := parse(append(environ, f.Env[0]+"="+value))
			require.NoError(t, err)
			require.Equal(t, "$"+f.Env[0], byEnv.Origins[f.Key])
			require.Equal(t, byFlag.Config, byEnv.Config)
			if !strings.HasPrefix(f.Key, "rtc.port_range") {
				plain, err := parse(minimal)
				require.NoError(t, err)
				require.NotEqual(t, plain.Config, byFlag.Config)
			}
		})
	}
}

func TestAllProblemsAtOnceWithTheirPlace(t *testing.T) {
	file := t.TempDir() + "/c.yaml"
	require.NoError(t, os.WriteFile(file, []byte(`ws_url: wss://user:hunter2@lk.example.com
max_active_call: 3
port: 70000
health_port: eighty
bind_addresses: [localhost]
ringing_timeout: 1h
whatsapp:
  graph_url: ftp://graph.facebook.com
  api_versions: [v23.0, "22.0"]
rtc:
  port_range_start: 20000
  port_range_end: 10000
  nat_1_to_1_ips: [example.com]
  ips: {includes: [10.0.0.0/33]}
  ice_servers:
    - urls: [turn:t.example.com:3478]
      username: u
    - urls: [http://s.example.com]
logging: {level: loud}
`), 0o600))
	_, err := parse([]string{"CONNECTOR_CONFIG_FILE=" + file, "LIVEKIT_API_KEY=key", "CONNECTOR_MEDIA_TIMEOUT=1s"}, "--drain-timeout=-1s", "--prot=1")
	require.Error(t, err)
	require.Equal(t, `--prot: unknown flag, did you mean --port?
F:2: max_active_call: unknown key, did you mean max_active_calls?
F:4: health_port: want a whole number, got "eighty"
F:1: ws_url: must not hold a user or password
api_secret: is missing (set it in the file, with $LIVEKIT_API_SECRET or with --api-secret)
F:3: port: 70000 is not between 0 and 65535
F:5: bind_addresses: "localhost" is not an IP address
--drain-timeout: drain_timeout: must not be negative
F:6: ringing_timeout: 1h0m0s is not between 1s and 10m0s
$CONNECTOR_MEDIA_TIMEOUT: media_timeout: 1s is not between 2s and 1h0m0s
F:8: whatsapp.graph_url: must begin with https:// or http://
F:9: whatsapp.api_versions: "v23.0" is not a version such as 23.0, without v
F:9: whatsapp.api_versions: 22.0 is older than 23.0
F:12: rtc.port_range_end: 10000 is below port_range_start 20000
F:13: rtc.nat_1_to_1_ips: "example.com" is not an IP address
F:14: rtc.ips.includes: "10.0.0.0/33" is neither an IP address nor a network such as 10.0.0.0/8
F:16: rtc.ice_servers[0]: a TURN server needs username and credential
F:16: rtc.ice_servers[1].urls: want stun:host:port or turn:host:port?transport=udp
F:19: logging.level: "loud" is not one of debug, info, warn and error`, strings.ReplaceAll(err.Error(), file, "F"))
	require.NotContains(t, err.Error(), "hunter2")
}

func TestWhereTheDocumentComesFrom(t *testing.T) {
	files := map[string]string{"/a": "port: 1", "/b": "port: 2"}
	env := func(pairs ...string) Env {
		return Env{Environ: append(pairs, minimal...), ReadFile: func(name string) ([]byte, error) {
			if text, ok := files[name]; ok {
				return []byte(text), nil
			}
			return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
		}}
	}
	for name, tc := range map[string]struct {
		env  Env
		args []string
		port int
		err  string
	}{
		"flag before environment": {env("CONNECTOR_CONFIG_FILE=/a"), []string{"--config", "/b"}, 2, ""},
		"body by environment":     {env("CONNECTOR_CONFIG_BODY=port: 3"), nil, 3, ""},
		"body by flag":            {env("CONNECTOR_CONFIG_FILE=/a"), []string{"--config-body", "{port: 4}"}, 4, ""},
		"file by flag":            {env("CONNECTOR_CONFIG_BODY=port: 3"), []string{"--config", "/a"}, 1, ""},
		"both":                    {env("CONNECTOR_CONFIG_BODY=port: 3", "CONNECTOR_CONFIG_FILE=/a"), nil, 0, "$CONNECTOR_CONFIG_FILE and $CONNECTOR_CONFIG_BODY: give one of them"},
		"no such file":            {env(), []string{"--config=/none"}, 0, "--config: open /none: file does not exist"},
	} {
		t.Run(name, func(t *testing.T) {
			line, err := ParseCommandLine(tc.args, tc.env)
			if tc.err != "" {
				require.EqualError(t, err, tc.err)
				return
			}
			require.NoError(t, err)
			require.Equal(t, tc.port, line.Config.Port)
		})
	}
}

func TestBrokenDocumentHidesNothing(t *testing.T) {
	file := t.TempDir() + "/c.yaml"
	for text, want := range map[string]string{
		"ws_url: ws://x\n  api_key: k\n": "F: near line 2: mapping values are not allowed in this context",
		"just words":                     "F:1: want keys and values, got a single value",
		"port: 1\n---\nport: 2\n":        "F:2: a second YAML document: everything belongs into one",
	} {
		require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
		_, err := parse(nil, "--config", file)
		require.EqualError(t, err, strings.ReplaceAll(want, "F", file), "and not that keys are missing")
	}
	_, err := parse(nil, "--config", file+"x")
	require.EqualError(t, err, "--config: open "+file+"x: no such file or directory")
}

func TestCommands(t *testing.T) {
	for _, name := range commands {
		line, err := parse(minimal, name)
		require.NoError(t, err)
		require.Equal(t, name, line.Command)
	}
	line, err := parse(nil, "--help", "--nonsense")
	require.NoError(t, err)
	require.Equal(t, CommandHelp, line.Command)
	_, err = parse(minimal, "serve")
	require.EqualError(t, err, `unknown command "serve": want one of run, config, check, healthcheck, help, version`)
	_, err = parse(nil, "serve", "--port=-1")
	require.EqualError(t, err, `unknown command "serve": want one of run, config, check, healthcheck, help, version
--port: port: -1 is not between 0 and 65535`, "what is missing comes after what cannot be read")
	_, err = parse(minimal, "check", "config")
	require.EqualError(t, err, "one command at most, got check config")
	require.Len(t, Problems(errors.Join(fs.ErrExist, fs.ErrClosed)), 2)
}

func TestHelpIsComplete(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, WriteHelp(&out))
	for _, word := range append([]string{"--config ", "--config-body ", "Exit codes", "SIGTERM"}, commands...) {
		require.Contains(t, out.String(), word)
	}
	for line := range strings.SplitSeq(out.String(), "\n") {
		require.LessOrEqual(t, len(line), 140)
	}
}

func TestKeysAndTheirSecrets(t *testing.T) {
	line, err := parse(append([]string{"CONNECTOR_KEYS={other: theirs}"}, minimal...))
	require.NoError(t, err)
	secret, ok := line.Config.SecretOf("other")
	require.True(t, ok)
	require.Equal(t, Secret("theirs"), secret)

	_, err = parse(append([]string{"CONNECTOR_KEYS={key: theirs, empty: }"}, minimal...))
	require.ErrorContains(t, err, "$CONNECTOR_KEYS: keys: key has another secret than in api_secret")
	require.ErrorContains(t, err, "$CONNECTOR_KEYS: keys: an API key or its secret is empty")
	require.NotContains(t, err.Error(), "hunter2")
}

func TestURLForms(t *testing.T) {
	for text, want := range map[string][2]string{
		"wss://lk.example.com/":        {"https://lk.example.com", "wss://lk.example.com"},
		"http://lk.example.com:7880":   {"http://lk.example.com:7880", "ws://lk.example.com:7880"},
		"https://lk.example.com/path/": {"https://lk.example.com/path", "wss://lk.example.com/path"},
		"ws://[::1]:7880":              {"http://[::1]:7880", "ws://[::1]:7880"},
	} {
		c := Config{WSURL: text}
		require.Equal(t, want, [2]string{c.HTTPURL(), c.WebSocketURL()})
	}
	for _, text := range []string{"lk.example.com", "127.0.0.1:7880", "wss://", "ws://h:99999", "ws://h?x=1", "ws://h:0", "wss://h\x7f"} {
		_, err := parse(minimal, "--ws-url="+text)
		require.ErrorContains(t, err, "--ws-url: ws_url: ", text)
	}
}

func TestUnsupportedVersionIsToldOnce(t *testing.T) {
	a := &App{config: DefaultConfig()}
	require.NoError(t, a.checkVersion("24.0"))
	require.EqualError(t, a.checkVersion("v24.0"), "want a form like 24.0, without a v")
	require.EqualError(t, a.checkVersion("17.0"), "17.0 is older than 23.0")
}

func TestDefaultsAreValid(t *testing.T) {
	c := DefaultConfig()
	c.WSURL, c.APIKey, c.APISecret = "ws://127.0.0.1:7880", "key", "secret"
	require.NoError(t, c.Validate())
	require.Equal(t, time.Minute, c.RingingTimeout)
}
