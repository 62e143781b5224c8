package clock_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/internal/clock"
)

func TestMomentsAreTimesWithAMonotonicReading(t *testing.T) {
	w := clock.Start()
	var m clock.Moment
	require.False(t, m.IsSet())
	require.Zero(t, w.Time(&m))

	now := time.Now()
	w.Set(&m, now)
	require.True(t, m.IsSet())
	require.True(t, w.Time(&m).Equal(now))
	require.Contains(t, w.Time(&m).String(), " m=", "else distances would follow the wall clock")

	m.Clear()
	require.Zero(t, w.Time(&m))
}

func TestFirstMomentStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := clock.Start()
		var m clock.Moment
		begin := time.Now()
		require.True(t, w.First(&m, begin), "the moment of the start is one too")
		time.Sleep(time.Second) // fake time
		require.False(t, w.First(&m, time.Now()))
		require.Equal(t, time.Second, time.Since(w.Time(&m)))
		require.Equal(t, begin.Unix(), w.Time(&m).Unix())
	})
}
