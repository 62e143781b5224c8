package roomleg

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/livekit/protocol/livekit"
	lksdk "github.com/livekit/server-sdk-go/v2"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/internal/livekittest"
)

func TestEveryDisconnectReasonHasAnError(t *testing.T) {
	want := map[livekit.DisconnectReason]error{
		livekit.DisconnectReason_DUPLICATE_IDENTITY:  ErrDuplicateIdentity,
		livekit.DisconnectReason_SERVER_SHUTDOWN:     ErrServerShutdown,
		livekit.DisconnectReason_PARTICIPANT_REMOVED: ErrRemoved,
		livekit.DisconnectReason_MIGRATION:           ErrRemoved,
		livekit.DisconnectReason_ROOM_DELETED:        ErrRoomDeleted,
		livekit.DisconnectReason_ROOM_CLOSED:         ErrRoomClosed,
		livekit.DisconnectReason_CLIENT_INITIATED:    ErrRemoved,
		livekit.DisconnectReason_USER_UNAVAILABLE:    ErrRemoved,
		livekit.DisconnectReason_USER_REJECTED:       ErrRemoved,
		livekit.DisconnectReason_SIP_TRUNK_FAILURE:   ErrRemoved,
		livekit.DisconnectReason_MEDIA_FAILURE:       ErrRemoved,
		livekit.DisconnectReason_AGENT_ERROR:         ErrRemoved,
		livekit.DisconnectReason_STATE_MISMATCH:      ErrConnectionLost,
		livekit.DisconnectReason_JOIN_FAILURE:        ErrConnectionLost,
		livekit.DisconnectReason_SIGNAL_CLOSE:        ErrConnectionLost,
		livekit.DisconnectReason_CONNECTION_TIMEOUT:  ErrConnectionLost,
		livekit.DisconnectReason_UNKNOWN_REASON:      ErrConnectionLost,
	}
	for number := range livekit.DisconnectReason_name {
		reason := livekit.DisconnectReason(number)
		require.Contains(t, want, reason)
		require.ErrorIs(t, disconnectError(reason), want[reason])
		require.ErrorContains(t, disconnectError(reason), reason.String())
	}
	require.ErrorIs(t, disconnectError(99), ErrConnectionLost)
}

func TestMissingAgentsAreFound(t *testing.T) {
	a := &livekit.RoomAgentDispatch{AgentName: "a", Metadata: "m"}
	for name, test := range map[string]struct {
		wanted  []*livekit.RoomAgentDispatch
		present []*livekit.AgentDispatch
		missing int
	}{
		"all there":          {[]*livekit.RoomAgentDispatch{a}, []*livekit.AgentDispatch{{AgentName: "a", Metadata: "m"}}, 0},
		"none there":         {[]*livekit.RoomAgentDispatch{a}, []*livekit.AgentDispatch{{}}, 1},
		"other metadata":     {[]*livekit.RoomAgentDispatch{a}, []*livekit.AgentDispatch{{AgentName: "a"}}, 1},
		"one for two orders": {[]*livekit.RoomAgentDispatch{a, a}, []*livekit.AgentDispatch{{AgentName: "a", Metadata: "m"}}, 1},
	} {
		t.Run(name, func(t *testing.T) { require.Len(t, without(test.wanted, test.present), test.missing) })
	}
}

func startServer(t *testing.T) (context.Context, *livekittest.Server, services) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	t.Cleanup(cancel)
	srv, err := livekittest.Start(ctx, livekittest.Options{})
	require.NoError(t, err)
	client := &http.Client{Transport: &http.Transport{}}
	t.Cleanup(func() {
		client.CloseIdleConnections()
		require.NoError(t, srv.Stop())
	})
	return ctx, srv, newServices(srv.URL(), srv.APIKey(), srv.APISecret(), client)
}

