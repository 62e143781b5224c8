package whatsapp_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/pkg/whatsapp"
)

// scripted is a Graph without sockets, for fake time. Step n answers request n, the last step all further ones.
type scripted struct {
	steps  []step
	bodies []string
	at     []time.Duration // since the first request
	start  time.Time
}

type step func(*http.Request) (*http.Response, error)

func (s *scripted) RoundTrip(r *http.Request) (*http.Response, error) {
	var body []byte
	if r.Body != nil {
		body, _ = io.ReadAll(r.Body)
		_ = r.Body.Close()
	}
	if len(s.bodies) == 0 {
		s.start = time.Now()
	}
	s.bodies = append(s.bodies, string(body))
	s.at = append(s.at, time.Since(s.start))
	return s.steps[min(len(s.bodies), len(s.steps))-1](r)
}

func (s *scripted) client(t *testing.T, hook *seen) *whatsapp.Client {
	t.Helper()
	opts := whatsapp.Options{HTTPClient: &http.Client{Transport: s}}
	if hook != nil {
		opts.OnRequest = hook.hook
	}
	c, err := whatsapp.NewClient(opts)
	require.NoError(t, err)
	return c
}

// answered makes a step of a handler.
func answered(h http.HandlerFunc) step {
	return func(r *http.Request) (*http.Response, error) {
		rec := httptest.NewRecorder()
		h(rec, r)
		return rec.Result(), nil
	}
}

func later(header string, h http.HandlerFunc) step {
	return answered(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Retry-After", header)
		h(w, r)
	})
}

var (
	ok       = answered(respond(200, took))
	broken   = answered(respond(503, "no server"))
	reset    = func(*http.Request) (*http.Response, error) { return nil, errors.New("connection reset by peer") }
	noServer = func(*http.Request) (*http.Response, error) {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("connection refused")}
	}
	silent = func(r *http.Request) (*http.Response, error) {
		<-r.Context().Done()
		return nil, r.Context().Err()
	}
	slow = func(r *http.Request) (*http.Response, error) { // headers come, the body does not
		body, w := io.Pipe()
		context.AfterFunc(r.Context(), func() { w.CloseWithError(r.Context().Err()) })
		return &http.Response{StatusCode: http.StatusOK, Body: body, Header: http.Header{}}, nil
	}
	active  = answered(refuse(400, 100, "(#100) Invalid parameter", "Call is already in progress"))
	ended   = answered(refuse(400, 100, "(#100) Invalid parameter", "Call has already ended"))
	opaque  = answered(refuse(400, 100, "(#100) Invalid parameter", ""))
	badSDP  = answered(refuse(400, 138008, "(#138008) SDP Validation error", "fingerprint"))
	expired = answered(refuse(401, 190, "Error validating access token", ""))
	limited = answered(refuse(429, 130429, "Rate limit hit", ""))
)

func TestConnectIsNeverRepeated(t *testing.T) {
	for name, test := range map[string]struct {
		step    step
		unknown bool
		outcome string
	}{
		"reset":            {reset, true, whatsapp.OutcomeTransport},
		"silence":          {silent, true, whatsapp.OutcomeTimeout},
		"half a response":  {slow, true, whatsapp.OutcomeTimeout},
		"server error":     {broken, true, whatsapp.OutcomeUpstreamError},
		"no server":        {noServer, false, whatsapp.OutcomeTransport},
		"rate limited":     {limited, false, whatsapp.OutcomeRateLimited},
		"no call in a 200": {ok, true, whatsapp.OutcomeUpstreamError},
		"empty list":       {answered(respond(200, `{"calls":[]}`)), true, whatsapp.OutcomeUpstreamError},
		"odd list":         {answered(respond(200, `{"calls":[{"id":null}]}`)), true, whatsapp.OutcomeUpstreamError},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, hook := &scripted{steps: []step{test.step}}, &seen{}
				begin := time.Now()
				_, err := s.client(t, hook).Connect(t.Context(), creds, whatsapp.ConnectRequest{To: number, Offer: offer})
				require.Error(t, err)
				require.Equal(t, test.unknown, errors.Is(err, whatsapp.ErrOutcomeUnknown), err)
				require.Len(t, s.bodies, 1)
				require.Equal(t, []string{"connect " + test.outcome}, hook.all())
				require.LessOrEqual(t, time.Since(begin), 5*time.Second)
				if test.outcome == whatsapp.OutcomeTimeout {
					require.ErrorIs(t, err, context.DeadlineExceeded)
				}
				require.Equal(t, strings.Contains(name, "list") || strings.Contains(name, "no call"), errors.Is(err, whatsapp.ErrNoCallID))
			})
		})
	}
}

