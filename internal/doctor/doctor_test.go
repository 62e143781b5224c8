package doctor_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/internal/doctor"
	"github.com/livekit-connector/livekit-connector/internal/livekittest"
	"github.com/livekit-connector/livekit-connector/pkg/fakemeta"
)

// broken is one thing that is wrong, and the one check that says so.
type broken struct {
	name   string
	harm   func(*stand)
	check  string
	status doctor.Status
	found  string
	remedy string
}

const (
	warn = doctor.Warn
	fail = doctor.Fail
)

func settings(with map[string]any) func(*stand) {
	return func(s *stand) {
		all := map[string]any{"status": "ENABLED", "callback_permission_status": "ENABLED"}
		maps.Copy(all, with)
		s.restartMeta(all)
	}
}

func brokenMeta() []broken {
	refuses := func(f fakemeta.Fault) func(*stand) {
		return func(s *stand) { f.Times = -1; s.meta.Fail(f) }
	}
	return []broken{
		{"nothing answers in Meta's place", func(s *stand) { s.o.Graph.URL = "http://" + s.freePort() }, "graph", fail, "nothing answers at http://127.0.0.1", "outgoing HTTPS"},
		{"a wrong token", func(s *stand) { s.o.Graph.Numbers[0].Credentials.AccessToken = "EAAanothertokenanothertoken" }, "token", fail, "the access token is wrong (190)", "lasting token of a system user"},
		{"an expired token", refuses(fakemeta.Fault{Action: "settings", Code: 190, Subcode: 463}), "token", fail, "the access token has expired (190)", "lasting token of a system user"},
		{"a token without the right to read settings", refuses(fakemeta.Fault{Action: "settings", Code: 200}), "number", warn, "may not read the settings (200)", "whatsapp_business_management"},
		{"an ID that the token does not see", func(s *stand) { s.o.Graph.Numbers[0].Credentials.PhoneNumberID = "100000000000009" }, "number", fail, "no phone number with this ID", "check the ID"},
		{"calling disabled", settings(map[string]any{"status": "DISABLED"}), "number", fail, "calling is not enabled", `{"calling":{"status":"ENABLED"}}`},
		{"SIP on", settings(map[string]any{"sip": map[string]any{"status": "ENABLED"}}), "number", fail, "SIP is enabled", `{"sip":{"status":"DISABLED"}}`},
		{"SDES", settings(map[string]any{"srtp_key_exchange_protocol": "SDES"}), "number", fail, "encrypted by SDES", `{"srtp_key_exchange_protocol":"DTLS"}`},
		{"a restricted number", settings(map[string]any{"restrictions": map[string]any{"restrictions_list": []any{
			map[string]any{"type": "RESTRICTED_BUSINESS_INITIATED_CALLING", "reason": "LOW_QUALITY", "expiration": 1_900_000_000},
		}}}), "number", fail, "RESTRICTED_BUSINESS_INITIATED_CALLING (LOW_QUALITY) until 2030-03-17", "it ends by itself"},
		{"voicemail that answers first", settings(map[string]any{"voicemail": map[string]any{"status": "ENABLED", "triggers": []any{"TIMEOUT"}}}), "number", warn, "voicemail answers", "setup_timeout"},
		{"no call button", settings(map[string]any{"call_icon_visibility": "DISABLE_ALL"}), "number", warn, "users see no call button", "DEFAULT"},
		{"G.711 that the number does not list", func(s *stand) { s.o.Graph.G711 = true }, "number", warn, "media.g711 has no effect", "additional_codecs"},
		{"an app secret that Meta refuses", func(s *stand) {
			s.o.Graph.URL = s.before(s.meta.GraphURL(), func(w http.ResponseWriter, r *http.Request) bool {
				if r.URL.Query().Get("appsecret_proof") == "" {
					return false
				}
				http.Error(w, `{"error":{"message":"Invalid appsecret_proof provided in the API argument","code":100}}`, http.StatusBadRequest)
				return true
			}, nil)
		}, "app-secret", fail, "not that of the token's app", "App settings, Basic"},
		{"a token that ends soon", tokenInfo(`{"app_id":"7","is_valid":true,"scopes":["whatsapp_business_messaging","whatsapp_business_management"],"expires_at":` + fmt.Sprint(time.Now().Add(24*time.Hour).Unix()) + `}`), "token", warn, "the token ends on", "lasting token"},
		{"a token that may not call", tokenInfo(`{"app_id":"7","is_valid":true,"scopes":["whatsapp_business_management"]}`), "token", fail, "lacks whatsapp_business_messaging", "lasting token"},
		{"an app that is not subscribed", tokenInfo(`{"app_id":"7","is_valid":true,"granular_scopes":[{"scope":"whatsapp_business_management","target_ids":["` + account + `"]}]}`), "subscription", fail, "not subscribed", "/subscribed_apps"},
	}
}

