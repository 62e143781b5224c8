package notify_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/livekit/protocol/auth"
	"github.com/livekit/protocol/webhook"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/internal/notify"
	"github.com/livekit-connector/livekit-connector/internal/outbound"
	"github.com/livekit-connector/livekit-connector/internal/pipes"
)

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
		up := time.Now().Add(2*time.Minute + 500*time.Millisecond) // after the third attempt
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

// In fake time, because net/http drops a connection whose request is not noted as written within 50 ms.
func TestConnectionsAreUsedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := pipes.New()
		server := &httptest.Server{Listener: p, Config: &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte("thank you"))
		})}}
		server.Start()
		defer server.Close()
		own := outbound.NewTransport(16, time.Minute)
		own.DialContext = p.Dial
		defer own.CloseIdleConnections()
		s := newStand(t, nil, func(o *notify.Options) { o.URLs, o.Transport = []string{"http://127.0.0.1:3000/"}, own })
		s.life("lobby")
		require.Zero(t, s.Close(t.Context()))
		s.requireCounted(t, "call.created delivered 1", "call.ringing delivered 1", "call.answered delivered 1", "call.ended delivered 1")
		require.Equal(t, 1, p.Dials())
	})
}

// Over a real network a redirect leads nowhere.
func TestRealServer(t *testing.T) {
	var (
		mu  sync.Mutex
		got []string
	)
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("followed a redirect") }))
	defer elsewhere.Close()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		e, err := webhook.ReceiveWebhookEvent(r, auth.NewSimpleKeyProvider(key, secret))
		if err != nil {
			t.Error(err)
		}
		mu.Lock()
		got = append(got, e.GetEvent())
		mu.Unlock()
		if r.URL.Path == "/moved" {
			http.Redirect(w, r, elsewhere.URL, http.StatusPermanentRedirect)
			return
		}
		_, _ = w.Write([]byte("thank you"))
	}))
	defer server.Close()
	patient := func(path string) func(*notify.Options) { // a second try would be a second event
		return func(o *notify.Options) { o.URLs, o.Timeout = []string{server.URL + path}, time.Minute }
	}
	s := newStand(t, nil, patient("/?x=1"))
	s.life("lobby")
	require.Zero(t, s.Close(t.Context()))
	require.Equal(t, []string{"call.created", "call.ringing", "call.answered", "call.ended"}, got)

	s = newStand(t, nil, patient("/moved"))
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

func TestAURLThatMayNotBeIsNamedByItsPlace(t *testing.T) {
	_, err := notify.New(notify.Options{
		URLs: []string{target, "http://me:hush@x"}, Registerer: prometheus.NewRegistry(), Logger: slog.New(slog.DiscardHandler),
	})
	require.ErrorContains(t, err, "url 2 of the events: must not hold")
	require.NotContains(t, err.Error(), "hush")
}
