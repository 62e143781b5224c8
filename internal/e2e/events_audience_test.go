package e2e_test

import (
	"bufio"
	"encoding/json"
	"io"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"

	"github.com/livekit/protocol/auth"
	"github.com/livekit/protocol/livekit"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/livekit-connector/livekit-connector/internal/livekittest"
	"github.com/livekit-connector/livekit-connector/proto/connectorpb"
)

// told is one event as an application gets it.
type told struct {
	*livekit.WebhookEvent
	call *connectorpb.CallRecord
}

// audience is one application that receives events.
type audience struct {
	name, url string

	mu      sync.Mutex
	events  []told
	wrong   []string
	changed chan struct{} // closed and replaced at every request
}

func newAudience(name string) *audience {
	return &audience{name: name, changed: make(chan struct{})}
}

func (a *audience) add(e *livekit.WebhookEvent, r *connectorpb.CallRecord, wrong string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if wrong != "" {
		a.wrong = append(a.wrong, wrong)
	} else {
		a.events = append(a.events, told{WebhookEvent: e, call: r})
	}
	close(a.changed)
	a.changed = make(chan struct{})
}

// life waits until a call's end was told and returns all that was told of the call.
func (a *audience) life(t *testing.T, callID string) []told {
	t.Helper()
	ctx := wait(t)
	for {
		a.mu.Lock()
		changed, wrong := a.changed, slices.Clone(a.wrong)
		events := slices.DeleteFunc(slices.Clone(a.events), func(e told) bool { return e.call.GetCallId() != callID })
		a.mu.Unlock()
		require.Empty(t, wrong, a.name)
		if n := len(events); n > 0 && events[n-1].GetEvent() == "call.ended" {
			return events
		}
		select {
		case <-changed:
		case <-ctx.Done():
			t.Fatalf("%s was not told of the call's end, but of %v", a.name, names(events))
		}
	}
}

func names(events []told) (names []string) {
	for _, e := range events {
		names = append(names, e.GetEvent())
	}
	return names
}

// goAudience is the receiver that docs/events.md shows for Go.
func goAudience(t *testing.T, s *livekittest.Server) *audience {
	t.Helper()
	a := newAudience("go")
	server := httptest.NewServer(receive(auth.NewSimpleKeyProvider(s.APIKey(), s.APISecret()),
		func(e *livekit.WebhookEvent, r *connectorpb.CallRecord) { a.add(e, r, "") }))
	t.Cleanup(server.Close)
	a.url = server.URL
	return a
}

// nodeAudience is the WebhookReceiver of one version of LiveKit's Node SDK.
func nodeAudience(t *testing.T, s *livekittest.Server, version string) *audience {
	t.Helper()
	a := newAudience("node " + version)
	lines := startNode(t, s, filepath.Join(sdkDir(), "node", "receiver.mjs"), "livekit-server-sdk-"+version)
	var begin struct{ Port int }
	require.NoError(t, json.Unmarshal([]byte(lines.next(t)), &begin))
	a.url = "http://127.0.0.1:" + strconv.Itoa(begin.Port) + "/calls"
	go func() { // ends with the process
		for line := range lines {
			a.add(readTold([]byte(line)))
		}
	}()
	return a
}

// readTold reads a line of receiver.mjs.
func readTold(line []byte) (*livekit.WebhookEvent, *connectorpb.CallRecord, string) {
	var got struct {
		Event, Call        json.RawMessage
		Error, ContentType string
	}
	if err := json.Unmarshal(line, &got); err != nil || got.Error != "" {
		return nil, nil, "wrong request: " + string(line)
	}
	e, r := &livekit.WebhookEvent{}, &connectorpb.CallRecord{}
	if err := protojson.Unmarshal(got.Event, e); err != nil {
		return nil, nil, err.Error()
	}
	if err := protojson.Unmarshal(got.Call, r); err != nil {
		return nil, nil, err.Error()
	}
	if got.ContentType != "application/webhook+json" {
		return nil, nil, "content type " + got.ContentType
	}
	return e, r, ""
}

// output is what a program writes, closed at its end.
type output <-chan string

// next waits for a line.
func (o output) next(t *testing.T) string {
	t.Helper()
	select {
	case line, ok := <-o:
		require.True(t, ok, "the program ended; run `make sdks`, which installs the SDKs that the tests drive")
		return line
	case <-wait(t).Done():
		t.Fatal("the program does not write")
		return ""
	}
}

// startNode runs a program that ends with its input, until the test ends.
func startNode(t *testing.T, s *livekittest.Server, program string, args ...string) output {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "node", append([]string{program}, args...)...)
	cmd.Env = append(os.Environ(), "LIVEKIT_API_KEY="+s.APIKey(), "LIVEKIT_API_SECRET="+s.APISecret())
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Wait()
	})
	lines := make(chan string)
	go func() { // ends with the process
		defer close(lines)
		for scanner := newLines(out); scanner.Scan(); {
			select {
			case lines <- scanner.Text():
			case <-t.Context().Done():
				return
			}
		}
	}()
	return lines
}

// newLines reads lines that may be as long as a call's record.
func newLines(from io.Reader) *bufio.Scanner {
	lines := bufio.NewScanner(from)
	lines.Buffer(nil, 1<<20)
	return lines
}
