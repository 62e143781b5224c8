package e2e_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/pkg/fakemeta"
)

// binary builds the connector, once, as an operator runs it.
var binary = sync.OnceValues(func() (string, error) {
	path, err := filepath.Abs(filepath.Join("..", "..", ".cache", "e2e", "livekit-connector"))
	if err != nil {
		return "", err
	}
	build := exec.Command("go", "build", "-tags", "nolibopusfile", "-buildvcs=false", "-o", path, "./cmd/livekit-connector")
	build.Dir = filepath.Join("..", "..")
	if out, err := build.CombinedOutput(); err != nil {
		return "", errors.New(string(out))
	}
	return path, nil
})

// process is a running connector with its log.
type process struct {
	t          *testing.T
	cmd        *exec.Cmd
	log        *lockedBuffer
	url, admin string
	exited     chan struct{} // closed after the process has
}

// newOutside is newWorld with the connector as a process of its own, whose environment may be added to.
func newOutside(t *testing.T, environ ...string) (*world, *process) {
	t.Helper()
	w := newMetaAlone(t)
	p := w.start(w.log, environ...)
	p.awaitStart()
	w.url = p.url
	return w, p
}

// newMetaAlone is a world without a connector yet.
func newMetaAlone(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, livekit: liveKit, log: &lockedBuffer{}}
	var err error
	w.meta, err = fakemeta.Start(fakemeta.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, w.meta.Close()) })
	require.NoError(t, w.meta.AddNumber(fakemeta.Number{
		PhoneNumberID: numberID, DisplayNumber: business, AccessToken: metaToken, AppSecret: "app-secret",
	}))
	return w
}

// start runs the connector with its log going to out.
func (w *world) start(out io.Writer, environ ...string) *process {
	w.t.Helper()
	path, err := binary()
	require.NoError(w.t, err)
	return w.launch(exec.Command(path), out, environ...)
}

// launch is start with a command that becomes the connector.
func (w *world) launch(cmd *exec.Cmd, out io.Writer, environ ...string) *process {
	t := w.t
	t.Helper()
	p := &process{t: t, log: w.log, exited: make(chan struct{}), cmd: cmd}
	p.cmd.Env = append([]string{
		"LIVEKIT_URL=" + w.livekit.URL(), "LIVEKIT_API_KEY=" + w.livekit.APIKey(), "LIVEKIT_API_SECRET=" + w.livekit.APISecret(),
		"CONNECTOR_PORT=0", "CONNECTOR_BIND_ADDRESSES=127.0.0.1", "CONNECTOR_ADMIN_PORT=0",
		"CONNECTOR_WHATSAPP_GRAPH_URL=" + w.meta.GraphURL(),
		"CONNECTOR_RTC_ENABLE_LOOPBACK_CANDIDATE=true", "CONNECTOR_RTC_INTERFACES_INCLUDES=lo",
		"CONNECTOR_LOGGING_JSON=true", "CONNECTOR_LOGGING_LEVEL=debug",
		"CONNECTOR_CONNECT_TIMEOUT=20s", "CONNECTOR_LIMITS_MAX_CPU_UTILIZATION=0", // no test is about what a slow machine does
	}, environ...)
	p.cmd.Stdout, p.cmd.Stderr = out, out
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // the death signal follows the thread
		defer runtime.UnlockOSThread()
		defer close(p.exited)
		err := p.cmd.Start()
		started <- err
		if err == nil {
			_ = p.cmd.Wait() // its code is looked at by exit
		}
	}()
	require.NoError(t, <-started)
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill() // it has exited in a test that went well
		<-p.exited
		if t.Failed() || os.Getenv("SHOW_LOG") != "" {
			t.Logf("connector's log:\n%s", w.log)
		}
		requireDiscreet(t, w.log.String(), w.livekit.APISecret())
	})
	return p
}

// awaitStart learns the ports from the log.
func (p *process) awaitStart() {
	p.t.Helper()
	p.readStart(p.awaitLog("connector started"))
}

// readStart takes the ports from the line that tells of the start.
func (p *process) readStart(line string) {
	p.t.Helper()
	var said struct {
		URL   string `json:"url"`
		Admin string `json:"admin"`
	}
	require.NoError(p.t, json.Unmarshal([]byte(line), &said))
	p.url, p.admin = said.URL, said.Admin
}

// awaitLog waits for a line with this message and returns it.
func (p *process) awaitLog(message string) (line string) {
	p.t.Helper()
	until(p.t, func() string {
		for text := range strings.Lines(p.log.String()) {
			if strings.Contains(text, `"msg":"`+message) {
				line = text
				return ""
			}
		}
		select {
		case <-p.exited:
			p.t.Fatalf("the connector has exited with %d", p.cmd.ProcessState.ExitCode())
		default:
		}
		return "no line in the log that says " + message
	})
	return line
}

func (p *process) signal(s os.Signal) {
	p.t.Helper()
	require.NoError(p.t, p.cmd.Process.Signal(s))
}

// requireExit waits for the process to end with a code.
func (p *process) requireExit(code int) {
	p.t.Helper()
	select {
	case <-p.exited:
	case <-wait(p.t).Done():
		p.t.Fatal("the connector does not end")
	}
	require.Equal(p.t, code, p.cmd.ProcessState.ExitCode())
}

// ask returns what the admin port answers.
func (p *process) ask(path string) (status int, body string) {
	p.t.Helper()
	req, err := http.NewRequestWithContext(wait(p.t), http.MethodGet, p.admin+path, http.NoBody)
	require.NoError(p.t, err)
	res, err := http.DefaultClient.Do(req)
	require.NoError(p.t, err)
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	require.NoError(p.t, err)
	return res.StatusCode, string(text)
}

// answers asks the admin port until it answers so; what /readyz says of LiveKit may take a while.
func (p *process) answers(path string, status int, parts ...string) {
	p.t.Helper()
	until(p.t, func() string {
		got, body := p.ask(path)
		for _, part := range parts {
			if !strings.Contains(body, part) {
				return body
			}
		}
		if got != status {
			return body
		}
		return ""
	})
}

// command runs the binary with a subcommand until it ends.
func (p *process) command(args ...string) (code int, out string) {
	p.t.Helper()
	out, err := p.background(wait(p.t), args...)()
	if err == nil {
		return 0, out
	}
	exit, ok := errors.AsType[*exec.ExitError](err)
	require.True(p.t, ok, err)
	return exit.ExitCode(), out
}

// background is command beside the test; the returned function waits for the end.
func (p *process) background(ctx context.Context, args ...string) (ended func() (out string, err error)) {
	p.t.Helper()
	var text bytes.Buffer
	cmd := exec.CommandContext(ctx, p.cmd.Path, args...)
	cmd.Stdout, cmd.Stderr = &text, &text
	require.NoError(p.t, cmd.Start())
	ended = sync.OnceValues(func() (string, error) { err := cmd.Wait(); return text.String(), err })
	p.t.Cleanup(func() { _, _ = ended() })
	return ended
}
