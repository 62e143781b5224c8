package call_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/internal/call"
	"github.com/livekit-connector/livekit-connector/media"
)

// The clock of the calls that are diagnosed: all are looked at after a minute.
var (
	dawn = time.Unix(1_800_000_000, 0)
	look = dawn.Add(time.Minute)
)

// after is a moment of the call.
func after(d time.Duration) time.Time { return dawn.Add(d) }

// healthy is an answered inbound call of a minute in which both sides are heard.
func healthy() *call.Facts {
	return &call.Facts{
		ID: "wacid.test", Direction: call.Inbound, State: call.StateActive, Now: look, Started: dawn, AnsweredAt: after(time.Second),
		Timeline: []call.Mark{
			{Stage: call.StageRequested, At: dawn},
			{Stage: call.StageJoining, At: dawn},
			{Stage: call.StageRoomJoined, At: after(200 * time.Millisecond)},
			{Stage: call.StagePreAccepted, At: after(100 * time.Millisecond)},
			{Stage: call.StageAnswered, At: after(time.Second)},
		},
		Meta: call.Connection{
			LocalType: "host", RemoteType: "host", ICE: after(300 * time.Millisecond), Up: after(400 * time.Millisecond),
			FirstIn: after(time.Second), LastIn: look, FirstOut: after(time.Second), LastOut: look, LastReport: after(56 * time.Second),
			Received: 2950, Bytes: 2950 * 40, Control: 22,
		},
		InRoom: true,
		Room: call.RoomView{
			Others: 1, EverOthers: true, Published: true, Heard: after(1200 * time.Millisecond),
			FirstIn: after(2 * time.Second), LastIn: look, Received: 2800, Sent: 2950,
			Tracks: []call.Track{{ID: "TR_a", Participant: "agent", MIME: "audio/opus", Subscribed: true, Packets: 2800}},
		},
		Heard: call.Heard{
			Codec:   media.CodecOpus,
			Network: call.Network{Reports: 11, Sent: 2950, Expected: 2960, Missed: 10, Lost: 5},
			ToPhone: media.LineStats{Relayed: 1500, Silence: 1450},
		},
	}
}

// dialled is an outbound call that has not been answered.
func dialled() *call.Facts {
	f := healthy()
	f.Direction, f.State, f.AnsweredAt = call.Outbound, call.StateRinging, time.Time{}
	f.Timeline = []call.Mark{
		{Stage: call.StageRequested, At: dawn},
		{Stage: call.StageDialed, At: dawn},
		{Stage: call.StageJoining, At: dawn},
		{Stage: call.StageAnswer, At: after(500 * time.Millisecond)},
	}
	f.Room.Published, f.Room.Heard = false, time.Time{}
	return f
}

// over makes a call one that is over.
func over(f *call.Facts, r call.Reason) {
	f.State, f.Ended, f.EndedAt, f.End = call.StateEnded, true, f.Now, &call.EndError{Reason: r}
}

// unanswered takes an inbound call back to before its answer.
func unanswered(f *call.Facts) {
	f.State, f.AnsweredAt = call.StatePreAccepted, time.Time{}
}

