package logs_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/internal/logs"
)

// sink is a place for a log that can be blocked and broken.
type sink struct {
	block chan struct{} // closed lets writes go on; nil never blocks

	mu  sync.Mutex
	got bytes.Buffer
	err error
	cut int // of the write that fails
}

func (s *sink) Write(p []byte) (int, error) {
	if s.block != nil {
		<-s.block
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		n := min(s.cut, len(p))
		s.got.Write(p[:n])
		return n, s.err
	}
	return s.got.Write(p)
}

func (s *sink) fail(err error, cut int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err, s.cut = err, cut
}

func (s *sink) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.got.String()
}

func TestAllLinesAreWrittenInOrder(t *testing.T) {
	s := &sink{}
	a := logs.NewAsync(s)
	var want strings.Builder
	for i := range 5000 {
		line := fmt.Sprintf("line %d\n", i)
		want.WriteString(line)
		n, err := io.WriteString(a, line)
		require.NoError(t, err)
		require.Equal(t, len(line), n)
	}
	require.NoError(t, a.Close(time.Minute))
	require.Equal(t, want.String(), s.String())
	full, failed := a.Lost()
	require.Zero(t, full+failed)
}

// Nobody reads the pipe: whoever logs goes on, what is too much is lost and counted, and when somebody reads again the log
// says so.
func TestABlockedLogBlocksNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &sink{block: make(chan struct{})}
		a := logs.NewAsync(s)
		log := logs.New(logs.Config{}, a)
		a.Report(log)
		registry := prometheus.NewRegistry()
		require.NoError(t, a.Register(registry))
		for i := range 3000 {
			log.Info("line", "i", i, "text", strings.Repeat("x", 1000)) // returns, or the bubble is deadlocked
		}
		full, failed := a.Lost()
		require.Greater(t, full, uint64(1500))
		require.Less(t, full, uint64(2500), "a megabyte waits")
		require.Zero(t, failed)
		require.Error(t, a.Close(time.Second), "the end is bounded")

		close(s.block)
		require.NoError(t, a.Close(time.Second))
		require.Contains(t, s.String(), "i=0 ")
		require.NoError(t, testutil.GatherAndCompare(registry, strings.NewReader(fmt.Sprintf(`
# HELP livekit_connector_log_lines_lost_total Lines of the log that were lost: too many waited (full), or they could not be written (failed).
# TYPE livekit_connector_log_lines_lost_total counter
livekit_connector_log_lines_lost_total{reason="failed"} 0
livekit_connector_log_lines_lost_total{reason="full"} %d
`, count(a)))))
	})
}

func count(a *logs.Async) uint64 { full, _ := a.Lost(); return full }

func TestLostLinesAreToldOfWhenTheLogWorksAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &sink{}
		a := logs.NewAsync(s)
		log := logs.New(logs.Config{}, a)
		a.Report(log)
		log.Info("first")
		synctest.Wait()
		s.fail(errors.New("no space left on device"), 7)
		_, err := io.WriteString(a, "msg=lost\nmsg=\"lost too\"\n") // at once, else the second could find its own end
		require.NoError(t, err)
		synctest.Wait()
		s.fail(errors.New("no space left on device"), 0)
		log.Info("lost as well")
		synctest.Wait()
		require.NotContains(t, s.String(), "were lost")
		s.fail(nil, 0)
		log.Info("second")
		synctest.Wait()
		lines := strings.Split(strings.TrimSpace(s.String()), "\n")
		require.Len(t, lines, 4, "what was written in part has a line of its own")
		require.Contains(t, lines[0], "first")
		require.Contains(t, lines[2], "second")
		require.Contains(t, lines[3], "lost=3 full=0 failed=3")
		log.Info("third")
		require.NoError(t, a.Close(time.Second))
		require.Equal(t, 1, strings.Count(s.String(), "were lost"), "once")

		log.Info("after the end")
		full, failed := a.Lost()
		require.EqualValues(t, 1, full)
		require.EqualValues(t, 3, failed)
	})
}
