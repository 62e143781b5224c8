package notify_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/livekit/protocol/auth"
	"github.com/livekit/protocol/livekit"
	"github.com/livekit/protocol/webhook"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/livekit-connector/livekit-connector/internal/notify"
	"github.com/livekit-connector/livekit-connector/proto/connectorpb"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	key    = "devkey"
	secret = "a secret that is as long as they should be"
	target = "https://app.example.com/hooks/shh?token=hush"
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

func TestEventIsLiveKitsWithTheRecordBesides(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		to := &receiver{}
		s := newStand(t, to, nil)
		want := record("lobby")
		s.change(notify.Answered, want)
		require.Zero(t, s.Close(t.Context()))

		require.Len(t, to.got(), 1)
		p := to.got()[0]
		require.Equal(t, target, p.url)
		require.Equal(t, "application/webhook+json", p.header.Get("Content-Type"))
		e, err := p.event()
		require.NoError(t, err)
		require.Regexp(t, `^EV_\w{10,}$`, e.GetId())
		require.True(t, proto.Equal(&livekit.WebhookEvent{
			Event: "call.answered", Id: e.GetId(), CreatedAt: time.Now().Unix(), Room: &livekit.Room{Sid: "RM_1", Name: "lobby"},
			Participant: &livekit.ParticipantInfo{
				Sid: "PA_1", Identity: "caller", Name: "Caller", Attributes: want.GetAttributes(), Kind: livekit.ParticipantInfo_CONNECTOR,
				KindDetails: []livekit.ParticipantInfo_KindDetail{livekit.ParticipantInfo_CONNECTOR_WHATSAPP},
				State:       livekit.ParticipantInfo_ACTIVE,
			},
		}, e), e.String())

		var body struct {
			Call json.RawMessage `json:"call"`
		}
		require.NoError(t, json.Unmarshal(p.body, &body))
		var got connectorpb.CallRecord
		require.NoError(t, protojson.Unmarshal(body.Call, &got))
		require.True(t, proto.Equal(want, &got), got.String())
		require.Contains(t, string(body.Call), `"lost":0`, "a zero is a fact")
		s.requireCounted(t, "call.answered delivered 1")
	})
}

func TestSignatureIsOfThisBodyAndThisSecret(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		to := &receiver{}
		s := newStand(t, to, nil)
		s.change(notify.Ended, record("lobby"))
		require.Zero(t, s.Close(t.Context()))
		p := to.got()[0]

		changed := p
		changed.body = bytes.Replace(p.body, []byte("lobby"), []byte("vault"), 1)
		_, err := changed.event()
		require.ErrorIs(t, err, webhook.ErrInvalidChecksum)
		r := httptest.NewRequest(http.MethodPost, target, bytes.NewReader(p.body))
		r.Header = p.header
		_, err = webhook.Receive(r, auth.NewSimpleKeyProvider(key, "another secret, just as long as they should be"))
		require.Error(t, err)

		v, err := auth.ParseAPIToken(p.header.Get("Authorization"))
		require.NoError(t, err)
		claims, grants, err := v.Verify(secret)
		require.NoError(t, err)
		require.Equal(t, time.Now().Add(5*time.Minute).Unix(), claims.ExpiresAt.Unix())
		require.Nil(t, grants.Video, "who gets an event can do nothing with its token")
	})
}

func TestOrderWithinACallAndNoWaitingBetweenCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stuck := make(chan struct{})
		to := &receiver{}
		to.answer = func(_ context.Context, p post) (int, http.Header, error) {
			if strings.Contains(string(p.body), `"name":"slow"`) {
				<-stuck
			}
			return http.StatusNoContent, nil, nil
		}
		s := newStand(t, to, func(o *notify.Options) { o.Timeout = time.Hour })
		s.life("slow")
		s.life("fast")
		synctest.Wait()
		names := to.names(t)
		require.Len(t, names, 5)
		fast := slices.DeleteFunc(slices.Clone(names), func(n string) bool { return strings.HasSuffix(n, "slow") })
		require.Equal(t, []string{"call.created fast", "call.ringing fast", "call.answered fast", "call.ended fast"}, fast)
		require.Contains(t, names, "call.created slow")
		close(stuck)
		require.Zero(t, s.Close(t.Context()))
		slow := slices.DeleteFunc(to.names(t), func(n string) bool { return strings.HasSuffix(n, "fast") })
		require.Equal(t, []string{"call.created slow", "call.ringing slow", "call.answered slow", "call.ended slow"}, slow)
	})
}

func TestURLsDoNotWaitForEachOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		to := &receiver{}
		to.answer = func(_ context.Context, p post) (int, http.Header, error) {
			if p.url == target {
				return 0, nil, errors.New("connection refused")
			}
			return http.StatusOK, nil, nil
		}
		s := newStand(t, to, func(o *notify.Options) { o.URLs = append(o.URLs, "http://127.0.0.1:3000/events") })
		s.life("lobby")
		synctest.Wait()
		var well []string
		for _, p := range to.got() {
			if p.url != target {
				well = append(well, p.name(t))
			}
		}
		require.Equal(t, []string{"call.created lobby", "call.ringing lobby", "call.answered lobby", "call.ended lobby"}, well)
	})
}

func TestReceiverThatWasDownGetsAllInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		up := time.Now().Add(45 * time.Second)
		to := &receiver{}
		to.answer = func(context.Context, post) (int, http.Header, error) {
			if time.Now().Before(up) {
				return 0, nil, errors.New("connection refused")
			}
			return http.StatusOK, nil, nil
		}
		s := newStand(t, to, nil)
		s.life("lobby")
		time.Sleep(5 * time.Minute) // fake time
		synctest.Wait()
		var (
			names  []string
			ids    = map[string]bool{}
			tokens = map[string]bool{}
			pauses []time.Duration
			last   time.Time
		)
		for _, p := range to.got() {
			e, err := p.event()
			require.NoError(t, err)
			tokens[p.header.Get("Authorization")] = true
			if p.at.Before(up) {
				require.Equal(t, "call.created", e.GetEvent(), "the later ones wait behind the first")
				ids[e.GetId()] = true
				if !last.IsZero() {
					pauses = append(pauses, p.at.Sub(last))
				}
				last = p.at
				continue
			}
			ids[e.GetId()] = true
			names = append(names, p.name(t))
		}
		require.Equal(t, []string{"call.created lobby", "call.ringing lobby", "call.answered lobby", "call.ended lobby"}, names)
		require.Len(t, ids, 4, "an event keeps its id")
		require.Greater(t, len(pauses), 3)
		for i, pause := range pauses {
			want := time.Second << i
			require.GreaterOrEqual(t, pause, want*3/4)
			require.LessOrEqual(t, pause, want*5/4)
		}
		require.Greater(t, len(tokens), 4, "a token is made for each attempt: an old one would be refused")
		s.requireCounted(t, "call.created delivered 1", "call.ringing delivered 1", "call.answered delivered 1", "call.ended delivered 1")
		require.Equal(t, 1, strings.Count(s.log.String(), "a receiver of events fails"))
		require.Equal(t, 1, strings.Count(s.log.String(), "a receiver of events takes them again"))
	})
}

func TestWhatIsTriedAgain(t *testing.T) {
	for name, tc := range map[string]struct {
		status  int
		err     error
		posts   int
		outcome string
	}{
		"server error":       {status: 500, posts: 8, outcome: "failed"},
		"bad gateway":        {status: 502, posts: 8, outcome: "failed"},
		"too many requests":  {status: 429, posts: 8, outcome: "failed"},
		"request timeout":    {status: 408, posts: 8, outcome: "failed"},
		"no connection":      {err: errors.New("connection refused"), posts: 8, outcome: "failed"},
		"not found":          {status: 404, posts: 1, outcome: "refused"},
		"unauthorized":       {status: 401, posts: 1, outcome: "refused"},
		"redirect":           {status: 307, posts: 1, outcome: "refused"},
		"nothing but 2xx":    {status: 304, posts: 1, outcome: "refused"},
		"accepted":           {status: 202, posts: 1, outcome: "delivered"},
		"answered with more": {status: 299, posts: 1, outcome: "delivered"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				to := &receiver{answer: func(context.Context, post) (int, http.Header, error) {
					return tc.status, http.Header{"Location": {"http://169.254.169.254/"}}, tc.err
				}}
				s := newStand(t, to, nil)
				s.change(notify.Created, record("lobby"))
				time.Sleep(time.Hour) // fake time
				synctest.Wait()
				require.Len(t, to.got(), tc.posts)
				for _, p := range to.got() {
					require.Equal(t, target, p.url)
				}
				s.requireCounted(t, "call.created "+tc.outcome+" 1")
				require.Equal(t, tc.outcome != "delivered", strings.Contains(s.log.String(), "event is lost"))
			})
		})
	}
}

func TestReceiverSaysWhenToComeAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		to := &receiver{}
		first := true
		to.answer = func(context.Context, post) (int, http.Header, error) {
			if first {
				first = false
				return http.StatusTooManyRequests, http.Header{"Retry-After": {"30"}}, nil
			}
			return http.StatusOK, nil, nil
		}
		s := newStand(t, to, nil)
		s.change(notify.Created, record("lobby"))
		time.Sleep(time.Minute) // fake time
		synctest.Wait()
		require.Len(t, to.got(), 2)
		require.Equal(t, 30*time.Second, to.got()[1].at.Sub(to.got()[0].at))
		s.requireCounted(t, "call.created delivered 1")
	})
}

func TestOldEventsAreGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		to := &receiver{answer: func(context.Context, post) (int, http.Header, error) { return 503, nil, nil }}
		s := newStand(t, to, func(o *notify.Options) { o.MaxAttempts, o.MaxAge = 1000, 20*time.Second })
		s.life("lobby")
		time.Sleep(time.Minute) // fake time
		synctest.Wait()
		tried := map[string]int{}
		for _, p := range to.got() {
			tried[p.name(t)]++
			require.LessOrEqual(t, p.at.Sub(start), 20*time.Second)
		}
		require.Len(t, tried, 4, "each is tried at least once, however old it is")
		require.Equal(t, 1, tried["call.ended lobby"])
		s.requireCounted(t, "call.created failed 1", "call.ringing failed 1", "call.answered failed 1", "call.ended failed 1")
	})
}

func TestAttemptsAreBoundedInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		to := &receiver{answer: func(ctx context.Context, _ post) (int, http.Header, error) {
			<-ctx.Done()
			return 0, nil, ctx.Err()
		}}
		s := newStand(t, to, func(o *notify.Options) { o.MaxAttempts = 1 })
		s.change(notify.Created, record("lobby"))
		start := time.Now()
		require.Zero(t, s.Close(t.Context()))
		require.Equal(t, 5*time.Second, time.Since(start))
		s.requireCounted(t, "call.created failed 1")
	})
}

func TestQueueIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stuck := make(chan struct{})
		to := &receiver{answer: func(context.Context, post) (int, http.Header, error) { <-stuck; return 200, nil, nil }}
		s := newStand(t, to, func(o *notify.Options) { o.Queue, o.Timeout = 100, time.Hour })
		for i := range 130 {
			s.change(notify.Created, record("room-"+strconv.Itoa(i)))
		}
		synctest.Wait()
		require.NoError(t, testutil.GatherAndCompare(s.registry, strings.NewReader(`
# HELP livekit_connector_events_queued Events that are not delivered yet, counted for each URL.
# TYPE livekit_connector_events_queued gauge
livekit_connector_events_queued 100
`), "livekit_connector_events_queued"))
		s.requireCounted(t, "call.created overflow 30")
		close(stuck)
		require.Zero(t, s.Close(t.Context()))
		s.requireCounted(t, "call.created overflow 30", "call.created delivered 100")
		require.Len(t, to.got(), 100)
		require.Equal(t, 16, to.most, "one URL gets no more requests at once")
		require.Contains(t, s.log.String(), "room-129", "whose event is lost can be seen")
	})
}

func TestEndWaitsForEventsAndHurries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		to := &receiver{}
		up := time.Now().Add(2 * time.Minute)
		to.answer = func(context.Context, post) (int, http.Header, error) {
			if time.Now().Before(up) {
				return 503, http.Header{"Retry-After": {"60"}}, nil
			}
			return http.StatusOK, nil, nil
		}
		s := newStand(t, to, nil)
		s.life("lobby")
		time.Sleep(121 * time.Second) // fake time
		start := time.Now()
		require.Zero(t, s.Close(t.Context()))
		require.LessOrEqual(t, time.Since(start), time.Second, "not the pause that was under way")
		s.requireCounted(t, "call.created delivered 1", "call.ringing delivered 1", "call.answered delivered 1", "call.ended delivered 1")
		s.change(notify.Ended, record("late"))
		require.Equal(t, 1, s.Close(t.Context()), "after the end nothing is taken")
		s.requireCounted(t, "call.created delivered 1", "call.ringing delivered 1", "call.answered delivered 1", "call.ended delivered 1", "call.ended shutdown 1")
	})
}

func TestEndIsBoundedAndTellsWhatIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		to := &receiver{answer: func(ctx context.Context, _ post) (int, http.Header, error) {
			<-ctx.Done()
			return 0, nil, ctx.Err()
		}}
		s := newStand(t, to, func(o *notify.Options) { o.Timeout = time.Minute })
		s.life("lobby")
		s.change(notify.Created, record("other"))
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		start := time.Now()
		require.Equal(t, 5, s.Close(ctx))
		require.Equal(t, 3*time.Second, time.Since(start))
		s.requireCounted(t, "call.created shutdown 2", "call.ringing shutdown 1", "call.answered shutdown 1", "call.ended shutdown 1")
		require.Contains(t, s.log.String(), "events=5")
	})
}

func TestLogShowsNoContentAndNoSecretOfTheURL(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		to := &receiver{answer: func(context.Context, post) (int, http.Header, error) { return 0, nil, errors.New("no route to host") }}
		s := newStand(t, to, nil)
		s.life("lobby")
		time.Sleep(time.Hour) // fake time
		synctest.Wait()
		require.Contains(t, s.log.String(), "url=https://app.example.com")
		require.Contains(t, s.log.String(), "no route to host")
		for _, hidden := range []string{"hush", "shh", "eyJ", secret, "lobby\"", "Caller", "caller"} {
			require.NotContains(t, s.log.String(), hidden)
		}
	})
}

// Over real HTTP: connections are used again, and a redirect leads nowhere.
func TestRealServer(t *testing.T) {
	t.Parallel()
	var (
		mu    sync.Mutex
		peers = map[string]bool{}
		got   []string
	)
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("followed a redirect") }))
	defer elsewhere.Close()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		e, err := webhook.ReceiveWebhookEvent(r, auth.NewSimpleKeyProvider(key, secret))
		if err != nil {
			t.Error(err)
		}
		mu.Lock()
		peers[r.RemoteAddr] = true
		got = append(got, e.GetEvent())
		mu.Unlock()
		if r.URL.Path == "/moved" {
			http.Redirect(w, r, elsewhere.URL, http.StatusPermanentRedirect)
			return
		}
		_, _ = w.Write([]byte("thank you"))
	}))
	defer server.Close()
	s := newStand(t, nil, func(o *notify.Options) { o.URLs = []string{server.URL + "/?x=1"} })
	s.life("lobby")
	require.Zero(t, s.Close(t.Context()))
	require.Equal(t, []string{"call.created", "call.ringing", "call.answered", "call.ended"}, got)
	require.Len(t, peers, 1)

	s = newStand(t, nil, func(o *notify.Options) { o.URLs = []string{server.URL + "/moved"} })
	s.change(notify.Created, record("lobby"))
	require.Zero(t, s.Close(t.Context()))
	s.requireCounted(t, "call.created refused 1")
	require.Contains(t, s.log.String(), "answered 308; redirects are not followed")
}

func TestNoOtherEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		to := &receiver{}
		s := newStand(t, to, nil)
		s.CallChanged("call.held", record("lobby"))
		require.Zero(t, s.Close(t.Context()))
		require.Empty(t, to.got())
		s.requireCounted(t)
		require.Contains(t, s.log.String(), "there is no such event")
	})
}

func TestURLsThatMayBe(t *testing.T) {
	for text, want := range map[string]string{
		"https://app.example.com/events?code=1": "",
		"https://10.0.0.7:8443":                 "",
		"http://localhost:3000/events":          "",
		"http://127.0.0.3/":                     "",
		"http://[::1]:3000":                     "",
		"http://app.example.com/":               "must begin with https:// unless",
		"http://10.0.0.7":                       "must begin with https:// unless",
		"http://localhost.example.com":          "must begin with https:// unless",
		"app.example.com":                       "must begin with https:// or http://",
		"ftp://app.example.com":                 "must begin with https:// or http://",
		"":                                      "must begin with https:// or http://",
		"https://":                              "names no host",
		"https://me:hush@app.example.com":       "must not hold a user or password",
		"https://app.example.com/#hush":         "must not have a fragment",
		"https://app.example.com:99999":         "the port is not",
		"https://app.example.com/hush\x7f":      "must begin with https:// or http://",
	} {
		err := notify.CheckURL(text, false)
		if want == "" {
			require.NoError(t, err, text)
			continue
		}
		require.ErrorContains(t, err, want, text)
		require.NotContains(t, err.Error(), "hush")
	}
	require.NoError(t, notify.CheckURL("http://app.example.com", true))
	_, err := notify.New(notify.Options{
		URLs: []string{target, "http://me:hush@x"}, Registerer: prometheus.NewRegistry(), Logger: slog.New(slog.DiscardHandler),
	})
	require.ErrorContains(t, err, "url 2 of the events: must not hold")
}
