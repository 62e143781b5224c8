package call

import (
	"maps"
	"slices"
	"time"
)

// Failure is how the connection to Meta failed.
type Failure uint8

// The failures.
const (
	// FailureNone is a connection that lives, or was closed by us.
	FailureNone Failure = iota
	// FailurePath: ICE found no path, or lost the one it had.
	FailurePath
	// FailureHandshake: DTLS failed.
	FailureHandshake
	// FailureClosed: Meta closed the connection.
	FailureClosed
)

// Connection is what is known of the media connection to Meta. Zero times mean not yet.
type Connection struct {
	// LocalType and RemoteType are host, srflx, prflx or relay, RemoteAddr is Meta's relay; empty before ICE chose a path.
	LocalType, RemoteType, RemoteAddr string
	// Described is when our SDP was ready, ICE when there was a path, Up when DTLS was done too.
	Described, ICE, Up time.Time
	Failure            Failure

	// FirstIn and LastIn are of audio packets from Meta, FirstOut and LastOut of packets to Meta, silence included.
	FirstIn, LastIn, FirstOut, LastOut time.Time
	// LastReport is when Meta last told what it receives of us.
	LastReport time.Time
	// Received counts audio packets from Meta and Bytes what they held. Unknown are packets of a payload type that nobody
	// negotiated, Malformed those that were no RTP.
	Received, Bytes, Unknown, Malformed uint64
	// Control counts RTCP packets from Meta, whatever they tell.
	Control uint64
	// WriteErrors counts packets that the network or the cipher refused.
	WriteErrors uint64
}

// Refusal is why a track of the room is not heard.
type Refusal uint8

// The refusals.
const (
	// RefusedNot is a track that is heard, or will be.
	RefusedNot Refusal = iota
	// RefusedEncrypted is a track with end-to-end encryption.
	RefusedEncrypted
	// RefusedCodec is a track in a codec that is neither Opus nor G.711.
	RefusedCodec
)

// Track is an audio track of somebody else in the room.
type Track struct {
	ID, Participant, MIME string
	Muted                 bool
	Refused               Refusal
	// Subscribed says that the server sends us the track, Packets how many came so far.
	Subscribed bool
	Packets    uint64
	// Since is when the track was first seen; zero for long ago.
	Since time.Time
}

// RoomView is what the participant sees of its room. It does not know of hidden participants, such as recorders.
type RoomView struct {
	// RoomSID and ParticipantSID are the server's names of this session.
	RoomSID, ParticipantSID string
	// Others is how many other participants are there, EverOthers whether there ever was one.
	Others     int
	EverOthers bool
	// OthersSince is when the first of them came, or the last one left; zero for long ago.
	OthersSince time.Time
	// Offline says that the connection to LiveKit is lost and being made anew.
	Offline bool
	// Tracks are the others' audio tracks.
	Tracks []Track
	// Published says that the caller's track is in the room, Heard when somebody first subscribed to it; zero if nobody did.
	Published bool
	Heard     time.Time
	// FirstIn and LastIn are of packets of the room's tracks, Received counts them. FirstOut and LastOut are of packets of the
	// caller into the room, Sent counts those; Unbound those that found no connection.
	FirstIn, LastIn, FirstOut, LastOut time.Time
	Received, Sent, Unbound            uint64
	// Attributes are the participant's.
	Attributes map[string]string
}

// legFacts are what both legs know.
type legFacts struct {
	meta    Connection
	room    RoomView
	hasRoom bool
	heard   Heard
}