// diagnoses are calls that are broken in one way each, or in none.
var diagnoses = []struct {
	name  string
	facts func() *call.Facts
	spoil func(*call.Facts)
	want  []string
}{
	{"a healthy call", healthy, func(*call.Facts) {}, nil},
	{"a healthy call that is over", healthy, func(f *call.Facts) { over(f, call.ReasonUserHangup) }, nil},
	{"all but the caller left, and so the call ended", healthy, func(f *call.Facts) {
		f.Room.Others, f.Room.Tracks = 0, nil
		over(f, call.ReasonUserHangup)
	}, nil},
	{"just answered", healthy, func(f *call.Facts) {
		f.Now, f.Meta.Received, f.Room.Tracks = after(2*time.Second), 0, nil
	}, nil},

	{"the SDP answer is missing", dialled, func(f *call.Facts) {
		f.State, f.Timeline, f.Meta = call.StateDialing, f.Timeline[:3], call.Connection{}
	}, []string{"sdp_answer_missing"}},
	{"the SDP answer is on its way", dialled, func(f *call.Facts) {
		f.State, f.Timeline, f.Meta, f.Now = call.StateDialing, f.Timeline[:3], call.Connection{}, after(time.Second)
	}, nil},
	{"the SDP answer never came", dialled, func(f *call.Facts) {
		f.Timeline, f.Meta = f.Timeline[:3], call.Connection{}
		over(f, call.ReasonNoSDPAnswer)
	}, []string{"sdp_answer_missing"}},
	{"rejected before the SDP answer", dialled, func(f *call.Facts) {
		f.Timeline, f.Meta = f.Timeline[:3], call.Connection{}
		over(f, call.ReasonRejected)
	}, nil},

	{"no candidate pair", healthy, func(f *call.Facts) {
		unanswered(f)
		f.Meta = call.Connection{}
	}, []string{"ice_no_pair"}},
	{"no candidate pair yet", healthy, func(f *call.Facts) {
		unanswered(f)
		f.Meta, f.Now = call.Connection{}, after(time.Second)
	}, nil},
	{"no candidate pair at the end", healthy, func(f *call.Facts) {
		unanswered(f)
		f.Meta, f.Now = call.Connection{Failure: call.FailurePath}, after(time.Second)
		over(f, call.ReasonConnectFailed)
	}, []string{"ice_no_pair"}},
	{"no candidate pair of a dialled call", dialled, func(f *call.Facts) { f.Meta = call.Connection{} }, []string{"ice_no_pair"}},
	{"hung up before there was a path", healthy, func(f *call.Facts) {
		unanswered(f)
		f.Meta, f.Now = call.Connection{}, after(time.Second)
		over(f, call.ReasonUserHangup)
	}, nil},
	{"path lost", healthy, func(f *call.Facts) {
		f.Meta.Failure = call.FailurePath
		over(f, call.ReasonMediaLost)
	}, []string{"ice_lost"}},

	{"DTLS not done", healthy, func(f *call.Facts) {
		unanswered(f)
		f.Meta.Up = time.Time{}
	}, []string{"dtls_not_done"}},
	{"DTLS not done at the end", healthy, func(f *call.Facts) {
		unanswered(f)
		f.Meta.Up = time.Time{}
		over(f, call.ReasonConnectFailed)
	}, []string{"dtls_not_done"}},
	{"DTLS failed", healthy, func(f *call.Facts) {
		unanswered(f)
		f.Meta.Up, f.Meta.Failure = time.Time{}, call.FailureHandshake
		over(f, call.ReasonConnectFailed)
	}, []string{"dtls_failed"}},

	{"not in the room", healthy, func(f *call.Facts) {
		unanswered(f)
		f.InRoom, f.Room = false, call.RoomView{}
	}, []string{"room_not_joined"}},
	{"the room could not be joined", healthy, func(f *call.Facts) {
		unanswered(f)
		f.InRoom, f.Room, f.Now = false, call.RoomView{}, after(time.Second)
		over(f, call.ReasonRoomJoinFailed)
	}, []string{"room_not_joined"}},

	{"not accepted", healthy, unanswered, []string{"gate_not_accepted"}},
	{"not picked up", dialled, func(*call.Facts) {}, []string{"gate_not_picked_up"}},
	{"never picked up", dialled, func(f *call.Facts) { over(f, call.ReasonNoAnswer) }, nil},

	{"LiveKit is away", healthy, func(f *call.Facts) { f.Room.Offline = true }, []string{"room_offline"}},
	{"nobody in the room", healthy, func(f *call.Facts) {
		f.Room.Others, f.Room.Tracks, f.Room.EverOthers = 0, nil, false
	}, []string{"room_empty"}},
	{"everybody left the room", healthy, func(f *call.Facts) { f.Room.Others, f.Room.Tracks = 0, nil }, []string{"room_empty"}},
	{"nobody was ever in the room", healthy, func(f *call.Facts) {
		f.Room = call.RoomView{Published: true, Sent: 10}
		f.Heard.ToPhone = media.LineStats{Silence: 2950}
		over(f, call.ReasonUserHangup)
	}, []string{"room_empty"}},

	{"no packets from Meta", healthy, func(f *call.Facts) { f.Meta.Received = 0 }, []string{"phone_sends_nothing"}},
	{"unknown payload type", healthy, func(f *call.Facts) { f.Meta.Received, f.Meta.Unknown = 0, 2950 }, []string{"phone_unknown_payload"}},
	{"Meta stopped sending", healthy, func(f *call.Facts) { f.Meta.LastIn = after(30 * time.Second) }, []string{"phone_stopped_sending"}},
	{"the phone is muted", healthy, func(f *call.Facts) { f.Meta.Bytes = 3 * f.Meta.Received }, []string{"phone_sends_silence"}},
	{"the caller's track is not there", healthy, func(f *call.Facts) {
		f.Room.Published, f.Room.Sent, f.Room.Heard = false, 0, time.Time{}
	}, []string{"caller_track_missing"}},
	{"nobody subscribes", healthy, func(f *call.Facts) { f.Room.Heard = time.Time{} }, []string{"caller_track_unsubscribed"}},

	{"no track", healthy, func(f *call.Facts) { f.Room.Tracks = nil }, []string{"room_no_track"}},
	{"encrypted", healthy, func(f *call.Facts) { f.Room.Tracks[0].Refused = call.RefusedEncrypted }, []string{"room_track_encrypted"}},
	{"another codec", healthy, func(f *call.Facts) { f.Room.Tracks[0].Refused = call.RefusedCodec }, []string{"room_track_codec"}},
	{"muted", healthy, func(f *call.Facts) { f.Room.Tracks[0].Muted = true }, []string{"room_track_muted"}},
	{"muted at the end only", healthy, func(f *call.Facts) {
		f.Room.Tracks[0].Muted = true
		over(f, call.ReasonUserHangup)
	}, nil},
	{"not subscribed", healthy, func(f *call.Facts) { f.Room.Tracks[0].Subscribed = false }, []string{"room_track_unsubscribed"}},
	{"no packets of the room", healthy, func(f *call.Facts) {
		f.Room.Tracks[0].Packets, f.Heard.ToPhone.Relayed = 0, 0
	}, []string{"room_track_no_packets"}},
	{"only silence of the room", healthy, func(f *call.Facts) { f.Heard.ToPhone.Relayed = 0 }, []string{"room_track_silent"}},
	{"one of two is muted", healthy, func(f *call.Facts) {
		f.Room.Tracks = append([]call.Track{{ID: "TR_b", Muted: true}}, f.Room.Tracks...)
	}, nil},
	{"one muted, one encrypted", healthy, func(f *call.Facts) {
		f.Room.Tracks[0].Muted = true
		f.Room.Tracks = append(f.Room.Tracks, call.Track{ID: "TR_b", Refused: call.RefusedEncrypted})
	}, []string{"room_track_muted", "room_track_encrypted"}},

	{"Meta gets nothing and says so", healthy, func(f *call.Facts) {
		f.Heard.Network.Loss, f.Heard.Network.Lost = 1, 2900
	}, []string{"meta_receives_nothing"}},
	{"Meta's RTCP does not speak of our stream", healthy, func(f *call.Facts) { f.Heard.Network.Reports = 0 }, nil},
	{"Meta never saw our stream, and says so at the end", healthy, func(f *call.Facts) {
		f.Heard.Network.Reports, f.Said.Code = 0, 138023
		over(f, call.ReasonMediaNotReceived)
	}, []string{"meta_reported_failure", "meta_receives_nothing"}},
	{"nothing gets through either way", healthy, func(f *call.Facts) {
		f.Heard.Network.Reports, f.Meta.Received = 0, 0
	}, []string{"phone_sends_nothing", "meta_receives_nothing"}},
	{"a moment without anything at Meta, in the last report of a good call", healthy, func(f *call.Facts) {
		f.Heard.Network.Loss = 1
		over(f, call.ReasonUserHangup)
	}, nil},
	{"Meta got nothing of a call that is over", healthy, func(f *call.Facts) {
		f.Heard.Network.Loss, f.Heard.Network.Lost = 0, 2900
		over(f, call.ReasonUserHangup)
	}, []string{"meta_receives_nothing"}},

	{"the last packet is not noted yet", healthy, func(f *call.Facts) {
		f.Meta.LastIn, f.Meta.LastReport = time.Time{}, time.Time{}
	}, nil},
	{"over before audio was let through, though picked up", dialled, func(f *call.Facts) {
		f.AnsweredAt, f.Meta.Received = after(30*time.Second), 0
		over(f, call.ReasonUserHangup)
	}, nil},
	{"the agent has just left, and may come back", healthy, func(f *call.Facts) {
		f.Room.Others, f.Room.Tracks, f.Room.OthersSince = 0, nil, after(59*time.Second)
	}, nil},
	{"the agent has just come", healthy, func(f *call.Facts) {
		f.Room.Tracks, f.Room.Heard, f.Room.OthersSince = nil, time.Time{}, after(59*time.Second)
	}, nil},
	{"the agent's track has just come", healthy, func(f *call.Facts) {
		f.Room.Tracks[0].Subscribed, f.Room.Tracks[0].Since = false, after(59*time.Second)
	}, nil},
	{"the agent has not said anything yet", healthy, func(f *call.Facts) {
		f.Room.Tracks[0].Packets, f.Heard.ToPhone.Relayed, f.Room.Tracks[0].Since = 0, 0, after(56*time.Second)
	}, nil},
	{"the agent's track has just come, encrypted", healthy, func(f *call.Facts) {
		f.Room.Tracks[0].Refused, f.Room.Tracks[0].Since = call.RefusedEncrypted, after(59*time.Second)
	}, []string{"room_track_encrypted"}},
	{"Meta's reports stopped", healthy, func(f *call.Facts) { f.Meta.LastReport = after(20 * time.Second) }, []string{"meta_reports_stopped"}},
	{"Meta reports nothing at all", healthy, func(f *call.Facts) { f.Heard.Network.Reports, f.Meta.Control = 0, 0 }, nil},

	{"loss from the phone", healthy, func(f *call.Facts) { f.Heard.Network.Missed = 300 }, []string{"loss_from_phone"}},
	{"loss to the phone", healthy, func(f *call.Facts) { f.Heard.Network.Lost = 300 }, []string{"loss_to_phone"}},
	{"the phone is hardly heard", healthy, func(f *call.Facts) {
		f.Heard.Transcoded, f.Heard.ToRoom = true, media.LineStats{Mixed: 2000, LevelDB: -63}
	}, []string{"phone_too_quiet"}},
	{"the room is hardly heard", healthy, func(f *call.Facts) {
		f.Heard.ToPhone.Mixed, f.Heard.ToPhone.Voiced, f.Heard.ToPhone.LevelDB = 2000, 2000, -63
	}, []string{"room_too_quiet"}},

	{"Meta says what was wrong", healthy, func(f *call.Facts) {
		f.Said.Code, f.Said.Title = 138021, "No media received"
		over(f, call.ReasonMediaNotReceived)
	}, []string{"meta_reported_failure"}},
	{"both silent, the common cause first", healthy, func(f *call.Facts) {
		f.Meta.Received = 0
		f.Room.Others, f.Room.Tracks = 0, nil
	}, []string{"room_empty", "phone_sends_nothing"}},
}

func TestDiagnosisNamesTheLayer(t *testing.T) {
	known := map[string]call.Finding{}
	for _, f := range call.Findings() {
		require.NotEmpty(t, f.Problem)
		require.NotEmpty(t, f.Remedy)
		require.NotContains(t, known, f.Code, "every code is one finding")
		known[f.Code] = f
	}
	shown := map[string]bool{}
	for _, tt := range diagnoses {
		t.Run(tt.name, func(t *testing.T) {
			f := tt.facts()
			tt.spoil(f)
			var got []string
			for _, found := range call.Diagnose(f) {
				got = append(got, found.Code)
				shown[found.Code] = true
				require.Equal(t, known[found.Code].Layer, found.Layer)
				require.Equal(t, known[found.Code].Direction, found.Direction)
				require.True(t, strings.HasPrefix(found.Problem, known[found.Code].Problem), "details come after the problem")
			}
			require.Equal(t, tt.want, got)
		})
	}
	require.Len(t, shown, len(known), "every finding has a call that shows it")
}
