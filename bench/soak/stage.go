package soak

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/livekit/protocol/livekit"
	lksdk "github.com/livekit/server-sdk-go/v2"

	"github.com/livekit-connector/livekit-connector/bench/rig"
	"github.com/livekit-connector/livekit-connector/internal/impair"
	"github.com/livekit-connector/livekit-connector/internal/livekittest"
	"github.com/livekit-connector/livekit-connector/internal/roomleg/sdklog"
	"github.com/livekit-connector/livekit-connector/pkg/fakemeta"
)

// The businesses and users of all calls, invented. Webhooks of one number come to an application, those of the other to
// the connector's gateway.
const (
	applicationNumber = "1000555000111"
	gatewayNumber     = "1000555000222"
	graphToken        = "EAAsoak-graph-token" //nolint:gosec // invented
	appSecret         = "soak-app-secret"     //nolint:gosec // invented
	verifyToken       = "soak-verify-token"   //nolint:gosec // invented
	graphVersion      = "24.0"
	firstUser         = 15552000000
	callerIdentity    = "caller"
)

// historyKeep is how long the connector remembers calls that are over: less than the warm-up of a long run, so that memory
// is level after it.
const historyKeep = time.Minute

// badNetwork is what lossy calls have between the connector and Meta, both ways.
var badNetwork = impair.Model{Loss: 0.03, Burst: 2, Jitter: 20 * time.Millisecond, Reorder: 0.01}

// stage is all that runs: livekit-server, a fake Meta, the connector, an application.
type stage struct {
	options *Options
	liveKit *livekittest.Server
	meta    *fakemeta.Server
	bridge  *connector
	sdk     *lksdk.ConnectorClient

	// dialling keeps other dials away from the one that is to fail: a fault of Graph's hits whichever comes first.
	dialling sync.RWMutex

	mu       sync.Mutex               // guards all below
	degraded map[string]bool          // by user: calls that are to take a bad network
	proxies  map[string]*impair.Proxy // by call ID

	closers []func() error // last made, first closed
}

// newStage starts everything but calls. The caller closes the stage, also after an error.
func newStage(ctx context.Context, o *Options) (*stage, error) {
	sdklog.SetGlobal(nil)
	s := &stage{options: o, degraded: make(map[string]bool), proxies: make(map[string]*impair.Proxy)}
	var err error
	if s.liveKit, err = livekittest.Start(ctx, livekittest.Options{LogLevel: "warn"}); err != nil {
		return s, err
	}
	s.closers = append(s.closers, s.liveKit.Stop)
	s.meta, err = fakemeta.Start(fakemeta.Options{
		KeepEnded: 1, Speech: fakemeta.Speech{Packets: o.voices.Caller.Packets, Loop: true},
		Timing: fakemeta.Timing{Connect: 300 * time.Millisecond, Ringing: 500 * time.Millisecond},
	})
	if err != nil {
		return s, err
	}
	s.closers = append(s.closers, s.meta.Close)
	configuration, err := s.configure()
	if err != nil {
		return s, err
	}
	if s.bridge, err = startConnector(ctx, o.Binary, o.CPUs, configuration, o.Folder); err != nil {
		return s, err
	}
	s.closers = append(s.closers, func() error { _, stopErr := s.bridge.stop(); return stopErr })
	s.sdk = lksdk.NewConnectorClient(s.bridge.api, s.liveKit.APIKey(), s.liveKit.APISecret())
	for _, n := range []fakemeta.Number{
		{PhoneNumberID: applicationNumber, DisplayNumber: "15550001111"},
		{PhoneNumberID: gatewayNumber, DisplayNumber: "15550002222", WebhookURL: s.bridge.api + "/webhook", VerifyToken: verifyToken},
	} {
		n.AccessToken, n.AppSecret = graphToken, appSecret
		if err = s.meta.AddNumber(n); err != nil {
			return s, err
		}
	}
	if err = s.meta.VerifyWebhook(ctx, gatewayNumber); err != nil {
		return s, err
	}
	stop := rig.Answer(context.WithoutCancel(ctx), s.meta, applicationNumber, s.handle)
	s.closers = append(s.closers, func() error { stop(); return nil })
	return s, nil
}

