package admission

import (
	"log/slog"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
)

func TestCallsThatThereAreDescriptorsFor(t *testing.T) {
	for limit, calls := range map[uint64]int{0: 1, 199: 1, 200: 1, 240: 4, 1024: 82, 1 << 20: 104837, 1<<64 - 1: 1 << 30 / 10} {
		require.Equal(t, calls, callsByFiles(limit), limit)
	}
	require.Positive(t, CallsByFiles())
}

func TestCallWithoutDescriptorsIsRefused(t *testing.T) {
	g, err := New(Options{Limits: Limits{Files: 1}, Registerer: prometheus.NewRegistry(), Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	require.NoError(t, g.Full())
	p, err := g.Reserve(Ask{})
	require.NoError(t, err)
	var e *LimitError
	require.ErrorAs(t, g.Full(), &e)
	require.Equal(t, LimitFiles, e.Limit)
	require.Contains(t, e.Text, "LimitNOFILE")
	p.Release()
	require.NoError(t, g.Full())
}
