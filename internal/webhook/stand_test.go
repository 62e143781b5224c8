package webhook_test

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/livekit/protocol/livekit"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/internal/leaks"
	"github.com/livekit-connector/livekit-connector/internal/rules"
	"github.com/livekit-connector/livekit-connector/internal/webhook"
	"github.com/livekit-connector/livekit-connector/pkg/whatsapp"
	"github.com/livekit-connector/livekit-connector/proto/connectorpb"
)

func TestMain(m *testing.M) { leaks.Main(m) }

const (
	appSecret   = "app-secret"
	verifyToken = "verify-token"
	apiKey      = "devkey"
	numberID    = "100000000000001"
	otherNumber = "100000000000002"
	user        = "15550002222"
	metaToken   = "EAAtoken"
	callID      = "wacid.A"
)

// nodes are all nodes: they hold the calls that a test gives them, and answer as it says.
type nodes struct {
	mu       sync.Mutex
	held     map[string]bool
	starts   []*connectorpb.StartCallRequest
	by       []time.Time // until when those were to be answered
	connects []*connectorpb.ConnectCallRequest
	reports  []*connectorpb.ReportCallRequest

	// Nil means success. A call is held when start has returned nil.
	start   func(*connectorpb.StartCallRequest) error
	connect func(*connectorpb.ConnectCallRequest) error
	report  func(*connectorpb.ReportCallRequest) error
	// Nil means what is in held.
	owner func(context.Context) (bool, error)
}

func (n *nodes) Start(_ context.Context, req *connectorpb.StartCallRequest, by time.Time) (*connectorpb.StartCallResponse, error) {
	n.mu.Lock()
	n.starts, n.by = append(n.starts, req), append(n.by, by)
	n.mu.Unlock()
	if time.Until(by) <= 0 {
		panic("no time is left")
	}
	if n.start != nil {
		if err := n.start(req); err != nil {
			return nil, err
		}
	}
	id := req.GetAccept().GetWhatsappCallId()
	n.hold(id)
	return &connectorpb.StartCallResponse{CallId: id, RoomName: req.GetAccept().GetRoomName()}, nil
}

func (n *nodes) Connect(_ context.Context, req *connectorpb.ConnectCallRequest, _ time.Time) error {
	n.mu.Lock()
	n.connects = append(n.connects, req)
	n.mu.Unlock()
	if n.connect != nil {
		return n.connect(req)
	}
	return nil
}

func (n *nodes) Report(_ context.Context, req *connectorpb.ReportCallRequest, _ time.Time) error {
	n.mu.Lock()
	n.reports = append(n.reports, req)
	n.mu.Unlock()
	if n.report != nil {
		return n.report(req)
	}
	return nil
}

func (n *nodes) Held(ctx context.Context, id string) (bool, error) {
	if n.owner != nil {
		return n.owner(ctx)
	}
	return n.holds(id), nil
}

func (n *nodes) hold(id string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.held == nil {
		n.held = make(map[string]bool)
	}
	n.held[id] = true
}

func (n *nodes) holds(id string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.held[id]
}

// said lists the reported events of a call.
func (n *nodes) said(id string) []connectorpb.ReportCallRequest_Event {
	n.mu.Lock()
	defer n.mu.Unlock()
	var events []connectorpb.ReportCallRequest_Event
	for _, r := range n.reports {
		if r.GetCallId() == id {
			events = append(events, r.GetEvent())
		}
	}
	return events
}

func (n *nodes) counts() (starts, connects, reports int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.starts), len(n.connects), len(n.reports)
}

// graph takes rejects.
type graph struct {
	mu       sync.Mutex
	rejected []string
	err      error
}

func (g *graph) Reject(_ context.Context, creds whatsapp.Credentials, id string) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if creds.AccessToken != metaToken || creds.PhoneNumberID != numberID {
		panic("rejected with other credentials")
	}
	g.rejected = append(g.rejected, id)
	return g.err
}

func (g *graph) calls() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return append([]string(nil), g.rejected...)
}

type stand struct {
	*webhook.Server
	tb    testing.TB
	nodes *nodes
	graph *graph
	reg   *prometheus.Registry
	log   *lockedBuffer
}

