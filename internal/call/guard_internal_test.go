package call

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestLossIsBelievedAtOnceAndForgottenSlowly(t *testing.T) {
	var g guard
	reports := uint64(0)
	report := func(loss float64) int {
		reports++
		percent, _ := g.next(Network{Reports: reports, Loss: loss}, 5)
		return percent
	}
	percent, changed := g.next(Network{}, 5)
	require.False(t, changed, "no report, no change: the encoder begins with what the configuration says")
	require.Zero(t, percent)

	require.Equal(t, 5, report(0), "never less than configured")
	require.Equal(t, 20, report(.2))
	_, changed = g.next(Network{Reports: reports, Loss: .9}, 5)
	require.False(t, changed, "the same report")
	require.Equal(t, 14, report(0))
	require.Equal(t, 10, report(.01))
	require.Equal(t, 30, report(.8), "more would take the bits of the speech")
	for range 10 {
		report(0)
	}
	require.Equal(t, 5, report(0))
}
