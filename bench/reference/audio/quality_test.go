package audio_test

import (
	"slices"
	"testing"
	"testing/synctest"

	"github.com/livekit-connector/livekit-connector/bench/chain"
	"github.com/livekit-connector/livekit-connector/bench/quality"
	"github.com/stretchr/testify/require"
)

// TestBetterThanMediaSDK wants both of our paths to be understood better than media-sdk's where a network loses packets.
func TestBetterThanMediaSDK(t *testing.T) {
	for _, cell := range quality.Cells() {
		if !slices.Contains([]string{"5 % loss", "20 % loss", "5 % loss, 60 ms jitter"}, cell.Name) {
			continue // the benchmark has them all
		}
		t.Run(cell.Name, func(t *testing.T) {
			clip, err := quality.Speech(true, cell.LossPercent())
			require.NoError(t, err)
			score := func(m chain.Maker) float64 {
				var rec *chain.Recording
				synctest.Test(t, func(*testing.T) { rec, err = quality.Run(m, clip, cell, quality.Seed) })
				require.NoError(t, err)
				r, _, err := quality.Measure(m.Name, rec, clip, cell, quality.Seed)
				require.NoError(t, err)
				t.Logf("%+v", r)
				return r.STOI
			}
			best := 0.0
			for _, rival := range rivals() {
				best = max(best, score(rival))
			}
			for _, ours := range quality.Ours() {
				require.Greater(t, score(ours), best, ours.Name)
			}
		})
	}
}
