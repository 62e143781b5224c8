package app

import (
	"time"

	"github.com/livekit-connector/livekit-connector/internal/call"
	"github.com/livekit-connector/livekit-connector/internal/settings"
	"github.com/livekit-connector/livekit-connector/media"
)

// EnvPrefix begins every environment variable that LiveKit's other services do not know.
const EnvPrefix = "CONNECTOR"

// Secret is a string that no log, no error and no printed configuration shows.
type Secret = settings.Secret

// Config is the whole configuration of a connector. Keys that livekit-server, livekit-sip or livekit-egress have, with
// the same meaning, have the same name here. Use DefaultConfig or ParseConfig to make one.
//
// The tags are the documentation: --help and the tables of the README are made from them.
type Config struct {
	WSURL         string            `yaml:"ws_url" env:"LIVEKIT_WS_URL,LIVEKIT_URL" group:"LiveKit" help:"URL of livekit-server, ws://, wss://, http:// or https://. Required."`
	APIKey        string            `yaml:"api_key" env:"LIVEKIT_API_KEY" help:"API key that livekit-server knows: requests signed with it are accepted, and rooms are joined with it. Required."`
	APISecret     Secret            `yaml:"api_secret" env:"LIVEKIT_API_SECRET" help:"Secret of api_key. Required."`
	APISecretFile string            `yaml:"api_secret_file" env:"LIVEKIT_API_SECRET_FILE" help:"File with the secret of api_key, instead of api_secret."`
	Keys          map[string]Secret `yaml:"keys" help:"Further API keys that livekit-server knows, with their secrets. A call joins its room with the key that signed its request, and only that key can steer it."`
	KeysFile      string            `yaml:"keys_file" help:"File with further keys, one 'key: secret' a line, instead of keys."`

	Port             int      `yaml:"port" group:"HTTP" help:"Port of the API (livekit.Connector over Twirp). 0 takes any free port."`
	BindAddresses    []string `yaml:"bind_addresses" help:"IP addresses to listen on, for every port but the admin one. Empty means all."`
	HealthPort       int      `yaml:"health_port" help:"A further port of /livez, /readyz and /startupz, which the API's and the admin port answer in any case. It holds 50 connections of its own, however full the API's port is. 0 means none."`
	PrometheusPort   int      `yaml:"prometheus_port" help:"A port of its own for /metrics, for scrapers on other machines; the API's port serves it there. 0 means that only the admin port has it."`
	ProxyLiveKit     bool     `yaml:"proxy_livekit" help:"Pass every request that is not for the connector on to livekit-server, WebSockets too, so that one LIVEKIT_URL serves SDKs, agents and calls."`
	AllowEmptyGrants bool     `yaml:"allow_empty_grants" help:"Accept Connect and Disconnect with a token that grants nothing: several LiveKit SDKs send such tokens."`

	MaxActiveCalls  int           `yaml:"max_active_calls" group:"Calls" help:"Calls held at once; more are refused with resource_exhausted. 0 means no limit but those of limits."`
	MaxCallDuration time.Duration `yaml:"max_call_duration" help:"An answered call is ended after this time. 0 means never."`
	AloneTimeout    time.Duration `yaml:"alone_timeout" help:"A call is ended when everybody to talk with has been gone from its room for so long; somebody who comes in time keeps it, as an agent that restarts. Rooms that nobody has entered yet do not count. 0 means never."`
	RingingTimeout  time.Duration `yaml:"ringing_timeout" help:"How long a dialled phone may ring if the request does not say."`
	SetupTimeout    time.Duration `yaml:"setup_timeout" help:"How long an inbound call may take until it is answered, waiting for the agent included. SDKs give up after 30s, Meta after 30 to 60s."`
	ConnectTimeout  time.Duration `yaml:"connect_timeout" help:"How long ICE and DTLS with Meta may take."`
	MediaTimeout    time.Duration `yaml:"media_timeout" help:"An answered call from which Meta sends nothing for so long is ended."`
	DrainTimeout    time.Duration `yaml:"drain_timeout" help:"After the first SIGTERM calls may go on for so long. Keep it below terminationGracePeriodSeconds."`

	RulesFile string `yaml:"rules_file" group:"Rules" help:"YAML file that says what becomes of users' calls: room, agents, participant. Read anew when it changes and on SIGHUP."`

	Admin AdminConfig `yaml:"admin"`
	HTTP  HTTPConfig  `yaml:"http"`
	TLS   TLSConfig   `yaml:"tls"`

	WhatsApp    WhatsAppConfig    `yaml:"whatsapp"`
	Webhook     WebhookConfig     `yaml:"webhook"`
	Participant ParticipantConfig `yaml:"participant"`
	Events      EventsConfig      `yaml:"events"`
	CallHistory CallHistoryConfig `yaml:"call_history"`
	Limits      LimitsConfig      `yaml:"limits"`
	Media       MediaConfig       `yaml:"media"`
	DTMF        DTMFConfig        `yaml:"dtmf"`
	RTC         RTCConfig         `yaml:"rtc"`

	LogPII  bool          `yaml:"log_pii" group:"Log" help:"Log phone numbers, user IDs, names and whole call IDs, which hold phone numbers. Otherwise they are masked; docs/logs.md says how to find a call. Secrets are never logged."`
	Logging LoggingConfig `yaml:"logging"`
}

