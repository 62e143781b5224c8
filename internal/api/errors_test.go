package api_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/livekit/protocol/auth"
	"github.com/livekit/protocol/connector"
	"github.com/livekit/protocol/livekit"
	"github.com/livekit/psrpc"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/livekit-connector/livekit-connector/internal/api"
	"github.com/livekit-connector/livekit-connector/proto/connectorpb"
)

// failure is what every SDK must find in an answer that is not a success.
type failure struct {
	status int
	code   string
	msg    string // a part of it
	meta   map[string]string
}

func requireFailure(t *testing.T, want failure, w *httptest.ResponseRecorder) {
	t.Helper()
	require.Equal(t, want.status, w.Code, w.Body.String())
	require.Equal(t, []string{"application/json"}, w.Header()["Content-Type"])
	// The Rust SDK's own struct: both strings present, meta a map of strings.
	var got struct {
		Code *string           `json:"code"`
		Msg  *string           `json:"msg"`
		Meta map[string]string `json:"meta"`
	}
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &got))
	require.NotNil(t, got.Code)
	require.NotNil(t, got.Msg)
	require.Equal(t, want.code, *got.Code)
	require.Contains(t, *got.Msg, want.msg)
	if want.meta != nil {
		require.Equal(t, want.meta, got.Meta)
	}
	if want.status == http.StatusRequestTimeout {
		require.Equal(t, "1", w.Header().Get("Retry-After"), "OkHttp sends a POST again after a bare 408")
	} else {
		require.Empty(t, w.Header().Get("Retry-After"))
	}
}

type errorCase struct {
	name    string
	method  string
	req     proto.Message
	change  func(*http.Request)
	token   func(testing.TB) string // nil for a good one
	node    *node
	options func(*api.Options)
	want    failure
	// reaches says that the node is to be asked.
	reaches bool
}

func requireErrors(t *testing.T, cases []errorCase) {
	t.Helper()
	for _, tc := range cases {
		for _, e := range encodings {
			t.Run(tc.name+"/"+e.name, func(t *testing.T) {
				n := tc.node
				if n == nil {
					n = newNode()
				}
				before := n.asked()
				var options []func(*api.Options)
				if tc.options != nil {
					options = append(options, tc.options)
				}
				inBubble(t, n, func(t *testing.T, s *stand) {
					var changes []func(*http.Request)
					if tc.token != nil {
						changes = append(changes, bearer(tc.token(t)))
					}
					if tc.change != nil {
						changes = append(changes, tc.change)
					}
					requireFailure(t, tc.want, s.post(t, e, tc.method, tc.req, changes...))
					require.Equal(t, tc.reaches, n.asked() > before, "node asked")
				}, options...)
			})
		}
	}
}

const (
	dialMethod       = "DialWhatsAppCall"
	acceptMethod     = "AcceptWhatsAppCall"
	connectMethod    = "ConnectWhatsAppCall"
	disconnectMethod = "DisconnectWhatsAppCall"
	twilioMethod     = "ConnectTwilioCall"
)

func TestTransportErrors(t *testing.T) {
	requireErrors(t, []errorCase{
		{
			name: "GET", method: dialMethod, req: dial(), change: func(r *http.Request) { r.Method = http.MethodGet },
			want: failure{404, "bad_route", "only POST is allowed", map[string]string{"twirp_invalid_route": "GET /twirp/livekit.Connector/DialWhatsAppCall"}},
		},
		{
			name: "unknown method", method: "HangUp", req: dial(),
			want: failure{404, "bad_route", `no method "HangUp"`, nil},
		},
		{
			name: "no method", method: "", req: dial(),
			want: failure{404, "bad_route", "no method", nil},
		},
		{
			name: "slash behind the method", method: dialMethod + "/", req: dial(),
			want: failure{404, "bad_route", "no method", nil},
		},
		{
			name: "unknown content type", method: dialMethod, req: dial(), change: header("Content-Type", "text/plain"),
			want: failure{404, "bad_route", "unexpected Content-Type", nil},
		},
		{
			name: "garbage", method: dialMethod, req: dial(), change: body("\x0a\xff{"),
			want: failure{400, "malformed", "could not be decoded", nil},
		},
		{
			name: "body too large", method: dialMethod, req: dial(), options: func(o *api.Options) { o.MaxBodyBytes = 10 },
			want: failure{400, "invalid_argument", "request body must not exceed 10 bytes", nil},
		},
		{
			name: "body that breaks off", method: dialMethod, req: dial(),
			change: func(r *http.Request) { r.Body = http.NoBody; r.Body = brokenBody{} },
			want:   failure{400, "malformed", "request body could not be read", nil},
		},
		{
			name: "request id too long", method: dialMethod, req: dial(), change: header("X-Livekit-Request-Id", strings.Repeat("x", 257)),
			want: failure{400, "invalid_argument", "X-Livekit-Request-Id must not exceed 256 bytes", nil},
		},
		{
			name: "Twilio", method: twilioMethod, req: &livekit.ConnectTwilioCallRequest{RoomName: "r"},
			want: failure{501, "unimplemented", "ConnectTwilioCall", nil},
		},
		{
			name: "panic", method: disconnectMethod, req: disconnect(),
			options: func(o *api.Options) { o.Registry = panicking{} },
			want:    failure{500, "internal", "panic", nil},
		},
		{
			name: "panic before Twirp", method: disconnectMethod, req: disconnect(),
			options: func(o *api.Options) { o.Keys = panicking{} },
			want:    failure{500, "internal", "internal error", nil},
		},
	})
}

