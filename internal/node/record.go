package node

import (
	"context"
	"errors"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/livekit/protocol/connector"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/livekit-connector/livekit-connector/internal/call"
	"github.com/livekit-connector/livekit-connector/pkg/whatsapp"
	"github.com/livekit-connector/livekit-connector/proto/connectorpb"
)

// GetCall tells about one call that this node holds, or held not long ago, to the key that made it. To any other key the
// call does not exist.
func (n *Node) GetCall(_ context.Context, req *connectorpb.GetCallRequest) (*connectorpb.GetCallResponse, error) {
	e, _, _ := n.table.look(req.GetCallId()) // it may be over, and not in the history yet
	if e == nil || over(e.call) {
		if r := n.history.get(req.GetCallId(), req.GetApiKey(), time.Now()); r != nil {
			return &connectorpb.GetCallResponse{Call: r}, nil
		}
	}
	if e == nil || e.apiKey != req.GetApiKey() {
		return nil, connector.ErrWhatsAppCallNotFound
	}
	return &connectorpb.GetCallResponse{Call: n.record(e)}, nil
}

// over says that nothing of a call is left: it is in the history or about to be, if that is kept.
func over(c *call.Call) bool {
	s, _ := c.State()
	return s == call.StateEnded
}

// ListCalls tells about the calls that this node holds, and if asked for about those that it held not long ago, to the
// key that made them. Newest first.
func (n *Node) ListCalls(_ context.Context, req *connectorpb.ListCallsRequest) (*connectorpb.ListCallsResponse, error) {
	var res connectorpb.ListCallsResponse
	listed := make(map[string]bool)
	for _, e := range n.table.all() {
		if e.apiKey == req.GetApiKey() && (req.GetEnded() || !over(e.call)) {
			res.Calls = append(res.Calls, summary(n.record(e)))
			listed[e.call.ID()] = true
		}
	}
	if req.GetEnded() {
		for _, r := range n.history.all(req.GetApiKey(), time.Now()) {
			if !listed[r.GetCallId()] { // of this moment, or one that was taken anew
				res.Calls = append(res.Calls, summary(proto.CloneOf(r)))
			}
		}
	}
	slices.SortFunc(res.Calls, func(a, b *connectorpb.CallRecord) int {
		return b.GetCreatedAt().AsTime().Compare(a.GetCreatedAt().AsTime())
	})
	return &res, nil
}

// summary leaves out what a list does not show.
func summary(r *connectorpb.CallRecord) *connectorpb.CallRecord {
	r.Timeline, r.Audio, r.Diagnosis, r.Room = nil, nil, nil, nil
	return r
}

// record says what is known of a call: no secret, and phone numbers only if they are in the participant's attributes.
func (n *Node) record(e *entry) *connectorpb.CallRecord {
	f := e.call.Facts()
	r := &connectorpb.CallRecord{
		CallId: f.ID, Direction: f.Direction.String(), State: f.State.String(),
		RoomName: e.room, ParticipantIdentity: e.who.identity, ParticipantName: e.who.name,
		Attributes: f.Room.Attributes, PhoneNumberId: e.creds.PhoneNumberID, Rule: e.rule, NodeId: n.opts.ID,
		CreatedAt: stamp(f.Started), AnsweredAt: stamp(f.AnsweredAt), EndedAt: stamp(f.EndedAt),
		Audio: audioOf(&f), RoomSid: f.Room.RoomSID, ParticipantSid: f.Room.ParticipantSID, Room: roomOf(&f),
	}
	if r.Attributes == nil {
		r.Attributes = maps.Clone(e.who.attributes)
	}
	if r.Attributes == nil {
		r.Attributes = map[string]string{}
	}
	maps.Copy(r.Attributes, f.Attributes) // the room may not have them yet, or not any more
	r.Meta = accountOf(&f.Said)
	setEnd(r, &f)
	for _, m := range f.Timeline {
		r.Timeline = append(r.Timeline, &connectorpb.CallStage{Stage: m.Stage.String(), At: stamp(m.At)})
	}
	for _, found := range call.Diagnose(&f) {
		r.Diagnosis = append(r.Diagnosis, &connectorpb.CallFinding{
			Code: found.Code, Direction: string(found.Direction), Layer: string(found.Layer),
			Problem: found.Problem, Remedy: found.Remedy,
		})
	}
	return r
}

// setEnd says why a call ended, and what Meta said was wrong: to a request of ours, or by a webhook.
func setEnd(r *connectorpb.CallRecord, f *call.Facts) {
	r.MetaErrorCode, r.MetaError = int32(f.Said.Code), f.Said.Title
	if f.End == nil {
		return
	}
	r.EndReason, r.EndResult = f.End.Reason.String(), string(f.End.Reason.Result())
	if f.End.Err == nil {
		return
	}
	r.EndError = f.End.Err.Error()
	if refused, ok := errors.AsType[*whatsapp.APIError](f.End.Err); ok && r.MetaErrorCode == 0 {
		r.MetaErrorCode, r.MetaError = int32(refused.Code), refused.Message
	}
}

