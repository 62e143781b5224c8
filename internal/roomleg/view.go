package roomleg

import (
	"cmp"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	lksdk "github.com/livekit/server-sdk-go/v2"
	"github.com/pion/rtp"

	"github.com/livekit-connector/livekit-connector/internal/clock"
	"github.com/livekit-connector/livekit-connector/media"
)

// View is what the leg sees of its room, for those who ask why a call is silent. Hidden participants are not in it, because
// the server does not tell of them.
type View struct {
	// RoomSID and ParticipantSID are the server's names of this session.
	RoomSID, ParticipantSID string
	// Others is how many other participants are there, EverOthers whether there ever was one.
	Others     int
	EverOthers bool
	// OthersSince is when the first of them came, or the last one left; zero if there never was one.
	OthersSince time.Time
	// Offline says that the connection is lost and being made anew.
	Offline bool
	// Tracks are the others' audio tracks, by participant.
	Tracks []TrackView
	// Published says that our track is in the room, FirstHeard when somebody first subscribed to it; zero if nobody did.
	Published  bool
	FirstHeard time.Time
	// FirstIn and LastIn are of packets of the room's tracks that are not digital silence, Received counts those too. FirstOut
	// and LastOut are of packets into the room.
	FirstIn, LastIn, FirstOut, LastOut time.Time
	Received                           uint64
	// Attributes are our participant's.
	Attributes map[string]string
}

// TrackView is one audio track of the room.
type TrackView struct {
	SID, Participant, MIME string
	Muted                  bool
	Refused                Refusal
	// Subscribed says that the server sends us the track, Packets how many came so far from whoever publishes it.
	Subscribed bool
	Packets    uint64
	// Since is when the leg first saw the track.
	Since time.Time
}

// seen is what View is made of.
type seen struct {
	room            atomic.Pointer[roomSeen]
	firstIn, lastIn clock.Moment // by the voice's watch
	packets         atomic.Uint64
}

// roomSeen is the room at one moment. It does not change.
type roomSeen struct {
	sid, participant string
	others           int
	everOthers       bool
	othersSince      time.Time
	tracks           []TrackView
	// gone are the tracks that were taken away less than takingDown before.
	gone []goneTrack
}

// goneTrack is a track that is no longer in the room, and since when.
type goneTrack struct {
	TrackView
	at time.Time
}

// look notes what the room holds. Only watch calls it.
func (l *Leg) look(others []*lksdk.RemoteParticipant) {
	before := l.seen.room.Load()
	if before == nil {
		before = &roomSeen{}
	}
	at := time.Now()
	now := &roomSeen{
		sid: l.room.SID(), participant: l.room.LocalParticipant.SID(),
		others: len(others), everOthers: len(others) > 0 || before.everOthers, othersSince: before.othersSince,
	}
	if (now.others > 0) != (before.others > 0) {
		now.othersSince = at
	}
	for _, other := range others {
		for _, p := range other.TrackPublications() {
			if pub, ok := p.(*lksdk.RemoteTrackPublication); ok && pub.Kind() == lksdk.TrackKindAudio {
				now.tracks = append(now.tracks, TrackView{
					SID: pub.SID(), Participant: other.Identity(), MIME: pub.TrackInfo().GetMimeType(),
					Muted: pub.IsMuted(), Refused: refusalOf(pub.TrackInfo()), Since: before.trackSince(pub.SID(), at),
				})
			}
		}
	}
	sortTracks(now.tracks)
	now.gone = before.without(now.tracks, at)
	select {
	case <-l.done: // the SDK empties the room; what was there before counts
	default:
		l.seen.room.Store(now)
	}
}

func sortTracks(tracks []TrackView) {
	slices.SortFunc(tracks, func(a, b TrackView) int {
		return cmp.Or(cmp.Compare(a.Participant, b.Participant), cmp.Compare(a.SID, b.SID))
	})
}