func TestAnswersAreRepeatedByteForByte(t *testing.T) {
	for name, test := range map[string]struct {
		steps    []step
		requests int
		check    func(*testing.T, error)
	}{
		"took":                              {[]step{ok}, 1, succeeds},
		"server error, then took":           {[]step{broken, ok}, 2, succeeds},
		"rate limited, then took":           {[]step{limited, ok}, 2, succeeds},
		"response lost, then in progress":   {[]step{reset, active}, 2, succeeds},
		"silence, then in progress":         {[]step{silent, active}, 2, succeeds},
		"half a response, then in progress": {[]step{slow, active}, 2, succeeds},
		"server error, then in progress":    {[]step{broken, active}, 2, succeeds},
		"in progress at once":               {[]step{active}, 1, fails(nil, whatsapp.ErrOutcomeUnknown, whatsapp.ErrCallOver)},
		"not sent, then in progress":        {[]step{noServer, active}, 2, fails(nil, whatsapp.ErrOutcomeUnknown, whatsapp.ErrCallOver)},
		"limited, then in progress":         {[]step{limited, active}, 2, fails(nil, whatsapp.ErrOutcomeUnknown)},
		"ended":                             {[]step{ended}, 1, fails(whatsapp.ErrCallOver, whatsapp.ErrOutcomeUnknown)},
		"response lost, then ended":         {[]step{reset, ended}, 2, fails(whatsapp.ErrCallOver, whatsapp.ErrOutcomeUnknown)},
		"response lost, then opaque":        {[]step{reset, opaque}, 2, fails(whatsapp.ErrOutcomeUnknown, whatsapp.ErrCallOver)},
		"response lost, then token expired": {[]step{reset, expired}, 2, fails(whatsapp.ErrOutcomeUnknown, whatsapp.ErrCallOver)},
		"server error, then bad SDP":        {[]step{broken, badSDP}, 2, fails(nil, whatsapp.ErrOutcomeUnknown, whatsapp.ErrCallOver)},
		"bad SDP":                           {[]step{badSDP}, 1, fails(nil, whatsapp.ErrOutcomeUnknown, whatsapp.ErrCallOver)},
		"unknown call":                      {[]step{answered(refuse(400, 100, "(#100) Invalid parameter", "call_id is unknown"))}, 1, fails(whatsapp.ErrCallOver)},
		"other parameter":                   {[]step{answered(refuse(400, 100, "(#100) Invalid parameter", "call has no purpose"))}, 1, fails(nil, whatsapp.ErrCallOver)},
		"another SDP":                       {[]step{answered(refuse(400, 100, "(#100)", "Call failed: SDP differs from pre_accept"))}, 1, fails(nil, whatsapp.ErrCallOver)},
		"opaque":                            {[]step{opaque}, 1, fails(nil, whatsapp.ErrOutcomeUnknown, whatsapp.ErrCallOver)},
		"token expired":                     {[]step{expired}, 1, fails(nil, whatsapp.ErrOutcomeUnknown)},
		"connection error of the call":      {[]step{answered(refuse(500, 138004, "Connection error", ""))}, 1, fails(nil, whatsapp.ErrOutcomeUnknown)},
		"server never well":                 {[]step{broken}, 3, fails(whatsapp.ErrOutcomeUnknown)},
		"no server at all":                  {[]step{noServer}, 3, fails(nil, whatsapp.ErrOutcomeUnknown)},
		"lost once, then no server":         {[]step{reset, noServer}, 3, fails(whatsapp.ErrOutcomeUnknown)},
		"success false":                     {[]step{answered(respond(200, `{"success":false}`))}, 1, fails(nil, whatsapp.ErrOutcomeUnknown)},
	} {
		for action, send := range map[string]func(context.Context, *whatsapp.Client) error{
			"pre_accept": func(ctx context.Context, c *whatsapp.Client) error { return c.PreAccept(ctx, creds, callID, answer) },
			"accept": func(ctx context.Context, c *whatsapp.Client) error {
				return c.Accept(ctx, creds, whatsapp.AcceptRequest{CallID: callID, Answer: answer})
			},
		} {
			t.Run(action+" "+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s := &scripted{steps: test.steps}
					test.check(t, send(t.Context(), s.client(t, nil)))
					require.Len(t, s.bodies, test.requests)
					for _, body := range s.bodies {
						require.Equal(t, s.bodies[0], body)
					}
				})
			})
		}
	}
}

