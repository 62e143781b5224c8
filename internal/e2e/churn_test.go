package e2e_test

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/pkg/fakemeta"
)

// Two hundred calls, ten at a time, leave nothing: no goroutine, no socket, no call at Meta. The test is not parallel, so
// that what is counted is its own.
func TestTwoHundredCallsLeaveNothing(t *testing.T) {
	w := newWorld(t, worldOptions{})
	a := w.newApplication(nil)
	round := func(n int) {
		calls := make([]*fakemeta.Call, n)
		for i := range calls {
			var err error
			calls[i], err = w.meta.User(fmt.Sprintf("1555000%04d", 3000+i)).Call(wait(t), numberID)
			require.NoError(t, err)
		}
		for i, c := range calls {
			require.NoError(t, a.wait("accept", c.ID()).err)
			if i%2 == 0 {
				require.NoError(t, c.HangUp())
				continue
			}
			_, err := a.sdk.do(wait(t), "disconnect", options{"whatsappCallId": c.ID(), "whatsappApiKey": metaToken})
			require.NoError(t, err)
		}
		for _, c := range calls {
			requireOver(t, c)
		}
		require.NoError(t, w.app.Node().WaitEmpty(wait(t)))
	}
	round(10) // what is made once and kept: connection pools, lazily started parts
	goroutines, media := settled(t, goroutinesButHTTP), settled(t, udpSockets)
	for range 20 {
		round(10)
	}
	ctx := wait(t)
	for goroutinesButHTTP() > goroutines+10 || udpSockets() > media || openFiles() > mostFiles {
		runtime.Gosched()
		require.NoError(t, ctx.Err(), "%d goroutines, %d before; %d UDP sockets, %d before; %d files: %v",
			goroutinesButHTTP(), goroutines, udpSockets(), media, openFiles(), fileKinds())
	}
	require.Zero(t, w.meta.ActiveCalls())
	require.Contains(t, w.metrics(), `livekit_connector_calls_active{direction="inbound"} 0`)
}

// mostFiles is more than the HTTP connections that clients and servers of the test keep in reserve, both ends of each in this
// process, and less than a file for every other call.
const mostFiles = 80

// goroutinesButHTTP counts goroutines without those of HTTP connections, which are kept in reserve in changing number.
func goroutinesButHTTP() int {
	buf := make([]byte, 4<<20)
	n := 0
	for stack := range strings.SplitSeq(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
		if !strings.Contains(stack, "net/http.(*persistConn)") && !strings.Contains(stack, "net/http.(*conn)") &&
			!strings.Contains(stack, "net/http.(*connReader)") {
			n++
		}
	}
	return n
}

// udpSockets counts the sockets of media.
func udpSockets() int {
	n := 0
	for kind, count := range fileKinds() {
		if strings.HasPrefix(kind, "udp") {
			n += count
		}
	}
	return n
}

// settled waits until a count has not changed for many looks.
func settled(t *testing.T, count func() int) int {
	t.Helper()
	ctx := wait(t)
	last, same := count(), 0
	for same < 50 && ctx.Err() == nil {
		runtime.Gosched()
		if n := count(); n != last {
			last, same = n, 0
			continue
		}
		same++
	}
	return last
}

// openFiles counts the process's file descriptors, sockets among them.
func openFiles() int {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0
	}
	return len(entries)
}

// fileKinds says what the open files are.
func fileKinds() map[string]int {
	inodes := map[string]string{}
	for _, kind := range []string{"tcp", "tcp6", "udp", "udp6"} {
		table, _ := os.ReadFile("/proc/self/net/" + kind)
		for line := range strings.Lines(string(table)) {
			if f := strings.Fields(line); len(f) > 9 {
				inodes["socket:["+f[9]+"]"] = kind + " state " + f[3]
			}
		}
	}
	kinds := map[string]int{}
	entries, _ := os.ReadDir("/proc/self/fd")
	for _, e := range entries {
		name, _ := os.Readlink("/proc/self/fd/" + e.Name())
		if kind, ok := inodes[name]; ok {
			name = kind
		}
		kinds[name]++
	}
	return kinds
}
