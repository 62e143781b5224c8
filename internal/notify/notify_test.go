package notify_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/livekit/protocol/auth"
	"github.com/livekit/protocol/livekit"
	"github.com/livekit/protocol/webhook"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/livekit-connector/livekit-connector/internal/leaks"
	"github.com/livekit-connector/livekit-connector/internal/notify"
	"github.com/livekit-connector/livekit-connector/proto/connectorpb"
)

func TestMain(m *testing.M) { leaks.Main(m) }

const (
	key    = "devkey"
	secret = "a secret that is as long as they should be"
	target = "https://app.example.com/hooks/shh?token=hush"
)

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
