package webhook_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/internal/webhook"
	"github.com/livekit-connector/livekit-connector/pkg/whatsapp"
)

// receivers are the servers to which webhooks are passed on, without a network.
type receivers struct {
	mu     sync.Mutex
	got    []received
	answer func(ctx context.Context, r received) (int, error) // nil: 200
}

type received struct {
	url    string
	header http.Header
	body   string
	at     time.Time
}

func (r *receivers) RoundTrip(req *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return nil, err
	}
	one := received{url: req.URL.String(), header: req.Header, body: string(body), at: time.Now()}
	r.mu.Lock()
	r.got = append(r.got, one)
	r.mu.Unlock()
	status := http.StatusOK
	if r.answer != nil {
		if status, err = r.answer(req.Context(), one); err != nil {
			return nil, err
		}
	}
	return &http.Response{
		StatusCode: status, Body: io.NopCloser(strings.NewReader("x")), Request: req,
		Header: http.Header{"Location": []string{"https://elsewhere.example/"}},
	}, nil
}

func (r *receivers) all() []received {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]received(nil), r.got...)
}

const botURL = "https://bot.example/hook?key=s3cret"

func forwarding(r *receivers, forwards ...webhook.Forward) func(*webhook.Options) {
	return func(o *webhook.Options) { o.ForwardTransport, o.Forwards = r, forwards }
}

func TestWhatSaysNothingIsTakenAndNotPassedOn(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := &receivers{}
		s := newStand(t, forwarding(r, webhook.Forward{URL: botURL}))
		require.Equal(t, http.StatusOK, s.post(whatsapp.NothingHappened))
		synctest.Wait()
		require.Empty(t, r.all())
	})
}

func TestForwardIsIntact(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := &receivers{}
		s := newStand(t, forwarding(r, webhook.Forward{URL: botURL, Secret: "mine"}))
		body := strings.Replace(envelope(numberID, statuses(status("wamid.A", "read"))), "{", "{\n \"x\": \"\\u00e9\\/\",", 1)
		require.Equal(t, http.StatusOK, s.post(body, header("X-Hub-Signature", "sha1=00"), header("Authorization", "no"), header("Cookie", "no")))
		synctest.Wait()
		require.Len(t, r.all(), 1)
		got := r.all()[0]
		require.Equal(t, botURL, got.url)
		require.Equal(t, body, got.body)
		require.NoError(t, whatsapp.VerifySignature([]byte(got.body), got.header.Get(whatsapp.SignatureHeader), appSecret))
		require.Equal(t, "sha1=00", got.header.Get("X-Hub-Signature"))
		require.Equal(t, "application/json", got.header.Get("Content-Type"))
		require.Empty(t, got.header.Get("Authorization")+got.header.Get("Cookie"))
		at := got.header.Get(webhook.HeaderTimestamp)
		require.Equal(t, now(), at)
		require.Equal(t, webhook.SignForward([]byte(body), at, "mine"), got.header.Get(webhook.HeaderSignature))
		require.NotEqual(t, webhook.SignForward([]byte(body), at, "other"), got.header.Get(webhook.HeaderSignature))
		require.Equal(t, 1, s.count("webhook_forwards_total", "done"))
	})
}

func TestForwardGoesToWhomItConcerns(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := &receivers{}
		s := newStand(t, forwarding(r, webhook.Forward{URL: "https://all.example/"},
			webhook.Forward{URL: "https://bot.example/", Fields: []string{"messages", "account_update"}}))
		s.post(envelope(numberID, calls(offer(callID))))
		s.post(marshal(object{"object": "whatsapp_business_account", "entry": []object{{"changes": []object{
			{"field": "calls", "value": object{}}, {"field": "messages", "value": object{"messages": []object{}}},
		}}}}))
		s.post(`{"object":"page"}`)
		require.Equal(t, http.StatusForbidden, s.post("forged", header(whatsapp.SignatureHeader, whatsapp.Sign(nil, "x"))))
		synctest.Wait()
		count := map[string]int{}
		for _, got := range r.all() {
			count[got.url]++
			require.Empty(t, got.header.Get(webhook.HeaderSignature), "no secret, no signature")
		}
		require.Equal(t, map[string]int{"https://all.example/": 3, "https://bot.example/": 1}, count)
	})
}

