package leaks_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/internal/leaks"
)

func TestMain(m *testing.M) { leaks.Main(m) }

// goleak alone gives up on it after half a second.
func TestWhatEndsLateIsNoLeak(t *testing.T) {
	go func() { <-time.After(2 * time.Second) }()
	require.NoError(t, leaks.Find())
}
