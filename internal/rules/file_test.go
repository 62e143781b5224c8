package rules_test

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/internal/leaks"
	"github.com/livekit-connector/livekit-connector/internal/rules"
)

func TestMain(m *testing.M) { leaks.Main(m) }

// lockedBuffer is a log that may be read while it is written.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// watched is a rules file that a File watches, in fake time.
type watched struct {
	*rules.File
	t        *testing.T
	name     string
	log      *lockedBuffer
	registry *prometheus.Registry
}

// watch runs body with a File of one rule, in fake time.
func watch(t *testing.T, body func(w *watched)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &watched{t: t, name: filepath.Join(t.TempDir(), "rules.yaml"), log: new(lockedBuffer), registry: prometheus.NewRegistry()}
		w.write("rules: [{name: one}]")
		var err error
		w.File, err = rules.Open(rules.FileOptions{
			Path: w.name, Logger: slog.New(slog.NewTextHandler(w.log, nil)), Registerer: w.registry,
		})
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { w.Run(ctx) })
		body(w)
		cancel()
		running.Wait()
	})
}

func (w *watched) write(text string) {
	w.t.Helper()
	require.NoError(w.t, os.WriteFile(w.name, []byte(text), 0o600))
}

// looked waits until the file has been looked at.
func (w *watched) looked() {
	time.Sleep(2 * time.Second) // fake time
	synctest.Wait()
}

func (w *watched) rule() string { return w.Decide(rules.Call{}).Rule }

func (w *watched) reloads(loaded, unchanged, failed string) {
	w.t.Helper()
	require.NoError(w.t, testutil.GatherAndCompare(w.registry, strings.NewReader(`
# HELP livekit_connector_rules_reloads_total Times the rules file was read anew, because it had changed or somebody asked for it.
# TYPE livekit_connector_rules_reloads_total counter
livekit_connector_rules_reloads_total{outcome="failed"} `+failed+`
livekit_connector_rules_reloads_total{outcome="loaded"} `+loaded+`
livekit_connector_rules_reloads_total{outcome="unchanged"} `+unchanged+`
`), "livekit_connector_rules_reloads_total"))
}

func TestRulesFollowTheFile(t *testing.T) {
	watch(t, func(w *watched) {
		require.Equal(t, "one", w.rule())
		w.looked()
		require.Empty(t, w.log.String(), "nothing changed, nothing to say")

		held := w.Current()
		w.write("rules: [{name: two, match: {caller: hidden}}, {}]")
		w.looked()
		require.Equal(t, "two", w.rule())
		require.Equal(t, 1, held.Len(), "what was read does not change")
		require.Contains(t, w.log.String(), `msg="rules loaded"`)
		require.Contains(t, w.log.String(), "rules=2")
		w.reloads("1", "0", "0")
	})
}

func TestWrongFileKeepsTheRules(t *testing.T) {
	watch(t, func(w *watched) {
		w.write("rulez: [{name: two}]\ntime_zone: Nowhere")
		w.looked()
		require.Equal(t, "one", w.rule())
		require.Contains(t, w.log.String(), w.name+":1: rulez: unknown key, did you mean rules?")
		require.Contains(t, w.log.String(), `:2: time_zone: \"Nowhere\" is no time zone`)
		said := len(w.log.String())
		w.looked()
		w.looked()
		require.Len(t, w.log.String(), said, "the same mistake is told once")
		w.reloads("0", "0", "1")

		require.NoError(t, os.Remove(w.name))
		w.looked()
		w.looked()
		require.Equal(t, 1, strings.Count(w.log.String()[said:], "no such file"))
		require.Equal(t, "one", w.rule())
		w.reloads("0", "0", "2")

		w.write("rules: [{name: three}]")
		w.looked()
		require.Equal(t, "three", w.rule())
		w.reloads("1", "0", "2")
	})
}

// An editor may write in place, and half of a file can be a good one that says something else.
func TestAFileThatIsBeingWritten(t *testing.T) {
	watch(t, func(w *watched) {
		tick := func() {
			time.Sleep(time.Second) // fake time
			synctest.Wait()
		}
		w.write("rules: [{name: two, reject: true}]")
		tick()
		require.Equal(t, "one", w.rule(), "it may go on")
		w.write("rules: [{name: two, match: {caller: known}, reject: true}, {name: rest}]")
		tick()
		require.Equal(t, "one", w.rule(), "it changed between two looks")
		tick()
		require.Equal(t, "rest", w.rule())
		w.reloads("1", "0", "0")
	})
}

func TestAFileThatComesBackAsItWas(t *testing.T) {
	watch(t, func(w *watched) {
		require.NoError(t, os.Remove(w.name))
		w.looked()
		w.write("rules: [{name: one}]")
		w.looked()
		require.Equal(t, "one", w.rule())
		w.reloads("0", "1", "1")
		w.write("rules: [")
		w.looked()
		w.write("rules: [{name: one}]")
		w.looked()
		w.reloads("1", "1", "2")
	})
}

func TestAskedFor(t *testing.T) {
	watch(t, func(w *watched) {
		w.Reload()
		synctest.Wait()
		require.Contains(t, w.log.String(), "rules file has not changed")
		w.write("rules: [{name: two}]")
		w.Reload()
		synctest.Wait()
		require.Equal(t, "two", w.rule(), "at once")
		w.write("rules: [")
		w.Reload()
		synctest.Wait()
		w.Reload()
		synctest.Wait()
		w.reloads("1", "1", "2")
		require.Equal(t, "two", w.rule())
	})
}

// Kubernetes mounts a ConfigMap as links: rules.yaml -> ..data/rules.yaml, ..data -> a folder with a time in its name.
func TestKubernetesConfigMap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		root := t.TempDir()
		mount := func(version, text string) {
			require.NoError(t, os.Mkdir(filepath.Join(root, version), 0o700))
			require.NoError(t, os.WriteFile(filepath.Join(root, version, "rules.yaml"), []byte(text), 0o600))
			require.NoError(t, os.Symlink(version, filepath.Join(root, "..data_tmp")))
			require.NoError(t, os.Rename(filepath.Join(root, "..data_tmp"), filepath.Join(root, "..data")))
		}
		mount("..1", "rules: [{name: one}]")
		name := filepath.Join(root, "rules.yaml")
		require.NoError(t, os.Symlink("..data/rules.yaml", name))
		f, err := rules.Open(rules.FileOptions{Path: name})
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { f.Run(ctx) })
		mount("..2", "rules: [{name: two}]") // the same size, and maybe the same time
		time.Sleep(2 * time.Second)          // fake time
		synctest.Wait()
		require.Equal(t, "two", f.Decide(rules.Call{}).Rule)
		cancel()
		running.Wait()
	})
}

func TestOpenRefusesAWrongFile(t *testing.T) {
	_, err := rules.Open(rules.FileOptions{Path: filepath.Join(t.TempDir(), "none")})
	require.ErrorIs(t, err, os.ErrNotExist)
	name := filepath.Join(t.TempDir(), "rules.yaml")
	require.NoError(t, os.WriteFile(name, []byte("rules: []"), 0o600))
	_, err = rules.Open(rules.FileOptions{Path: name})
	require.EqualError(t, err, name+":1: rules: there are none: no call would be taken")
}
