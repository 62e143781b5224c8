package e2e_test

import (
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/livekit/protocol/auth"
	"github.com/livekit/protocol/livekit"
	lksdk "github.com/livekit/server-sdk-go/v2"
	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/internal/app"
)

// Who guesses tokens of livekit-server through the connector is held up here, before livekit-server is asked; clients and
// applications with a token come through from the same address.
func TestGatewayGuessersOfLiveKitsTokens(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{config: func(c *app.Config) { c.ProxyLiveKit, c.HTTP.MaxFailures = true, 3 }})
	const room = "gateway-guessers"
	forged, err := auth.NewAccessToken(w.livekit.APIKey(), strings.Repeat("guess", 8)).
		SetIdentity("guesser").SetVideoGrant(&auth.VideoGrant{RoomJoin: true, Room: room}).ToJWT()
	require.NoError(t, err)
	ask := func(path string) (status int, body string) {
		req, askErr := http.NewRequestWithContext(wait(t), http.MethodGet, w.url+path+"?access_token="+url.QueryEscape(forged), http.NoBody)
		require.NoError(t, askErr)
		res, askErr := http.DefaultClient.Do(req)
		require.NoError(t, askErr)
		defer res.Body.Close()
		text, askErr := io.ReadAll(res.Body)
		require.NoError(t, askErr)
		return res.StatusCode, string(text)
	}
	for _, path := range []string{"/rtc/validate", "/rtc"} {
		status, _ := ask(path)
		require.Equal(t, http.StatusUnauthorized, status, path)
	}
	until(t, func() string { // one attempt in twenty seconds is allowed still
		status, body := ask("/rtc/validate")
		if status != http.StatusTooManyRequests {
			return body
		}
		require.Contains(t, body, `"limit":"failed_attempts"`)
		return ""
	})
	require.NotContains(t, w.metrics(), "livekit_connector_requests_limited_total{for=\"livekit\"} 0\n")

	rooms := lksdk.NewRoomServiceClient(w.url, w.livekit.APIKey(), w.livekit.APISecret())
	_, err = rooms.CreateRoom(wait(t), &livekit.CreateRoomRequest{Name: room})
	require.NoError(t, err)
	client, err := lksdk.ConnectToRoom(w.url, lksdk.ConnectInfo{
		APIKey: w.livekit.APIKey(), APISecret: w.livekit.APISecret(), RoomName: room, ParticipantIdentity: "guest",
	}, lksdk.NewRoomCallback())
	require.NoError(t, err)
	client.Disconnect()
}
