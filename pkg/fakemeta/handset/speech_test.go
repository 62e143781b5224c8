package handset_test

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/pkg/fakemeta/hearing"
)

func speech(t *testing.T) []int16 {
	t.Helper()
	f, err := os.Open("../../../testdata/audio/caller.wav")
	require.NoError(t, err)
	defer f.Close()
	pcm, rate, err := hearing.ReadWAV(f)
	require.NoError(t, err)
	require.Equal(t, 16000, rate)
	return pcm
}
