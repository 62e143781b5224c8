package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/internal/leaks"
	"github.com/livekit-connector/livekit-connector/pkg/fakemeta/hearing"
)

func TestMain(m *testing.M) { leaks.Main(m) }

// output collects what the program prints and wakes who waits for it.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(b)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// start runs the program until the test ends or stop is called; stop returns its error.
func start(t *testing.T, args ...string) (out *output, stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	out = &output{}
	cmd := command()
	cmd.Writer = out
	done := make(chan error, 1)
	go func() {
		done <- cmd.Run(ctx, append([]string{"fakemeta", "--graph", "127.0.0.1:0", "--control", "127.0.0.1:0", "--relay", "127.0.0.1:0"}, args...))
	}()
	var once sync.Once
	var err error
	stop = func() error {
		once.Do(func() {
			cancel()
			err = <-done
		})
		return err
	}
	t.Cleanup(func() { _ = stop() })
	return out, stop
}

func (o *output) find(t *testing.T, pattern string) string {
	t.Helper()
	re := regexp.MustCompile(pattern)
	var found []string
	require.Eventually(t, func() bool {
		found = re.FindStringSubmatch(o.String())
		return found != nil
	}, time.Minute, 5*time.Millisecond, pattern)
	return found[len(found)-1]
}

func TestProgramPlacesACallAndClosesCleanly(t *testing.T) {
	out, stop := start(t, "--call", "--scale", "10") // Meta waits longer than any machine is slow
	control := out.find(t, `control API  (http://\S+)`)
	out.find(t, `#1 +placed  USER_INITIATED`)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, control+"/calls/last/hang-up", http.NoBody)
	require.NoError(t, err)
	res, err := client.Do(req)
	require.NoError(t, err)
	_, _ = io.Copy(io.Discard, res.Body)
	require.NoError(t, res.Body.Close())
	require.Equal(t, http.StatusOK, res.StatusCode)
	out.find(t, `#1 +state: ended`)
	out.find(t, `#1 +webhook  terminate`) // the last of a call
	require.NoError(t, stop())
	require.True(t, strings.HasSuffix(out.String(), "closing\n"))
	require.NotContains(t, out.String(), "15550002222", "no phone number in the log")
}

func TestWrongFlagsAreRefusedTogether(t *testing.T) {
	_, stop := start(t, "--dialect", "latin", "--answer-setup", "x", "--permission", "some", "--relay", "here", "--speech", "/nowhere.wav",
		"--webhook", "localhost:3000/webhook", "version")
	err := stop()
	for _, flag := range []string{"dialect", "answer-setup", "permission", "relay", "speech", "webhook", "version"} {
		require.ErrorContains(t, err, flag)
	}
}

func TestWrongNumberAndDeafWebhook(t *testing.T) {
	for _, args := range [][]string{
		{"--number", "+1"}, {"--graph", "nowhere:x"}, {"--verify"}, {"--call", "--phone-number-id", ""},
	} {
		cmd := command()
		cmd.Writer = io.Discard
		err := cmd.Run(t.Context(), append([]string{"fakemeta", "--graph", "127.0.0.1:0", "--control", "127.0.0.1:0", "--relay", "127.0.0.1:0"}, args...))
		require.Error(t, err, args)
	}
}

func TestSpeechFiles(t *testing.T) {
	built, err := loadSpeech("")
	require.NoError(t, err)
	require.Equal(t, 16000, built.Rate)
	require.NotEmpty(t, built.Samples)
	name := filepath.Join(t.TempDir(), "tone.wav")
	write := func(rate int) {
		f, failed := os.Create(name)
		require.NoError(t, failed)
		require.NoError(t, hearing.WriteWAV(f, hearing.Tone(440, 0.5, time.Second, rate), rate))
		require.NoError(t, f.Close())
	}
	write(44100)
	tone, err := loadSpeech(name)
	require.NoError(t, err)
	require.Equal(t, 16000, tone.Rate)
	require.Len(t, tone.Samples, 16000)
	for _, rate := range []int{4000, 192000} {
		write(rate)
		_, err = loadSpeech(name)
		require.ErrorContains(t, err, fmt.Sprintf("tone.wav is sampled at %d Hz: save it at 16000 Hz", rate))
	}
	require.NoError(t, os.WriteFile(name, []byte("no audio"), 0o600))
	_, err = loadSpeech(name)
	require.Error(t, err)
}
