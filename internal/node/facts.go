package node

import (
	"errors"

	"github.com/livekit-connector/livekit-connector/internal/call"
	"github.com/livekit-connector/livekit-connector/internal/metaleg"
	"github.com/livekit-connector/livekit-connector/internal/roomleg"
)

// Connection tells what the leg knows in the call's words.
func (l metaLeg) Connection() call.Connection {
	t, s := l.Times(), l.Stats()
	c := call.Connection{
		Described: t.Described, ICE: t.ICEConnected, Up: t.Connected,
		FirstIn: t.FirstRTPIn, LastIn: t.LastRTPIn, FirstOut: t.FirstRTPOut, LastOut: t.LastRTPOut, LastReport: t.LastReport,
		Received: s.ReceivedPackets, Bytes: s.ReceivedBytes, Unknown: s.UnknownPayload, Malformed: s.Malformed,
		Control: s.ReceivedRTCP, WriteErrors: s.WriteErrors,
	}
	if p, ok := l.Path(); ok {
		c.LocalType, c.RemoteType, c.RemoteAddr = p.LocalType, p.RemoteType, p.RemoteAddr
	}
	switch err := l.Err(); {
	case errors.Is(err, metaleg.ErrUnreachable):
		c.Failure = call.FailurePath
	case errors.Is(err, metaleg.ErrHandshake):
		c.Failure = call.FailureHandshake
	case errors.Is(err, metaleg.ErrClosedByMeta):
		c.Failure = call.FailureClosed
	}
	return c
}

// View tells what the leg sees in the call's words.
func (l roomLeg) View() call.RoomView {
	v, s := l.Leg.View(), l.Stats()
	room := call.RoomView{
		RoomSID: v.RoomSID, ParticipantSID: v.ParticipantSID, Others: v.Others, EverOthers: v.EverOthers, OthersSince: v.OthersSince, Offline: v.Offline,
		Published: v.Published, Heard: v.FirstHeard,
		FirstIn: v.FirstIn, LastIn: v.LastIn, FirstOut: v.FirstOut, LastOut: v.LastOut,
		Received: v.Received, Sent: s.Sent, Unbound: s.Unbound, Attributes: v.Attributes,
	}
	for _, t := range v.Tracks {
		room.Tracks = append(room.Tracks, call.Track{
			ID: t.SID, Participant: t.Participant, MIME: t.MIME, Muted: t.Muted, Refused: refusalOf(t.Refused),
			Subscribed: t.Subscribed, Packets: t.Packets, Since: t.Since,
		})
	}
	return room
}

func refusalOf(r roomleg.Refusal) call.Refusal {
	switch r {
	case roomleg.RefusedEncrypted:
		return call.RefusedEncrypted
	case roomleg.RefusedCodec:
		return call.RefusedCodec
	default:
		return call.RefusedNot
	}
}
