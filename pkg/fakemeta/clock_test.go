package fakemeta

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/pkg/fakemeta/relay"
)

// stubSession is a media path that is up as soon as it is wanted, without a network.
type stubSession struct {
	options relay.SessionOptions
	mu      sync.Mutex
	remote  *relay.Remote
	closed  bool
}

func (s *stubSession) Fingerprint() string            { return strings.TrimSuffix(strings.Repeat("AB:", 32), ":") }
func (s *stubSession) WriteRTP(*rtp.Packet) error     { return nil }
func (s *stubSession) WriteRTCP([]rtcp.Packet) error  { return nil }
func (s *stubSession) Silence()                       {}
func (s *stubSession) Err() error                     { return nil }
func (s *stubSession) Stats() relay.Stats             { return relay.Stats{} }
func (s *stubSession) SetRemote(r relay.Remote) error { s.remote = &r; return nil }

func (s *stubSession) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	return nil
}

// speak lets the business send one packet.
func (s *stubSession) speak() {
	s.options.OnRTP(&rtp.Packet{Header: rtp.Header{Version: 2, PayloadType: 111}, Payload: []byte{0xF8, 0xFF, 0xFE}}, time.Now())
}

// bench is a server without sockets, for tests in fake time.
type bench struct {
	*testing.T
	*Server
	events   *Subscription
	sessions []*stubSession
}

// inFakeTime runs f with a server whose clock waits for nobody.
func inFakeTime(t *testing.T, o Options, f func(*bench)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := &bench{T: t, Server: newServer(o)}
		b.addrs = []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:3480")}
		b.newSession = func(so relay.SessionOptions) (session, error) {
			s := &stubSession{options: so}
			b.sessions = append(b.sessions, s)
			return s, nil
		}
		require.NoError(t, b.AddNumber(Number{PhoneNumberID: "1000", DisplayNumber: "15550001111", AccessToken: "t", AppSecret: "s"}))
		b.events = b.Events()
		f(b)
		require.NoError(t, b.Close())
	})
}

// graph makes a request without a network.
func (b *bench) graph(fields map[string]any) (int, string) {
	b.Helper()
	fields["messaging_product"] = "whatsapp"
	raw, err := json.Marshal(fields)
	require.NoError(b, err)
	r := httptest.NewRequestWithContext(b.Context(), http.MethodPost, "/v24.0/1000/calls", strings.NewReader(string(raw)))
	r.Header.Set("Authorization", "Bearer t")
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	b.serveGraph(w, r)
	return w.Code, w.Body.String()
}

func (b *bench) act(action, id, answer string) int {
	b.Helper()
	fields := map[string]any{"action": action, "call_id": id}
	if answer != "" {
		fields["session"] = map[string]any{"sdp_type": "answer", "sdp": answer}
	}
	status, _ := b.graph(fields)
	return status
}

func (b *bench) inbound() (*Call, string) {
	b.Helper()
	c, err := b.User("15550002222").Call(b.Context(), "1000")
	require.NoError(b, err)
	return c, vector(b.T, pionAnswer)
}

func (b *bench) outbound() *Call {
	b.Helper()
	status, body := b.graph(map[string]any{
		"action": "connect", "to": "15550002222", "biz_opaque_callback_data": "corr",
		"session": map[string]any{"sdp_type": "offer", "sdp": vector(b.T, chromeOffer)},
	})
	require.Equal(b, http.StatusOK, status, body)
	c, err := b.User("15550002222").NextCall(b.Context())
	require.NoError(b, err)
	return c
}

func (b *bench) terminated(c *Call) CallEvent {
	b.Helper()
	<-c.Done()
	e, err := b.events.NextCall(b.Context(), c.ID(), "terminate")
	require.NoError(b, err)
	require.Zero(b, b.ActiveCalls())
	require.True(b, b.sessions[len(b.sessions)-1].closed)
	return e
}

func since(c *Call, moment string) time.Duration {
	m, _ := c.Moment(moment)
	return m.Since
}

func TestAcceptedCallWithoutMediaDiesAfter20Seconds(t *testing.T) {
	for name, scale := range map[string]float64{"Meta's time": 1, "a hundred times as fast": 0.01} {
		t.Run(name, func(t *testing.T) {
			inFakeTime(t, Options{Timing: Scaled(scale)}, func(b *bench) {
				c, answer := b.inbound()
				require.Equal(b, 200, b.act("accept", c.ID(), answer))
				accepted := time.Now()
				e := b.terminated(c)
				require.Equal(b, time.Duration(20*scale*float64(time.Second)), time.Since(accepted))
				require.Equal(b, "FAILED", e.Status)
				require.Equal(b, 20, *e.Duration)
				require.Equal(b, seconds(accepted), e.StartTime)
				require.Equal(b, seconds(accepted.Add(20*time.Second)), e.EndTime)
				require.Equal(b, CodeNoMediaToClient, e.Errors[0].Code)
				require.Equal(b, CodeNoMediaToClient, c.Report().ErrorCode)
			})
		})
	}
}

