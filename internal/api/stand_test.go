package api_test

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/livekit/protocol/auth"
	"github.com/livekit/protocol/livekit"
	"github.com/livekit/psrpc"
	"github.com/livekit/psrpc/pkg/bus/localbus"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/livekit-connector/livekit-connector/internal/api"
	"github.com/livekit-connector/livekit-connector/internal/leaks"
	"github.com/livekit-connector/livekit-connector/internal/pipes"
	"github.com/livekit-connector/livekit-connector/proto/connectorpb"
)

func TestMain(m *testing.M) { leaks.Main(m) }

const (
	key, secret           = "devkey", "secret-of-devkey-0123456789abcdef"
	otherKey, otherSecret = "otherkey", "secret-of-otherkey-0123456789abcd"
	cluster               = "test"

	metaToken = "EAAtoken0123456789"
	number    = "15550002222"
	callID    = "wacid.HBgLMTU1NTAwMDIyMjIVAgASGCA="
	offerSDP  = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\na=ice-pwd:passwordpasswordpasswordpass\r\n"
)

// node is a ConnectorInternal whose answers the test chooses.
type node struct {
	connectorpb.ConnectorInternalServerImpl // nil: what no test asks

	mu         sync.Mutex
	bid        float32
	start      func(context.Context, *connectorpb.StartCallRequest) (*connectorpb.StartCallResponse, error)
	connect    func(context.Context, *connectorpb.ConnectCallRequest) (*connectorpb.ConnectCallResponse, error)
	disconnect func(context.Context, *connectorpb.DisconnectCallRequest) (*connectorpb.DisconnectCallResponse, error)

	starts      []*connectorpb.StartCallRequest
	connects    []*connectorpb.ConnectCallRequest
	disconnects []*connectorpb.DisconnectCallRequest

	// records are what the node tells of calls, by API key.
	records map[string][]*connectorpb.CallRecord
}

func newNode() *node {
	return &node{
		bid: 1,
		start: func(_ context.Context, req *connectorpb.StartCallRequest) (*connectorpb.StartCallResponse, error) {
			if a := req.GetAccept(); a != nil {
				return &connectorpb.StartCallResponse{CallId: a.WhatsappCallId, RoomName: "room-a"}, nil
			}
			return &connectorpb.StartCallResponse{CallId: callID, RoomName: "room-d"}, nil
		},
		connect: func(context.Context, *connectorpb.ConnectCallRequest) (*connectorpb.ConnectCallResponse, error) {
			return &connectorpb.ConnectCallResponse{}, nil
		},
		disconnect: func(context.Context, *connectorpb.DisconnectCallRequest) (*connectorpb.DisconnectCallResponse, error) {
			return &connectorpb.DisconnectCallResponse{}, nil
		},
	}
}

// failing makes every RPC of the node return err.
func failing(err error) *node {
	return &node{
		bid: 1,
		start: func(context.Context, *connectorpb.StartCallRequest) (*connectorpb.StartCallResponse, error) {
			return nil, err
		},
		connect: func(context.Context, *connectorpb.ConnectCallRequest) (*connectorpb.ConnectCallResponse, error) {
			return nil, err
		},
		disconnect: func(context.Context, *connectorpb.DisconnectCallRequest) (*connectorpb.DisconnectCallResponse, error) {
			return nil, err
		},
	}
}

func (n *node) StartCall(ctx context.Context, req *connectorpb.StartCallRequest) (*connectorpb.StartCallResponse, error) {
	n.mu.Lock()
	n.starts = append(n.starts, req)
	n.mu.Unlock()
	return n.start(ctx, req)
}

func (n *node) StartCallAffinity(context.Context, *connectorpb.StartCallRequest) float32 {
	return n.bid
}

func (n *node) ConnectCall(ctx context.Context, req *connectorpb.ConnectCallRequest) (*connectorpb.ConnectCallResponse, error) {
	n.mu.Lock()
	n.connects = append(n.connects, req)
	n.mu.Unlock()
	return n.connect(ctx, req)
}

