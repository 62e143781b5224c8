package e2e_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// flood writes lines into the log, by changing its level again and again.
func (p *process) flood(lines int) {
	p.t.Helper()
	for range lines {
		req, err := http.NewRequestWithContext(wait(p.t), http.MethodPut, p.admin+"/log/level?level=info", http.NoBody)
		require.NoError(p.t, err)
		res, err := http.DefaultClient.Do(req)
		require.NoError(p.t, err)
		_ = res.Body.Close()
		require.Equal(p.t, http.StatusOK, res.StatusCode)
	}
}

// callsGoOn checks that a call goes on, another one comes and goes, and the node is well.
func (c *crowd) callsGoOn() {
	t := c.world.t
	t.Helper()
	goesOn(t, c.calls)
	another, err := c.meta.User("15559990000").Call(wait(t), numberID)
	require.NoError(t, err)
	require.NoError(t, c.app.wait("accept", another.ID()).err)
	heardAtLeast(t, another, 50)
	require.NoError(t, another.HangUp())
	requireOver(t, another)
	c.answers("/readyz", http.StatusOK)
	for _, call := range c.calls {
		require.NoError(t, call.HangUp())
		requireOver(t, call)
	}
}

// Nobody reads the pipe that the log goes to, and it is full: calls do not notice. What was said meanwhile comes later.
func TestLogThatNobodyReadsHoldsNoCallUp(t *testing.T) {
	w := newMetaAlone(t)
	r, out, err := os.Pipe()
	require.NoError(t, err)
	t.Cleanup(func() { _ = r.Close() })
	pause, resume, read := make(chan struct{}), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(read)
		b := make([]byte, 4096)
		for {
			select {
			case <-pause:
				<-resume
				pause = nil
			default:
			}
			n, err := r.Read(b)
			_, _ = w.log.Write(b[:n])
			if err != nil {
				return
			}
		}
	}()
	p := w.start(out)
	require.NoError(t, out.Close())
	p.awaitStart()
	w.url = p.url
	c := w.answeredBy(p, 2)

	close(pause)
	const pipe = 64 << 10 // on Linux; each line has more than 100 bytes
	p.flood(pipe/100 + 100)
	c.callsGoOn()
	before := strings.Count(w.log.String(), `"msg":"call ended"`)
	require.Zero(t, before, "the pipe is read no more")
	close(resume)
	p.awaitLog("call ended")
	p.signal(syscall.SIGTERM)
	p.requireExit(0)
	<-read
	require.Equal(t, 3, strings.Count(w.log.String(), `"msg":"call ended"`), "nothing was lost")
}

// The disk that the log is on is full: calls do not notice, and the metrics tell.
func TestFullDiskForTheLogEndsNoCall(t *testing.T) {
	w := newMetaAlone(t)
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	require.NoError(t, err)
	p := w.start(full)
	require.NoError(t, full.Close())
	p.findPorts()
	w.url = p.url
	c := w.answeredBy(p, 2)
	c.callsGoOn()
	_, metrics := p.ask("/metrics")
	require.NotContains(t, metrics, `livekit_connector_log_lines_lost_total{reason="failed"} 0`)
	require.Contains(t, metrics, `livekit_connector_log_lines_lost_total{reason="full"} 0`)
	p.signal(syscall.SIGTERM)
	p.requireExit(0)
}

// answeredBy is newCrowd for a process that runs already.
func (w *world) answeredBy(p *process, calls int) *crowd {
	c := &crowd{world: w, process: p}
	c.app = w.newApplication(func(a *application) { a.accept = options{"participantIdentity": "caller"} })
	for i := range calls {
		call, err := w.meta.User(fmt.Sprintf("1555%07d", i)).Call(wait(w.t), numberID)
		require.NoError(w.t, err)
		require.NoError(w.t, c.app.wait("accept", call.ID()).err)
		c.calls = append(c.calls, call)
	}
	return c
}

// findPorts learns the ports of a process whose log tells nothing, from the kernel: the port that serves metrics is the
// operator's.
func (p *process) findPorts() {
	p.t.Helper()
	until(p.t, func() string {
		for _, port := range p.listens() {
			url := "http://" + net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
			res, err := http.Get(url + "/metrics")
			if err != nil {
				return "the connector does not answer yet"
			}
			_, _ = io.Copy(io.Discard, res.Body)
			_ = res.Body.Close()
			if res.StatusCode == http.StatusOK {
				p.admin = url
			} else {
				p.url = url
			}
		}
		if p.admin == "" || p.url == "" {
			return "the connector does not listen yet"
		}
		if status, body := p.ask("/startupz"); status != http.StatusOK {
			return body
		}
		return ""
	})
}

// listens are the TCP ports of loopback on which the process listens: proc(5), proc_pid_net(5).
func (p *process) listens() (ports []int) {
	p.t.Helper()
	folder := fmt.Sprintf("/proc/%d", p.cmd.Process.Pid)
	sockets := make(map[string]bool)
	descriptors, err := os.ReadDir(folder + "/fd")
	require.NoError(p.t, err)
	for _, d := range descriptors {
		if target, linkErr := os.Readlink(filepath.Join(folder, "fd", d.Name())); linkErr == nil {
			sockets[target] = true
		}
	}
	table, err := os.ReadFile(folder + "/net/tcp")
	require.NoError(p.t, err)
	for line := range strings.Lines(string(table)) {
		const listening = "0A"
		f := strings.Fields(line)
		if len(f) < 10 || f[3] != listening || !sockets["socket:["+f[9]+"]"] {
			continue
		}
		_, hex, _ := strings.Cut(f[1], ":")
		port, err := strconv.ParseInt(hex, 16, 32)
		require.NoError(p.t, err)
		ports = append(ports, int(port))
	}
	return ports
}
