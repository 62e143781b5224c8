package admission

import (
	"errors"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
)

// openable is a process whose descriptors a test counts.
type openable struct {
	files Files
	err   error
}

func (o *openable) count() (Files, error) { return o.files, o.err }

func (o *openable) gate(t *testing.T, calls int) *Gate {
	t.Helper()
	g, err := New(Options{
		Limits: Limits{Files: calls}, OpenFiles: o.count, Registerer: prometheus.NewRegistry(), Logger: slog.New(slog.DiscardHandler),
	})
	require.NoError(t, err)
	return g
}

// sampled lets so many descriptors be counted so often.
func (o *openable) sampled(g *Gate, open, times int) {
	o.files.Open = open
	for range times {
		g.Sample(time.Now())
	}
}

func TestOthersTakeOfTheCallsDescriptors(t *testing.T) {
	o := &openable{files: Files{Open: 20, Limit: 1024}}
	g := o.gate(t, 56)
	for range 10 {
		_, err := g.Reserve(Ask{})
		require.NoError(t, err)
	}
	require.InDelta(t, 10./56, g.Load().Ratio(), 1e-9, "what is set aside for others is theirs")
	o.sampled(g, 20+256+120+100, 1)
	require.NoError(t, g.Full(), "all connections of the API's port and many others, and ten calls")
	require.InDelta(t, 10./56, g.Load().Ratio(), 1e-9)

	o.sampled(g, 824+100, 1)
	require.NoError(t, g.Full(), "five more, and fifty are spare")
	require.InDelta(t, (10.+56-15)/56, g.Load().Ratio(), 1e-9)
	places, err := fill(g, Ask{})
	require.Len(t, places, 5)
	requireLimit(t, LimitFiles, err)
	require.Equal(t, "15 of 15 calls that there are file descriptors for beside what else is open, 924 of 1024 in all "+
		"(LimitNOFILE=, --ulimit nofile=, ulimit -n)", err.Error())
	require.InDelta(t, 1, g.Load().Ratio(), 1e-9)

	o.sampled(g, 20+150, 1)
	require.Error(t, g.Full(), "calls of which a socket is yet to come make others seem fewer")
	o.sampled(g, 20+150, fileWindowSize)
	require.NoError(t, g.Full())
	require.InDelta(t, 15./56, g.Load().Ratio(), 1e-9)
}

// An empty node refuses, too: a call without a socket would fail, and its user would wait for that.
func TestNoCallWithoutDescriptors(t *testing.T) {
	o := &openable{files: Files{Open: 280, Limit: 320}}
	g := o.gate(t, 4)
	var e *LimitError
	require.ErrorAs(t, g.Full(), &e)
	require.True(t, strings.HasPrefix(e.Text, "0 of 0 calls"), e.Text)
	require.InDelta(t, 1, g.Load().Ratio(), 0)
	o.sampled(g, 320, 1)
	o.err = errors.New("too many open files")
	o.sampled(g, 0, 2*fileWindowSize)
	require.Error(t, g.Full(), "who cannot count has not become richer")
	o.err = nil
	o.sampled(g, 20, fileWindowSize)
	require.NoError(t, g.Full())
}

// With a small limit the descriptors that are spare do not take the one call that there is always a share for.
func TestSmallLimitsLeaveACall(t *testing.T) {
	for limit := 64; limit <= 4096; limit++ {
		connections, calls := ShareOf(uint64(limit), Connections{Max: 10_000, Files: 1})
		o := &openable{files: Files{Open: 15 + connections, Limit: limit}}
		require.NoError(t, o.gate(t, calls).Full(), limit)
	}
}

func TestDescriptorsAreCounted(t *testing.T) {
	before, err := CountFiles()
	require.NoError(t, err)
	require.Positive(t, before.Open)
	require.Less(t, before.Open, before.Limit)
	for range 10 {
		f, openErr := os.Open(os.DevNull)
		require.NoError(t, openErr)
		defer f.Close()
	}
	after, err := CountFiles()
	require.NoError(t, err)
	require.Equal(t, Files{Open: before.Open + 10, Limit: before.Limit}, after)
}
