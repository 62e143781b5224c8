package media

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestDelaysFallIntoTheClassThatHoldsThem(t *testing.T) {
	var c delayCounter
	for _, d := range []time.Duration{-time.Second, 0, 500 * time.Microsecond, 501 * time.Microsecond, 45 * time.Millisecond, time.Second} {
		c.observe(d)
	}
	got := c.counts()
	require.EqualValues(t, 3, got.Classes[0], "a clock that was set back adds nothing, and a bound belongs to what is below it")
	require.EqualValues(t, 1, got.Classes[1])
	require.EqualValues(t, 1, got.Classes[10])
	require.EqualValues(t, 1, got.Classes[len(DelayBounds)])
	require.Equal(t, 1046001*time.Microsecond, got.Sum)

	sum := got
	sum.Add(&got)
	require.EqualValues(t, 6, sum.Classes[0])
	require.Equal(t, 2*got.Sum, sum.Sum)
}

func TestRelayedPacketsAreTimedNowAndThen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := handPacer()
		l := NewLine(nowhere{}, LineOptions{Pacer: p})
		l.Open()
		s := l.AddSource("a", SourceOptions{})
		r := NewRelay(nowhere{})
		pkt := speech()
		for range 4 * delayRelayEvery {
			p.move(FrameDuration)
			pkt.SequenceNumber++
			pkt.Timestamp += FrameSamples
			require.NoError(t, s.WriteRTPAt(pkt, 6*time.Millisecond))
			require.NoError(t, r.WriteRTP(pkt))
		}
		counts := func(c DelayCounts) (n uint64) {
			for _, of := range c.Classes {
				n += of
			}
			return n
		}
		line := l.Delays()
		require.EqualValues(t, 4, counts(line.Relay))
		require.GreaterOrEqual(t, line.Relay.Sum, 4*6*time.Millisecond, "what a packet waited before it was offered counts")
		require.Zero(t, counts(line.Mix))
		require.EqualValues(t, 4, counts(r.Delays().Relay))
		require.False(t, l.Mixing())
	})
}
