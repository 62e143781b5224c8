package micro_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/bench/micro"
)

// TestOwnStagesDoNotAllocate measures all of them once; the numbers depend on the machine, the allocations do not.
func TestOwnStagesDoNotAllocate(t *testing.T) {
	s, err := micro.Section(micro.Options{
		Repeats: 2, Batch: 5 * time.Millisecond, Progress: func(string) {},
		Bubble: func(f func()) { synctest.Test(t, func(*testing.T) { f() }) },
	})
	require.NoError(t, err)
	costs, ok := s.Data.([]micro.Cost)
	require.True(t, ok)
	require.Len(t, costs, len(micro.Stages()))
	for _, c := range costs {
		t.Logf("%+v", c)
		require.Positive(t, c.Median, c.Stage)
		require.Less(t, c.Allocs, 0.05, c.Stage)
	}
}
