package fakemeta

import (
	"io"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// application takes webhooks without a network and acknowledges each when it returns.
type application func(body string)

// RoundTrip implements http.RoundTripper.
func (a application) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	a(string(body))
	return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody, Request: r}, nil
}

// inFakeTimeWith is inFakeTime with a number whose webhooks go to a.
func inFakeTimeWith(t *testing.T, a application, o Options, f func(*bench)) {
	t.Helper()
	o.WebhookClient = &http.Client{Transport: a}
	inFakeTime(t, o, func(b *bench) {
		require.NoError(b, b.AddNumber(Number{
			PhoneNumberID: "1000", DisplayNumber: "15550001111", AccessToken: "t", AppSecret: "s", WebhookURL: "http://application.invalid/",
		}))
		f(b)
	})
}

func TestBatch(t *testing.T) {
	var requests []string
	inFakeTimeWith(t, func(body string) { requests = append(requests, body) }, Options{AllowSecondCall: true}, func(b *bench) {
		b.SetDelivery(Delivery{BatchWindow: time.Second, Parallel: true})
		for range 2 {
			require.NoError(b, b.outbound().PickUp())
		}
		e, err := b.events.Next(b.Context())
		require.NoError(b, err)
		require.Len(b, e.Calls(), 2, "connect of both calls in one request")
		require.Len(b, e.Statuses(), 4, "and RINGING and ACCEPTED")
		require.Greater(b, len(e.Payload.Entry), 1)
		merged := false
		for _, entry := range e.Payload.Entry {
			v := entry.Changes[0].Value
			merged = merged || len(v.Calls) > 1 || len(v.Statuses) > 1
			require.LessOrEqual(b, len(v.Contacts), 1)
		}
		require.True(b, merged)
		synctest.Wait()
		require.Equal(b, []string{string(e.Body)}, requests)
	})
}

func TestConnectWebhookBeforeTheResponse(t *testing.T) {
	for took, waited := range map[time.Duration]time.Duration{
		900 * time.Millisecond: 900 * time.Millisecond, 5 * time.Second: time.Second,
	} {
		var acknowledged atomic.Bool
		inFakeTimeWith(t, func(string) {
			time.Sleep(took) // fake time
			acknowledged.Store(true)
		}, Options{}, func(b *bench) {
			b.SetDelivery(Delivery{ConnectBeforeResponse: true})
			begin := time.Now()
			b.outbound()
			require.Equal(b, waited, time.Since(begin))
			require.Equal(b, took == waited, acknowledged.Load(), "acknowledged before the caller knew his call")
			e, err := b.events.Next(b.Context())
			require.NoError(b, err)
			require.Equal(b, "connect", e.Calls()[0].Event)
		})
	}
}
