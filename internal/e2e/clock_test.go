package e2e_test

import (
	native "encoding/binary"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/pkg/fakemeta"
)

// clock is the wall clock of a connector, which a test may set.
type clock struct {
	t    *testing.T
	file *os.File
}

func (c *clock) set(seconds int64) {
	c.t.Helper()
	_, err := c.file.WriteAt(native.NativeEndian.AppendUint64(nil, uint64(seconds)), 0)
	require.NoError(c.t, err)
}

// newTimeless starts a connector whose clock can be set.
func newTimeless(t *testing.T) (*world, *process, *clock) {
	t.Helper()
	folder := t.TempDir()
	file, err := os.Create(filepath.Join(folder, "offset"))
	require.NoError(t, err)
	t.Cleanup(func() { _ = file.Close() })
	c := &clock{t: t, file: file}
	c.set(0)

	root, err := filepath.Abs(filepath.Join("..", ".."))
	require.NoError(t, err)
	overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{
		filepath.Join(root, "cmd", "livekit-connector", "jump.go"): filepath.Join(root, "internal", "e2e", "testdata", "jump", "jump.go"),
	}})
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(folder, "overlay.json"), overlay, 0o600))
	program := filepath.Join(folder, "livekit-connector")
	build := exec.CommandContext(t.Context(), "go", "build", "-tags", "nolibopusfile", "-buildvcs=false",
		"-overlay", filepath.Join(folder, "overlay.json"), "-o", program, "./cmd/livekit-connector")
	build.Dir = root
	out, err := build.CombinedOutput()
	require.NoError(t, err, string(out))

	w := newMetaAlone(t)
	p := w.launch(exec.Command(program), w.log, "CLOCK_OFFSET_FILE="+file.Name(), "CONNECTOR_MEDIA_TIMEOUT=5s")
	p.awaitStart()
	w.url = p.url
	return w, p, c
}

// date is what the connector takes the time to be.
func (p *process) date() time.Time {
	p.t.Helper()
	req, err := http.NewRequestWithContext(wait(p.t), http.MethodGet, p.admin+"/livez", http.NoBody)
	require.NoError(p.t, err)
	res, err := http.DefaultClient.Do(req)
	require.NoError(p.t, err)
	_ = res.Body.Close()
	at, err := http.ParseTime(res.Header.Get("Date"))
	require.NoError(p.t, err)
	return at
}

// sweeps waits until the connector has looked through its calls some times, which it does each second.
func (p *process) sweeps(call *fakemeta.Call) {
	p.t.Helper()
	heardAtLeast(p.t, call, 110)
}

// The clock of the machine is set, forwards and backwards, during calls that are older than media_timeout: none ends, and a
// call that comes afterwards is answered and ends as always.
func TestClockSteps(t *testing.T) {
	const hour = 3600
	w, p, clock := newTimeless(t)
	c := &crowd{world: w, process: p}
	c.app = w.newApplication(func(a *application) { a.accept = options{"participantIdentity": "caller"} })
	place := func(user string) *fakemeta.Call {
		call, err := w.meta.User(user).Call(wait(t), numberID)
		require.NoError(t, err)
		require.NoError(t, c.app.wait("accept", call.ID()).err)
		return call
	}
	calls := []*fakemeta.Call{place("15550000001"), place("15550000002")}
	p.sweeps(calls[0])
	for i, offset := range []int64{hour, 0, -hour, 0} {
		clock.set(offset)
		require.InDelta(t, offset, time.Until(p.date()).Seconds(), hour/2, "the process sees it")
		p.sweeps(calls[0])
		for _, call := range calls {
			require.Equal(t, fakemeta.StateActive, call.State(), "after step %d: %v", i, call.Timeline())
		}
	}
	goesOn(t, calls)
	// Not before: tokens of LiveKit hold for the time that their maker's clock says, and so none holds for an hour.
	calls = append(calls, place("15550000003"))
	heardAtLeast(t, calls[2], 50)
	for _, call := range calls {
		require.NoError(t, call.HangUp())
		requireOver(t, call)
	}
	p.signal(syscall.SIGTERM)
	p.requireExit(0)
	require.Equal(t, 3, strings.Count(w.log.String(), `"msg":"call ended"`))
}
