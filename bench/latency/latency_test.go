package latency_test

import (
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/bench/latency"
)

// TestOwnPath runs all scenarios in fake time, where nothing but waiting by design takes time.
func TestOwnPath(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		runs := 0
		s, err := latency.Section(latency.Options{Short: true, Progress: func(string) { runs++ }})
		require.NoError(t, err)
		require.Equal(t, 2*len(latency.Scenarios()), runs)
		results, ok := s.Data.([]latency.Result)
		require.True(t, ok)
		require.Len(t, results, runs)
		for _, r := range results {
			t.Logf("%+v", r)
			require.Greater(t, r.Similarity, 0.7, r.Scenario)
			if r.Scenario == "relay" {
				require.Zero(t, r.Delay)
			}
		}
	})
}