// without is what is gone of the tracks of before if only these are left.
func (r *roomSeen) without(left []TrackView, now time.Time) (gone []goneTrack) {
	isLeft := func(sid string) bool {
		return slices.ContainsFunc(left, func(t TrackView) bool { return t.SID == sid })
	}
	for _, g := range r.gone {
		if now.Sub(g.at) < takingDown && !isLeft(g.SID) {
			gone = append(gone, g)
		}
	}
	for _, t := range r.tracks {
		if !isLeft(t.SID) {
			gone = append(gone, goneTrack{t, now})
		}
	}
	return gone
}

// tracksAtEnd are the tracks that were there until the end, or that only the end of it all took away.
func (r *roomSeen) tracksAtEnd(end time.Time) []TrackView {
	tracks := slices.Clone(r.tracks)
	for _, g := range r.gone {
		if end.Sub(g.at) < takingDown {
			tracks = append(tracks, g.TrackView)
		}
	}
	sortTracks(tracks)
	return tracks
}

// trackSince is when a track was first seen: now, if it was not there before.
func (r *roomSeen) trackSince(sid string, now time.Time) time.Time {
	for i := range r.tracks {
		if r.tracks[i].SID == sid {
			return r.tracks[i].Since
		}
	}
	return now
}

// hears lets a listener's packets be counted.
func (l *Leg) hears(next func(*rtp.Packet, time.Duration) error) func(*rtp.Packet, time.Duration) error {
	return func(p *rtp.Packet, age time.Duration) error {
		l.seen.packets.Add(1)
		if string(p.Payload) != string(media.SilenceFrame) {
			now := time.Now()
			l.voice.clock.Set(&l.seen.lastIn, now) // before the first one: see View
			l.voice.clock.First(&l.seen.firstIn, now)
		}
		return next(p, age)
	}
}

// View returns what the leg sees now, or saw last before it left. Whoever has a first packet has a last one, too: they are
// read in this order and written in the other.
func (l *Leg) View() View {
	at := l.voice.clock.Time
	v := View{
		Offline: l.reconnecting.Load(),
		FirstIn: at(&l.seen.firstIn), LastIn: at(&l.seen.lastIn), Received: l.seen.packets.Load(),
		FirstOut: at(&l.voice.firstOut), LastOut: at(&l.voice.lastOut),
		FirstHeard: at(&l.voice.firstHeard),
	}
	switch l.voice.gate.Load() {
	case gateHeld, gateOpen:
		v.Published = true
	}
	r := l.seen.room.Load()
	if r != nil {
		v.RoomSID, v.ParticipantSID, v.Others, v.EverOthers = r.sid, r.participant, r.others, r.everOthers
		v.OthersSince = r.othersSince
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case r == nil:
	case l.finished:
		v.Tracks = r.tracksAtEnd(l.ended)
	default:
		v.Tracks = slices.Clone(r.tracks)
	}
	v.Attributes = maps.Clone(l.attributes)
	heard := l.heardAtEnd
	if !l.finished {
		heard = l.heardLocked()
	}
	for i := range v.Tracks {
		v.Tracks[i].Packets, v.Tracks[i].Subscribed = heard[v.Tracks[i].SID]
	}
	return v
}

// lastHeard is a track whose listener ended, and when.
type lastHeard struct {
	packets uint64
	at      time.Time
}

// takingDown is how long before it ends our participant the server may take the tracks of a room that is deleted.
const takingDown = 2 * time.Second

// heardAtEndLocked is heardLocked with the tracks that only the end of it all took away. The caller holds mu.
func (l *Leg) heardAtEndLocked(now time.Time) map[string]uint64 {
	heard := l.heardLocked()
	for sid, last := range l.dropped {
		if _, still := heard[sid]; !still && now.Sub(last.at) < takingDown {
			heard[sid] = last.packets
		}
	}
	return heard
}

// heardLocked is how many packets came of each track that is heard. The caller holds mu.
func (l *Leg) heardLocked() map[string]uint64 {
	heard := make(map[string]uint64, len(l.listeners))
	for sid, h := range l.listeners {
		heard[sid] = h.stream.packets.Load()
	}
	return heard
}
