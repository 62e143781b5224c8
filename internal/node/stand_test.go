package node

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/livekit/protocol/livekit"
	"github.com/livekit/psrpc"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/internal/admission"
	"github.com/livekit-connector/livekit-connector/internal/call"
	"github.com/livekit-connector/livekit-connector/internal/metaleg"
	"github.com/livekit-connector/livekit-connector/media"
	"github.com/livekit-connector/livekit-connector/pkg/whatsapp"
	"github.com/livekit-connector/livekit-connector/proto/connectorpb"
	"github.com/livekit-connector/livekit-connector/testdata"
)

// patience bounds every wait for an event, however busy the machine is.
const patience = time.Minute

// stand is a node between a Graph that a test writes and a LiveKit that takes connections and says nothing. Its calls wait
// for their turn to join a room, because LiveKit's SDK gives a join up after a few seconds: see letJoin.
type stand struct {
	*Node
	registry *prometheus.Registry
	asked    chan string   // Graph's actions, as they come
	visited  chan struct{} // a request came to LiveKit
	mu       sync.Mutex
	bodies   []string // of what Graph was asked
	answer   map[string]http.HandlerFunc
}

const dialledID = "wacid.dialled"

func newStand(t *testing.T) *stand { return newStandWith(t, func(*Options) {}) }

func newStandWith(t *testing.T, change func(*Options)) *stand {
	t.Helper()
	s := &stand{
		registry: prometheus.NewRegistry(), asked: make(chan string, 100), visited: make(chan struct{}, 1), answer: map[string]http.HandlerFunc{},
	}
	graph := httptest.NewServer(http.HandlerFunc(s.serveGraph))
	t.Cleanup(graph.Close)
	over := make(chan struct{})
	silent := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case s.visited <- struct{}{}:
		default:
		}
		select {
		case <-over:
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(silent.Close)
	t.Cleanup(func() { close(over) })

	client, err := whatsapp.NewClient(whatsapp.Options{
		BaseURL: graph.URL, AttemptTimeout: patience, DialContext: new(net.Dialer).DialContext,
	})
	require.NoError(t, err)
	t.Cleanup(client.CloseIdleConnections)
	stack, err := metaleg.New(metaleg.Config{
		IPv4Only: true, IncludeLoopback: true, KeepInterface: func(name string) bool { return name == "lo" },
	})
	require.NoError(t, err)
	pacer := media.NewPacer(1)
	t.Cleanup(pacer.Close)
	options := Options{
		ID: "test", Bus: psrpc.NewLocalMessageBus(), LiveKitURL: strings.Replace(silent.URL, "http", "ws", 1),
		Secret: func(string) string { return "secret-secret-secret-secret-secret" },
		Meta:   stack, Graph: client, Pacer: pacer, Timeouts: unbounded(), Gate: newGate(t, s.registry, admission.Limits{}),
		Registerer: s.registry, Logger: slog.New(slog.DiscardHandler),
	}
	change(&options)
	s.Node, err = New(options)
	require.NoError(t, err)
	for range cap(s.joins) {
		s.joins <- struct{}{}
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		require.NoError(t, s.Close(ctx))
	})
	return s
}

// unbounded are the timeouts of calls that end when a test says so.
func unbounded() call.Timeouts {
	t := call.DefaultTimeouts()
	t.Setup, t.Ringing, t.Join, t.Terminate = time.Hour, time.Hour, time.Hour, time.Hour
	return t
}

// letJoin gives calls their turn to join a room.
func (s *stand) letJoin() {
	for range cap(s.joins) {
		<-s.joins
	}
}

func (s *stand) serveGraph(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	s.mu.Lock()
	s.bodies = append(s.bodies, string(body))
	s.mu.Unlock()
	for _, edge := range []string{"messages", "call_permissions"} {
		if strings.HasSuffix(r.URL.Path, "/"+edge) {
			s.asked <- edge
			s.mu.Lock()
			answer := s.answer[edge]
			s.mu.Unlock()
			answer(w, r)
		}
	}
	for _, action := range []string{"connect", "pre_accept", "accept", "reject", "terminate"} {
		if !strings.Contains(string(body), fmt.Sprintf("%q:%q", "action", action)) {
			continue
		}
		s.asked <- action
		s.mu.Lock()
		answer := s.answer[action]
		s.mu.Unlock()
		switch {
		case answer != nil:
			answer(w, r)
		case action == "connect":
			connected(w, dialledID)
		default:
			_, _ = io.WriteString(w, `{"success":true}`)
		}
	}
}