func succeeds(t *testing.T, err error) {
	t.Helper()
	require.NoError(t, err)
}

func fails(with error, without ...error) func(*testing.T, error) {
	return func(t *testing.T, err error) {
		t.Helper()
		require.Error(t, err)
		if with != nil {
			require.ErrorIs(t, err, with)
		}
		for _, not := range without {
			require.NotErrorIs(t, err, not)
		}
	}
}

func TestHangUpsOfACallThatIsOver(t *testing.T) {
	rejecting := answered(refuse(400, 100, "(#100)", "Reject call is already in progress"))
	for name, test := range map[string]struct {
		step              step
		terminate, reject bool // success
	}{
		"took":               {ok, true, true},
		"ended":              {ended, true, true},
		"opaque":             {opaque, true, true},
		"unknown call":       {answered(refuse(404, 100, "(#100)", "Unknown call id")), true, true},
		"call id unknown":    {answered(refuse(400, 100, "(#100) Invalid parameter", "call_id is unknown")), true, true},
		"version gone":       {answered(refuse(400, 2635, "deprecated version", "")), false, false},
		"new code":           {answered(refuse(400, 138099, "call completed", "")), true, true},
		"being rejected":     {rejecting, true, true},
		"in progress":        {active, true, false},
		"token expired":      {expired, false, false},
		"expired with 400":   {answered(refuse(400, 190, "expired", "")), false, false},
		"any 401":            {answered(refuse(401, 100, "ended", "")), false, false},
		"any 403":            {answered(refuse(403, 100, "ended", "")), false, false},
		"permission missing": {answered(refuse(400, 200, "ended", "")), false, false},
		"calling disabled":   {answered(refuse(401, 138000, "ended", "")), false, false},
		"SIP enabled":        {answered(refuse(400, 131055, "ended", "")), false, false},
		"no such number":     {answered(respond(400, `{"error":{"code":100,"error_subcode":33,"message":"does not exist"}}`)), false, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, hook := &scripted{steps: []step{test.step}}, &seen{}
				c := s.client(t, hook)
				require.Equal(t, test.terminate, c.Terminate(t.Context(), creds, callID) == nil)
				require.Equal(t, test.reject, c.Reject(t.Context(), creds, callID) == nil)
				require.Len(t, s.bodies, 2)
				if name == "ended" {
					require.Equal(t, []string{"terminate already_over", "reject already_over"}, hook.all())
				}
			})
		})
	}
}

func TestTerminateIsRepeatedUntilItTook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, hook := &scripted{steps: []step{
			reset, silent, broken, slow, noServer, limited, answered(respond(400, "garbage")), answered(respond(200, "garbage")),
			answered(refuse(500, 138004, "Connection error", "")), later("20", respond(503, "")), answered(respond(200, `{"success":false}`)), ok,
		}}, &seen{}
		require.NoError(t, s.client(t, hook).Terminate(t.Context(), creds, callID))
		require.Len(t, s.bodies, 12)
		require.Equal(t, "terminate success", hook.all()[11])
		for i := 1; i < len(s.at); i++ {
			require.GreaterOrEqual(t, s.at[i]-s.at[i-1], 100*time.Millisecond, "pause %d", i)
			require.LessOrEqual(t, s.at[i]-s.at[i-1], 20*time.Second, "pause %d", i)
		}
		require.Equal(t, 20*time.Second, s.at[10]-s.at[9], "Retry-After is honoured")
	})
}

