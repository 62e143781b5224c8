package e2e_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// newFrugal starts a connector that may have few file descriptors, as many shells and service managers have it by default:
// 80 of 320 are for connections of strangers, 200 for what it needs itself, so there are calls for four.
func newFrugal(t *testing.T) (*world, *process) {
	t.Helper()
	w := newMetaAlone(t)
	return w, w.launchFrugal(nil)
}

// launchFrugal starts that connector, with descriptors that it inherits.
func (w *world) launchFrugal(inherited []*os.File, environ ...string) *process {
	w.t.Helper()
	path, err := binary()
	require.NoError(w.t, err)
	cmd := exec.Command("sh", "-c", `ulimit -n 320; exec "$0"`, path)
	cmd.ExtraFiles = inherited
	p := w.launch(cmd, w.log, environ...)
	p.awaitStart()
	w.url = p.url
	return p
}

// Calls that there are no descriptors for are refused before anything is done for them, as by a node that is full; those that
// live go on, probes and metrics answer, and when some have ended there is room again.
func TestNodeWithFewDescriptorsRefusesAndRecovers(t *testing.T) {
	w, p := newFrugal(t)
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
	p.answers("/readyz", http.StatusServiceUnavailable, "LimitNOFILE") // it says why
	p.answers("/livez", http.StatusOK)
	p.answers("/metrics", http.StatusOK, `livekit_connector_admission_refused_total{limit="open_files"} 3`,
		`livekit_connector_capacity_used_ratio{resource="files"} 1`)
	goesOn(t, c.calls)

	for _, call := range c.calls[1:] {
		require.NoError(t, call.HangUp())
		requireOver(t, call)
	}
	c.calls = c.calls[:1]
	p.answers("/readyz", http.StatusOK)
	c.callsGoOn()
	p.signal(syscall.SIGTERM)
	p.requireExit(0)
}

// Strangers open connections to the API's port, more than there are descriptors. Calls go on, the operator's port answers, and
// a call that finds one free connection is answered.
func TestNodeWithFewDescriptorsOutlivesStrangers(t *testing.T) {
	w, p := newFrugal(t)
	c := w.answeredBy(p, 3)
	strangers := intrude(t, p.url, 400)
	require.Greater(t, len(strangers), 70) // the application has some connections
	require.LessOrEqual(t, len(strangers), 80)
	_, metrics := p.ask("/metrics")
	require.NotContains(t, metrics, `livekit_connector_http_connections_refused_total{limit="total"} 0`)
	goesOn(t, c.calls)
	p.answers("/livez", http.StatusOK)
	p.answers("/readyz", http.StatusOK)

	const gone = 8 // for the application
	for _, s := range strangers[:gone] {
		require.NoError(t, s.Close())
	}
	until(t, func() string {
		if n := p.connections(); n > 80-gone {
			return fmt.Sprintf("%d connections", n)
		}
		return ""
	})
	c.callsGoOn()
	require.NotContains(t, w.log.String(), "too many open files")
	p.signal(syscall.SIGTERM)
	p.requireExit(0)
}

// connections is how many the API's port holds.
func (p *process) connections() int {
	p.t.Helper()
	_, metrics := p.ask("/metrics")
	found := regexp.MustCompile(`(?m)^livekit_connector_http_connections (\d+)$`).FindStringSubmatch(metrics)
	require.NotNil(p.t, found)
	n, err := strconv.Atoi(found[1])
	require.NoError(p.t, err)
	return n
}

// intrude opens so many connections to a port, one after the other, and returns those that it could keep: something was
// answered on them, and they may be used again.
func intrude(t *testing.T, url string, connections int) (kept []net.Conn) {
	t.Helper()
	for range connections {
		conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
		if err != nil {
			continue // closed at once
		}
		require.NoError(t, conn.SetDeadline(time.Now().Add(patience)))
		_, _ = io.WriteString(conn, "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
		if _, err = conn.Read(make([]byte, 4096)); err != nil {
			_ = conn.Close()
			continue
		}
		t.Cleanup(func() { _ = conn.Close() })
		kept = append(kept, conn)
	}
	return kept
}