// tokenInfo has Meta tell of tokens, and of an account to which another app is subscribed.
func tokenInfo(info string) func(*stand) {
	return func(s *stand) {
		answers := map[string]string{
			"/v24.0/debug_token":                     `{"data":` + info + `}`,
			"/v24.0/" + account + "/phone_numbers":   `{"data":[{"id":"` + numberID + `"}]}`,
			"/v24.0/" + account + "/subscribed_apps": `{"data":[{"whatsapp_business_api_data":{"id":"8"}}]}`,
		}
		s.o.Graph.URL = s.before(s.meta.GraphURL(), func(w http.ResponseWriter, r *http.Request) bool {
			text, ok := answers[r.URL.Path]
			if ok {
				_, _ = w.Write([]byte(text))
			}
			return ok
		}, nil)
	}
}

func brokenServers() []broken {
	return []broken{
		{"a wrong LiveKit secret", func(s *stand) { s.o.LiveKit.Keys[0].Secret = strings.Repeat("x", 40) }, "livekit", fail, "the secret of the API key", "copy api_secret anew"},
		{"an API key that LiveKit does not know", func(s *stand) { s.o.LiveKit.Keys[0].Key = "APIstranger" }, "livekit", fail, "does not know the API key APIstranger", "compare api_key"},
		{"LiveKit down", func(s *stand) { s.o.LiveKit.URL = "ws://" + s.freePort() }, "livekit", fail, "connection refused", "start livekit-server"},
		{"another server in LiveKit's place", func(s *stand) { s.o.LiveKit.URL = s.serve(http.NotFoundHandler()).URL }, "livekit", fail, "is no livekit-server", "mend ws_url"},
		{"a proxy that takes Upgrade away", func(s *stand) {
			s.o.LiveKit.URL = s.before(s.o.LiveKit.URL, func(_ http.ResponseWriter, r *http.Request) bool {
				r.Header.Del("Upgrade")
				return false
			}, nil)
		}, "websocket", fail, "does not see that a WebSocket is asked for", "Upgrade and Connection"},
		{"a server whose clock is ahead", func(s *stand) {
			s.o.Graph.URL = s.before(s.meta.GraphURL(), nil, func(r *http.Response) {
				r.Header.Set("Date", time.Now().Add(2*time.Minute).UTC().Format(http.TimeFormat))
			})
		}, "clock", fail, "behind that of Meta's Graph API", "chrony"},
		{"a server whose clock is a little late", func(s *stand) {
			s.o.Graph.URL = s.before(s.meta.GraphURL(), nil, func(r *http.Response) {
				r.Header.Set("Date", time.Now().Add(-15*time.Second).UTC().Format(http.TimeFormat))
			})
		}, "clock", warn, "ahead of that of Meta's Graph API", "chrony"},
		{"a receiver that is down", func(s *stand) { s.o.Receivers[0].URL = "http://" + s.freePort() + "/hook?key=hidden" }, "receivers", fail, "events.urls[0]: 127.0.0.1", "start that server"},
		{"a certificate that nobody knows", func(s *stand) {
			server := httptest.NewUnstartedServer(http.NotFoundHandler())
			server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
			server.StartTLS()
			s.t.Cleanup(server.Close)
			s.o.Receivers[0].URL = server.URL
		}, "tls", fail, "events.urls[0]", "ca-certificates"},
		{"a certificate of one's own that is none", func(s *stand) { s.o.CertFile, s.o.KeyFile = s.o.RulesFile, s.o.RulesFile }, "tls", fail, "hold no pair", "a certificate and its own key"},
		{"a certificate of one's own before its time", func(s *stand) {
			s.o.CertFile = s.pair(time.Now().Add(time.Hour), time.Now().Add(90*24*time.Hour))
			s.o.KeyFile = s.o.CertFile
		}, "tls", fail, "is not valid before", "clock"},
		{"a webhook URL that leads nowhere", func(s *stand) { s.o.Webhook.PublicURL = "http://" + s.freePort() + "/webhook" }, "webhook", fail, "does not answer", "open the way from the Internet"},
		{"a webhook URL with another path", func(s *stand) { s.o.Webhook.PublicURL += "s" }, "webhook", fail, "nothing takes webhooks at", "webhook.path, /webhook"},
		{"a connector with another verify token", func(s *stand) { s.o.Webhook.PublicURL = s.connector("another", appSecret) + "/webhook" }, "webhook", fail, "refuses the verify token", "webhook.verify_token"},
		{"a connector with another app secret", func(s *stand) { s.o.Webhook.PublicURL = s.connector(verifyToken, "another") + "/webhook" }, "webhook", fail, "signed with app secret 1 of 1 (HTTP 403)", "same app secrets"},
		{"a server that takes unsigned webhooks", func(s *stand) {
			s.o.Webhook.PublicURL = s.before(strings.TrimSuffix(s.o.Webhook.PublicURL, "/webhook"), func(_ http.ResponseWriter, r *http.Request) bool {
				return r.Method == http.MethodPost // by a 200
			}, nil) + "/webhook"
		}, "webhook", fail, "anybody could feign calls", "another program"},
		{"a STUN server that never answers", func(s *stand) { s.o.RTC.STUN = []string{s.stun(false)}; s.stunPatience = 100 * time.Millisecond }, "stun", fail, "UDP does not come back", "outgoing UDP"},
		{"a public address that is not configured", func(s *stand) { s.o.RTC.NAT1To1IPs = []string{"203.0.113.7"} }, "stun", warn, "does not hold the public address 127.0.0.1", "mend it"},
		{"a wrong TURN password", func(s *stand) { s.o.RTC.TURN[0].Password = "another password" }, "turn", fail, "refuses username and credential", "rtc.ice_servers"},
		{"a TURN server that is down", func(s *stand) { s.o.RTC.TURN[0].URL = "turn:127.0.0.1:401?transport=tcp" }, "turn", fail, "connection refused", "start it"},
	}
}

