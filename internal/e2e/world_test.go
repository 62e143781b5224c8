package e2e_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/livekit/protocol/auth"
	"github.com/livekit/protocol/livekit"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/internal/app"
	"github.com/livekit-connector/livekit-connector/internal/leaks"
	"github.com/livekit-connector/livekit-connector/internal/livekittest"
	"github.com/livekit-connector/livekit-connector/pkg/fakemeta"
)

// The invented business and user of all tests.
const (
	numberID   = "1000555000111"
	business   = "15550001111"
	userNumber = "15550002222"
	metaToken  = "EAAtest-graph-token"
)

// patience bounds every wait for an event. Nothing is expected to take so long; it only ends a test that hangs.
const patience = 40 * time.Second

// connectPatience is connect_timeout where no test is about it: both ends shake hands on CPUs that may be taken from them for
// seconds.
const connectPatience = 20 * time.Second

// liveKit is the livekit-server that tests share; a test that restarts a server starts one of its own.
var liveKit *livekittest.Server

func TestMain(m *testing.M) {
	os.Exit(func() int { //nolint:forbidigo // what goleak.VerifyTestMain does, after the server is down
		var err error
		if unreadBefore, err = unread(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		if liveKit, err = livekittest.Start(context.Background(), livekittest.Options{}); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		code := m.Run()
		if err := liveKit.Stop(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
		if err := leaks.Find(); err != nil && code == 0 {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
		return code
	}())
}

// world is a connector between a fake Meta and a LiveKit, with an application that passes Meta's webhooks on.
type world struct {
	t        *testing.T
	livekit  *livekittest.Server
	meta     *fakemeta.Server
	app      *app.App
	registry *prometheus.Registry
	log      *lockedBuffer
	url      string
	stop     func() error
	// signals stand for those of the operating system.
	signals chan os.Signal
	// stopped is closed when the connector is down.
	stopped chan struct{}

	// label is what the connector's goroutines are known by.
	label string
	// idle and files are the connector's goroutines and the process's open files before the first call.
	idle  []stack
	files map[string]file
}

type worldOptions struct {
	livekit *livekittest.Server
	meta    func(*fakemeta.Options)
	faults  []fakemeta.Fault
	config  func(*app.Config)
}

// newWorld starts all of it; the end of the test takes it down and checks that nothing is left.
func newWorld(t *testing.T, o worldOptions) *world {
	t.Helper()
	w := &world{t: t, livekit: o.livekit, registry: prometheus.NewRegistry(), log: &lockedBuffer{}, label: rand.Text()}
	if w.livekit == nil {
		w.livekit = liveKit
	}
	metaOptions := fakemeta.Options{}
	if o.meta != nil {
		o.meta(&metaOptions)
	}
	var err error
	w.meta, err = fakemeta.Start(metaOptions)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, w.meta.Close()) })
	require.NoError(t, w.meta.AddNumber(fakemeta.Number{
		PhoneNumberID: numberID, DisplayNumber: business, AccessToken: metaToken, AppSecret: "app-secret",
	}))

	for _, f := range o.faults {
		w.meta.Fail(f)
	}

	c := app.DefaultConfig()
	c.WSURL, c.APIKey, c.APISecret = w.livekit.URL(), w.livekit.APIKey(), app.Secret(w.livekit.APISecret())
	c.Port, c.BindAddresses, c.Admin.Port = 0, []string{"127.0.0.1"}, 0
	c.WhatsApp.GraphURL = w.meta.GraphURL()
	c.Limits.MaxCPUUtilization, c.Limits.MaxMemoryUtilization = 0, 0 // phones and people use this process's too
	c.ConnectTimeout = connectPatience
	c.RTC.EnableLoopbackCandidate = true
	c.RTC.Interfaces.Includes = []string{"lo"}
	c.Logging.Level, c.Logging.JSON = "debug", true
	if o.config != nil {
		o.config(&c)
	}
	log := app.NewLogger(&c, w.log)
	t.Cleanup(func() {
		if t.Failed() || os.Getenv("SHOW_LOG") != "" {
			t.Logf("connector's log:\n%s", w.log)
		}
		if !c.LogPII { // after the end, so that all of it was written
			requireDiscreet(t, w.log.String(), w.livekit.APISecret())
		}
	})
	w.labelled(func() { w.app, err = app.New(c, app.Options{Logger: log, Registry: w.registry}) })
	require.NoError(t, err)
	w.run()
	t.Cleanup(func() { require.NoError(t, w.stop()) })
	until(t, func() string { // what it is made of runs
		if strings.Contains(w.log.String(), `"msg":"connector started"`) {
			return ""
		}
		return "the connector does not start"
	})
	w.idle, w.files = settled(t, 2, w.own), openFiles() // what was tried out at the start closes
	return w
}