func TestForwardIsRepeated(t *testing.T) {
	for name, fail := range map[string]func(context.Context, received) (int, error){
		"no connection": func(context.Context, received) (int, error) { return 0, errors.New("connection refused") },
		"server error":  func(context.Context, received) (int, error) { return http.StatusInternalServerError, nil },
		"not found":     func(context.Context, received) (int, error) { return http.StatusNotFound, nil },
		"no answer": func(ctx context.Context, _ received) (int, error) {
			<-ctx.Done()
			return 0, ctx.Err()
		},
		"redirect": func(context.Context, received) (int, error) { return http.StatusTemporaryRedirect, nil },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				r := &receivers{}
				tries := 0
				r.answer = func(ctx context.Context, got received) (int, error) {
					if tries++; tries < 4 {
						return fail(ctx, got)
					}
					return http.StatusNoContent, nil
				}
				s := newStand(t, forwarding(r, webhook.Forward{URL: botURL, Secret: "mine"}))
				s.post(envelope(numberID))
				time.Sleep(time.Minute) // fake time
				synctest.Wait()
				all := r.all()
				require.Len(t, all, 4)
				for i, got := range all {
					require.Equal(t, botURL, got.url, "redirects are not followed")
					require.Equal(t, all[0].header.Get(webhook.HeaderDelivery), got.header.Get(webhook.HeaderDelivery))
					require.Equal(t, webhook.SignForward([]byte(got.body), got.header.Get(webhook.HeaderTimestamp), "mine"), got.header.Get(webhook.HeaderSignature))
					if i > 1 && name != "no answer" {
						require.Greater(t, got.at.Sub(all[i-1].at), all[i-1].at.Sub(all[i-2].at)/2, "ever longer")
					}
				}
				require.Equal(t, 3, s.count("webhook_forwards_total", "retried"))
				require.Equal(t, 1, s.count("webhook_forwards_total", "done"))
				require.Equal(t, 1, strings.Count(s.log.String(), "level=WARN"), "one line when it begins")
				require.Contains(t, s.log.String(), "passed on again")
				require.NotContains(t, s.log.String(), "s3cret")
			})
		})
	}
}

func TestForwardThatNeverSucceedsIsGivenUp(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := &receivers{answer: func(context.Context, received) (int, error) { return http.StatusBadGateway, nil }}
		s := newStand(t, forwarding(r, webhook.Forward{URL: botURL}))
		s.post(envelope(numberID))
		time.Sleep(time.Hour) // fake time
		synctest.Wait()
		require.Len(t, r.all(), 10)
		require.Equal(t, 1, s.count("webhook_forwards_total", "failed"))
		require.Zero(t, s.count("webhook_forward_queue_length"))
	})
}

// Nothing that a receiver does reaches calls or Meta.
func TestForwardsNeverHoldUpCalls(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := &receivers{answer: func(ctx context.Context, _ received) (int, error) { <-ctx.Done(); return 0, ctx.Err() }}
		s := newStand(t, forwarding(r, webhook.Forward{URL: botURL}))
		began := time.Now()
		for range 1100 {
			require.Equal(t, http.StatusOK, s.post(envelope(numberID, statuses(object{"id": "wamid.A", "status": "read", "type": "message"}))))
		}
		s.post(envelope(numberID, calls(offer(callID))))
		synctest.Wait()
		require.Zero(t, time.Since(began))
		require.Equal(t, 1, s.count("webhook_events_total", "connect_inbound", "done"))
		dropped := s.count("webhook_forwards_total", "dropped")
		require.NotZero(t, dropped)
		require.Equal(t, 1101, dropped+s.count("webhook_forward_queue_length"))
		require.LessOrEqual(t, s.count("webhook_forward_queue_length"), 1008)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.ErrorContains(t, s.Close(ctx), "webhooks not passed on")
		require.Equal(t, 1101, dropped+s.count("webhook_forwards_total", "left"))
		require.Contains(t, s.log.String(), "were not passed on before the end")
	})
}

func TestForwardMemoryIsBounded(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := &receivers{answer: func(ctx context.Context, _ received) (int, error) { <-ctx.Done(); return 0, ctx.Err() }}
		s := newStand(t, forwarding(r, webhook.Forward{URL: botURL}))
		big := strings.Repeat("x", 3<<20) // no JSON: that of so many bytes takes long to read under the race detector
		for range 25 {
			require.Equal(t, http.StatusOK, s.post(big))
		}
		require.Equal(t, 21, s.count("webhook_forward_queue_length"), "64 MB")
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		require.Error(t, s.Close(ctx))
	})
}

