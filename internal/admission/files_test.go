package admission

import (
	"log/slog"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
)

func TestDescriptorsAreSharedOut(t *testing.T) {
	type shares struct{ connections, calls int }
	for _, tt := range []struct {
		limit  uint64
		wanted Connections
		want   shares
	}{
		{0, Connections{10_000, 1}, shares{1, 1}},
		{200, Connections{10_000, 1}, shares{50, 1}},
		{320, Connections{10_000, 1}, shares{80, 4}},
		{1024, Connections{10_000, 1}, shares{256, 56}},
		{1024, Connections{10_000, 2}, shares{128, 56}}, // each has another at LiveKit
		{1024, Connections{50, 1}, shares{50, 77}},
		{1024, Connections{0, 1}, shares{256, 56}},
		{1024, Connections{}, shares{256, 56}},
		{65536, Connections{10_000, 1}, shares{10_000, 5533}},
		{1<<64 - 1, Connections{10_000, 1}, shares{10_000, (1<<30 - 10_200) / 10}},
	} {
		connections, calls := ShareOf(tt.limit, tt.wanted)
		require.Equal(t, tt.want, shares{connections, calls}, "%+v", tt)
		require.LessOrEqual(t, connections*tt.wanted.Files, int(max(1, min(tt.limit, 1<<30)/4)))
	}
	connections, calls := ShareFiles(Connections{Max: 3, Files: 1})
	require.Equal(t, 3, connections)
	require.Positive(t, calls)
}

func TestDescriptorsThatCallsNeed(t *testing.T) {
	for _, wanted := range []Connections{{0, 1}, {10, 1}, {300, 1}, {300, 2}, {10_000, 1}, {10_000, 2}} {
		for _, calls := range []int{1, 2, 50, 56, 1000} {
			files := uint64(FilesFor(calls, wanted))
			_, enough := ShareOf(files, wanted)
			require.GreaterOrEqual(t, enough, calls, "%+v: %d", wanted, files)
			if calls > 1 {
				_, enough = ShareOf(files-5, wanted)
				require.Less(t, enough, calls, "%+v: %d is more than needed", wanted, files)
			}
		}
	}
}

func TestCallWithoutDescriptorsIsRefused(t *testing.T) {
	g, err := New(Options{Limits: Limits{Files: 2}, Registerer: prometheus.NewRegistry(), Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	require.NoError(t, g.Full())
	_, err = g.Reserve(Ask{})
	require.NoError(t, err)
	require.InDelta(t, 0.5, g.Load().Ratio(), 0, "who watches the load sees it coming")
	p, err := g.Reserve(Ask{})
	require.NoError(t, err)
	require.InDelta(t, 1, g.Load().Ratio(), 0)
	var e *LimitError
	require.ErrorAs(t, g.Full(), &e)
	require.Equal(t, LimitFiles, e.Limit)
	require.Contains(t, e.Text, "LimitNOFILE")
	p.Release()
	require.NoError(t, g.Full())
}