func (n *node) DisconnectCall(ctx context.Context, req *connectorpb.DisconnectCallRequest) (*connectorpb.DisconnectCallResponse, error) {
	n.mu.Lock()
	n.disconnects = append(n.disconnects, req)
	n.mu.Unlock()
	return n.disconnect(ctx, req)
}

func (n *node) asked() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.starts) + len(n.connects) + len(n.disconnects)
}

func (n *node) lastStart(t *testing.T) *connectorpb.StartCallRequest {
	t.Helper()
	n.mu.Lock()
	defer n.mu.Unlock()
	require.NotEmpty(t, n.starts)
	return n.starts[len(n.starts)-1]
}

// nodeID is the node behind every stand.
const nodeID = "node-1"

// held is a Registry in which that node holds the calls.
type held struct {
	ids map[string]bool
	err error
}

func (h held) Owner(_ context.Context, callID string) (string, error) {
	if !h.ids[callID] {
		return "", h.err
	}
	return nodeID, h.err
}

func (h held) Nodes(context.Context) ([]string, error) { return []string{nodeID}, h.err }

// journal is a log that a test can read while it is written.
type journal struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (j *journal) Write(b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.buf.Write(b)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.buf.String()
}

// stand is a Server with a real bus and one programmable node behind it.
type stand struct {
	*api.Server
	node   *node
	bus    connectorpb.ConnectorInternalServer // the node's, nil without a node
	medium psrpc.MessageBus
	log    *journal
	reg    *prometheus.Registry
}

// newStand builds everything anew; nil stands for no node at all.
func newStand(tb testing.TB, n *node, change ...func(*api.Options)) *stand {
	tb.Helper()
	bus := localbus.New()
	client, err := connectorpb.NewConnectorInternalClient(bus)
	require.NoError(tb, err)
	tb.Cleanup(client.Close)
	s := &stand{node: n, medium: bus, log: new(journal), reg: prometheus.NewRegistry()}
	if n != nil {
		server, serveErr := connectorpb.NewConnectorInternalServer(n, bus)
		require.NoError(tb, serveErr)
		tb.Cleanup(server.Shutdown) // Kill would strand a bid whose outcome is on its way
		require.NoError(tb, server.RegisterStartCallTopic(cluster))
		require.NoError(tb, server.RegisterAllNodeTopics(nodeID))
		s.bus = server
	}
	opts := api.Options{
		Client:           client,
		Registry:         held{ids: map[string]bool{callID: true}},
		Keys:             auth.NewFileBasedKeyProviderFromMap(map[string]string{key: secret, otherKey: otherSecret}),
		AllowEmptyGrants: true,
		Cluster:          cluster,
		Logger:           slog.New(slog.NewJSONHandler(s.log, nil)),
		Registerer:       s.reg,
	}
	for _, c := range change {
		c(&opts)
	}
	s.Server, err = api.New(opts)
	require.NoError(tb, err)
	tb.Cleanup(func() { require.NoError(tb, s.Close()) })
	return s
}

// listen serves the stand over TCP.
func (s *stand) listen(t *testing.T) (url string, _ *http.Client) {
	t.Helper()
	server := httptest.NewServer(s.Server)
	t.Cleanup(server.Close)
	t.Cleanup(server.Client().CloseIdleConnections)
	return server.URL, server.Client()
}

// pipe serves the stand over HTTP without sockets, for fake time.
func (s *stand) pipe(t *testing.T) (url string, _ *http.Client) {
	t.Helper()
	p := pipes.New()
	server := &httptest.Server{Listener: p, Config: &http.Server{Handler: s.Server}}
	server.Start()
	t.Cleanup(server.Close)
	client := &http.Client{Transport: &http.Transport{DialContext: p.Dial}}
	t.Cleanup(client.CloseIdleConnections)
	return "http://connector", client
}

