package rig_test

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/bench/rig"
	"github.com/livekit-connector/livekit-connector/internal/leaks"
)

func TestMain(m *testing.M) { leaks.Main(m) }

const soon = time.Minute // a bound, nothing waits for it

func shell(script string, out *bytes.Buffer) rig.Command {
	return rig.Command{Binary: "/bin/sh", CPUs: "0-1023", Arguments: []string{"-c", script}, Environment: []string{"WORD=said"}, Stdout: out, Stderr: out}
}

func TestAProgramRunsAndEnds(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	p, err := rig.Start(shell("echo $WORD; exit 3", &out))
	require.NoError(t, err)
	<-p.Exited()
	require.Equal(t, "said\n", out.String())
	require.Equal(t, 3, p.ExitCode())
	require.Error(t, p.Err())
	require.NoError(t, p.Stop(0, soon), "one that is gone is stopped")
}

func TestAProgramIsStopped(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	p, err := rig.Start(shell("exec sleep 600", &out))
	require.NoError(t, err)
	require.Positive(t, p.PID())
	require.NoError(t, p.Stop(time.Millisecond, soon))
	<-p.Exited()
}

func TestAProgramThatDoesNotEndIsKilled(t *testing.T) {
	t.Parallel()
	r, w, err := os.Pipe()
	require.NoError(t, err)
	defer r.Close()
	c := shell("trap '' TERM; echo ready; while :; do sleep 0.1; done", nil)
	c.Stdout, c.Stderr = w, w
	p, err := rig.Start(c)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	_, err = r.Read(make([]byte, 5)) // it ignores the signal from here on
	require.NoError(t, err)
	require.ErrorContains(t, p.Stop(time.Millisecond, 10*time.Millisecond), "killed")
	require.Equal(t, -1, p.ExitCode())
}

func TestWhatAURLAnswersIsKept(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/there" {
			w.WriteHeader(http.StatusNotFound)
		}
		_, _ = w.Write([]byte("answer"))
	}))
	defer server.Close()
	file := filepath.Join(t.TempDir(), "answer")
	require.NoError(t, rig.Save(context.Background(), server.URL+"/there", file))
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, "answer", string(text))
	require.ErrorContains(t, rig.Save(context.Background(), server.URL+"/elsewhere", file), "404")
}

func TestVoicesAreLoaded(t *testing.T) {
	t.Parallel()
	v, err := rig.LoadVoices()
	require.NoError(t, err)
	require.NotEmpty(t, v.Caller.Packets)
	require.NotEqual(t, v.Agent.Packets, v.Other.Packets)
}

func TestAProfileIsRead(t *testing.T) {
	t.Parallel()
	require.Equal(t, []rig.Spot{
		{Function: "media/jitter.New", Flat: 262144, FlatShare: 0.5243, Total: 262144, TotalShare: 0.5243},
		{Function: "compress/flate.NewWriter", Flat: -131072, FlatShare: -0.2621, Total: -131072, TotalShare: -0.2621},
		{Function: "main.main", Total: 262144, TotalShare: 0.5243},
	}, rig.ParseTop(`File: livekit-connector
Type: inuse_space
Showing nodes accounting for 5000B, 100% of 5000B total
      flat  flat%   sum%        cum   cum%
   262144B 52.43% 52.43%    262144B 52.43%  media/jitter.New
  -131072B -26.21% 26.21%   -131072B -26.21%  compress/flate.NewWriter (inline)
         0     0% 26.21%    262144B 52.43%  main.main
`))
}