func TestNoMediaErrorsStandInBothPlaces(t *testing.T) {
	inFakeTime(t, Options{}, func(b *bench) {
		c, answer := b.inbound()
		require.Equal(b, 200, b.act("accept", c.ID(), answer))
		<-c.Done()
		for {
			e, err := b.events.Next(b.Context())
			require.NoError(b, err)
			if v := e.Payload.Entry[0].Changes[0].Value; v.Calls[0].Event == "terminate" {
				require.Equal(b, v.Errors, v.Calls[0].Errors)
				require.Equal(b, 138021, v.Errors[0].Code)
				return
			}
		}
	})
}

func TestEstablishedCallDiesAfter30SecondsOfSilence(t *testing.T) {
	inFakeTime(t, Options{}, func(b *bench) {
		c, answer := b.inbound()
		require.Equal(b, 200, b.act("accept", c.ID(), answer))
		time.Sleep(10 * time.Second) // fake time
		b.sessions[0].speak()
		time.Sleep(25 * time.Second) // fake time
		b.sessions[0].options.OnRTCP([]rtcp.Packet{&rtcp.ReceiverReport{}})
		last := time.Now()
		e := b.terminated(c)
		require.Equal(b, 30*time.Second, time.Since(last), "RTCP keeps a silent call alive")
		require.Equal(b, 138021, e.Errors[0].Code)
		require.Equal(b, 65, *e.Duration)
	})
}

func TestRTCPAloneIsNotFirstMedia(t *testing.T) {
	inFakeTime(t, Options{}, func(b *bench) {
		c, answer := b.inbound()
		require.Equal(b, 200, b.act("accept", c.ID(), answer))
		start := time.Now()
		time.Sleep(15 * time.Second) // fake time
		b.sessions[0].options.OnRTCP([]rtcp.Packet{&rtcp.ReceiverReport{}})
		b.terminated(c)
		require.Equal(b, 20*time.Second, time.Since(start))
	})
}

func TestAcceptWindowExpires(t *testing.T) {
	for _, failure := range []bool{false, true} {
		inFakeTime(t, Options{MissedIsFailure: failure}, func(b *bench) {
			c, answer := b.inbound()
			require.Equal(b, 200, b.act("pre_accept", c.ID(), answer))
			e := b.terminated(c)
			require.Equal(b, 30*time.Second, since(c, MomentExpired))
			require.Empty(b, e.StartTime)
			require.Empty(b, e.EndTime)
			require.Nil(b, e.Duration)
			if failure {
				require.Equal(b, "FAILED", e.Status)
				require.Equal(b, CodeConnectTimeout, e.Errors[0].Code)
			} else {
				require.Equal(b, "COMPLETED", e.Status)
			}
			require.Equal(b, 400, b.act("accept", c.ID(), answer), "too late")
		})
	}
}

func TestOutboundCallRingsAndIsPickedUp(t *testing.T) {
	inFakeTime(t, Options{}, func(b *bench) {
		c := b.outbound()
		connect, err := b.events.NextCall(b.Context(), c.ID(), "connect")
		require.NoError(b, err)
		require.Equal(b, time.Second, time.Since(c.created), "the answer comes a second after the request")
		require.Equal(b, "answer", connect.Session.SDPType)
		require.Equal(b, "15550001111", connect.From)
		require.Equal(b, "corr", connect.BizOpaqueCallbackData)
		require.Equal(b, StateDialing, c.State(), "connect is not pick-up")
		_, err = b.events.NextStatus(b.Context(), c.ID(), "RINGING")
		require.NoError(b, err)
		require.Equal(b, 1500*time.Millisecond, time.Since(c.created))
		time.Sleep(20 * time.Second) // fake time
		require.NoError(b, c.PickUp())
		picked := time.Now()
		s, err := b.events.NextStatus(b.Context(), c.ID(), "ACCEPTED")
		require.NoError(b, err)
		require.Equal(b, "call", s.Type)
		require.Equal(b, "corr", s.BizOpaqueCallbackData)
		b.sessions[0].speak()
		time.Sleep(5 * time.Second) // fake time
		require.Equal(b, 200, b.act("terminate", c.ID(), ""))
		e := b.terminated(c)
		require.Equal(b, "COMPLETED", e.Status)
		require.Equal(b, seconds(picked), e.StartTime)
		require.Equal(b, 5, *e.Duration)
		require.Equal(b, "corr", e.BizOpaqueCallbackData)
		require.Equal(b, "business", c.Report().EndedBy)
	})
}

func TestUnansweredOutboundCallCompletesWithoutStartTime(t *testing.T) {
	inFakeTime(t, Options{}, func(b *bench) {
		c := b.outbound()
		e := b.terminated(c)
		require.Equal(b, "COMPLETED", e.Status)
		require.Empty(b, e.StartTime)
		require.Nil(b, e.Duration)
		require.Equal(b, 61500*time.Millisecond, since(c, MomentExpired))
	})
}

