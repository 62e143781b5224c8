package e2e_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/livekit/protocol/livekit"
	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/internal/app"
	"github.com/livekit-connector/livekit-connector/internal/livekittest"
	"github.com/livekit-connector/livekit-connector/pkg/fakemeta"
	"github.com/livekit-connector/livekit-connector/pkg/whatsapp"
)

// TestGatewayInboundCallFromYAML is all that an operator writes.
func TestGatewayInboundCallFromYAML(t *testing.T) {
	t.Parallel()
	const room = "gateway-yaml"
	rules := filepath.Join(t.TempDir(), "rules.yaml")
	require.NoError(t, os.WriteFile(rules, []byte(into(room)), 0o600))
	w := newWorld(t, worldOptions{config: func(c *app.Config) {
		text := fmt.Sprintf(`
ws_url: %s
api_key: %s
api_secret: %s
port: 0
admin: {port: 0}
bind_addresses: [127.0.0.1]
rules_file: %s
whatsapp:
  graph_url: %s
  numbers:
    "%s": {access_token: %s, app_secret: %s}
webhook:
  path: /meta/webhook
  verify_token: %s
rtc:
  enable_loopback_candidate: true
  interfaces: {includes: [lo]}
logging: {level: debug, json: true}
`, c.WSURL, c.APIKey, c.APISecret.Reveal(), rules, c.WhatsApp.GraphURL, numberID, metaToken, appSecret, verifyToken)
		line, err := app.ParseCommandLine(nil, app.Env{Environ: []string{"CONNECTOR_CONFIG_BODY=" + text}, ReadFile: os.ReadFile})
		require.NoError(t, err)
		*c = line.Config
		c.ConnectTimeout = connectPatience
	}})
	require.NoError(t, w.meta.AddNumber(fakemeta.Number{
		PhoneNumberID: numberID, DisplayNumber: business, AccessToken: metaToken, AppSecret: appSecret, VerifyToken: verifyToken,
		WebhookURL: w.url + "/meta/webhook",
	}))
	require.NoError(t, w.meta.VerifyWebhook(wait(t), numberID))
	agent, err := w.livekit.Join(wait(t), livekittest.ParticipantOptions{Room: room, Identity: "agent"})
	require.NoError(t, err)
	defer func() { require.NoError(t, agent.Leave()) }()

	c, err := w.meta.User(userNumber).Call(wait(t), numberID, fakemeta.WithSpeech(says(speech(t, "caller"))))
	require.NoError(t, err)
	came, err := agent.Wait(wait(t), isCaller(livekittest.EventJoined))
	require.NoError(t, err)
	talk(t, c, agent, came.Identity)
	require.NoError(t, c.HangUp())
	left, err := agent.Wait(wait(t), isCaller(livekittest.EventLeft))
	require.NoError(t, err)
	require.Equal(t, livekit.DisconnectReason_CLIENT_INITIATED, left.Reason)
	requireOver(t, c)
	requireContinuous(t, c)
	w.nothingLeft(room)
}

// A call that an application dials needs no webhook handler of the application.
func TestGatewayConnectsACallThatAnSDKDialled(t *testing.T) {
	t.Parallel()
	g := newGateway(t, "gateway-dial", worldOptions{}, "")
	g.meta.User(userNumber).SetSpeech(says(speech(t, "caller")))
	c := g.dialled()
	g.event("connect_outbound", "done")
	g.event("ringing", "done")
	require.Zero(t, g.listener.Count(livekittest.Is(livekittest.EventTrackPublished, "callee")), "a track means answered")
	require.NoError(t, c.PickUp())
	_, err := g.listener.Wait(wait(t), livekittest.Is(livekittest.EventTrackPublished, "callee"))
	require.NoError(t, err)
	talk(t, c, g.listener, "callee")
	require.NoError(t, c.HangUp())
	g.over(c)
	requireContinuous(t, c)
	g.event("accepted", "done")
	g.event("terminate", "done")
}

func TestGatewayUserDeclines(t *testing.T) {
	t.Parallel()
	g := newGateway(t, "gateway-declined", worldOptions{}, "")
	c := g.dialled()
	require.NoError(t, c.Reject())
	left, err := g.listener.Wait(wait(t), livekittest.Is(livekittest.EventLeft, "callee"))
	require.NoError(t, err)
	require.Equal(t, livekit.DisconnectReason_USER_REJECTED, left.Reason)
	g.over(c)
	g.event("rejected", "done")
}

func TestGatewayHangUpInTheRoomReachesThePhone(t *testing.T) {
	t.Parallel()
	g := newGateway(t, "gateway-room", worldOptions{}, into("gateway-room"))
	c := g.answered()
	require.NoError(t, g.livekit.DeleteRoom(wait(t), g.room))
	requireOver(t, c)
	require.Equal(t, "business", c.Report().EndedBy)
	g.event("terminate", "done")
}

