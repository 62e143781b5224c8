package app

import (
	"os"
	"runtime/debug"
	"testing"

	"github.com/stretchr/testify/require"
)

// percent is the setting now, which can only be read by changing it.
func percent() int {
	now := debug.SetGCPercent(100)
	debug.SetGCPercent(now)
	return now
}

func TestCollectorIsTunedUnlessTheEnvironmentSaysHow(t *testing.T) {
	t.Setenv("GOGC", "100") // restored after the test
	before := percent()
	tuneCollector()()
	require.Equal(t, before, percent())
	tuneCollector()
	require.Equal(t, before, percent())

	require.NoError(t, os.Unsetenv("GOGC"))
	restore := tuneCollector()
	require.Equal(t, gcPercent, percent())
	restore()
	require.Equal(t, before, percent())
}
