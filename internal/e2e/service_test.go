package e2e_test

import (
	"context"
	"io"
	"net/http"
	"syscall"
	"testing"

	"github.com/livekit/protocol/livekit"
	lksdk "github.com/livekit/server-sdk-go/v2"
	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/internal/app"
	"github.com/livekit-connector/livekit-connector/internal/livekittest"
	"github.com/livekit-connector/livekit-connector/pkg/fakemeta"
)

// probe asks one of the probes and returns its status and body.
func (w *world) probe(path string) (int, string) {
	w.t.Helper()
	req, err := http.NewRequestWithContext(wait(w.t), http.MethodGet, w.url+path, nil)
	require.NoError(w.t, err)
	res, err := http.DefaultClient.Do(req)
	require.NoError(w.t, err)
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	require.NoError(w.t, err)
	return res.StatusCode, string(body)
}

// awaitStop waits until the connector is down.
func (w *world) awaitStop() {
	w.t.Helper()
	select {
	case <-w.stopped:
	case <-wait(w.t).Done():
		w.t.Fatal("the connector does not stop")
	}
}

func TestFirstSignalDrainsAndSecondHangsUp(t *testing.T) {
	t.Parallel()
	s := newScene(t, "service-drain", worldOptions{}, nil)
	s.awaitReady(http.StatusOK, `"livekit":{"ok":true`)

	s.signals <- syscall.SIGTERM
	until(t, func() string {
		if !s.world.app.Node().Draining() {
			return "the connector does not drain"
		}
		return ""
	})
	status, body := s.probe("/readyz")
	require.Equal(t, http.StatusServiceUnavailable, status)
	require.Contains(t, body, "draining")
	status, _ = s.probe("/livez")
	require.Equal(t, http.StatusOK, status, "draining is no reason to be killed")
	_, err := s.app.sdk.do(wait(t), "dial", dialRequest())
	require.Contains(t, refusal(t, "resource_exhausted", err).Message, "draining")
	heardAtLeast(t, s.call, 50) // the live call goes on
	require.Equal(t, fakemeta.StateActive, s.call.State())

	s.signals <- syscall.SIGTERM
	requireOver(t, s.call)
	s.awaitStop()
	s.requireLeft(livekit.DisconnectReason_CLIENT_INITIATED)
}

func TestDrainingEndsWithTheLastCall(t *testing.T) {
	t.Parallel()
	s := newScene(t, "service-drained", worldOptions{}, nil)
	s.signals <- syscall.SIGTERM
	require.NoError(t, s.call.HangUp())
	s.awaitStop()
	requireOver(t, s.call)
}

func TestFullNodeRefusesAndSaysSo(t *testing.T) {
	t.Parallel()
	s := newScene(t, "service-full", worldOptions{config: func(c *app.Config) { c.MaxActiveCalls = 1 }}, nil)
	c, err := s.meta.User("15550003333").Call(wait(t), numberID)
	require.NoError(t, err)
	requireCode(t, "resource_exhausted", s.app.wait("accept", c.ID()).err)
	_, body := s.probe("/readyz")
	require.Contains(t, body, "capacity")
	require.Equal(t, fakemeta.StateActive, s.call.State())
}

// One LIVEKIT_URL for everything: SDKs, agents and clients reach livekit-server through the connector.
func TestOneURLServesLiveKitToo(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{config: func(c *app.Config) { c.ProxyLiveKit = true }})
	rooms := lksdk.NewRoomServiceClient(w.url, w.livekit.APIKey(), w.livekit.APISecret())
	room, err := rooms.CreateRoom(wait(t), &livekit.CreateRoomRequest{Name: "service-proxy"})
	require.NoError(t, err)
	require.Equal(t, "service-proxy", room.GetName())

	client, err := lksdk.ConnectToRoom(w.url, lksdk.ConnectInfo{
		APIKey: w.livekit.APIKey(), APISecret: w.livekit.APISecret(), RoomName: "service-proxy", ParticipantIdentity: "through-the-proxy",
	}, lksdk.NewRoomCallback())
	require.NoError(t, err)
	defer client.Disconnect()
	watcher, err := w.livekit.Join(wait(t), livekittest.ParticipantOptions{Room: "service-proxy", Identity: "watcher"})
	require.NoError(t, err)
	defer func() { _ = watcher.Leave() }()
	require.Contains(t, watcher.Others(), "through-the-proxy")

	_, err = newGoSDK(w.url, w.livekit.APIKey(), w.livekit.APISecret()).do(context.Background(), "disconnect",
		options{"whatsappCallId": "wacid.unknown", "disconnectReason": "USER_INITIATED"})
	requireCode(t, "not_found", err)
}
