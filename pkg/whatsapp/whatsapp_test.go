package whatsapp_test

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/internal/pipes"
	"github.com/livekit-connector/livekit-connector/pkg/whatsapp"
)

const (
	token  = "EAAGtestTokenThatMustNotShow123"
	number = "15550002222"
	callID = "wacid.TEST"
	offer  = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\n"
	answer = "v=0\r\no=- 3 4 IN IP4 127.0.0.1\r\n"
)

var creds = whatsapp.Credentials{PhoneNumberID: "100000000000001", AccessToken: token, Version: "24.0"}

// graph is a server that answers with a script and remembers what it was asked.
type graph struct {
	*httptest.Server
	mu     sync.Mutex
	bodies []string
	last   *http.Request
}

// newGraph answers request n with script[n], and with the last one when the script is over.
func newGraph(t *testing.T, script ...http.HandlerFunc) *graph {
	t.Helper()
	g := &graph{}
	g.Server = httptest.NewServer(g.handler(script))
	t.Cleanup(g.Close)
	return g
}

// newPipedGraph is newGraph without sockets, for fake time.
func newPipedGraph(t *testing.T, script ...http.HandlerFunc) (*graph, *pipes.Network) {
	t.Helper()
	g, p := &graph{}, pipes.New()
	g.Server = &httptest.Server{Listener: p, Config: &http.Server{Handler: g.handler(script)}}
	g.Start()
	t.Cleanup(g.Close)
	return g, p
}

func (g *graph) handler(script []http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		g.mu.Lock()
		g.bodies = append(g.bodies, string(body))
		g.last = r
		n := min(len(g.bodies), len(script)) - 1
		g.mu.Unlock()
		script[n](w, r)
	}
}

func (g *graph) requests() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return append([]string(nil), g.bodies...)
}

func respond(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

func refuse(status, code int, message, details string) http.HandlerFunc {
	body, _ := json.Marshal(map[string]any{"error": map[string]any{
		"message": message, "type": "OAuthException", "code": code, "error_subcode": 2494010, "fbtrace_id": "AbC123",
		"error_data": map[string]any{"messaging_product": "whatsapp", "details": details},
	}})
	return respond(status, string(body))
}

// lose breaks the connection without a response, after the request was read.
func lose(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

const took = `{"messaging_product":"whatsapp","success":true}`

// seen collects what OnRequest is told, as "action outcome".
type seen struct {
	mu   sync.Mutex
	list []string
}

func (s *seen) hook(action, outcome string, _ time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.list = append(s.list, action+" "+outcome)
}

func (s *seen) all() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.list...)
}

// newClient makes a patient client: a busy machine may need more time than Graph gets. The end of the test closes it.
func newClient(t *testing.T, opts whatsapp.Options) *whatsapp.Client {
	t.Helper()
	opts.AttemptTimeout = time.Minute
	if opts.DialContext == nil && opts.HTTPClient == nil {
		opts.DialContext = new(net.Dialer).DialContext
	}
	c, err := whatsapp.NewClient(opts)
	require.NoError(t, err)
	t.Cleanup(c.CloseIdleConnections)
	return c
}

