package roomleg

import (
	"testing"
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
