package e2e_test

import (
	"net/http"
	"os/exec"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// The process may have few file descriptors, as many shells and service managers have it by default. Calls that there are
// none for are refused before anything is done for them, as by a node that is full; those that live go on, probes and metrics
// answer, and when some have ended there is room again.
func TestNodeWithFewDescriptorsRefusesAndRecovers(t *testing.T) {
	w := newMetaAlone(t)
	path, err := binary()
	require.NoError(t, err)
	p := w.launch(exec.Command("sh", "-c", `ulimit -n 240; exec "$0"`, path), w.log)
	p.awaitStart()
	w.url = p.url
	c := w.answeredBy(p, 4)
	for range 3 {
		call, err := c.meta.User("15557770001").Call(wait(t), numberID)
		require.NoError(t, err)
		refused := c.app.wait("accept", call.ID()).err
		requireCode(t, "resource_exhausted", refused)
		require.ErrorContains(t, refused, "file descriptors")
		require.NoError(t, call.HangUp())
		requireOver(t, call)
	}
	status, body := p.ask("/readyz")
	require.Equal(t, http.StatusServiceUnavailable, status)
	require.Contains(t, body, "LimitNOFILE", "it says why")
	status, _ = p.ask("/livez")
	require.Equal(t, http.StatusOK, status)
	_, metrics := p.ask("/metrics")
	require.Contains(t, metrics, `livekit_connector_admission_refused_total{limit="open_files"} 3`)
	goesOn(t, c.calls)

	for _, call := range c.calls[1:] {
		require.NoError(t, call.HangUp())
		requireOver(t, call)
	}
	c.calls = c.calls[:1]
	until(t, func() string {
		if status, body := p.ask("/readyz"); status != http.StatusOK {
			return body
		}
		return ""
	})
	c.callsGoOn()
	p.signal(syscall.SIGTERM)
	p.requireExit(0)
}