type brokenBody struct{}

func (brokenBody) Read([]byte) (int, error) { return 0, errors.New("connection reset") }
func (brokenBody) Close() error             { return nil }

const panicText = "secret in a panic"

// panicking is a Registry and a KeyProvider.
type panicking struct{}

func (panicking) Owner(context.Context, string) (string, error) { panic(panicText) }
func (panicking) Nodes(context.Context) ([]string, error)       { panic(panicText) }
func (panicking) GetSecret(string) string                       { panic(panicText) }
func (panicking) NumKeys() int                                  { return 1 }

func TestAPanicIsLoggedAndNotTold(t *testing.T) {
	s := newStand(t, newNode(), func(o *api.Options) { o.Registry = panicking{} })
	w := s.post(t, encodings[0], disconnectMethod, disconnect())
	require.NotContains(t, w.Body.String(), panicText)
	require.Contains(t, s.log.String(), `"where":"api"`)
	require.Contains(t, s.log.String(), "panicking", "the stack")
	require.NotContains(t, s.log.String(), panicText)
}

func TestUnknownCalls(t *testing.T) {
	unknown := failure{404, "not_found", "whatsapp call not found", nil}
	requireErrors(t, []errorCase{
		{
			name: "Connect", method: connectMethod, want: unknown,
			req: connect(func(r *livekit.ConnectWhatsAppCallRequest) { r.WhatsappCallId = "wacid.other" }),
		},
		{
			name: "Disconnect by user", method: disconnectMethod, want: unknown,
			req: disconnect(func(r *livekit.DisconnectWhatsAppCallRequest) {
				r.WhatsappCallId, r.WhatsappApiKey = "wacid.other", ""
				r.DisconnectReason = livekit.DisconnectWhatsAppCallRequest_USER_INITIATED
			}),
		},
		{
			name: "registry down", method: connectMethod, req: connect(),
			options: func(o *api.Options) { o.Registry = held{err: errors.New("dial redis 10.0.0.1")} },
			want:    failure{503, "unavailable", "the registry of calls cannot be reached", nil},
		},
	})
}

// metaSaidNo is an error as the node makes it when Graph refused.
func metaSaidNo(code psrpc.ErrorCode, msg string) error {
	return psrpc.NewError(code, errors.New(msg), &connectorpb.ErrorMeta{Meta: map[string]string{
		"whatsapp_error_code": "138006", "whatsapp_error_subcode": "2593108", "fbtrace_id": "AbCdEf",
		"sip_status": "x", "sip_status_code": "486", "error_details": "AAAA",
	}})
}

