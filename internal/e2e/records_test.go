package e2e_test

import (
	"io"
	"net/http"
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/livekit/protocol/auth"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/livekit-connector/livekit-connector/internal/app"
	"github.com/livekit-connector/livekit-connector/internal/livekittest"
	"github.com/livekit-connector/livekit-connector/pkg/fakemeta"
	"github.com/livekit-connector/livekit-connector/proto/connectorpb"
)

// inspect asks the read API with a token that sees all calls of its key.
func (w *world) inspect(path string) (status int, body string) {
	w.t.Helper()
	token, err := auth.NewAccessToken(w.livekit.APIKey(), w.livekit.APISecret()).
		SetVideoGrant(&auth.VideoGrant{RoomList: true, RoomCreate: true}).ToJWT()
	require.NoError(w.t, err)
	req, err := http.NewRequestWithContext(wait(w.t), http.MethodGet, w.url+"/connector/v1/"+path, nil)
	require.NoError(w.t, err)
	req.Header.Set("Authorization", "Bearer "+token)
	res, err := http.DefaultClient.Do(req)
	require.NoError(w.t, err)
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	require.NoError(w.t, err)
	return res.StatusCode, string(text)
}

// record is what the read API tells of one call.
func (w *world) record(id string) *connectorpb.CallRecord {
	w.t.Helper()
	status, body := w.inspect("calls/" + url.PathEscape(id))
	require.Equal(w.t, http.StatusOK, status, body)
	r := new(connectorpb.CallRecord)
	require.NoError(w.t, protojson.Unmarshal([]byte(body), r))
	return r
}

// recordWhen looks at a call until what is asked for is so.
func (w *world) recordWhen(id, what string, so func(*connectorpb.CallRecord) bool) *connectorpb.CallRecord {
	w.t.Helper()
	ctx := wait(w.t)
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for {
		r := w.record(id)
		if so(r) {
			return r
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			w.t.Fatalf("not %s: %s", what, protojson.Format(r))
		}
	}
}

func isOver(r *connectorpb.CallRecord) bool { return r.GetState() == "ended" }

// listed are the IDs that the read API lists.
func (w *world) listed(query string) []string {
	w.t.Helper()
	status, body := w.inspect("calls" + query)
	require.Equal(w.t, http.StatusOK, status, body)
	list := new(connectorpb.ListCallsResponse)
	require.NoError(w.t, protojson.Unmarshal([]byte(body), list))
	ids := []string{}
	for _, r := range list.GetCalls() {
		require.Nil(w.t, r.GetAudio())
		ids = append(ids, r.GetCallId())
	}
	return ids
}

// stages are the names of a call's timeline, whose times must not go back.
func stages(t *testing.T, r *connectorpb.CallRecord) []string {
	t.Helper()
	var names []string
	at := r.GetCreatedAt().AsTime()
	for _, s := range r.GetTimeline() {
		require.False(t, s.GetAt().AsTime().Before(at), "%s comes before the stage before it", s.GetStage())
		at = s.GetAt().AsTime()
		names = append(names, s.GetStage())
	}
	return names
}

// requireOrder checks that some stages are there, in that order.
func requireOrder(t *testing.T, all []string, want ...string) {
	t.Helper()
	got := slices.DeleteFunc(slices.Clone(all), func(s string) bool { return !slices.Contains(want, s) })
	require.Equal(t, want, got, "in %v", all)
}