func TestRequestsHaveTheDocumentedBodies(t *testing.T) {
	capture := &whatsapp.Capture{Status: "ENABLED", Purpose: "quality assurance", AnnouncementLanguage: "en_US"}
	const captured = `{"status":"ENABLED","purpose":"quality assurance","announcement_language":"en_US"}`
	tests := map[string]struct {
		send func(context.Context, *whatsapp.Client) error
		want string
	}{
		"connect": {
			func(ctx context.Context, c *whatsapp.Client) error {
				id, err := c.Connect(ctx, creds, whatsapp.ConnectRequest{To: "+" + number, Offer: offer})
				require.Equal(t, callID, id)
				return err
			},
			`{"messaging_product":"whatsapp","to":"15550002222","action":"connect",
			  "session":{"sdp_type":"offer","sdp":"v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\n"}}`,
		},
		"connect with everything": {
			func(ctx context.Context, c *whatsapp.Client) error {
				_, err := c.Connect(ctx, creds, whatsapp.ConnectRequest{
					To: number, Recipient: "US.13491208655302741918", Offer: offer, BizOpaqueCallbackData: "corr-7f3a",
					Recording: capture, Transcription: capture,
				})
				return err
			},
			`{"messaging_product":"whatsapp","to":"15550002222","recipient":"US.13491208655302741918","action":"connect",
			  "session":{"sdp_type":"offer","sdp":"v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\n"},
			  "biz_opaque_callback_data":"corr-7f3a","recording":` + captured + `,"transcription":` + captured + `}`,
		},
		"pre-accept": {
			func(ctx context.Context, c *whatsapp.Client) error { return c.PreAccept(ctx, creds, callID, answer) },
			`{"messaging_product":"whatsapp","call_id":"wacid.TEST","action":"pre_accept",
			  "session":{"sdp_type":"answer","sdp":"v=0\r\no=- 3 4 IN IP4 127.0.0.1\r\n"}}`,
		},
		"accept": {
			func(ctx context.Context, c *whatsapp.Client) error {
				return c.Accept(ctx, creds, whatsapp.AcceptRequest{
					CallID: callID, Answer: answer, BizOpaqueCallbackData: "corr", Recording: capture,
				})
			},
			`{"messaging_product":"whatsapp","call_id":"wacid.TEST","action":"accept",
			  "session":{"sdp_type":"answer","sdp":"v=0\r\no=- 3 4 IN IP4 127.0.0.1\r\n"},
			  "biz_opaque_callback_data":"corr","recording":` + captured + `}`,
		},
		"reject": {
			func(ctx context.Context, c *whatsapp.Client) error { return c.Reject(ctx, creds, callID) },
			`{"messaging_product":"whatsapp","call_id":"wacid.TEST","action":"reject"}`,
		},
		"terminate": {
			func(ctx context.Context, c *whatsapp.Client) error { return c.Terminate(ctx, creds, callID) },
			`{"messaging_product":"whatsapp","call_id":"wacid.TEST","action":"terminate"}`,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			g := newGraph(t, respond(200, `{"messaging_product":"whatsapp","calls":[{"id":"wacid.TEST"}],"success":true}`))
			require.NoError(t, test.send(t.Context(), newClient(t, whatsapp.Options{BaseURL: g.URL + "/"})))
			require.Len(t, g.requests(), 1)
			require.JSONEq(t, test.want, g.requests()[0])
			require.Equal(t, http.MethodPost, g.last.Method)
			require.Equal(t, "/v24.0/100000000000001/calls", g.last.RequestURI)
			require.Equal(t, "Bearer "+token, g.last.Header.Get("Authorization"))
			require.Equal(t, "application/json", g.last.Header.Get("Content-Type"))
			require.Equal(t, "livekit-connector", g.last.UserAgent())
		})
	}
}

func TestCallPermission(t *testing.T) {
	const body = `{"messaging_product":"whatsapp","permission":{"status":"temporary","expiration_time":1745343479},"actions":[
	 {"action_name":"send_call_permission_request","can_perform_action":true,"limits":[{"time_period":"PT24H","max_allowed":1,"current_usage":0}]},
	 {"action_name":"start_call","can_perform_action":false,
	  "limits":[{"time_period":"PT24H","max_allowed":"100","current_usage":100,"limit_expiration_time":"1745622600"}]}]}`
	g := newGraph(t, refuse(429, 613, "Calls to this api have exceeded the rate limit.", ""), respond(200, body))
	c := newClient(t, whatsapp.Options{BaseURL: g.URL})
	p, err := c.CallPermission(t.Context(), creds, "+"+number)
	require.NoError(t, err)
	require.Equal(t, "/v24.0/100000000000001/call_permissions?user_wa_id=15550002222", g.last.RequestURI)
	require.Equal(t, http.MethodGet, g.last.Method)
	require.Equal(t, []string{"", ""}, g.requests())
	require.False(t, p.CanStartCall())
	require.Equal(t, whatsapp.Permission{
		Status: whatsapp.PermissionTemporary, Expiration: time.Unix(1745343479, 0).UTC(),
		Actions: []whatsapp.PermittedAction{
			{Name: "send_call_permission_request", Allowed: true, Limits: []whatsapp.Limit{{Period: "PT24H", Max: 1}}},
			{Name: "start_call", Limits: []whatsapp.Limit{
				{Period: "PT24H", Max: 100, Used: 100, Expiration: time.Unix(1745622600, 0).UTC()},
			}},
		},
	}, p)

	p, err = c.CallPermission(t.Context(), creds, "US.13491208655302741918")
	require.NoError(t, err)
	require.Equal(t, "/v24.0/100000000000001/call_permissions?recipient=US.13491208655302741918", g.last.RequestURI)
	require.False(t, p.CanStartCall())

	_, err = c.CallPermission(t.Context(), creds, "+")
	require.ErrorIs(t, err, whatsapp.ErrInvalidRequest)
}