// Webhooks that wait for another try are in nobody's way, however many there are.
func TestForwardsThatWaitForAnotherTryHoldUpNothing(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := &receivers{answer: func(_ context.Context, got received) (int, error) {
			if strings.Contains(got.body, "poison") {
				return http.StatusInternalServerError, nil
			}
			return http.StatusOK, nil
		}}
		s := newStand(t, forwarding(r, webhook.Forward{URL: botURL}))
		for range 100 {
			s.post(`{"object":"whatsapp_business_account","x":"poison"}`)
		}
		synctest.Wait()
		began := time.Now()
		for range 900 {
			s.post(envelope(numberID))
		}
		synctest.Wait()
		require.Zero(t, time.Since(began))
		require.Equal(t, 900, s.count("webhook_forwards_total", "done"))
		require.Equal(t, 100, s.count("webhook_forward_queue_length"), "they count all the same")
		time.Sleep(time.Hour) // fake time
		require.Equal(t, 100, s.count("webhook_forwards_total", "failed"))
		require.Len(t, r.all(), 900+100*10)
		require.Zero(t, s.count("webhook_forward_queue_length"))
	})
}

func TestForwardThatWaitsIsTriedOnceMoreAtTheEnd(t *testing.T) {
	bubble(t, func(t *testing.T) {
		good := false
		r := &receivers{answer: func(context.Context, received) (int, error) {
			if good {
				return http.StatusOK, nil
			}
			return http.StatusInternalServerError, nil
		}}
		s := newStand(t, forwarding(r, webhook.Forward{URL: botURL}))
		s.post(envelope(numberID))
		synctest.Wait()
		good = true
		require.NoError(t, s.Close(t.Context()))
		require.Equal(t, 1, s.count("webhook_forwards_total", "done"))
		time.Sleep(time.Hour) // fake time
		require.Len(t, r.all(), 2)
	})
}

// A receiver that answers is asked to judge a webhook once.
func TestForwardThatIsRefusedIsNotRepeated(t *testing.T) {
	for status, tries := range map[int]int{400: 1, 413: 1, 422: 1, 401: 10, 404: 10, 408: 10, 425: 10, 429: 10} {
		bubble(t, func(t *testing.T) {
			r := &receivers{answer: func(context.Context, received) (int, error) { return status, nil }}
			s := newStand(t, forwarding(r, webhook.Forward{URL: botURL}))
			s.post(envelope(numberID))
			time.Sleep(time.Hour) // fake time
			synctest.Wait()
			require.Len(t, r.all(), tries, status)
			require.Equal(t, 1, s.count("webhook_forwards_total", "failed"))
			require.Equal(t, 1, strings.Count(s.log.String(), "level=WARN"))
		})
	}
}

// One webhook that a receiver cannot take does not hold up the others.
func TestForwardsOvertakeOneThatFails(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := &receivers{answer: func(_ context.Context, got received) (int, error) {
			if strings.Contains(got.body, "poison") {
				return http.StatusInternalServerError, nil
			}
			return http.StatusOK, nil
		}}
		s := newStand(t, forwarding(r, webhook.Forward{URL: botURL}))
		s.post(`{"object":"whatsapp_business_account","x":"poison"}`)
		synctest.Wait()
		began := time.Now()
		s.post(envelope(numberID))
		synctest.Wait()
		require.Zero(t, time.Since(began))
		require.Equal(t, 1, s.count("webhook_forwards_total", "done"))
		require.ErrorContains(t, s.Close(t.Context()), "1 webhooks not passed on", "one more try at the end")
	})
}

func TestShutdownFinishesForwards(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := &receivers{answer: func(context.Context, received) (int, error) {
			time.Sleep(time.Second) // fake time
			return http.StatusOK, nil
		}}
		s := newStand(t, forwarding(r, webhook.Forward{URL: botURL}))
		for range 20 {
			s.post(envelope(numberID))
		}
		require.NoError(t, s.Close(t.Context()))
		require.Len(t, r.all(), 20)
	})
}

func TestForwardOverTheNetwork(t *testing.T) {
	got := make(chan string, 10) // one for each try
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got <- string(body)
	}))
	defer receiver.Close()
	s := newStand(t, func(o *webhook.Options) { o.Forwards = []webhook.Forward{{URL: receiver.URL}} })
	body := envelope(numberID)
	require.Equal(t, http.StatusOK, s.post(body))
	// Before the end, which leaves time for one try only.
	require.Eventually(t, func() bool { return s.count("webhook_forwards_total", "done") == 1 }, time.Minute, 5*time.Millisecond)
	require.Equal(t, body, <-got)
	require.NoError(t, s.Close(t.Context()))
}