func TestErrorsOfTheNode(t *testing.T) {
	metaMeta := map[string]string{"whatsapp_error_code": "138006", "whatsapp_error_subcode": "2593108", "fbtrace_id": "AbCdEf"}
	uncertain := failure{412, "failed_precondition", "the outcome of this call is unknown", nil}
	internal := failure{500, "internal", "internal error", nil}
	said := []struct {
		name string
		err  error
		want failure
		// other is for Connect and Disconnect where they differ.
		other *failure
	}{
		{name: "not found", err: connector.ErrWhatsAppCallNotFound, want: failure{404, "not_found", "whatsapp call not found", nil}},
		{name: "already exists", err: psrpc.NewErrorf(psrpc.AlreadyExists, "call is connected already"), want: failure{409, "already_exists", "call is connected already", nil}},
		{name: "closed", err: connector.ErrConnectionClosed, want: failure{412, "failed_precondition", "connection is closed", nil}},
		{name: "busy", err: connector.ErrServerBusy, want: failure{429, "resource_exhausted", "server is busy and cannot accept new calls", nil}},
		{name: "another's call", err: psrpc.NewErrorf(psrpc.PermissionDenied, "call was made with another API key"), want: failure{403, "permission_denied", "another API key", nil}},
		{name: "accept timeout", err: connector.ErrAcceptTimeout, want: failure{408, "deadline_exceeded", "timeout waiting for call to be accepted", nil}},
		{name: "room not ready", err: connector.ErrRoomNotReady, want: failure{408, "deadline_exceeded", "timeout waiting for participants to publish", nil}},
		{name: "answer timeout", err: connector.ErrSDPAnswerTimeout, want: failure{408, "deadline_exceeded", "timeout waiting for SDP answer", nil}},
		{name: "unavailable", err: psrpc.NewErrorf(psrpc.Unavailable, "livekit-server cannot be reached"), want: failure{503, "unavailable", "livekit-server cannot be reached", nil}},
		{name: "Meta says 4xx", err: metaSaidNo(psrpc.UpstreamClientError, "meta: (#138006) No approved call permission"), want: failure{400, "invalid_argument", "meta: (#138006) No approved call permission", metaMeta}},
		{name: "Meta says 5xx", err: metaSaidNo(psrpc.UpstreamServerError, "meta: service is down"), want: failure{500, "internal", "meta: service is down", metaMeta}},
		{name: "unknown outcome", err: metaSaidNo(psrpc.FailedPrecondition, "meta may have taken the call"), want: failure{412, "failed_precondition", "meta may have taken the call", metaMeta}},

		{name: "plain error", err: errors.New("postgres://user:pw@db"), want: uncertain, other: &internal},
		{name: "caught panic", err: psrpc.NewErrorf(psrpc.Internal, "Caught server panic. Stack trace:\npw@db"), want: uncertain, other: &internal},
		{name: "context error", err: context.DeadlineExceeded, want: uncertain, other: &internal},
		{name: "stopped node", err: psrpc.ErrServerClosed, want: uncertain, other: &internal},
		{name: "code without a Twirp code", err: psrpc.NewErrorf(psrpc.NotAcceptable, "pw@db"), want: uncertain, other: &internal},
	}
	var cases []errorCase
	for _, s := range said {
		other := s.want
		if s.other != nil {
			other = *s.other
		}
		n := failing(s.err)
		cases = append(cases,
			errorCase{name: s.name + "/Dial", method: dialMethod, req: dial(), node: n, want: s.want, reaches: true},
			errorCase{name: s.name + "/Accept", method: acceptMethod, req: accept(), node: n, want: s.want, reaches: true},
			errorCase{name: s.name + "/Connect", method: connectMethod, req: connect(), node: n, want: other, reaches: true},
			errorCase{name: s.name + "/Disconnect", method: disconnectMethod, req: disconnect(), node: n, want: other, reaches: true})
	}
	requireErrors(t, cases)
}

func TestTextOfBrokenNodesIsLoggedOnly(t *testing.T) {
	for _, err := range []error{errors.New("pw@db"), psrpc.NewErrorf(psrpc.Internal, "pw@db")} {
		inBubble(t, failing(err), func(t *testing.T, s *stand) {
			for _, w := range []*httptest.ResponseRecorder{
				s.post(t, encodings[0], dialMethod, dial()), s.post(t, encodings[0], disconnectMethod, disconnect()),
			} {
				require.NotContains(t, w.Body.String(), "pw@db")
			}
			require.Equal(t, 2, strings.Count(s.log.String(), "pw@db"))
		})
	}
}

func TestSecretsInErrorsAreRedacted(t *testing.T) {
	quoting := psrpc.NewError(psrpc.UpstreamClientError, errors.New("token "+metaToken+" may not call "+number),
		&connectorpb.ErrorMeta{Meta: map[string]string{"whatsapp_error_details": "no " + number}})
	inBubble(t, failing(quoting), func(t *testing.T, s *stand) {
		w := s.post(t, encodings[1], dialMethod, dial())
		requireFailure(t, failure{
			400, "invalid_argument", "token [redacted] may not call [redacted]",
			map[string]string{"whatsapp_error_details": "no [redacted]"},
		}, w)
	})
}

func TestAdmission(t *testing.T) {
	full := newNode()
	full.bid = 0
	silent := newNode()
	silent.bid = -1
	draining := func(o *api.Options) { o.Draining = func() bool { return true } }
	requireErrors(t, []errorCase{
		{name: "full/Dial", method: dialMethod, req: dial(), node: full, want: failure{429, "resource_exhausted", "server is busy", nil}},
		{name: "full/Accept", method: acceptMethod, req: accept(), node: full, want: failure{429, "resource_exhausted", "server is busy", nil}},
		{name: "draining/Dial", method: dialMethod, req: dial(), options: draining, want: failure{429, "resource_exhausted", "draining", map[string]string{"limit": "draining"}}},
		{name: "draining/Accept", method: acceptMethod, req: accept(), options: draining, want: failure{429, "resource_exhausted", "draining", map[string]string{"limit": "draining"}}},
	})
	t.Run("draining/Disconnect goes on", func(t *testing.T) {
		inBubble(t, newNode(), func(t *testing.T, s *stand) {
			require.Equal(t, http.StatusOK, s.post(t, encodings[0], disconnectMethod, disconnect()).Code)
		}, draining)
	})
}

func TestNewNamesEverythingThatIsMissing(t *testing.T) {
	_, err := api.New(api.Options{MaxBodyBytes: -1})
	for _, want := range []string{"client is missing", "registry is missing", "no API key", "body limit"} {
		require.ErrorContains(t, err, want)
	}
	_, err = api.New(api.Options{Keys: auth.NewFileBasedKeyProviderFromMap(nil)})
	require.ErrorContains(t, err, "no API key")
}
