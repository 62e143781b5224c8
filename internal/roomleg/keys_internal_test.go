package roomleg

import (
	"context"
	"net/http"
	"net/netip"
	"testing"
	"time"

	"github.com/livekit/protocol/livekit"
	lksdk "github.com/livekit/server-sdk-go/v2"
	"github.com/pion/webrtc/v4"
	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/internal/impair"
	"github.com/livekit-connector/livekit-connector/internal/livekittest"
	"github.com/livekit-connector/livekit-connector/media"
)

// Keys that are pressed while the connection is away wait for it, as many as there is room for, and those that wait when
// the leg leaves are given up.
func TestKeysWaitForTheConnection(t *testing.T) {
	ctx, srv, _ := startServer(t)
	defer http.DefaultClient.CloseIdleConnections()
	leg, err := Join(ctx, Options{
		URL: srv.URL(), APIKey: srv.APIKey(), APISecret: srv.APISecret(), Room: "keys", Identity: "caller",
		ConnectTimeout: 10 * time.Second, ReconnectTimeout: 2 * time.Minute,
	})
	require.NoError(t, err)
	leg.TakeTime()
	human, err := srv.Join(ctx, livekittest.ParticipantOptions{Room: "keys", Identity: "human"})
	require.NoError(t, err)
	defer func() { require.NoError(t, human.Leave()) }()

	outcomes := make(chan error, 200)
	press := func(k media.Key) { leg.SendKey(k, func(err error) { outcomes <- err }) }
	outcome := func() error {
		t.Helper()
		select {
		case outcome := <-outcomes:
			return outcome
		case <-ctx.Done():
			require.FailNow(t, "nothing became of a key")
			return nil
		}
	}
	callbacks := leg.callbacks()
	callbacks.OnReconnecting()
	for i := range maxKeys {
		press(media.Key(i % 16))
	}
	require.Empty(t, outcomes)
	press(1)
	require.ErrorIs(t, outcome(), ErrManyKeys)
	callbacks.OnReconnected()
	for range maxKeys {
		require.NoError(t, outcome())
	}
	came := 0
	_, err = human.Wait(ctx, func(e livekittest.Event) bool {
		if e.Type == livekittest.EventData {
			came++
		}
		return came == maxKeys
	})
	require.NoError(t, err)
	i := 0
	for _, e := range human.Events() {
		if d, ok := e.Data.(*livekit.SipDTMF); ok {
			require.EqualValues(t, i%16, d.GetCode())
			require.Equal(t, media.Key(i%16).String(), d.GetDigit())
			i++
		}
	}
	require.Equal(t, maxKeys, i)
	require.Eventually(t, func() bool { // else it may have looked for the connection already
		leg.mu.Lock()
		defer leg.mu.Unlock()
		return !leg.keying
	}, time.Minute, time.Millisecond, "the sender of the keys never ended")

	callbacks.OnReconnecting()
	press(1)
	press(2)
	require.NoError(t, leg.Leave(livekit.DisconnectReason_CLIENT_INITIATED))
	require.ErrorIs(t, outcome(), ErrNotInRoom)
	require.ErrorIs(t, outcome(), ErrNotInRoom)
	press(3)
	require.ErrorIs(t, outcome(), ErrNotInRoom)
}

// A room that has to be joined anew is announced before its new connection takes data. Keys wait for that, too.
func TestKeysWaitForTheNewConnection(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	const node = "127.0.0.86"
	srv, err := livekittest.Start(ctx, livekittest.Options{NodeIP: node})
	require.NoError(t, err)
	defer func() {
		http.DefaultClient.CloseIdleConnections()
		require.NoError(t, srv.Stop())
	}()
	far, err := impair.Listen(impair.ProxyOptions{ // handshakes take their time
		Front:  netip.AddrPortFrom(netip.MustParseAddr(node), uint16(srv.UDPPort())),
		Target: netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(srv.UDPPort())),
		Up:     impair.Model{Delay: 50 * time.Millisecond}, Down: impair.Model{Delay: 50 * time.Millisecond},
	})
	require.NoError(t, err)
	defer func() { require.NoError(t, far.Close()) }()
	leg, err := Join(ctx, Options{
		URL: srv.URL(), APIKey: srv.APIKey(), APISecret: srv.APISecret(), Room: "keys", Identity: "caller",
		ConnectTimeout: 10 * time.Second, ReconnectTimeout: 2 * time.Minute,
	})
	require.NoError(t, err)
	leg.TakeTime()
	defer func() { require.NoError(t, leg.Leave(livekit.DisconnectReason_CLIENT_INITIATED)) }()
	srv.Kill()
	for !leg.reconnecting.Load() {
		select {
		case <-time.After(channelPoll): // polls a state; nothing is concluded from the time
		case <-ctx.Done():
			t.Fatal("the connection's end was not noticed")
		}
	}
	type outcome struct {
		err  error
		open bool
	}
	outcomes := make(chan outcome, 2)
	for k := range media.Key(2) {
		leg.SendKey(k, func(err error) {
			outcomes <- outcome{err, engineOf(leg.room).GetDataChannel(livekit.DataPacket_RELIABLE).ReadyState() == webrtc.DataChannelStateOpen}
		})
	}
	require.NoError(t, srv.Restart(ctx))
	for range 2 {
		select {
		case got := <-outcomes:
			require.Equal(t, outcome{open: true}, got)
		case <-ctx.Done():
			t.Fatal("the keys still wait")
		}
	}
}

// What others send as DTMF is a text of keys; whoever gives only the code means that key.
func TestWhatTheRoomKeysIn(t *testing.T) {
	l := &Leg{}
	l.onData(&livekit.SipDTMF{Digit: "1"}, lksdk.DataReceiveParams{}) // nobody listens yet
	var got []string
	l.OnKeys(func(text string) { got = append(got, text) })
	for _, p := range []lksdk.DataPacket{
		&livekit.SipDTMF{Code: 5, Digit: "5"}, &livekit.SipDTMF{Digit: "4567"}, &livekit.SipDTMF{Code: 11}, &livekit.SipDTMF{},
		&livekit.SipDTMF{Code: 1 << 31}, &livekit.ChatMessage{Message: "1"}, lksdk.UserData([]byte("1")),
	} {
		l.onData(p, lksdk.DataReceiveParams{SenderIdentity: "agent"})
	}
	require.Equal(t, []string{"5", "4567", "#", "0", "?"}, got)
	l.OnKeys(nil)
	l.onData(&livekit.SipDTMF{Digit: "1"}, lksdk.DataReceiveParams{})
	require.Len(t, got, 5)
}
