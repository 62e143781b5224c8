package hearing_test

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/pkg/fakemeta/hearing"
)

// What lies outside of the lags that are possible is not found, whatever is there, and no lag is reported outside of them.
func TestOnlyPossibleLagsAreFound(t *testing.T) {
	t.Parallel()
	said := voices(t)["agent"].said
	for at, found := range map[int]bool{0: true, 80: true, 500: true, 1500: false, -327: false} {
		heard := slices.Concat(silence(max(0, at)), said[ms(max(0, -at)):], silence(2000))
		v := hearing.CompareWithin(said, heard, rate, 0, time.Second)
		require.Equal(t, found, v.Found && v.OK(), "%d ms: %v", at, v)
		if found {
			require.InDelta(t, at, v.Lag.Milliseconds(), 1)
		}
		for _, p := range v.Pieces {
			require.GreaterOrEqual(t, p.Lag, time.Duration(0), at)
			require.LessOrEqual(t, p.Lag, time.Second, at)
		}
		require.Equal(t, at < 0 || found, hearing.CompareWithin(said, heard, rate, -time.Second, time.Second).Found)
	}
	require.False(t, hearing.CompareWithin(said, silence(3000), rate, 0, time.Second).Found)
}

func TestWithoutBoundsItIsTheSame(t *testing.T) {
	t.Parallel()
	v := voices(t)["caller"]
	heard := slices.Concat(silence(120), v.said)
	length := time.Duration(len(heard)) * time.Second / rate
	require.Equal(t, hearing.Compare(v.said, heard, rate), hearing.CompareWithin(v.said, heard, rate, -length, length))
}