// newStand makes a gateway for one number whose calls go to room "r". The end of the test closes it.
func newStand(tb testing.TB, change ...func(*webhook.Options)) *stand {
	tb.Helper()
	s := &stand{tb: tb, nodes: &nodes{}, graph: &graph{}, reg: prometheus.NewRegistry(), log: &lockedBuffer{}}
	o := webhook.Options{
		Nodes: s.nodes, Graph: s.graph, Registerer: s.reg, APIKey: apiKey, VerifyToken: verifyToken,
		Logger:     slog.New(slog.NewTextHandler(s.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		AppSecrets: func() []string { return []string{"old-secret", appSecret} },
		Credentials: func(id string) (whatsapp.Credentials, bool) {
			return whatsapp.Credentials{PhoneNumberID: id, AccessToken: metaToken, Version: "24.0"}, id == numberID
		},
		Decide: func(c rules.Call) rules.Outcome {
			return rules.Outcome{
				Rule:   "all",
				Accept: &livekit.AcceptWhatsAppCallRequest{RoomName: "r", ParticipantName: c.Name, WaitUntilAnswered: true},
				Plan:   &connectorpb.CallPlan{Rule: "all", CtaPayload: c.CTAPayload},
			}
		},
		RejectUnmatched: true, RejectRefused: true,
	}
	for _, c := range change {
		c(&o)
	}
	var err error
	s.Server, err = webhook.New(o)
	require.NoError(tb, err)
	tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		_ = s.Close(ctx) // the test itself may have closed it
		require.NotContains(tb, s.log.String(), metaToken)
		require.NotContains(tb, s.log.String(), user)
		require.NotContains(tb, s.log.String(), "v=0")
	})
	return s
}

// post sends a signed webhook and returns the status.
func (s *stand) post(body string, change ...func(*http.Request)) int {
	s.tb.Helper()
	return s.request(body, change...).Code
}

func (s *stand) request(body string, change ...func(*http.Request)) *httptest.ResponseRecorder {
	s.tb.Helper()
	r := httptest.NewRequestWithContext(s.tb.Context(), http.MethodPost, "/webhook", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set(whatsapp.SignatureHeader, whatsapp.Sign([]byte(body), appSecret))
	for _, c := range change {
		c(r)
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w
}

// count is a counter's value.
func (s *stand) count(name string, labels ...string) int {
	s.tb.Helper()
	families, err := s.reg.Gather()
	require.NoError(s.tb, err)
	for _, f := range families {
		if f.GetName() != "livekit_connector_"+name {
			continue
		}
		for _, m := range f.GetMetric() {
			var values []string
			for _, l := range m.GetLabel() {
				values = append(values, l.GetValue())
			}
			if strings.Join(values, " ") == strings.Join(labels, " ") {
				return int(m.GetCounter().GetValue() + m.GetGauge().GetValue())
			}
		}
	}
	s.tb.Fatalf("no metric %s %v", name, labels)
	return 0
}

// bubble runs a test in fake time.
func bubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, f)
}

type object = map[string]any

// envelope is a webhook with changes of one number.
func envelope(number string, values ...object) string {
	changes := make([]object, 0, len(values))
	for _, v := range values {
		v["messaging_product"] = "whatsapp"
		v["metadata"] = object{"display_phone_number": "15550001111", "phone_number_id": number}
		changes = append(changes, object{"field": "calls", "value": v})
	}
	return marshal(object{"object": "whatsapp_business_account", "entry": []object{{"id": "1", "changes": changes}}})
}

func marshal(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(b)
}

func now() string { return strconv.FormatInt(time.Now().Unix(), 10) }

func offer(id string, change ...object) object {
	return merge(object{
		"id": id, "from": user, "to": "15550001111", "event": "connect", "timestamp": now(), "direction": "USER_INITIATED",
		"session": object{"sdp": "v=0\r\n", "sdp_type": "offer"},
	}, change)
}

func answer(id string, change ...object) object {
	return merge(object{
		"id": id, "from": "15550001111", "to": user, "event": "connect", "timestamp": now(), "direction": "BUSINESS_INITIATED",
		"session": object{"sdp": "v=0\r\n", "sdp_type": "answer"},
	}, change)
}

func terminate(id string, change ...object) object {
	return merge(object{"id": id, "event": "terminate", "timestamp": now(), "direction": "USER_INITIATED", "status": "COMPLETED"}, change)
}

func status(id, what string) object {
	return object{"id": id, "timestamp": now(), "type": "call", "status": what, "recipient_id": user}
}

func merge(o object, changes []object) object {
	for _, c := range changes {
		for k, v := range c {
			if v == nil {
				delete(o, k)
				continue
			}
			o[k] = v
		}
	}
	return o
}

func calls(events ...object) object { return object{"calls": events} }

func statuses(events ...object) object { return object{"statuses": events} }

// lockedBuffer is a log that may be read while it is written.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

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
