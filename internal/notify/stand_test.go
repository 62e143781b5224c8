package notify_test

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/livekit/protocol/auth"
	"github.com/livekit/protocol/livekit"
	"github.com/livekit/protocol/webhook"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/livekit-connector/livekit-connector/internal/notify"
	"github.com/livekit-connector/livekit-connector/proto/connectorpb"
)

// post is one request as a receiver got it.
type post struct {
	url    string
	header http.Header
	body   []byte
	at     time.Time
}

// event reads a request as LiveKit's own receiver does.
func (p post) event() (*livekit.WebhookEvent, error) {
	r := httptest.NewRequest(http.MethodPost, p.url, bytes.NewReader(p.body))
	r.Header = p.header
	return webhook.ReceiveWebhookEvent(r, auth.NewSimpleKeyProvider(key, secret))
}

func (p post) name(t *testing.T) string {
	t.Helper()
	e, err := p.event()
	require.NoError(t, err)
	return e.GetEvent() + " " + e.GetRoom().GetName()
}

// receiver is the other end, in fake time: answer says what it does with a request.
type receiver struct {
	answer func(ctx context.Context, p post) (status int, header http.Header, err error)

	mu    sync.Mutex
	posts []post
	// now and most are the requests that are being answered, and the most there were.
	now, most int
}

func (r *receiver) RoundTrip(req *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return nil, err
	}
	p := post{url: req.URL.String(), header: req.Header, body: body, at: time.Now()}
	r.mu.Lock()
	r.posts = append(r.posts, p)
	r.now++
	r.most = max(r.most, r.now)
	r.mu.Unlock()
	status, header, err := http.StatusOK, http.Header{}, error(nil)
	if r.answer != nil {
		status, header, err = r.answer(req.Context(), p)
	}
	r.mu.Lock()
	r.now--
	r.mu.Unlock()
	if err != nil {
		return nil, err
	}
	return &http.Response{StatusCode: status, Header: header, Body: http.NoBody, Request: req}, nil
}

func (r *receiver) got() []post {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.posts)
}

func (r *receiver) names(t *testing.T) (names []string) {
	t.Helper()
	for _, p := range r.got() {
		names = append(names, p.name(t))
	}
	return names
}

// stand is a Notifier with what it says.
type stand struct {
	*notify.Notifier
	registry *prometheus.Registry
	log      *bytes.Buffer // written under slog's lock; read when the Notifier is closed or idle
}

func newStand(t *testing.T, to *receiver, change func(*notify.Options)) *stand {
	t.Helper()
	s := &stand{registry: prometheus.NewRegistry(), log: &bytes.Buffer{}}
	o := notify.Options{
		URLs: []string{target}, APIKey: key, APISecret: secret, Timeout: 5 * time.Second, MaxAttempts: 8,
		MaxAge: 10 * time.Minute, Queue: 1000, Registerer: s.registry,
		Logger: slog.New(slog.NewTextHandler(s.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	if to != nil {
		o.Transport = to
	}
	if change != nil {
		change(&o)
	}
	var err error
	s.Notifier, err = notify.New(o)
	require.NoError(t, err)
	t.Cleanup(func() { s.Close(t.Context()) })
	return s
}

func (s *stand) requireCounted(t *testing.T, lines ...string) {
	t.Helper()
	var all strings.Builder
	all.WriteString("# HELP livekit_connector_events_total Events about calls for the operator's URLs, by what became of them.\n" +
		"# TYPE livekit_connector_events_total counter\n")
	for _, e := range notify.Events() {
		for _, o := range []string{"delivered", "failed", "overflow", "refused", "shutdown"} {
			n := "0"
			for _, l := range lines {
				if v, ok := strings.CutPrefix(l, string(e)+" "+o+" "); ok {
					n = v
				}
			}
			all.WriteString(`livekit_connector_events_total{event="` + string(e) + `",outcome="` + o + `"} ` + n + "\n")
		}
	}
	require.NoError(t, testutil.GatherAndCompare(s.registry, strings.NewReader(all.String()), "livekit_connector_events_total"))
}

// record is a call named by its room.
func record(room string) *connectorpb.CallRecord {
	return &connectorpb.CallRecord{
		CallId: "wacid." + room, Direction: "inbound", State: "active", RoomName: room,
		RoomSid: "RM_1", ParticipantSid: "PA_1",
		ParticipantIdentity: "caller", ParticipantName: "Caller", Attributes: map[string]string{"whatsapp.callID": "wacid." + room},
		CreatedAt: timestamppb.New(time.Unix(1_700_000_000, 5e8)),
		Audio:     &connectorpb.CallAudio{Codec: "opus", ToRoom: &connectorpb.AudioFlow{Received: 500, Sent: 499}},
	}
}

func (s *stand) change(e notify.Event, r *connectorpb.CallRecord) { s.CallChanged(string(e), r) }

// life is what happens to an outbound call.
func (s *stand) life(room string) {
	for _, e := range notify.Events() {
		s.change(e, record(room))
	}
}