func TestRecordTellsAHealthyInboundCallFromBeginningToEnd(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{})
	const room = "records-inbound"
	agent, err := w.livekit.Join(wait(t), livekittest.ParticipantOptions{Room: room, Identity: "agent"})
	require.NoError(t, err)
	defer func() { require.NoError(t, agent.Leave()) }()
	a := w.newApplication(func(a *application) {
		a.accept = options{
			"roomName": room, "participantIdentity": "caller", "participantName": "Ada",
			"participantAttributes": options{"tier": "gold"},
		}
	})
	c, err := w.meta.User(userNumber).Call(wait(t), numberID, fakemeta.WithSpeech(says(speech(t, "caller"))))
	require.NoError(t, err)
	require.NoError(t, a.wait("accept", c.ID()).err)
	require.Equal(t, []string{c.ID()}, w.listed(""))
	require.Equal(t, []string{c.ID()}, w.listed("?state=active&room="+room))
	require.Empty(t, w.listed("?room=another"))
	track, err := agent.Publish(livekittest.TrackOptions{})
	require.NoError(t, err)
	require.NoError(t, track.WaitHeard(wait(t)))
	defer talksOn(t, track)() // who is silent for seconds is diagnosed
	require.NoError(t, agent.Heard("caller").WaitCount(wait(t), 400))

	r := w.recordWhen(c.ID(), "told by a report of Meta's", func(r *connectorpb.CallRecord) bool {
		return r.GetAudio().GetRoundTrip().AsDuration() > 0
	})
	require.Empty(t, r.GetDiagnosis(), "everybody is heard")
	require.Equal(t, "inbound", r.GetDirection())
	require.Equal(t, "active", r.GetState())
	require.Equal(t, room, r.GetRoomName())
	require.Equal(t, "caller", r.GetParticipantIdentity())
	require.Equal(t, "Ada", r.GetParticipantName())
	require.Equal(t, "gold", r.GetAttributes()["tier"])
	require.Equal(t, "active", r.GetAttributes()["whatsapp.callStatus"])
	require.Equal(t, numberID, r.GetPhoneNumberId())
	require.NotEmpty(t, r.GetRoomSid())
	require.NotEmpty(t, r.GetParticipantSid())
	require.Nil(t, r.GetEndedAt())
	require.Empty(t, r.GetEndReason())
	requireOrder(t, stages(t, r), "requested", "pre_accepted", "answered") // Meta's 200 to it may come after DTLS
	requireOrder(t, stages(t, r), "requested", "connected", "answered")
	requireOrder(t, stages(t, r), "connected", "first_to_meta")
	requireOrder(t, stages(t, r), "room_joining", "room_joined", "published", "subscribed")

	audio := r.GetAudio()
	require.Equal(t, "opus", audio.GetCodec())
	require.Equal(t, "host", audio.GetIce().GetLocalType())
	require.Contains(t, audio.GetIce().GetRemoteAddress(), "127.0.0.1:")
	for name, flow := range map[string]*connectorpb.AudioFlow{"to phone": audio.GetToPhone(), "to room": audio.GetToRoom()} {
		require.Positive(t, flow.GetReceived(), name)
		require.Positive(t, flow.GetSent(), name)
		require.Positive(t, flow.GetRelayed().AsDuration(), name)
		require.Positive(t, flow.GetMos(), name)
		require.NotNil(t, flow.GetFirstPacketAt(), name)
		require.False(t, flow.GetLastSentAt().AsTime().Before(flow.GetFirstSentAt().AsTime()), name)
	}
	require.Equal(t, uint32(1), r.GetRoom().GetOthers())
	require.True(t, r.GetRoom().GetTrackPublished())
	require.NotNil(t, r.GetRoom().GetTrackSubscribedAt())
	require.Len(t, r.GetRoom().GetTracks(), 1)
	require.True(t, r.GetRoom().GetTracks()[0].GetSubscribed())

	require.NoError(t, c.HangUp())
	over := w.recordWhen(c.ID(), "over", isOver)
	require.Empty(t, over.GetDiagnosis(), "it was a good call")
	require.Contains(t, []string{"user_hangup", "meta_closed"}, over.GetEndReason())
	require.Equal(t, "success", over.GetEndResult())
	require.GreaterOrEqual(t, over.GetAudio().GetToPhone().GetSilent().AsDuration(), audio.GetToPhone().GetSilent().AsDuration())
	require.Equal(t, "hangup", over.GetAttributes()["whatsapp.callStatus"])
	requireOrder(t, stages(t, over), "answered", "last_audio", "ended", "room_left")
	require.False(t, over.GetEndedAt().AsTime().Before(over.GetAnsweredAt().AsTime()))
	require.Empty(t, w.listed(""))
	require.Equal(t, []string{c.ID()}, w.listed("?ended=true"))
	require.Equal(t, []string{c.ID()}, w.listed("?state=ended"))

	_, whole := w.inspect("calls/" + url.PathEscape(c.ID()))
	for name, secret := range map[string]string{
		"Meta's token": metaToken, "LiveKit's secret": w.livekit.APISecret(), "the user's number": userNumber, "the business' number": business,
		"an ICE password": "ice-pwd", "an SDP": "v=0",
	} {
		require.NotContains(t, whole, secret, name)
	}
	w.nothingLeft(room)
}

