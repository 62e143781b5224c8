package roomleg

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// Nobody can tell who is there while the connection is away, and that is told.
func TestCompanyOfALegWithoutItsRoom(t *testing.T) {
	l := &Leg{company: company{changed: make(chan struct{})}}
	become := func(change func(), want Company, told bool) {
		t.Helper()
		_, changed := l.Company()
		change()
		now, _ := l.Company()
		require.Equal(t, want, now)
		select {
		case <-changed:
			require.True(t, told)
		default:
			require.False(t, told)
		}
	}
	become(func() { l.company.lose() }, Company{Away: true}, true)
	become(func() { l.company.set(false) }, Company{}, true)
	become(func() { l.company.set(true) }, Company{Present: true, Met: true}, true)
	become(func() { l.company.lose() }, Company{Present: true, Met: true, Away: true}, true)
	become(func() { l.company.lose() }, Company{Present: true, Met: true, Away: true}, false)
	become(func() { l.company.set(false) }, Company{Met: true}, true)
	become(func() { l.company.set(false) }, Company{Met: true}, false)
}

func TestTrackIsSeenSinceItWasSeenFirst(t *testing.T) {
	first := time.Unix(1_800_000_000, 0)
	before := &roomSeen{tracks: []TrackView{{SID: "TR_a", Since: first}}}
	require.Equal(t, first, before.trackSince("TR_a", first.Add(time.Minute)))
	require.Equal(t, first.Add(time.Minute), before.trackSince("TR_b", first.Add(time.Minute)))
}

// A server that takes a room down may take the tracks first.
func TestTracksThatWentWithTheRoomWereHeard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &Leg{listeners: map[string]*listener{}, dropped: map[string]lastHeard{}, done: make(chan struct{})}
		for _, sid := range []string{"TR_before", "TR_lately", "TR_now"} {
			l.listeners[sid] = &listener{stream: new(tapped)}
			l.listeners[sid].stream.packets.Store(7)
		}
		l.dropLocked("TR_before")
		time.Sleep(time.Nanosecond) // fake time
		l.dropLocked("TR_lately")
		time.Sleep(takingDown - time.Nanosecond) // fake time
		l.finish(nil)
		require.Equal(t, map[string]uint64{"TR_now": 7, "TR_lately": 7}, l.heardAtEnd)
	})
}

// And the participants who published them.
func TestTracksThatWentWithTheRoomWereThere(t *testing.T) {
	begin := time.Unix(1_800_000_000, 0)
	r := &roomSeen{tracks: []TrackView{{SID: "TR_a", Participant: "z"}, {SID: "TR_b", Participant: "y"}, {SID: "TR_c", Participant: "x"}}}
	left := func(after time.Duration, sids ...string) {
		now := &roomSeen{}
		for _, sid := range sids {
			now.tracks = append(now.tracks, r.tracks[slices.IndexFunc(r.tracks, func(t TrackView) bool { return t.SID == sid })])
		}
		now.gone = r.without(now.tracks, begin.Add(after))
		r = now
	}
	atEnd := func(after time.Duration) (sids []string) {
		for _, t := range r.tracksAtEnd(begin.Add(after)) {
			sids = append(sids, t.SID)
		}
		return sids
	}
	require.Equal(t, []string{"TR_c", "TR_b", "TR_a"}, atEnd(0))
	left(time.Second, "TR_b", "TR_c")
	left(2*time.Second, "TR_c")
	require.Equal(t, []string{"TR_c"}, atEnd(time.Minute))
	require.Equal(t, []string{"TR_c", "TR_b"}, atEnd(time.Second+takingDown))
	left(time.Second + takingDown)
	require.Equal(t, []string{"TR_c", "TR_b"}, atEnd(time.Second+takingDown), "the first one went before the end began")
	require.Len(t, r.gone, 2)
}
