package media

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestNextPhaseOverAllPairs(t *testing.T) {
	const s, r, m = phaseSilence, phaseRelay, phaseMix
	table := map[phase]map[demand][2]phase{ // unsettled, settled
		s: {demandNone: {s, s}, demandRelay: {r, r}, demandMix: {m, m}},
		r: {demandNone: {s, s}, demandRelay: {r, r}, demandMix: {m, m}},
		m: {demandNone: {m, s}, demandRelay: {m, r}, demandMix: {m, m}},
	}
	for from, demands := range table {
		require.Len(t, demands, 3)
		for d, want := range demands {
			require.Equal(t, want[0], next(from, d, false), "from %d, demand %d, unsettled", from, d)
			require.Equal(t, want[1], next(from, d, true), "from %d, demand %d, settled", from, d)
		}
	}
}
