package app

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/internal/doctor"
)

func TestDoctorExaminesWhatIsConfigured(t *testing.T) {
	const body = `
ws_url: wss://lk.example.com
api_key: key
api_secret: hunter2hunter2
keys: {another: hunter3hunter3}
port: 9000
bind_addresses: [127.0.0.1, "::1"]
prometheus_port: 9002
max_active_calls: 40
whatsapp:
  numbers:
    "100": {name: support, access_token: EAAx, app_secret: s1}
    "200": {app_secret: s2}
webhook: {path: /webhook, public_url: "https://calls.example.com/webhook", verify_token: v, app_secrets: [s3], forward: [{url: "https://bot.example.com/hook"}]}
events: {urls: ["https://app.example.com/events"]}
media: {g711: prefer}
rtc:
  port_range_start: 40000
  port_range_end: 40099
  ice_servers:
    - {urls: ["stun:stun.example.com", "stuns:stun.example.com", "turn:turn.example.com:3478?transport=tcp"], username: u, credential: c}
`
	line, err := ParseCommandLine([]string{"--config", "c.yaml"}, Env{ReadFile: func(string) ([]byte, error) { return []byte(body), nil }})
	require.NoError(t, err)
	o, err := line.DoctorOptions(nil)
	require.NoError(t, err)
	require.Equal(t, "c.yaml", o.Source)
	require.Equal(t, []doctor.Key{{Key: "key", Secret: "hunter2hunter2"}, {Key: "another", Secret: "hunter3hunter3"}}, o.LiveKit.Keys)
	require.Len(t, o.Graph.Numbers, 2)
	require.Equal(t, "EAAx", o.Graph.Numbers[0].Credentials.AccessToken)
	require.Equal(t, "24.0", o.Graph.Numbers[0].Credentials.Version)
	require.Equal(t, "s2", o.Graph.Numbers[1].AppSecret)
	require.True(t, o.Graph.G711)
	require.ElementsMatch(t, []string{"s1", "s2", "s3"}, o.Webhook.AppSecrets)
	require.Equal(t, "https://calls.example.com/webhook", o.Webhook.PublicURL)
	require.Equal(t, []doctor.Receiver{
		{Key: "events.urls[0]", URL: "https://app.example.com/events"}, {Key: "webhook.forward[0]", URL: "https://bot.example.com/hook"},
	}, o.Receivers)
	require.Equal(t, []doctor.Port{
		{Key: "port", Addresses: []string{"127.0.0.1:9000", "[::1]:9000"}},
		{Key: "prometheus_port", Addresses: []string{"127.0.0.1:9002", "[::1]:9002"}},
		{Key: "admin.port", Addresses: []string{"127.0.0.1:8085"}},
	}, o.Ports)
	require.Equal(t, []string{"stun.example.com:3478"}, o.RTC.STUN)
	require.Equal(t, []doctor.TURN{{URL: "turn:turn.example.com:3478?transport=tcp", Username: "u", Password: "c"}}, o.RTC.TURN)
	require.Equal(t, 40, o.MaxActiveCalls)
	require.Equal(t, 40099, o.RTC.PortMax)
}

func TestDoctorHearsOfEveryProblem(t *testing.T) {
	line, err := ParseCommandLine([]string{"--config-body", "{port: x, max_active_cals: 1}"}, Env{Environ: []string{"CONNECTOR_PRT=1"}, ReadFile: os.ReadFile})
	require.Error(t, err)
	o, optionsErr := line.DoctorOptions(err)
	require.NoError(t, optionsErr)
	require.Len(t, o.Problems, len(Problems(err)))
	require.Contains(t, strings.Join(o.Problems, "\n"), "did you mean max_active_calls?")
	require.Equal(t, []string{"$CONNECTOR_PRT: unknown variable, did you mean CONNECTOR_PORT?"}, o.Warnings)
}