// Who deletes the room takes the participant with it, and yet its record says what was, and how it ended.
func TestRecordOfACallWhoseRoomWasDeleted(t *testing.T) {
	t.Parallel()
	s := newScene(t, "records-deleted", worldOptions{}, func(a *application) { a.ignoreTerminate = true })
	track, err := s.listener.Publish(livekittest.TrackOptions{})
	require.NoError(t, err)
	require.NoError(t, track.WaitHeard(wait(t)))
	require.NoError(t, track.Send(wait(t), packets(t, speech(t, "agent"))))
	require.NoError(t, s.livekit.DeleteRoom(wait(t), s.room))
	requireOver(t, s.call)
	over := s.recordWhen(s.call.ID(), "over", isOver)
	require.Equal(t, "room_deleted", over.GetEndReason())
	require.Equal(t, "hangup", over.GetAttributes()["whatsapp.callStatus"])
	require.Equal(t, "room_deleted", over.GetAttributes()["whatsapp.endReason"])
	require.Equal(t, []string{"phone_sends_silence"}, findings(over), "the room was heard")
	require.Len(t, over.GetRoom().GetTracks(), 1)
	require.True(t, over.GetRoom().GetTracks()[0].GetSubscribed())
	require.Positive(t, over.GetRoom().GetTracks()[0].GetPackets())
	s.nothingLeft(s.room)
}

func TestRecordTellsADialledCall(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{config: func(c *app.Config) { c.Participant.PhoneNumberAttributes = true }})
	user := w.meta.User(userNumber)
	a := w.newApplication(nil)
	dialled, err := a.sdk.do(wait(t), "dial", dialRequest().with(options{"roomName": "records-outbound"}))
	require.NoError(t, err)
	id := dialled.text("whatsappCallId")
	c, err := user.NextCall(wait(t))
	require.NoError(t, err)
	require.NoError(t, a.wait("connect", id).err)
	reached := func(stage string) func(*connectorpb.CallRecord) bool { // the state says so a moment before
		return func(r *connectorpb.CallRecord) bool { return slices.Contains(stages(t, r), stage) }
	}
	w.recordWhen(id, "ringing", reached("ringing"))
	require.NoError(t, c.PickUp())
	r := w.recordWhen(id, "answered", reached("answered"))
	require.Equal(t, "active", r.GetState())
	require.Equal(t, "outbound", r.GetDirection())
	require.Equal(t, userNumber, r.GetAttributes()["whatsapp.phoneNumber"], "as configured, the room sees it too")
	requireOrder(t, stages(t, r), "requested", "sdp_made", "dialed", "sdp_answer", "ringing", "answered")

	_, err = a.sdk.do(wait(t), "disconnect", options{"whatsappCallId": id, "whatsappApiKey": metaToken})
	require.NoError(t, err)
	over := w.recordWhen(id, "over", isOver)
	require.Equal(t, "business_hangup", over.GetEndReason())
	requireOrder(t, stages(t, over), "ended", "told_meta")
	w.nothingLeft("records-outbound")
}

func TestRecordsOfEndedCallsAreForgottenAsConfigured(t *testing.T) {
	t.Parallel()
	s := newScene(t, "records-forgotten", worldOptions{config: func(c *app.Config) { c.CallHistory.Keep = 0 }}, nil)
	require.Equal(t, []string{s.call.ID()}, s.listed(""))
	require.NoError(t, s.call.HangUp())
	require.NoError(t, s.app.wait("disconnect", s.call.ID()).err)
	require.NoError(t, s.world.app.Node().WaitEmpty(wait(t)))
	require.Empty(t, s.listed("?ended=true"))
	s.nothingLeft(s.room)
}

func TestPermissionsAreReadWithTheNumbersToken(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{config: func(c *app.Config) {
		c.WhatsApp.Numbers = map[string]app.NumberConfig{numberID: {AccessToken: metaToken, APIVersion: "24.0"}}
	}})
	w.meta.User(userNumber).SetPermission(fakemeta.PermissionPermanent)
	status, body := w.inspect("permissions?phone_number_id=" + numberID + "&user=" + userNumber)
	require.Equal(t, http.StatusOK, status, body)
	require.Contains(t, body, `"status":"permanent"`)
	require.Contains(t, body, `"canCall":true`)
	require.NotContains(t, body, userNumber)

	status, body = w.inspect("permissions?phone_number_id=1&user=" + userNumber)
	require.Equal(t, http.StatusPreconditionFailed, status)
	require.Contains(t, body, "whatsapp.numbers")
	require.NotContains(t, w.log.String(), userNumber)
}