// WhatsAppConfig is about Meta's Graph API.
type WhatsAppConfig struct {
	GraphURL       string        `yaml:"graph_url" group:"WhatsApp" help:"Base URL of Meta's Graph API."`
	APIVersions    []string      `yaml:"api_versions" help:"Graph API versions that requests may name, such as 23.0. Empty means any from 23.0 up."`
	AllowInsecure  bool          `yaml:"allow_insecure" help:"Allow http:// in graph_url to other machines than this one. For a fake Meta: anybody on the way could read access tokens."`
	RequestTimeout time.Duration `yaml:"request_timeout" help:"How long one request to the Graph API may take. At most 8s, because SDKs give up at 10s."`

	Numbers map[string]NumberConfig `yaml:"numbers" help:"Access token, app secret and Graph API version by phone number ID, so that requests may leave whatsapp_api_key and whatsapp_cloud_api_version out: {ID: {access_token_file: F, app_secret_file: F, api_version: '24.0', name: n, api_keys: [K]}}; with api_keys only requests that these keys signed may use the number."`

	Recording         CaptureConfig           `yaml:"recording"`
	Transcription     CaptureConfig           `yaml:"transcription"`
	PermissionRequest PermissionRequestConfig `yaml:"permission_request"`
}

// ParticipantConfig is about what the room sees of a call.
type ParticipantConfig struct {
	PhoneNumberAttributes bool `yaml:"phone_number_attributes" group:"Participant" help:"Put both phone numbers into the participant's attributes, where everybody in the room reads them."`
}

// MediaConfig is about what happens to the audio between a phone and its room.
type MediaConfig struct {
	Mode            string       `yaml:"mode" group:"Audio" help:"auto relays the room's packets as they are while one voice is heard that Meta can take, and the phone's always; transcode decodes, mixes and encodes both directions, for level control. A call can choose by its participant attribute lk.connector.media."`
	MaxRelayBitrate int          `yaml:"max_relay_bitrate" help:"A track of the room above this many bits per second is encoded anew for the phone. 0 means no limit."`
	MaxVoices       int          `yaml:"max_voices" help:"Tracks of one room that are decoded and mixed at once, those that speak first."`
	GainToPhone     int          `yaml:"gain_to_phone" help:"Amplify what the phone hears, in dB; negative is softer. Anything but 0 transcodes that direction."`
	GainToRoom      int          `yaml:"gain_to_room" help:"Amplify what the room hears of the phone, in dB; negative is softer. Anything but 0 transcodes that direction."`
	AGCToPhone      bool         `yaml:"agc_to_phone" help:"Bring what the phone hears slowly to one level, by 12 dB at most, and leave noise in pauses alone. Transcodes that direction."`
	AGCToRoom       bool         `yaml:"agc_to_room" help:"Bring what the room hears of the phone slowly to one level, by 12 dB at most, and leave noise in pauses alone. Transcodes that direction."`
	G711            string       `yaml:"g711" help:"G.711 with Meta, for numbers whose settings list PCMU or PCMA: off never, fallback when Meta has no Opus, prefer whenever Meta has it. Such calls are transcoded."`
	Opus            OpusConfig   `yaml:"opus"`
	Jitter          JitterConfig `yaml:"jitter"`
}

// OpusConfig is how audio for the phone is encoded, when it is not relayed.
type OpusConfig struct {
	Bitrate      int  `yaml:"bitrate" help:"Bits per second of what is encoded for the phone. Meta asks for 20000."`
	Complexity   int  `yaml:"complexity" help:"Effort of the encoder for the phone, 1 to 10: CPU for quality."`
	ExpectedLoss int  `yaml:"expected_loss" help:"Loss in percent that the encoder guards against even if Meta reports less; more if Meta reports more."`
	FEC          bool `yaml:"fec" help:"Send each packet's speech once more, coarsely, in the next one, as far as loss is expected (in-band FEC)."`
}