func brokenMachine() []broken {
	return []broken{
		{"a port that another program has", func(s *stand) {
			other := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"status":"ok"}`) })
			s.o.Ports[1].Addresses[0] = s.serve(other).Listener.Addr().String()
		}, "ports", fail, "is taken by another program", "ss -ltnp"},
		{"an address that this machine does not have", func(s *stand) { s.o.Ports[1].Addresses[0] = "203.0.113.7:8085" }, "ports", fail, "no address 203.0.113.7", "bind_addresses"},
		{"too few descriptors", func(s *stand) { s.machine.Files = 256 }, "descriptors", fail, "256 open files are allowed; max_active_calls 50 may need 934", "LimitNOFILE"},
		{"too few descriptors for an unknown number of calls", func(s *stand) { s.machine.Files, s.o.MaxActiveCalls = 300, 0 }, "descriptors", warn, "enough for about 2 calls", "LimitNOFILE"},
		{"a UDP range that is too narrow", func(s *stand) { s.o.RTC.PortMin, s.o.RTC.PortMax = 40_000, 40_009 }, "udp-ports", fail, "has 10 ports", "rtc.port_range_start"},
		{"a UDP range that is used up", func(s *stand) { s.o.RTC.PortMin, s.o.RTC.PortMax, s.machine.UDPInUse = 40_000, 40_099, 100 }, "udp-ports", fail, "100 of them in use", "ss -lunp"},
		{"too little memory", func(s *stand) { s.machine.Memory = 100e6 }, "capacity", warn, "max_active_calls is 50", "more CPU and memory"},
		{"no address", func(s *stand) { s.o.RTC.KeepIP = func(net.IP) bool { return false } }, "addresses", fail, "no address is left", "rtc.interfaces"},
		{"rules that are none", func(s *stand) { require.NoError(s.t, os.WriteFile(s.o.RulesFile, []byte("rules: 3"), 0o600)) }, "rules", fail, "rules.yaml", "mend the file"},
		{"webhooks without rules", func(s *stand) { s.o.RulesFile = "" }, "rules", warn, "left to your application", "set rules_file"},
		{"a warning of the configuration", func(s *stand) { s.o.Warnings = []string{"$CONNECTOR_PRT: unknown variable"} }, "config", warn, "CONNECTOR_PRT", "mend it"},
	}
}

func TestEveryBrokenPartIsSaidByOneCheckWithItsRemedy(t *testing.T) {
	liveKit, err := livekittest.Start(t.Context(), livekittest.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, liveKit.Stop()) })
	for _, b := range slices.Concat(brokenMeta(), brokenServers(), brokenMachine()) {
		t.Run(b.name, func(t *testing.T) {
			s := newStand(t, liveKit)
			b.harm(s)
			report := s.examine()
			text := written(t, report)
			var bad []doctor.Line
			for _, l := range report.Lines {
				if l.Status == doctor.Warn || l.Status == doctor.Fail {
					bad = append(bad, l)
				}
			}
			require.Len(t, bad, 1, text)
			require.Equal(t, b.check, bad[0].Check)
			require.Equal(t, b.status, bad[0].Status)
			require.Contains(t, bad[0].Found, b.found)
			require.Contains(t, bad[0].Remedy, b.remedy)
		})
	}
}

// written is the report as text; as text and as JSON it holds no secret and no phone number.
func written(t *testing.T, r doctor.Report) string {
	t.Helper()
	var text, object bytes.Buffer
	require.NoError(t, r.WriteText(&text, false))
	require.NoError(t, r.WriteJSON(&object))
	for _, secret := range []string{token, appSecret, verifyToken, turnSecret, "key=hidden", "15550001111"} {
		require.NotContains(t, text.String()+object.String(), secret)
	}
	var back doctor.Report
	require.NoError(t, json.Unmarshal(object.Bytes(), &back))
	require.Equal(t, r, back)
	return text.String()
}

func TestNothingIsWrong(t *testing.T) {
	liveKit, err := livekittest.Start(t.Context(), livekittest.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, liveKit.Stop()) })
	s := newStand(t, liveKit)
	s.o.Join = true
	s.o.STUN = []string{s.stun(true)}
	report := s.examine()
	text := written(t, report)
	require.Zero(t, report.Warns+report.Fails, text)
	var order []string
	for _, l := range report.Lines {
		order = append(order, l.Check)
	}
	var names []string
	for _, n := range doctor.Names() {
		names = append(names, n[0])
	}
	require.Equal(t, names, order, "one line for each check, in order")
	require.Contains(t, text, "audio came through LiveKit")
	require.Contains(t, text, "relays from 127.0.0.1")
	require.Contains(t, text, "none: the public address is this machine's own")
	require.Empty(t, s.meta.Calls())
}

func TestTheDoctorAnswersWhereNoConnectorListensYet(t *testing.T) {
	s := &stand{t: t, stunPatience: patience}
	address := s.freePort()
	s.o = doctor.Options{
		Webhook: doctor.Webhook{Path: "/webhook", VerifyToken: verifyToken, AppSecrets: []string{appSecret}, PublicURL: "http://" + address + "/webhook"},
		Ports:   []doctor.Port{{Key: "port", Addresses: []string{address}}},
		Only:    []string{"webhook", "ports"},
	}
	text := written(t, s.examine())
	require.Contains(t, text, "leads here (no connector listens yet: the doctor answered)")
	require.Contains(t, text, "free: port")
	l, err := net.Listen("tcp", address)
	require.NoError(t, err, "the port is free again")
	require.NoError(t, l.Close())

	s.o.Webhook.PublicURL = s.connector(verifyToken, appSecret) + "/webhook"
	require.Contains(t, written(t, s.examine()), "it is not this machine that does")

	s.o.Webhook.PublicURL = ""
	require.Contains(t, written(t, s.examine()), "not tried: webhook.public_url is not set")
}

func TestAConnectorOnItsPortsIsNoOtherProgram(t *testing.T) {
	s := &stand{t: t, stunPatience: patience}
	address := strings.TrimPrefix(s.connector(verifyToken, appSecret), "http://")
	s.o = doctor.Options{Ports: []doctor.Port{{Key: "port", Addresses: []string{address}}}, Only: []string{"ports"}}
	require.Contains(t, written(t, s.examine()), "a connector listens already: port")
}

func TestOnlyTheConfigurationIsToldOfIfItIsWrong(t *testing.T) {
	s := &stand{t: t, stunPatience: patience, o: doctor.Options{Problems: []string{"port: want a whole number", "api_key: is missing"}, Only: []string{"dns"}}}
	report := s.examine()
	require.Equal(t, 2, report.Fails)
	require.Len(t, report.Lines, 2)
	require.Contains(t, written(t, report), "fail  config        api_key: is missing -> ")
}

func TestColorsAreOfTheStatusAlone(t *testing.T) {
	var out bytes.Buffer
	report := doctor.Report{Lines: []doctor.Line{{Check: "dns", Status: doctor.Fail, Found: "f", Remedy: "r"}}, Fails: 1, Took: "1ms"}
	require.NoError(t, report.WriteText(&out, true))
	require.Equal(t, "\x1b[31mfail\x1b[0m  dns           f -> r\n1 failure, 0 warnings, 0 ok, 0 skipped, in 1ms\n", out.String())
}