func TestPermissionIsAskedForOnce(t *testing.T) {
	const answer = `{"messaging_product":"whatsapp","contacts":[{"input":"1","wa_id":"1"}],"messages":[{"id":"wamid.X"}]}`
	g := newGraph(t, respond(200, answer), respond(200, answer), respond(200, `{}`), lose)
	c := newClient(t, whatsapp.Options{BaseURL: g.URL})
	id, err := c.RequestPermission(t.Context(), creds, "+"+number, "May we call?")
	require.NoError(t, err)
	require.Equal(t, "wamid.X", id)
	require.Equal(t, "/v24.0/100000000000001/messages", g.last.RequestURI)
	_, err = c.RequestPermission(t.Context(), creds, "US.13491208655302741918", "May we call?")
	require.NoError(t, err)
	const interactive = `"recipient_type":"individual","type":"interactive","interactive":{"type":"call_permission_request",
	  "action":{"name":"call_permission_request"},"body":{"text":"May we call?"}}`
	require.JSONEq(t, `{"messaging_product":"whatsapp","to":"15550002222",`+interactive+`}`, g.requests()[0])
	require.JSONEq(t, `{"messaging_product":"whatsapp","recipient":"US.13491208655302741918",`+interactive+`}`, g.requests()[1])

	id, err = c.RequestPermission(t.Context(), creds, number, "May we call?")
	require.NoError(t, err)
	require.Empty(t, id)
	_, err = c.RequestPermission(t.Context(), creds, number, "May we call?")
	require.ErrorIs(t, err, whatsapp.ErrOutcomeUnknown)
	require.Len(t, g.requests(), 4)
	requireClean(t, err.Error())
}

func TestLimitSaysWhenItEnds(t *testing.T) {
	p := whatsapp.Permission{Actions: []whatsapp.PermittedAction{{Name: "start_call", Limits: []whatsapp.Limit{
		{Expiration: time.Unix(10, 0)}, {}, {Expiration: time.Unix(20, 0)},
	}}}}
	calling, ok := p.Action("start_call")
	require.True(t, ok)
	require.Equal(t, time.Unix(20, 0), calling.Again())
	asking, ok := p.Action("send_call_permission_request")
	require.False(t, ok)
	require.Zero(t, asking.Again())
}

func TestSettings(t *testing.T) {
	const body = `{"calling":{"status":"ENABLED","call_icon_visibility":"DEFAULT","callback_permission_status":"ENABLED",
	 "call_hours":{"status":"ENABLED","timezone_id":"America/Manaus","weekly_operating_hours":[]},
	 "srtp_key_exchange_protocol":"SDES","audio":{"additional_codecs":["PCMA","PCMU"]},
	 "voicemail":{"status":"ENABLED","triggers":["REJECT","TIMEOUT"]},"sip":{"status":"ENABLED","servers":[]},
	 "restrictions":{"restrictions_list":[{"type":"RESTRICTED_BUSINESS_INITIATED_CALLING","reason":"quality","expiration":1745622600}]}}}`
	g := newGraph(t, respond(200, body), respond(200, `{"calling":{"status":"ENABLED","sip":"odd","audio":7}}`))
	c := newClient(t, whatsapp.Options{BaseURL: g.URL})
	s, err := c.Settings(t.Context(), creds)
	require.NoError(t, err)
	require.Equal(t, "/v24.0/100000000000001/settings", g.last.RequestURI)
	require.Equal(t, whatsapp.Settings{
		Status: "ENABLED", CallIconVisibility: "DEFAULT", CallbackPermissionStatus: "ENABLED", SRTPKeyExchange: "SDES",
		SIPStatus: "ENABLED", VoicemailStatus: "ENABLED", VoicemailTriggers: []string{"REJECT", "TIMEOUT"},
		CallHoursStatus: "ENABLED", CallHoursTimezone: "America/Manaus", AdditionalCodecs: []string{"PCMA", "PCMU"},
		Restrictions: []whatsapp.Restriction{
			{Type: "RESTRICTED_BUSINESS_INITIATED_CALLING", Reason: "quality", Expiration: time.Unix(1745622600, 0).UTC()},
		},
	}, s)
	require.Len(t, s.Problems(), 4)

	s, err = c.Settings(t.Context(), creds)
	require.NoError(t, err)
	require.Empty(t, s.Problems())
	require.Equal(t, []string{"calling is not enabled on the number"}, whatsapp.Settings{}.Problems())
}