func TestGatewayNoRule(t *testing.T) {
	t.Parallel()
	const nobody = "rules:\n  - {name: someone, match: {from: \"15559999999\"}, room: {name: x}}\n"
	for what, reject := range map[string]bool{"reject": true, "ignore": false} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			g := newGateway(t, "gateway-no-rule-"+what, worldOptions{config: func(c *app.Config) { c.Webhook.OnNoRule = what }}, nobody)
			c, err := g.meta.User(userNumber).Call(wait(t), numberID)
			require.NoError(t, err)
			g.event("connect_inbound", "no_rule")
			if !reject {
				require.NotEqual(t, fakemeta.StateEnded, c.State(), "it rings on, for another app")
				require.NoError(t, c.HangUp())
			}
			g.over(c)
			require.Equal(t, reject, c.Report().EndedBy == "business")
		})
	}
}

func TestGatewayWithoutRulesLeavesInboundCallsAlone(t *testing.T) {
	t.Parallel()
	g := newGateway(t, "gateway-no-rules", worldOptions{}, "")
	c, err := g.meta.User(userNumber).Call(wait(t), numberID)
	require.NoError(t, err)
	g.event("connect_inbound", "ignored")
	require.Equal(t, fakemeta.StateOffered, c.State())
	require.NoError(t, c.HangUp())
	g.over(c)
}

func TestGatewayRejectsWhatNoNodeHasRoomFor(t *testing.T) {
	t.Parallel()
	g := newGateway(t, "gateway-full", worldOptions{config: func(c *app.Config) { c.MaxActiveCalls = 1 }}, into("gateway-full"))
	first := g.answered()
	second, err := g.meta.User("15550003333").Call(wait(t), numberID)
	require.NoError(t, err)
	requireOver(t, second)
	require.Equal(t, "business", second.Report().EndedBy)
	g.event("connect_inbound", "refused")
	require.Equal(t, fakemeta.StateActive, first.State())
	require.NoError(t, first.HangUp())
	g.over(first)
}

// Who keeps his own handler may use the gateway beside it: whoever is second is told that it is done.
func TestGatewayBesideAnApplication(t *testing.T) {
	t.Parallel()
	g := newGateway(t, "gateway-beside", worldOptions{}, into("gateway-beside"))
	a := g.newApplication(func(a *application) {
		a.accept = options{"roomName": g.room, "participantIdentity": "caller-app"}
	})
	c := g.answered()
	if err := a.wait("accept", c.ID()).err; err != nil {
		requireCode(t, "already_exists", err)
		g.event("connect_inbound", "done")
	} else {
		g.event("connect_inbound", "taken")
	}
	require.Equal(t, 1, g.app.Node().Calls())
	require.Equal(t, fakemeta.StateActive, c.State())
	require.NoError(t, c.HangUp())
	g.over(c)
	_ = a.wait("disconnect", c.ID())
}

func TestGatewayForgedWebhooksDoNothing(t *testing.T) {
	t.Parallel()
	for name, d := range map[string]fakemeta.Delivery{"wrong signature": {WrongSignature: true}, "no signature": {NoSignature: true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newGateway(t, "gateway "+name, worldOptions{}, into("gateway "+name))
			g.meta.SetDelivery(d)
			c, err := g.meta.User(userNumber).Call(wait(t), numberID)
			require.NoError(t, err)
			outcome := "forged"
			if d.NoSignature {
				outcome = "unsigned"
			}
			// Meta comes again with what is not acknowledged.
			g.showsThat(`livekit_connector_webhooks_total{outcome="`+outcome+`"}`, "1 or more", func(v float64) bool { return v >= 1 })
			require.Zero(t, g.app.Node().Calls())
			require.NoError(t, c.HangUp())
			requireOver(t, c)
		})
	}
}

func TestGatewayPassesWebhooksOn(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	got := make(map[string]int)
	genuine := true
	bot := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mu.Lock()
		defer mu.Unlock()
		genuine = genuine && whatsapp.VerifySignature(body, r.Header.Get(whatsapp.SignatureHeader), appSecret) == nil
		got[r.URL.Path]++
	}))
	t.Cleanup(bot.Close)
	g := newGateway(t, "gateway-forward", worldOptions{config: func(c *app.Config) {
		c.Webhook.Forward = []app.ForwardConfig{{URL: bot.URL + "/all"}, {URL: bot.URL + "/messages", Fields: []string{"messages"}}}
	}}, into("gateway-forward"))
	c := g.answered()
	require.NoError(t, g.meta.User(userNumber).ReplyPermission(numberID, fakemeta.PermissionReply{Accept: true}))
	require.NoError(t, c.HangUp())
	g.over(c)
	g.metric(`livekit_connector_webhook_forwards_total{outcome="done"} 4`)
	mu.Lock()
	defer mu.Unlock()
	require.Equal(t, map[string]int{"/all": 3, "/messages": 1}, got)
	require.True(t, genuine)
}

// What Meta repeats for hours is no call any more.
func TestGatewayStaleConnectIsNotAnswered(t *testing.T) {
	t.Parallel()
	g := newGateway(t, "gateway-stale", worldOptions{config: func(c *app.Config) { c.Webhook.MaxAge = 5 * time.Second }}, into("gateway-stale"))
	g.meta.SetDelivery(fakemeta.Delivery{Rules: []fakemeta.DeliveryRule{{Event: "connect", Delay: 7 * time.Second}}})
	c, err := g.meta.User(userNumber).Call(wait(t), numberID)
	require.NoError(t, err)
	g.event("connect_inbound", "stale")
	require.Zero(t, g.app.Node().Calls())
	require.NoError(t, c.HangUp())
	g.over(c)
}