// JitterConfig bounds how long packets wait for each other before they are decoded. Within the bounds the delay follows
// the network. Relayed packets never wait.
type JitterConfig struct {
	MinDelay time.Duration `yaml:"min_delay" help:"Least that decoded audio is held back."`
	MaxDelay time.Duration `yaml:"max_delay" help:"Most that decoded audio is held back for packets that are late."`
}

// RTCConfig is about the UDP sockets of calls with Meta, one socket for each call. Rooms are joined as any LiveKit
// client does and need no setting.
type RTCConfig struct {
	PortRangeStart          int             `yaml:"port_range_start" group:"Media with Meta" help:"First UDP port for calls. 0 takes any free port; nothing has to be open for inbound traffic either way."`
	PortRangeEnd            int             `yaml:"port_range_end" help:"Last UDP port for calls. Each call needs one."`
	NAT1To1IPs              []string        `yaml:"nat_1_to_1_ips" help:"Public addresses of this machine, offered to Meta instead of its own."`
	UseIPv6                 bool            `yaml:"use_ipv6" help:"Offer IPv6 addresses beside IPv4."`
	EnableLoopbackCandidate bool            `yaml:"enable_loopback_candidate" help:"Offer loopback addresses, for a fake Meta on the same machine."`
	Interfaces              InterfaceFilter `yaml:"interfaces"`
	IPs                     IPFilter        `yaml:"ips"`
	ICEServers              []ICEServer     `yaml:"ice_servers" help:"STUN and TURN servers for networks that let nothing else out: [{urls: [turn:host:3478], username: u, credential: c}]. No call ever waits for them."`
}

// InterfaceFilter chooses network interfaces by name: all of them unless Includes is set, never one of Excludes.
type InterfaceFilter struct {
	Includes []string `yaml:"includes" help:"Use only these network interfaces, such as eth0."`
	Excludes []string `yaml:"excludes" help:"Never use these network interfaces, such as docker0."`
}

// IPFilter chooses this machine's addresses: all of them unless Includes is set, never one in Excludes.
type IPFilter struct {
	Includes []string `yaml:"includes" help:"Use only these addresses of this machine, or those in these networks, such as 10.0.0.0/8."`
	Excludes []string `yaml:"excludes" help:"Never use these addresses of this machine, or those in these networks."`
}

// ICEServer is a STUN or TURN server.
type ICEServer struct {
	URLs           []string `yaml:"urls"`
	Username       string   `yaml:"username"`
	Credential     Secret   `yaml:"credential"`
	CredentialFile string   `yaml:"credential_file"`
}

// DefaultConfig returns the configuration of a connector that was told nothing. The LiveKit section is still missing.
func DefaultConfig() Config {
	return Config{
		Port:             8080,
		Admin:            defaultAdmin(),
		HTTP:             defaultHTTP(),
		AllowEmptyGrants: true,
		AloneTimeout:     call.DefaultTimeouts().Alone,
		RingingTimeout:   time.Minute,
		SetupTimeout:     28 * time.Second,
		ConnectTimeout:   5 * time.Second,
		MediaTimeout:     30 * time.Second,
		DrainTimeout:     5 * time.Minute,
		WhatsApp: WhatsAppConfig{
			GraphURL:       "https://graph.facebook.com",
			RequestTimeout: 5 * time.Second,
		},
		Webhook:     defaultWebhook(),
		Events:      defaultEvents(),
		CallHistory: defaultCallHistory(),
		Limits:      defaultLimits(),
		Media: MediaConfig{
			Mode: media.ModeAuto.String(), MaxRelayBitrate: media.DefaultMaxRelayBitrate, MaxVoices: media.DefaultMaxVoices,
			G711:   g711Off,
			Opus:   defaultOpus(),
			Jitter: JitterConfig{MinDelay: 10 * time.Millisecond, MaxDelay: 300 * time.Millisecond},
		},
		DTMF:    defaultDTMF(),
		RTC:     RTCConfig{UseIPv6: true},
		Logging: LoggingConfig{Level: "info"},
	}
}

// SecretOf returns the secret of an API key whose requests are accepted.
func (c *Config) SecretOf(apiKey string) (Secret, bool) {
	if apiKey == c.APIKey && apiKey != "" {
		return c.APISecret, true
	}
	secret, ok := c.Keys[apiKey]
	return secret, ok
}
