package e2e_test

import (
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"testing"

	"github.com/livekit/protocol/auth"
	"github.com/livekit/protocol/livekit"
	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/internal/app"
	"github.com/livekit-connector/livekit-connector/internal/livekittest"
	"github.com/livekit-connector/livekit-connector/pkg/fakemeta"
)

// withoutToken leaves out of a request what is configured for its phone number.
var withoutToken = options{"whatsappApiKey": "", "whatsappCloudApiVersion": ""}

// knownNumber configures the token of the tests' number.
func knownNumber(c *app.Config) {
	c.WhatsApp.Numbers = map[string]app.NumberConfig{numberID: {Name: "support", AccessToken: metaToken}}
}

// requireSecretFree checks that the connector's log and metrics hold no token.
func (w *world) requireSecretFree(secrets ...string) {
	w.t.Helper()
	for _, secret := range secrets {
		require.NotContains(w.t, w.log.String(), secret)
		require.NotContains(w.t, w.metrics(), secret)
	}
}

func TestAcceptAndDisconnectWithoutMetasToken(t *testing.T) {
	t.Parallel()
	s := newScene(t, "numbers-inbound", worldOptions{config: knownNumber}, func(a *application) {
		a.accept = a.accept.with(withoutToken)
	})
	heardAtLeast(t, s.call, 10)
	_, err := s.app.sdk.do(wait(t), "disconnect", options{"whatsappCallId": s.call.ID()})
	require.NoError(t, err)
	requireOver(t, s.call)
	s.requireLeft(livekit.DisconnectReason_CLIENT_INITIATED)
	s.requireSecretFree(metaToken)
	s.nothingLeft(s.room)
}

func TestDialAndDisconnectWithoutMetasToken(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{config: knownNumber})
	const room = "numbers-outbound"
	listener, err := w.livekit.Join(wait(t), livekittest.ParticipantOptions{Room: room, Identity: "listener"})
	require.NoError(t, err)
	defer func() { require.NoError(t, listener.Leave()) }()
	a := w.newApplication(nil)
	dialled, err := a.sdk.do(wait(t), "dial", dialRequest().with(options{"roomName": room, "participantIdentity": "callee"}).with(withoutToken))
	require.NoError(t, err)
	c, err := w.meta.User(userNumber).NextCall(wait(t))
	require.NoError(t, err)
	require.Equal(t, c.ID(), dialled.text("whatsappCallId"))
	require.NoError(t, a.wait("connect", c.ID()).err)
	require.NoError(t, c.Wait(wait(t), fakemeta.StateRinging))
	require.NoError(t, c.PickUp())
	_, err = listener.Wait(wait(t), livekittest.Is(livekittest.EventTrackPublished, "callee"))
	require.NoError(t, err)
	_, err = a.sdk.do(wait(t), "disconnect", options{"whatsappCallId": c.ID(), "disconnectReason": "BUSINESS_INITIATED"})
	require.NoError(t, err)
	requireOver(t, c)
	w.nothingLeft(room)
}

func TestRequestsSayWhatIsMissing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{config: knownNumber})
	a := w.newApplication(nil)
	_, err := a.sdk.do(wait(t), "dial", dialRequest().with(withoutToken).with(options{"whatsappPhoneNumberId": "999"}))
	refused := refusal(t, "invalid_argument", err)
	require.Equal(t, "whatsapp api key is required: send it, or configure it for this phone number ID under whatsapp.numbers, which has none for it", refused.Message)
	_, err = a.sdk.do(wait(t), "dial", dialRequest().with(options{"whatsappPhoneNumberId": "999", "whatsappCloudApiVersion": ""}))
	require.Contains(t, refusal(t, "invalid_argument", err).Message, "whatsapp_cloud_api_version is required: send it, or configure it")
	require.Zero(t, w.meta.ActiveCalls())

	// What a request brings itself counts: here a token that Meta does not know.
	_, err = a.sdk.do(wait(t), "dial", dialRequest().with(options{"whatsappApiKey": "EAAof-somebody-else"}))
	require.Error(t, err)
	require.Zero(t, w.meta.ActiveCalls())

	plain := newWorld(t, worldOptions{})
	_, err = plain.newApplication(nil).sdk.do(wait(t), "disconnect", options{"whatsappCallId": "wacid.x"})
	require.Equal(t, "whatsapp api key is required: send it, or configure it under whatsapp.numbers and leave it out",
		refusal(t, "invalid_argument", err).Message)
}

// The token that began a call is gone when the call ends: hanging up takes the new one.
func TestTokenIsReplacedWhileACallLasts(t *testing.T) {
	t.Parallel()
	const newToken = "EAAtest-graph-token-the-second"
	file := filepath.Join(t.TempDir(), "token")
	require.NoError(t, os.WriteFile(file, []byte(metaToken+"\n"), 0o600))
	s := newScene(t, "numbers-rotated", worldOptions{config: func(c *app.Config) {
		c.WhatsApp.Numbers = map[string]app.NumberConfig{numberID: {AccessTokenFile: file}}
	}}, func(a *application) { a.accept = a.accept.with(withoutToken) })

	require.NoError(t, s.meta.AddNumber(fakemeta.Number{
		PhoneNumberID: numberID, DisplayNumber: business, AccessToken: newToken, AppSecret: "app-secret",
	}))
	require.NoError(t, os.WriteFile(file, []byte(newToken+"\n"), 0o600))
	until(t, func() string { // the file is read once a second at most
		if status := s.permissionStatus(); status != http.StatusOK {
			return fmt.Sprintf("the new token is not taken, %d", status)
		}
		return ""
	})
	require.NoError(t, s.livekit.DeleteRoom(wait(t), s.room))
	requireOver(t, s.call)
	s.requireSecretFree(metaToken, newToken)
	s.nothingLeft(s.room)
}

// permissionStatus asks the connector what Meta permits, with the number's token.
func (w *world) permissionStatus() int {
	w.t.Helper()
	token, err := auth.NewAccessToken(w.livekit.APIKey(), w.livekit.APISecret()).SetVideoGrant(&auth.VideoGrant{RoomCreate: true}).ToJWT()
	require.NoError(w.t, err)
	query := url.Values{"phone_number_id": {numberID}, "user": {userNumber}}
	req, err := http.NewRequestWithContext(wait(w.t), http.MethodGet, w.url+"/connector/v1/permissions?"+query.Encode(), nil)
	require.NoError(w.t, err)
	req.Header.Set("Authorization", "Bearer "+token)
	res, err := http.DefaultClient.Do(req)
	require.NoError(w.t, err)
	defer res.Body.Close()
	return res.StatusCode
}
