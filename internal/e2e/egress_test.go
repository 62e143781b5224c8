package e2e_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"regexp"
	"testing"

	"github.com/livekit/protocol/auth"
	"github.com/livekit/protocol/livekit"
	"github.com/livekit/protocol/webhook"
	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/internal/livekittest"
	"github.com/livekit-connector/livekit-connector/pkg/fakemeta"
)

const (
	egressKey    = "egress-key"
	egressSecret = "egress-secret-egress-secret-egress"
)

// hooked starts a livekit-server that knows no egress service, and returns what it says of egresses.
func hooked(t *testing.T) (*livekittest.Server, <-chan *livekit.EgressInfo) {
	t.Helper()
	told := make(chan *livekit.EgressInfo, 100)
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		event, err := webhook.ReceiveWebhookEvent(r, auth.NewSimpleKeyProvider(egressKey, egressSecret))
		if err != nil {
			http.Error(w, err.Error(), http.StatusUnauthorized)
			return
		}
		if event.GetEgressInfo() != nil {
			told <- event.GetEgressInfo()
		}
	}))
	t.Cleanup(receiver.Close)
	server, err := livekittest.Start(wait(t), livekittest.Options{
		APIKey: egressKey, APISecret: egressSecret, Webhooks: []string{receiver.URL},
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, server.Stop()) })
	return server, told
}

// What livekit-server asks its egress service for is what the rule says: here it tells so because there is none.
func TestLiveKitTakesTheEgressOfARule(t *testing.T) {
	t.Parallel()
	server, told := hooked(t)
	r := newRuledAt(t, server, `rules:
  - name: recorded
    room:
      name: egress-people
      egress:
        participant:
          preset: H264_720P_30
          file_outputs:
            - filepath: "calls/{room_name}-{publisher_identity}.mp4"
              s3: {bucket: people, region: eu-central-1, access_key: AK, secret: "7730012345"}
        tracks:
          filepath: "tracks/{track_id}"
          s3: {bucket: tracks}
    participant: {identity: "caller-{callHash}"}
`)
	c, err := r.meta.User(userNumber).Call(wait(t), numberID)
	require.NoError(t, err)
	require.NoError(t, c.Wait(wait(t), fakemeta.StateActive), "a recording that fails fails no call")

	var participant *livekit.ParticipantEgressRequest
	var track *livekit.TrackEgressRequest
	for ctx := wait(t); participant == nil || track == nil; {
		info := next(ctx, t, told)
		require.Equal(t, "egress-people", info.GetRoomName())
		if p := info.GetParticipant(); p != nil {
			participant = p
		}
		if tr := info.GetTrack(); tr != nil {
			track = tr
		}
	}
	require.Regexp(t, `^caller-[0-9a-f]{20}$`, participant.GetIdentity())
	require.Equal(t, livekit.EncodingOptionsPreset_H264_720P_30, participant.GetPreset())
	require.Len(t, participant.GetFileOutputs(), 1)
	require.Equal(t, "calls/{room_name}-{publisher_identity}.mp4", participant.GetFileOutputs()[0].GetFilepath())
	require.Equal(t, "people", participant.GetFileOutputs()[0].GetS3().GetBucket())
	require.Equal(t, "7730012345", participant.GetFileOutputs()[0].GetS3().GetSecret())
	require.Equal(t, "tracks", track.GetFile().GetS3().GetBucket())
	require.Contains(t, track.GetFile().GetFilepath(), "tracks/")
	r.requireSecretFree("7730012345")
	require.NoError(t, c.HangUp())
	requireOver(t, c)
	r.nothingLeft("egress-people")
}

// livekit-server refuses the join that makes a room which it cannot record, and takes the next one.
func TestRoomIsEnteredThoughItCannotBeRecorded(t *testing.T) {
	t.Parallel()
	server, _ := hooked(t)
	r := newRuledAt(t, server, `rules:
  - name: recorded
    room: {name: egress-room, egress: {room: {audio_only: true, file_outputs: [{filepath: x.ogg}]}}}
`)
	c, err := r.meta.User(userNumber).Call(wait(t), numberID)
	require.NoError(t, err)
	require.NoError(t, c.Wait(wait(t), fakemeta.StateActive))
	asked := regexp.MustCompile(`"CreateRoom":\{"name":"egress-room","egress":\{"room":\{[^\n]*"filepath":"x\.ogg"`)
	until(t, func() string { // a log of another process comes when it comes
		if !asked.MatchString(server.Log()) {
			return "livekit-server has not heard of an egress: " + server.Log()
		}
		return ""
	})
	require.NoError(t, c.HangUp())
	requireOver(t, c)
	r.nothingLeft("egress-room")
}

func next(ctx context.Context, t *testing.T, told <-chan *livekit.EgressInfo) *livekit.EgressInfo {
	t.Helper()
	select {
	case info := <-told:
		return info
	case <-ctx.Done():
		t.Fatal("livekit-server tells of no egress")
		return nil
	}
}