// accountOf is what Meta told of a call, nil if that is nothing.
func accountOf(s *call.Said) *connectorpb.MetaAccount {
	a := &connectorpb.MetaAccount{
		RingingAt: stamp(s.Meta.Ringing), AcceptedAt: stamp(s.Meta.Accepted), RejectedAt: stamp(s.Meta.Rejected),
		TerminatedAt: stamp(s.Meta.Terminated), AnsweredAt: stamp(s.AnsweredAt), Failed: s.Failed,
	}
	if s.Duration > 0 {
		a.Duration = durationpb.New(s.Duration)
	}
	if proto.Size(a) == 0 {
		return nil
	}
	return a
}

func roomOf(f *call.Facts) *connectorpb.CallRoom {
	if !f.InRoom {
		return nil
	}
	room := &connectorpb.CallRoom{
		Others: uint32(f.Room.Others), Offline: f.Room.Offline,
		TrackPublished: f.Room.Published, TrackSubscribedAt: stamp(f.Room.Heard),
	}
	for _, t := range f.Room.Tracks {
		room.Tracks = append(room.Tracks, &connectorpb.CallTrack{
			TrackId: t.ID, ParticipantIdentity: t.Participant, MimeType: t.MIME, Muted: t.Muted, Refused: refusedName(t.Refused),
			Subscribed: t.Subscribed, Packets: uint32(t.Packets),
		})
	}
	return room
}

func refusedName(r call.Refusal) string {
	switch r {
	case call.RefusedEncrypted:
		return "encrypted"
	case call.RefusedCodec:
		return "codec"
	case call.RefusedNot:
		return ""
	default:
		return ""
	}
}

func audioOf(f *call.Facts) *connectorpb.CallAudio {
	h, m, room := &f.Heard, &f.Meta, &f.Room
	n := &h.Network
	a := &connectorpb.CallAudio{
		Codec: h.Codec.String(), RoundTrip: span(n.RTT),
		ToPhone: &connectorpb.AudioFlow{
			Received: uint32(room.Received), Sent: uint32(n.Sent), Lost: uint32(n.Lost), Loss: share(n.Lost, n.Sent), Jitter: span(n.Jitter),
			FirstPacketAt: stamp(room.FirstIn), LastPacketAt: stamp(room.LastIn), FirstSentAt: stamp(m.FirstOut), LastSentAt: stamp(m.LastOut),
			Relayed: span(h.ToPhone.RelayTime), Mixed: span(h.ToPhone.MixTime), Silent: span(h.ToPhone.SilenceTime),
			LevelDb: level(h.ToPhone.LevelDB),
		},
		ToRoom: &connectorpb.AudioFlow{
			Received: uint32(m.Received), Sent: uint32(room.Sent), Lost: uint32(n.Missed), Loss: share(n.Missed, n.Expected),
			Jitter:        span(n.ReceivedJitter),
			FirstPacketAt: stamp(m.FirstIn), LastPacketAt: stamp(m.LastIn), FirstSentAt: stamp(room.FirstOut), LastSentAt: stamp(room.LastOut),
		},
	}
	if m.LocalType != "" {
		a.Ice = &connectorpb.IcePair{LocalType: m.LocalType, RemoteType: m.RemoteType, RemoteAddress: m.RemoteAddr}
	}
	if h.Transcoded {
		a.ToRoom.Mixed, a.ToRoom.Silent, a.ToRoom.LevelDb = span(h.ToRoom.MixTime), span(h.ToRoom.SilenceTime), level(h.ToRoom.LevelDB)
	} else {
		a.ToRoom.Relayed = span(max(0, room.LastOut.Sub(room.FirstOut)))
	}
	if h.PhoneKnown {
		a.ToPhone.Mos = hundredths(h.PhoneQuality.MOS())
	}
	if h.RoomKnown {
		a.ToRoom.Mos = hundredths(h.RoomQuality.MOS())
	}
	return a
}

// stamp is absent for a time that has not come.
func stamp(at time.Time) *timestamppb.Timestamp {
	if at.IsZero() {
		return nil
	}
	return timestamppb.New(at)
}

func span(d time.Duration) *durationpb.Duration {
	return durationpb.New(d.Round(100 * time.Microsecond))
}

func share(part, whole uint64) float64 {
	if whole == 0 {
		return 0
	}
	return math.Round(float64(part)/float64(whole)*10_000) / 10_000
}

func hundredths(v float64) float64 { return math.Round(v*100) / 100 }

// level is zero where nothing was measured.
func level(db float64) float64 {
	if math.IsInf(db, 0) {
		return 0
	}
	return math.Round(db*10) / 10
}