// configure writes the connector's configuration and its rules.
func (s *stage) configure() (file string, err error) {
	folder := s.options.Folder
	rules := filepath.Join(folder, "rules.yaml")
	err = os.WriteFile(rules, []byte(`rules:
  - name: soak
    room: {name: "soak-{from}"}
    participant: {identity: "`+callerIdentity+`"}
    wait_until_answered: true
`), 0o600)
	if err != nil {
		return "", fmt.Errorf("write rules: %w", err)
	}
	file = filepath.Join(folder, "config.yaml")
	err = os.WriteFile(file, fmt.Appendf(nil, `ws_url: %s
api_key: %s
api_secret: %s
port: 0
bind_addresses: [127.0.0.1]
admin: {port: 0}
rules_file: %s
call_history: {keep: %v}
logging: {json: true}
rtc: {enable_loopback_candidate: true, interfaces: {includes: [lo]}}
whatsapp:
  graph_url: %s
  numbers:
    "%s": {access_token: %s, app_secret: %s, api_version: "%s"}
webhook: {path: /webhook, verify_token: %s, phone_number_ids: ["%s"]}
`, s.liveKit.URL(), s.liveKit.APIKey(), s.liveKit.APISecret(), rules, historyKeep, s.meta.GraphURL(),
		gatewayNumber, graphToken, appSecret, graphVersion, verifyToken, gatewayNumber), 0o600)
	if err != nil {
		return "", fmt.Errorf("write configuration: %w", err)
	}
	return file, nil
}

// handle passes one event of the application's calls on, as its webhook does. What the connector refuses shows in the call.
func (s *stage) handle(ctx context.Context, c fakemeta.CallEvent) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // the SDK keeps a goroutine until then
	switch {
	case c.Event == "connect" && c.Direction == string(fakemeta.Inbound):
		_, _ = s.sdk.AcceptWhatsAppCall(ctx, &livekit.AcceptWhatsAppCallRequest{
			WhatsappPhoneNumberId: applicationNumber, WhatsappApiKey: graphToken, WhatsappCloudApiVersion: graphVersion,
			WhatsappCallId: c.ID, Sdp: &livekit.SessionDescription{Type: "offer", Sdp: s.path(c)},
			RoomName: roomOf(c.From), ParticipantIdentity: callerIdentity, WaitUntilAnswered: true,
		})
	case c.Event == "connect":
		_, _ = s.sdk.ConnectWhatsAppCall(ctx, &livekit.ConnectWhatsAppCallRequest{
			WhatsappCallId: c.ID, Sdp: &livekit.SessionDescription{Type: "answer", Sdp: c.Session.SDP},
		})
	case c.Event == "terminate":
		_, _ = s.sdk.DisconnectWhatsAppCall(ctx, &livekit.DisconnectWhatsAppCallRequest{
			WhatsappCallId: c.ID, DisconnectReason: livekit.DisconnectWhatsAppCallRequest_USER_INITIATED,
		})
	}
}

func roomOf(user string) string { return "soak-" + user }

var candidate = regexp.MustCompile(`127\.0\.0\.1 (\d+) typ`)

// path is the offer of a call, led over a bad network if that is wanted.
func (s *stage) path(c fakemeta.CallEvent) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	found := candidate.FindStringSubmatch(c.Session.SDP)
	if !s.degraded[c.From] || found == nil {
		return c.Session.SDP
	}
	port, err := strconv.ParseUint(found[1], 10, 16)
	if err != nil {
		return c.Session.SDP
	}
	p, err := impair.Listen(impair.ProxyOptions{
		Target: netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(port)),
		Up:     badNetwork, Down: badNetwork, Seed: port, MediaOnly: true,
	})
	if err != nil {
		return c.Session.SDP
	}
	s.proxies[c.ID] = p
	return candidate.ReplaceAllString(c.Session.SDP, fmt.Sprintf("127.0.0.1 %d typ", p.Addr().Port()))
}

// degrade says that calls of a user take a bad network.
func (s *stage) degrade(user string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.degraded[user] = true
}

// dismantle ends the bad network of a call, if it had one, and says how many packets that lost.
func (s *stage) dismantle(user, callID string) (lost uint64) {
	s.mu.Lock()
	p := s.proxies[callID]
	delete(s.proxies, callID)
	delete(s.degraded, user)
	s.mu.Unlock()
	if p != nil {
		lost = p.Stats().Lost
		_ = p.Close()
	}
	return lost
}

// close ends everything.
func (s *stage) close() error {
	var errs []error
	for _, f := range slices.Backward(s.closers) {
		errs = append(errs, f())
	}
	for _, p := range s.proxies {
		errs = append(errs, p.Close())
	}
	return errors.Join(errs...)
}
