package e2e_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/internal/app"
	"github.com/livekit-connector/livekit-connector/internal/livekittest"
	"github.com/livekit-connector/livekit-connector/pkg/fakemeta"
)

const (
	appSecret   = "app-secret"
	verifyToken = "my-verify-token"
)

// gateway is a world whose webhooks come to the connector: there is no application.
type gateway struct {
	*world
	room     string
	listener *livekittest.Participant
}

// newGateway starts one whose rule sends every call to the room, with a listener in it. Without rules calls are left
// alone.
func newGateway(t *testing.T, room string, o worldOptions, rules string) *gateway {
	t.Helper()
	change := o.config
	o.config = func(c *app.Config) {
		if rules != "" {
			c.RulesFile = filepath.Join(t.TempDir(), "rules.yaml")
			require.NoError(t, os.WriteFile(c.RulesFile, []byte(rules), 0o600))
		}
		c.WhatsApp.Numbers = map[string]app.NumberConfig{numberID: {AccessToken: metaToken, APIVersion: "24.0", AppSecret: appSecret}}
		c.Webhook.Path, c.Webhook.VerifyToken = "/webhook", verifyToken
		if change != nil {
			change(c)
		}
	}
	g := &gateway{world: newWorld(t, o), room: room}
	g.open()
	return g
}

// open has Meta send its webhooks here, and somebody listen in the room.
func (g *gateway) open() {
	g.t.Helper()
	require.NoError(g.t, g.meta.AddNumber(g.number(numberID, business)))
	require.NoError(g.t, g.meta.VerifyWebhook(wait(g.t), numberID))
	var err error
	g.listener, err = g.livekit.Join(wait(g.t), livekittest.ParticipantOptions{Room: g.room, Identity: "listener"})
	require.NoError(g.t, err)
	g.t.Cleanup(func() { _ = g.listener.Leave() })
}

// number is one whose webhooks come to the connector.
func (g *gateway) number(id, display string) fakemeta.Number {
	return fakemeta.Number{
		PhoneNumberID: id, DisplayNumber: display, AccessToken: metaToken, AppSecret: appSecret, VerifyToken: verifyToken,
		WebhookURL: g.url + "/webhook",
	}
}

// into is a rule by which every call comes into a room at once.
func into(room string) string {
	return fmt.Sprintf("rules:\n  - name: all\n    room: {name: %q}\n    participant: {identity: \"caller-{random}\"}\n    wait_until_answered: false\n", room)
}

// isCaller matches events of who came by that rule.
func isCaller(t livekittest.EventType) func(livekittest.Event) bool {
	return func(e livekittest.Event) bool { return e.Type == t && strings.HasPrefix(e.Identity, "caller-") }
}

// answered brings an inbound call to where both sides could talk.
func (g *gateway) answered() *fakemeta.Call {
	g.t.Helper()
	c, err := g.meta.User(userNumber).Call(wait(g.t), numberID)
	require.NoError(g.t, err)
	require.NoError(g.t, c.Wait(wait(g.t), fakemeta.StateActive))
	_, err = g.listener.Wait(wait(g.t), isCaller(livekittest.EventTrackPublished))
	require.NoError(g.t, err)
	return c
}

// dialled brings an outbound call to where its phone rings.
func (g *gateway) dialled() *fakemeta.Call {
	g.t.Helper()
	sdk := newGoSDK(g.url, g.livekit.APIKey(), g.livekit.APISecret())
	res, err := sdk.do(wait(g.t), "dial", dialRequest().with(options{"roomName": g.room, "participantIdentity": "callee"}))
	require.NoError(g.t, err)
	c, err := g.meta.User(userNumber).NextCall(wait(g.t))
	require.NoError(g.t, err)
	require.Equal(g.t, c.ID(), res.text("whatsappCallId"))
	require.NoError(g.t, c.Wait(wait(g.t), fakemeta.StateRinging))
	return c
}

// over checks that a call that a person ended is over everywhere.
func (g *gateway) over(c *fakemeta.Call) {
	g.t.Helper()
	requireOver(g.t, c)
	g.nothingLeft(g.room)
}

// event waits until one event of a kind had that outcome.
func (g *gateway) event(kind, outcome string) {
	g.t.Helper()
	g.metric(fmt.Sprintf(`livekit_connector_webhook_events_total{event=%q,outcome=%q} 1`, kind, outcome))
}

// metric waits until a line is among the metrics.
func (g *gateway) metric(line string) {
	g.t.Helper()
	until(g.t, func() string {
		metrics := g.metrics()
		if strings.Contains(metrics, line+"\n") {
			return ""
		}
		name, _, _ := strings.Cut(line, "{")
		var got []string
		for l := range strings.Lines(metrics) {
			if strings.HasPrefix(l, name) && !strings.HasSuffix(l, " 0\n") {
				got = append(got, l)
			}
		}
		return fmt.Sprintf("%s instead of %s", got, line)
	})
}