// run serves until stop.
func (w *world) run() {
	w.url = w.app.URL()
	ctx, cancel := context.WithCancel(context.Background())
	w.signals, w.stopped = make(chan os.Signal, 3), make(chan struct{})
	var runErr error
	w.labelled(func() {
		go func() {
			defer close(w.stopped)
			runErr = w.app.Run(ctx, w.signals)
		}()
	})
	w.stop = sync.OnceValue(func() error { cancel(); <-w.stopped; return runErr })
}

// wait returns a context for waiting for one event.
func wait(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// lockedBuffer is a log that may be read while it is written.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

var _ io.Writer = (*lockedBuffer)(nil)

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

// nothingLeft checks that calls left nothing behind: at Meta, in the room, in the connector, whose sockets each have a
// goroutine that reads them.
func (w *world) nothingLeft(room string) {
	w.t.Helper()
	require.NoError(w.t, w.app.Node().WaitEmpty(wait(w.t)))
	w.asked(0) // Meta answers a terminate before it has done it
	until(w.t, func() string {
		if w.callersIn(wait(w.t), room) > 0 { // a join that was cut short is taken back behind its call
			return "the caller's participant is in the room"
		}
		return ""
	})
	w.noGoroutineLeft()
}

// callersIn counts the connector's participants in a room.
func (w *world) callersIn(ctx context.Context, room string) int {
	people, err := w.livekit.Participants(ctx, room)
	if err != nil { // a room that is gone is empty
		return 0
	}
	n := 0
	for _, p := range people {
		if p.GetKind() == livekit.ParticipantInfo_CONNECTOR {
			n++
		}
	}
	return n
}

// metrics is what /metrics answers.
func (w *world) metrics() string {
	w.t.Helper()
	req, err := http.NewRequestWithContext(wait(w.t), http.MethodGet, w.app.AdminURL()+"/metrics", nil)
	require.NoError(w.t, err)
	res, err := http.DefaultClient.Do(req)
	require.NoError(w.t, err)
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	require.NoError(w.t, err)
	require.Equal(w.t, http.StatusOK, res.StatusCode)
	return string(body)
}

// dialWithRequestID is a dial as the newest SDKs send it, with an ID that is the same for all tries.
func dialWithRequestID(ctx context.Context, w *world, id string, args options) (callID string, err error) {
	body, err := json.Marshal(args)
	if err != nil {
		return "", err
	}
	token, err := auth.NewAccessToken(w.livekit.APIKey(), w.livekit.APISecret()).
		SetVideoGrant(&auth.VideoGrant{RoomCreate: true}).ToJWT()
	if err != nil {
		return "", err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.url+"/twirp/livekit.Connector/DialWhatsAppCall", bytes.NewReader(body))
	if err != nil {
		return "", err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("X-Livekit-Request-Id", id)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	answer := struct {
		CallID string `json:"whatsapp_call_id"`
	}{}
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil {
		return "", err
	}
	if answer.CallID == "" {
		return "", errNoCallID
	}
	return answer.CallID, nil
}