// encoding is one of the two that Twirp speaks.
type encoding struct {
	name        string
	contentType string
	marshal     func(proto.Message) ([]byte, error)
	unmarshal   func([]byte, proto.Message) error
}

var encodings = []encoding{
	{"json", "application/json", protojson.Marshal, protojson.Unmarshal},
	{"protobuf", "application/protobuf", proto.Marshal, proto.Unmarshal},
}

// post sends one request to the stand without a socket. change may spoil it.
func (s *stand) post(tb testing.TB, e encoding, method string, req proto.Message, change ...func(*http.Request)) *httptest.ResponseRecorder {
	tb.Helper()
	body, err := e.marshal(req)
	require.NoError(tb, err)
	r := httptest.NewRequestWithContext(tb.Context(), http.MethodPost, livekit.ConnectorPathPrefix+method, bytes.NewReader(body))
	r.Header.Set("Content-Type", e.contentType)
	r.Header.Set("Authorization", "Bearer "+serverToken(tb))
	for _, c := range change {
		c(r)
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w
}

func sign(tb testing.TB, apiKey, apiSecret string, grant *auth.VideoGrant, change ...func(*auth.AccessToken)) string {
	tb.Helper()
	token := auth.NewAccessToken(apiKey, apiSecret).SetVideoGrant(grant).SetValidFor(10 * time.Minute)
	for _, c := range change {
		c(token)
	}
	jwt, err := token.ToJWT()
	require.NoError(tb, err)
	return jwt
}

func serverToken(tb testing.TB) string {
	tb.Helper()
	return sign(tb, key, secret, &auth.VideoGrant{RoomCreate: true})
}

func bearer(token string) func(*http.Request) { return header("Authorization", "Bearer "+token) }

func header(name, value string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set(name, value) }
}

func body(text string) func(*http.Request) {
	return func(r *http.Request) {
		r.Body = io.NopCloser(bytes.NewReader([]byte(text)))
		r.ContentLength = int64(len(text))
	}
}

func dial(change ...func(*livekit.DialWhatsAppCallRequest)) *livekit.DialWhatsAppCallRequest {
	req := &livekit.DialWhatsAppCallRequest{
		WhatsappPhoneNumberId:   "106540352242922",
		WhatsappToPhoneNumber:   "+1 (555) 000-2222",
		WhatsappApiKey:          metaToken,
		WhatsappCloudApiVersion: "23.0",
	}
	for _, c := range change {
		c(req)
	}
	return req
}

func accept(change ...func(*livekit.AcceptWhatsAppCallRequest)) *livekit.AcceptWhatsAppCallRequest {
	req := &livekit.AcceptWhatsAppCallRequest{
		WhatsappPhoneNumberId:   "106540352242922",
		WhatsappApiKey:          metaToken,
		WhatsappCloudApiVersion: "23.0",
		WhatsappCallId:          callID,
		Sdp:                     &livekit.SessionDescription{Type: "offer", Sdp: offerSDP},
	}
	for _, c := range change {
		c(req)
	}
	return req
}

func connect(change ...func(*livekit.ConnectWhatsAppCallRequest)) *livekit.ConnectWhatsAppCallRequest {
	req := &livekit.ConnectWhatsAppCallRequest{
		WhatsappCallId: callID,
		Sdp:            &livekit.SessionDescription{Type: "answer", Sdp: offerSDP},
	}
	for _, c := range change {
		c(req)
	}
	return req
}

func disconnect(change ...func(*livekit.DisconnectWhatsAppCallRequest)) *livekit.DisconnectWhatsAppCallRequest {
	req := &livekit.DisconnectWhatsAppCallRequest{
		WhatsappCallId: callID,
		WhatsappApiKey: metaToken,
	}
	for _, c := range change {
		c(req)
	}
	return req
}
