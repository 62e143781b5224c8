package e2e_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/livekit/protocol/livekit"
	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/internal/app"
	"github.com/livekit-connector/livekit-connector/internal/livekittest"
	"github.com/livekit-connector/livekit-connector/pkg/fakemeta"
)

// informed is a world whose connector hears Meta's webhooks itself, with a listener in the room that it dials from.
type informed struct {
	*world
	room     string
	listener *livekittest.Participant
}

func newInformed(t *testing.T, room, rules string, meta func(*fakemeta.Options)) *informed {
	t.Helper()
	w := newWorld(t, worldOptions{meta: meta, config: func(c *app.Config) {
		if rules != "" {
			c.RulesFile = filepath.Join(t.TempDir(), "rules.yaml")
			require.NoError(t, os.WriteFile(c.RulesFile, []byte(rules), 0o600))
		}
		c.WhatsApp.Numbers = map[string]app.NumberConfig{numberID: {AccessToken: metaToken, AppSecret: "app-secret"}}
		c.Webhook.Path, c.Webhook.VerifyToken = "/webhook", "verify"
	}})
	require.NoError(t, w.meta.AddNumber(fakemeta.Number{
		PhoneNumberID: numberID, DisplayNumber: business, AccessToken: metaToken, AppSecret: "app-secret", WebhookURL: w.url + "/webhook",
	}))
	listener, err := w.livekit.Join(wait(t), livekittest.ParticipantOptions{Room: room, Identity: "listener"})
	require.NoError(t, err)
	t.Cleanup(func() { _ = listener.Leave() })
	return &informed{world: w, room: room, listener: listener}
}

// ringing dials and returns when the phone rings.
func (i *informed) ringing() *fakemeta.Call {
	i.t.Helper()
	sdk := newGoSDK(i.url, i.livekit.APIKey(), i.livekit.APISecret())
	_, err := sdk.do(wait(i.t), "dial", dialRequest().with(options{"roomName": i.room, "participantIdentity": "callee"}))
	require.NoError(i.t, err)
	c, err := i.meta.User(userNumber).NextCall(wait(i.t))
	require.NoError(i.t, err)
	require.NoError(i.t, c.Wait(wait(i.t), fakemeta.StateRinging))
	return c
}

// recorder joins a room as LiveKit's egress does: it sees everything and is nobody to talk with.
func (w *world) recorder(room string) *livekittest.Participant {
	w.t.Helper()
	p, err := w.livekit.Join(wait(w.t), livekittest.ParticipantOptions{
		Room: room, Identity: "recorder", Kind: livekit.ParticipantInfo_EGRESS, Deaf: true,
	})
	require.NoError(w.t, err)
	w.t.Cleanup(func() { _ = p.Leave() })
	return p
}