func TestInvalidRequestsAreNotSent(t *testing.T) {
	g := newGraph(t, respond(200, took))
	c := newClient(t, whatsapp.Options{BaseURL: g.URL})
	long := strings.Repeat("é", 513)
	connect := func(r whatsapp.ConnectRequest) error {
		_, err := c.Connect(t.Context(), creds, r)
		return err
	}
	request := func(user, text string) error {
		_, err := c.RequestPermission(t.Context(), creds, user, text)
		return err
	}
	for name, err := range map[string]error{
		"nobody to call":       connect(whatsapp.ConnectRequest{Offer: offer}),
		"no offer":             connect(whatsapp.ConnectRequest{To: number}),
		"long callback data":   connect(whatsapp.ConnectRequest{To: number, Offer: offer, BizOpaqueCallbackData: long}),
		"capture with no word": connect(whatsapp.ConnectRequest{To: number, Offer: offer, Recording: &whatsapp.Capture{}}),
		"capture for nothing": connect(whatsapp.ConnectRequest{
			To: number, Offer: offer, Transcription: &whatsapp.Capture{Status: "ENABLED"},
		}),
		"long purpose": connect(whatsapp.ConnectRequest{
			To: number, Offer: offer,
			Recording: &whatsapp.Capture{Status: "ENABLED", Purpose: long, AnnouncementLanguage: "en_US"},
		}),
		"nobody to ask":       request("", "May we call?"),
		"nothing to ask":      request(number, ""),
		"too much to ask for": request(number, strings.Repeat("é", 1025)),

		"no call id": c.Terminate(t.Context(), creds, ""),
		"no answer":  c.PreAccept(t.Context(), creds, callID, ""),
		"no phone number id": c.Reject(t.Context(),
			whatsapp.Credentials{PhoneNumberID: "..", AccessToken: token, Version: "24.0"}, callID),
		"no token": c.Reject(t.Context(), whatsapp.Credentials{PhoneNumberID: "1", Version: "24.0"}, callID),
		"token with a line end": c.Reject(t.Context(),
			whatsapp.Credentials{PhoneNumberID: "1", AccessToken: token + "\r\nX: y", Version: "24.0"}, callID),
	} {
		require.ErrorIs(t, err, whatsapp.ErrInvalidRequest, name)
		require.NotErrorIs(t, err, whatsapp.ErrOutcomeUnknown, name)
		requireClean(t, err.Error())
	}
	err := c.Reject(t.Context(), whatsapp.Credentials{PhoneNumberID: "1", AccessToken: token, Version: "v23.0"}, callID)
	require.ErrorIs(t, err, whatsapp.ErrVersion)
	require.Empty(t, g.requests())
}

func TestValidateVersion(t *testing.T) {
	for _, v := range []string{"23.0", "24.0", "26.0", "30.1", "100.0"} {
		require.NoError(t, whatsapp.ValidateVersion(v, nil), v)
	}
	for _, v := range []string{
		"", "v23.0", "V24.0", "23", "23.", ".0", "22.0", "17.0", "023.0", "24.0.1", "24.0 ", "24.0\n", "٢٤.٠", "99999999999999999999.0", "-24.0",
	} {
		require.ErrorIs(t, whatsapp.ValidateVersion(v, nil), whatsapp.ErrVersion, "%q", v)
	}
	allowed := []string{"22.0", "24.0"}
	require.NoError(t, whatsapp.ValidateVersion("22.0", allowed))
	require.NoError(t, whatsapp.ValidateVersion("24.0", allowed))
	require.ErrorIs(t, whatsapp.ValidateVersion("25.0", allowed), whatsapp.ErrVersion)
	require.ErrorIs(t, whatsapp.ValidateVersion("v24.0", append(allowed, "v24.0")), whatsapp.ErrVersion)
}

func TestOptionsAreChecked(t *testing.T) {
	for _, base := range []string{"graph.facebook.com", "ftp://x", "https://", "https://u:p4ss@x", "https://x?a=b", "https://x/#f", "http://[::1"} {
		_, err := whatsapp.NewClient(whatsapp.Options{BaseURL: base})
		require.Error(t, err, base)
		require.NotContains(t, err.Error(), "p4ss")
	}
	_, err := whatsapp.NewClient(whatsapp.Options{BaseURL: "x", Version: "v1.0", Versions: []string{"v24.0"}, Attempts: -1})
	require.ErrorIs(t, err, whatsapp.ErrVersion)
	require.Len(t, strings.Split(err.Error(), "\n"), 4)

	g := newGraph(t, respond(200, took))
	c := newClient(t, whatsapp.Options{BaseURL: g.URL + "/graph/", Version: "25.0", UserAgent: "mine/1"})
	require.NoError(t, c.Reject(t.Context(), whatsapp.Credentials{PhoneNumberID: "a/b", AccessToken: "t"}, callID))
	require.Equal(t, "/graph/v25.0/a%2Fb/calls", g.last.RequestURI)
	require.Equal(t, "mine/1", g.last.UserAgent())
}

// In fake time, because net/http drops a connection whose request is not noted as written within 50 ms.
func TestConnectionsAreReused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, p := newPipedGraph(t, respond(200, took), refuse(400, 100, "call has ended", ""), respond(200, took))
		c := newClient(t, whatsapp.Options{BaseURL: g.URL, DialContext: p.Dial})
		for range 5 {
			require.NoError(t, c.Terminate(t.Context(), creds, callID))
		}
		require.Len(t, g.requests(), 5)
		require.Equal(t, 1, p.Dials())
	})
}