func TestUserDeclines(t *testing.T) {
	inFakeTime(t, Options{}, func(b *bench) {
		c := b.outbound()
		require.NoError(b, c.Reject(), "before it rings it is remembered")
		_, err := b.events.NextStatus(b.Context(), c.ID(), "REJECTED")
		require.NoError(b, err)
		require.Equal(b, 1500*time.Millisecond, time.Since(c.created))
		require.Empty(b, b.terminated(c).StartTime)
		require.Error(b, c.PickUp())
		require.Error(b, c.Wait(b.Context(), StateActive))
		require.NoError(b, c.Wait(b.Context(), StateRinging))
	})
}

func TestUserWithHabits(t *testing.T) {
	inFakeTime(t, Options{}, func(b *bench) {
		b.User("15550002222").SetAnswering(Answering{PickUpAfter: 3 * time.Second, HangUpAfter: 4 * time.Second})
		c := b.outbound()
		require.NoError(b, c.Wait(b.Context(), StateActive))
		require.Equal(b, 4500*time.Millisecond, time.Since(c.created))
		b.terminated(c)
		require.Equal(b, 8500*time.Millisecond, since(c, MomentHangUp))
		b.User("15550002222").SetAnswering(Answering{RejectAfter: time.Second})
		c = b.outbound()
		b.terminated(c)
		require.Equal(b, 2500*time.Millisecond, since(c, MomentDecline))
	})
}

func TestDelayedAcceptedStatus(t *testing.T) {
	inFakeTime(t, Options{Timing: Timing{AcceptedDelay: 3 * time.Second}}, func(b *bench) {
		c := b.outbound()
		require.NoError(b, c.PickUp())
		require.NoError(b, c.Wait(b.Context(), StateActive))
		picked := time.Now()
		_, err := b.events.NextStatus(b.Context(), c.ID(), "ACCEPTED")
		require.NoError(b, err)
		require.Equal(b, 3*time.Second, time.Since(picked))
	})
}

func TestRTPBeforeAcceptAnswersEarly(t *testing.T) {
	inFakeTime(t, Options{}, func(b *bench) {
		c, answer := b.inbound()
		require.Equal(b, 200, b.act("pre_accept", c.ID(), answer))
		time.Sleep(2 * time.Second) // fake time
		b.sessions[0].speak()
		synctest.Wait()
		early := time.Now()
		time.Sleep(3 * time.Second) // fake time
		require.Equal(b, 200, b.act("accept", c.ID(), answer))
		time.Sleep(4 * time.Second) // fake time
		require.NoError(b, c.HangUp())
		e := b.terminated(c)
		require.Equal(b, seconds(early), e.StartTime, "the caller's timer started with the first packet")
		require.Equal(b, 7, *e.Duration)
		r := c.Report()
		require.True(b, r.AnsweredEarly)
		require.EqualValues(b, 1, r.EarlyPackets)
		require.NotEmpty(b, r.Problems)
		require.False(b, r.OK())
	})
}

func TestRTPBeforePickUpIsReported(t *testing.T) {
	inFakeTime(t, Options{}, func(b *bench) {
		c := b.outbound()
		b.sessions[0].speak()
		require.NoError(b, c.PickUp())
		require.NoError(b, c.Wait(b.Context(), StateActive))
		require.EqualValues(b, 1, c.Report().EarlyPackets)
		require.False(b, c.Report().AnsweredEarly, "only accept can be early, ringing is the user's")
		require.Contains(b, strings.Join(c.Report().Problems, "\n"), "before the user picked up")
		require.NoError(b, c.HangUp())
		b.terminated(c)
	})
}

func TestVanishedCallNeverEndsByItself(t *testing.T) {
	inFakeTime(t, Options{}, func(b *bench) {
		c, answer := b.inbound()
		require.Equal(b, 200, b.act("accept", c.ID(), answer))
		b.sessions[0].speak()
		c.Vanish()
		c.Vanish()
		time.Sleep(time.Hour) // fake time
		require.Equal(b, StateActive, c.State())
		require.Equal(b, 1, b.ActiveCalls())
		require.Equal(b, 200, b.act("terminate", c.ID(), ""))
		b.terminated(c)
	})
}

func TestClientFailuresComeByWebhook(t *testing.T) {
	for _, code := range []int{CodeClientSetup, CodeClientRelay, CodeNoMediaFromClient, CodeNoMediaSignals, CodePaymentMethod, CodeConnectionError, CodeConnectTimeout} {
		inFakeTime(t, Options{}, func(b *bench) {
			c, _ := b.inbound()
			require.NoError(b, c.Fail(code))
			e := b.terminated(c)
			require.Equal(b, "FAILED", e.Status)
			require.Equal(b, code, e.Errors[0].Code)
			require.NotEmpty(b, e.Errors[0].Title)
			require.Equal(b, "meta", c.Report().EndedBy)
		})
	}
}