func connected(w io.Writer, id string) {
	_, _ = fmt.Fprintf(w, `{"messaging_product":"whatsapp","calls":[{"id":%q}]}`, id)
}

// expired is what Graph says to a token that is too old.
func expired(w http.ResponseWriter, _ *http.Request) {
	w.WriteHeader(http.StatusUnauthorized)
	_, _ = io.WriteString(w, `{"error":{"message":"Session has expired","type":"OAuthException","code":190}}`)
}

func (s *stand) on(action string, answer http.HandlerFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer[action] = answer
}

// next waits for the next action that Graph is asked for.
func (s *stand) next(t *testing.T) string {
	t.Helper()
	select {
	case action := <-s.asked:
		return action
	case <-time.After(patience):
		t.Fatal("graph is asked for nothing")
		return ""
	}
}

// client is one on the node's bus with patience.
func (s *stand) client(t *testing.T) connectorpb.ConnectorInternalClient {
	t.Helper()
	c, err := connectorpb.NewConnectorInternalClient(s.opts.Bus, psrpc.WithClientTimeout(patience), psrpc.WithClientSelectTimeout(patience))
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return c
}

// begin places a call without waiting for it.
func (s *stand) begin(ctx context.Context) <-chan error {
	failed := make(chan error, 1)
	go func() {
		_, err := s.StartCall(ctx, dialRequest())
		failed <- err
	}()
	return failed
}

func dialRequest() *connectorpb.StartCallRequest {
	return &connectorpb.StartCallRequest{ApiKey: "key", Call: &connectorpb.StartCallRequest_Dial{Dial: &livekit.DialWhatsAppCallRequest{
		WhatsappPhoneNumberId: "1000555000111", WhatsappApiKey: "token", WhatsappCloudApiVersion: "24.0",
		WhatsappToPhoneNumber: "15550002222",
	}}}
}

func acceptRequest(sdp string) *connectorpb.StartCallRequest {
	return &connectorpb.StartCallRequest{ApiKey: "key", Call: &connectorpb.StartCallRequest_Accept{Accept: &livekit.AcceptWhatsAppCallRequest{
		WhatsappPhoneNumberId: "1000555000111", WhatsappApiKey: "token", WhatsappCloudApiVersion: "24.0",
		WhatsappCallId: "wacid.offered", Sdp: &livekit.SessionDescription{Type: "offer", Sdp: sdp},
	}}}
}

func (s *stand) disconnect(ctx context.Context, reason livekit.DisconnectWhatsAppCallRequest_DisconnectReason, token string) error {
	_, err := s.DisconnectCall(ctx, &connectorpb.DisconnectCallRequest{ApiKey: "key", Request: &livekit.DisconnectWhatsAppCallRequest{
		WhatsappCallId: dialledID, WhatsappApiKey: token, DisconnectReason: reason,
	}})
	return err
}

// requireCode checks the code of an error that goes onto the bus.
func requireCode(t *testing.T, code psrpc.ErrorCode, err error) {
	t.Helper()
	var e psrpc.Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, code, e.Code(), err)
}

var candidates = regexp.MustCompile(`(a=candidate:\S+ \d udp \d+) \S+ \d+`)

// offer is one of Meta's, with nobody behind its candidates.
func offer(t *testing.T) string {
	t.Helper()
	text, err := testdata.SDP.ReadFile("sdp/01-uic-offer-live-2026-10-02.sdp")
	require.NoError(t, err)
	return candidates.ReplaceAllString(string(text), "$1 127.0.0.1 9")
}

// gauge reads how many calls the metrics show.
func (s *stand) gauge(t *testing.T) float64 {
	t.Helper()
	families, err := s.registry.Gather()
	require.NoError(t, err)
	sum := 0.0
	for _, f := range families {
		if f.GetName() == "livekit_connector_calls_active" {
			for _, m := range f.GetMetric() {
				sum += m.GetGauge().GetValue()
			}
		}
	}
	return sum
}