func TestTerminateEndsWithItsContext(t *testing.T) {
	for name, forever := range map[string]step{"server error": broken, "silence": silent, "half a response": slow, "no server": noServer} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
				defer cancel()
				begin, s := time.Now(), &scripted{steps: []step{forever}}
				err := s.client(t, nil).Terminate(ctx, creds, callID)
				require.ErrorIs(t, err, context.DeadlineExceeded)
				require.LessOrEqual(t, time.Since(begin), 5*time.Second)
				require.GreaterOrEqual(t, len(s.bodies), 2, "one lost response does not use up the time")
			})
		})
	}
}

func TestRetryAfterBeyondTheContextEndsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		begin, s := time.Now(), &scripted{steps: []step{later("30", refuse(429, 130429, "Rate limit hit", ""))}}
		err := s.client(t, nil).Accept(ctx, creds, whatsapp.AcceptRequest{CallID: callID, Answer: answer})
		require.Zero(t, time.Since(begin))
		var e *whatsapp.APIError
		require.ErrorAs(t, err, &e)
		require.Equal(t, 30*time.Second, e.RetryAfter)
		require.NotErrorIs(t, err, whatsapp.ErrOutcomeUnknown)
	})
}

func TestTheCallersCauseIsInTheError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hungUp := errors.New("user hung up")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { cancel(hungUp) })
		s, hook := &scripted{steps: []step{silent}}, &seen{}
		c := s.client(t, hook)
		err := c.Accept(ctx, creds, whatsapp.AcceptRequest{CallID: callID, Answer: answer})
		require.ErrorIs(t, err, hungUp)
		require.ErrorIs(t, err, context.Canceled)
		require.ErrorIs(t, err, whatsapp.ErrOutcomeUnknown)
		require.Len(t, s.bodies, 1)

		_, err = c.Connect(ctx, creds, whatsapp.ConnectRequest{To: number, Offer: offer})
		require.ErrorIs(t, err, hungUp)
		require.NotErrorIs(t, err, whatsapp.ErrOutcomeUnknown, "nothing is sent with a context that has ended")
		require.Len(t, s.bodies, 1)
		require.Equal(t, []string{"accept canceled", "connect canceled"}, hook.all())
	})
	synctest.Test(t, func(t *testing.T) { // during a pause
		ctx, cancel := context.WithCancel(t.Context())
		s := &scripted{steps: []step{later("10", respond(503, ""))}}
		time.AfterFunc(time.Second, cancel)
		begin := time.Now()
		err := s.client(t, nil).Terminate(ctx, creds, callID)
		require.ErrorIs(t, err, context.Canceled)
		require.Equal(t, time.Second, time.Since(begin))
		var e *whatsapp.APIError
		require.ErrorAs(t, err, &e)
	})
}

func TestReadsAreRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &scripted{steps: []step{reset, broken, answered(respond(200, `{"permission":{"status":"permanent"}}`))}}
		p, err := s.client(t, nil).CallPermission(t.Context(), creds, number)
		require.NoError(t, err)
		require.True(t, p.CanStartCall())

		s = &scripted{steps: []step{broken}}
		_, err = s.client(t, nil).Settings(t.Context(), creds)
		require.Error(t, err)
		require.NotErrorIs(t, err, whatsapp.ErrOutcomeUnknown)
		require.Len(t, s.bodies, 3)

		s = &scripted{steps: []step{expired}}
		_, err = s.client(t, nil).Settings(t.Context(), creds)
		require.Error(t, err)
		require.Len(t, s.bodies, 1)
	})
}

func TestEveryOutcomeIsOfTheClosedSet(t *testing.T) {
	require.Len(t, whatsapp.Actions(), 8)
	require.Len(t, whatsapp.Outcomes(), 9)
}
