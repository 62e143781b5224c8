package app

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/internal/rules"
)

func TestSignalReadsTheRulesAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		name := filepath.Join(t.TempDir(), "rules.yaml")
		require.NoError(t, os.WriteFile(name, []byte("rules: [{name: one}]"), 0o600))
		a := &App{config: Config{RulesFile: name}, log: slog.New(slog.NewTextHandler(&log, nil))}
		signals := make(chan os.Signal)
		file, err := a.newRules(signals, prometheus.NewRegistry())
		require.NoError(t, err)
		require.Contains(t, log.String(), "rules=1", "how many there are is told at start")

		require.NoError(t, os.WriteFile(name, []byte("rules: [{name: two}]"), 0o600))
		signals <- syscall.SIGHUP
		synctest.Wait()
		require.Equal(t, "two", file.Decide(rules.Call{}).Rule)
		require.NoError(t, a.close())

		require.NoError(t, os.WriteFile(name, []byte("rules: ["), 0o600))
		_, err = a.newRules(nil, nil)
		require.ErrorContains(t, err, name)
	})
}

// By default SIGHUP ends a process, and its calls with it.
func TestSignalWithoutRulesIsTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		a := &App{log: slog.New(slog.NewTextHandler(&log, nil))}
		signals := make(chan os.Signal)
		file, err := a.newRules(signals, nil)
		require.NoError(t, err)
		require.Nil(t, file)
		signals <- syscall.SIGHUP
		synctest.Wait()
		require.Contains(t, log.String(), "rules_file is not set")
		require.NoError(t, a.close())

		_, err = a.newRules(nil, nil)
		require.NoError(t, err)
		require.Empty(t, a.closers, "nothing to wait for")
	})
}