// Facts are all that is known of a call at one moment: a copy. For a call that ends or has ended, what the legs knew is
// that of when it ended.
type Facts struct {
	ID        string
	Direction Direction
	State     State
	// Now is when the facts were gathered, or when the call ended. Ended tells which.
	Now   time.Time
	Ended bool
	// Started is when the request arrived. AnsweredAt and EndedAt are zero for a call that was not, or has not. A call that
	// ended before we heard of the pick-up has Meta's word for AnsweredAt, and no StageAnswered: it was silent.
	Started, AnsweredAt, EndedAt time.Time
	// End is why the call ended; nil while it lives.
	End *EndError
	// Said is what Meta's webhooks said of the call.
	Said Said
	// Timeline is in the order of time.
	Timeline []Mark
	Heard    Heard
	Meta     Connection
	// InRoom says that the room was joined; without it Room is empty.
	InRoom bool
	Room   RoomView
	// Attributes are those that the call gave its participant, or would have if it had one.
	Attributes map[string]string
}

// seated notes the participant.
func (c *Call) seated(room RoomLeg) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.room = room
}

// keep notes what the legs know at the end, before they are taken down. The end comes after all that they know of.
func (c *Call) keep() {
	var l legFacts
	defer func() { // it ends, too, if nothing can be told of it
		at := time.Now()
		c.mu.Lock()
		c.last, c.endedAt = &l, at
		c.mu.Unlock()
		c.markAt(StageEnded, at)
	}()
	l = c.legFacts()
}

func (c *Call) legFacts() legFacts {
	c.mu.Lock()
	room := c.room
	c.mu.Unlock()
	l := legFacts{meta: c.opts.Meta.Connection(), heard: c.Heard()}
	if room != nil {
		l.room, l.hasRoom = room.View(), true
	}
	return l
}

// Facts tells all that is known of the call. It is meant for those who ask, not for every packet, and does not block.
func (c *Call) Facts() Facts {
	l := c.legFacts() // attributes change after the end, and a room may be joined after it
	c.mu.Lock()
	f := Facts{
		ID: c.opts.ID, Direction: c.opts.Direction, State: c.state, Now: time.Now(),
		Started: c.started, AnsweredAt: c.activeAt, EndedAt: c.endedAt, Said: c.said, Timeline: slices.Clone(c.stages),
		Attributes: maps.Clone(c.attributes),
	}
	if c.last != nil {
		attributes := l.room.Attributes
		l, f.Now, f.Ended = *c.last, c.endedAt, true
		l.room.Attributes = attributes
		if f.AnsweredAt.IsZero() {
			f.AnsweredAt = f.Said.pickedUp(f.Started, f.EndedAt)
		}
	}
	c.mu.Unlock()
	if f.Ended {
		f.End = c.endError()
	}
	f.Meta, f.Room, f.InRoom, f.Heard = l.meta, l.room, l.hasRoom, l.heard
	f.complete(c.ringBy.Add(-c.opts.Timeouts.Ringing))
	return f
}

// complete adds to the timeline what others than the call noted; dialed is when Meta took an outbound call.
func (f *Facts) complete(dialed time.Time) {
	add := func(s Stage, at time.Time) {
		if !at.IsZero() && !slices.ContainsFunc(f.Timeline, func(m Mark) bool { return m.Stage == s }) {
			f.Timeline = append(f.Timeline, Mark{Stage: s, At: at})
		}
	}
	add(StageRequested, f.Started)
	add(StageDescribed, f.Meta.Described)
	if f.Direction == Outbound {
		add(StageDialed, dialed)
	}
	add(StageRinging, f.Said.RingingAt)
	add(StageICE, f.Meta.ICE)
	add(StageFirstAudio, f.Meta.FirstIn)
	add(StageFirstToMeta, f.Meta.FirstOut)
	add(StageHeard, f.Room.Heard)
	add(StageFirstRoomAudio, f.Room.FirstIn)
	add(StageFirstToRoom, f.Room.FirstOut)
	if f.Ended {
		add(StageLastAudio, f.Meta.LastIn)
		add(StageLastRoomAudio, f.Room.LastIn)
	}
	slices.SortStableFunc(f.Timeline, func(a, b Mark) int { return a.At.Compare(b.At) })
}