func TestRoomThatSomebodyElseCreatedMeanwhileGetsItsAgents(t *testing.T) {
	ctx, srv, s := startServer(t)
	agents := []*livekit.RoomAgentDispatch{{AgentName: "a", Metadata: "m"}}
	plan, err := s.planAgents(ctx, "r", agents)
	require.NoError(t, err)
	require.Equal(t, agentPlan{token: agents}, plan)

	_, err = srv.CreateRoom(ctx, &livekit.CreateRoomRequest{Name: "r"})
	require.NoError(t, err)
	require.NoError(t, s.dispatchAgents(ctx, "r", plan))
	require.NoError(t, s.dispatchAgents(ctx, "r", plan), "asking again finds them there")
	dispatches, err := srv.Dispatches(ctx, "r")
	require.NoError(t, err)
	require.Empty(t, without(agents, dispatches))
	require.Len(t, dispatches, 2, "ours and the server's own for agents without a name")
}

func TestClocksThatDifferAreFound(t *testing.T) {
	ctx, srv, s := startServer(t)
	for name, times := range map[string]struct{ notBefore, expires time.Duration }{
		"we are behind": {-2 * time.Hour, -time.Hour},
		"we are ahead":  {time.Hour, 2 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			now := time.Now()
			requestCtx, err := withToken(ctx, signToken(t, srv.APISecret(), map[string]any{
				"iss": srv.APIKey(), "sub": "x", "nbf": now.Add(times.notBefore).Unix(), "exp": now.Add(times.expires).Unix(),
				"video": map[string]any{"roomList": true},
			}))
			require.NoError(t, err)
			require.ErrorIs(t, s.verify(requestCtx), ErrClockSkew)
		})
	}
}

// signToken makes a JWT with HS256 (RFC 7515, 7518), with claims that LiveKit's own helper would not make.
func signToken(t *testing.T, secret string, claims map[string]any) string {
	t.Helper()
	body, err := json.Marshal(claims)
	require.NoError(t, err)
	signed := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"HS256","typ":"JWT"}`)) + "." +
		base64.RawURLEncoding.EncodeToString(body)
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(signed))
	return signed + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

func TestWritingAllocatesNothing(t *testing.T) {
	track, err := lksdk.NewLocalTrack(webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeOpus, ClockRate: 48000})
	require.NoError(t, err)
	p := &rtp.Packet{Header: rtp.Header{Version: 2}, Payload: make([]byte, 100)}
	for name, gate := range map[string]int32{"shut": gateShut, "open": gateOpen} {
		v := newVoice(track)
		v.gate.Store(gate)
		require.Zero(t, testing.AllocsPerRun(2000, func() { _ = v.write(p) }), name)
	}
}

func TestPreRollKeepsTheNewest(t *testing.T) {
	track, err := lksdk.NewLocalTrack(webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeOpus, ClockRate: 48000})
	require.NoError(t, err)
	v := newVoice(track)
	v.hold(time.Now())
	for i := range 60 {
		p := &rtp.Packet{Header: rtp.Header{SequenceNumber: uint16(i), Timestamp: ^uint32(0) - 5000 + uint32(i)*960}, Payload: []byte{byte(i)}}
		require.NoError(t, v.write(p))
	}
	require.Len(t, v.held, 50, "one second")
	require.Equal(t, byte(10), v.held[0].Payload[0])
	require.Equal(t, uint64(10), v.overflowed.Load())

	same := newVoice(track)
	same.hold(time.Now())
	for range 100 {
		require.NoError(t, same.write(&rtp.Packet{Payload: []byte{1}}))
	}
	require.Len(t, same.held, preRollPackets, "a clock that stands still")
}

func TestPreRollTakesAPacketThatComesLate(t *testing.T) {
	track, err := lksdk.NewLocalTrack(webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeOpus, ClockRate: 48000})
	require.NoError(t, err)
	v := newVoice(track)
	v.hold(time.Now())
	for _, i := range []uint16{1, 0, 2} {
		p := &rtp.Packet{Header: rtp.Header{SequenceNumber: i, Timestamp: uint32(i) * 960}, Payload: []byte{byte(i)}}
		require.NoError(t, v.write(p))
	}
	require.Len(t, v.held, 3)
	require.Zero(t, v.overflowed.Load())
}
