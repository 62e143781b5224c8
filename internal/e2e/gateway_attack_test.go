package e2e_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/internal/app"
	"github.com/livekit-connector/livekit-connector/internal/livekittest"
	"github.com/livekit-connector/livekit-connector/pkg/fakemeta"
	"github.com/livekit-connector/livekit-connector/pkg/whatsapp"
)

// post sends a webhook that the app signed, and returns the status of the answer; zero, and a failed test, without one.
func (g *gateway) post(body []byte, change ...func(*http.Request)) int {
	g.t.Helper()
	ctx, cancel := context.WithTimeout(g.t.Context(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, g.url+"/webhook", bytes.NewReader(body))
	if err != nil {
		g.t.Error(err)
		return 0
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set(whatsapp.SignatureHeader, fakemeta.Signature(body, appSecret))
	for _, c := range change {
		c(req)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		g.t.Error(err)
		return 0
	}
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, res.Body)
	return res.StatusCode
}

// withheld places a call of which the connector hears nothing that it believes, and returns the webhook that it should
// have got.
func (g *gateway) withheld() (*fakemeta.Call, []byte) {
	g.t.Helper()
	g.meta.SetDelivery(fakemeta.Delivery{WrongSignature: true})
	events := g.meta.Events()
	defer events.Close()
	c, err := g.meta.User(userNumber).Call(wait(g.t), numberID)
	require.NoError(g.t, err)
	e, err := events.Next(wait(g.t))
	require.NoError(g.t, err)
	g.meta.SetDelivery(fakemeta.Delivery{})
	return c, e.Body
}

// half sends half a webhook with the signature of all of it.
func (g *gateway) half(body []byte) int {
	g.t.Helper()
	conn, err := (&net.Dialer{}).DialContext(wait(g.t), "tcp", strings.TrimPrefix(g.url, "http://"))
	require.NoError(g.t, err)
	defer conn.Close()
	require.NoError(g.t, conn.SetDeadline(time.Now().Add(patience)))
	_, err = fmt.Fprintf(conn, "POST /webhook HTTP/1.1\r\nHost: x\r\n%s: %s\r\nContent-Length: %d\r\n\r\n%s",
		whatsapp.SignatureHeader, fakemeta.Signature(body, appSecret), len(body), body[:len(body)/2])
	require.NoError(g.t, err)
	require.NoError(g.t, conn.(*net.TCPConn).CloseWrite())
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	require.NoError(g.t, err)
	require.NoError(g.t, res.Body.Close())
	return res.StatusCode
}

func TestGatewayBrokenWebhooksDoNothing(t *testing.T) {
	t.Parallel()
	g := newGateway(t, "gateway-broken", worldOptions{}, into("gateway-broken"))
	c, body := g.withheld()

	require.Equal(t, http.StatusBadRequest, g.half(body), "truncated")
	require.Equal(t, http.StatusForbidden, g.post(body[:len(body)/2], func(r *http.Request) {
		r.Header.Set(whatsapp.SignatureHeader, fakemeta.Signature(body, appSecret))
	}), "truncated, and its length fits")
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	_, err := z.Write(body)
	require.NoError(t, err)
	require.NoError(t, z.Close())
	require.Equal(t, http.StatusUnsupportedMediaType, g.post(zipped.Bytes(), func(r *http.Request) {
		r.Header.Set("Content-Encoding", "gzip")
		r.Header.Set(whatsapp.SignatureHeader, fakemeta.Signature(body, appSecret))
	}))
	huge := append(bytes.Repeat([]byte(" "), whatsapp.MaxWebhookSize), body...)
	require.Equal(t, http.StatusRequestEntityTooLarge, g.post(huge))
	require.Zero(t, g.app.Node().Calls())
	require.Equal(t, fakemeta.StateOffered, c.State())

	large := append(bytes.Repeat([]byte(" "), whatsapp.MaxWebhookSize-len(body)), body...)
	require.Equal(t, http.StatusOK, g.post(large), "as large as may be, and nothing of the others was remembered")
	require.NoError(t, c.Wait(wait(t), fakemeta.StateActive))
	require.NoError(t, c.HangUp())
	g.over(c)
}

// Somebody recorded a webhook and sends it again, many times at once, and after the call.
func TestGatewayRecordedWebhookIsReplayed(t *testing.T) {
	t.Parallel()
	g := newGateway(t, "gateway-replayed", worldOptions{}, into("gateway-replayed"))
	c, body := g.withheld()
	replay := func() {
		var posting sync.WaitGroup
		codes := make([]int, 20)
		for i := range codes {
			posting.Go(func() { codes[i] = g.post(body) })
		}
		posting.Wait()
		for _, code := range codes {
			require.Equal(t, http.StatusOK, code)
		}
	}
	replay()
	require.NoError(t, c.Wait(wait(t), fakemeta.StateActive))
	_, err := g.listener.Wait(wait(t), isCaller(livekittest.EventTrackPublished))
	require.NoError(t, err)
	replay()
	require.Equal(t, fakemeta.StateActive, c.State())
	require.Equal(t, 1, g.app.Node().Calls())
	require.NoError(t, c.HangUp())
	g.over(c)
	replay()
	g.metric(`livekit_connector_webhook_events_total{event="connect_inbound",outcome="duplicate"} 59`)
	require.Zero(t, g.app.Node().Calls())
	require.Equal(t, 1, g.listener.Count(isCaller(livekittest.EventJoined)))
	require.Empty(t, c.Report().Problems)
}

// An application's Accept took the last place: the gateway, which finds none, does not reject the call that it took.
func TestGatewayLeavesTheLastPlaceToAnApplication(t *testing.T) {
	t.Parallel()
	g := newGateway(t, "gateway-last-place", worldOptions{config: func(c *app.Config) { c.MaxActiveCalls = 1 }}, into("gateway-last-place"))
	c, body := g.withheld()
	sdk := newGoSDK(g.url, g.livekit.APIKey(), g.livekit.APISecret())
	_, err := sdk.do(wait(t), "accept", acceptRequest(c.ID(), c.Offer()).with(options{"roomName": g.room, "participantIdentity": "caller-app"}))
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, g.post(body))
	g.event("connect_inbound", "taken")
	require.Equal(t, fakemeta.StateActive, c.State())
	require.NoError(t, c.HangUp())
	g.over(c)
	require.Equal(t, "user", c.Report().EndedBy)
}

// strangers is a webhook about calls of another app of the same number.
func strangers(n int) []byte {
	id := fmt.Sprint("wacid.stranger-", n)
	what := []string{
		`"statuses":[{"id":"%s","timestamp":"1760681506","type":"call","status":"RINGING"}]`,
		`"statuses":[{"id":"%s","timestamp":"1760681506","type":"call","status":"ACCEPTED"}]`,
		`"calls":[{"id":"%s","event":"terminate","timestamp":"1760681533","status":"COMPLETED"}]`,
		`"calls":[{"id":"%s","event":"connect","direction":"BUSINESS_INITIATED","session":{"sdp":"v=0\r\n","sdp_type":"answer"}}]`,
	}[n%4]
	return fmt.Appendf(nil, `{"object":"whatsapp_business_account","entry":[{"id":"1","changes":[{"field":"calls","value":{`+
		`"metadata":{"phone_number_id":"%s"},%s}}]}]}`, numberID, fmt.Sprintf(what, id))
}

// flood posts 500 webhooks, a few at a time, and returns how often each status came.
func (g *gateway) flood(post func(i int) int) map[int]int {
	g.t.Helper()
	var mu sync.Mutex
	var posting sync.WaitGroup
	next, codes := make(chan int), make(map[int]int)
	for range 16 {
		posting.Go(func() {
			for i := range next {
				code := post(i)
				mu.Lock()
				codes[code]++
				mu.Unlock()
			}
		})
	}
	for i := range 500 {
		next <- i
	}
	close(next)
	posting.Wait()
	return codes
}

// Calls come through a flood of what is forged, what is not ours and what comes again and again.
func TestGatewayFlood(t *testing.T) {
	t.Parallel()
	g := newGateway(t, "gateway-flood", worldOptions{}, into("gateway-flood"))
	g.meta.SetDelivery(fakemeta.Delivery{Rules: []fakemeta.DeliveryRule{{Copies: 3}}, Parallel: true, Foreign: true})
	var floods sync.WaitGroup
	var forged, foreign map[int]int
	floods.Go(func() {
		forged = g.flood(func(i int) int {
			return g.post(strangers(i), func(r *http.Request) {
				r.Header.Set(whatsapp.SignatureHeader, fakemeta.Signature([]byte("x"), appSecret))
			})
		})
	})
	floods.Go(func() { foreign = g.flood(func(i int) int { return g.post(strangers(i)) }) })
	var calls []*fakemeta.Call
	for i := range 5 {
		c, err := g.meta.User(fmt.Sprintf("1555000300%d", i)).Call(wait(t), numberID)
		require.NoError(t, err)
		calls = append(calls, c)
	}
	for _, c := range calls {
		require.NoError(t, c.Wait(wait(t), fakemeta.StateActive))
	}
	floods.Wait()
	require.Equal(t, map[int]int{http.StatusForbidden: 500}, forged)
	require.Equal(t, map[int]int{http.StatusOK: 500}, foreign)
	require.Equal(t, len(calls), g.app.Node().Calls())
	for _, c := range calls {
		heardAtLeast(t, c, 10)
		require.NoError(t, c.HangUp())
		requireOver(t, c)
		require.Empty(t, c.Report().Problems)
	}
	g.nothingLeft(g.room)
	require.Equal(t, len(calls), g.listener.Count(isCaller(livekittest.EventJoined)))
}

// awaiting is a rule whose calls wait for an agent that never comes.
const awaiting = "rules:\n  - room: {name: \"nobody-{random}\"}\n    wait_until_answered: true\n    ringing_timeout: 55s\n"

// waiting places calls that wait for their agent.
func (g *gateway) waiting(n int) (calls []*fakemeta.Call) {
	g.t.Helper()
	for i := range n {
		c, err := g.meta.User(fmt.Sprintf("1555000400%d", i)).Call(wait(g.t), numberID)
		require.NoError(g.t, err)
		calls = append(calls, c)
	}
	for _, c := range calls {
		require.NoError(g.t, c.Wait(wait(g.t), fakemeta.StatePreAccepted))
	}
	return calls
}

func TestGatewaySlowCallsHoldUpNoOtherEvent(t *testing.T) {
	t.Parallel()
	g := newGateway(t, "gateway-slow", worldOptions{
		config: func(c *app.Config) { c.SetupTimeout = time.Minute },
		meta:   func(o *fakemeta.Options) { o.Timing.AcceptWindow = 2 * patience },
	}, awaiting)
	slow := g.waiting(8)
	g.metric("livekit_connector_webhook_queue_length 8")
	codes := g.flood(func(i int) int { return g.post(strangers(i)) })
	require.Equal(t, map[int]int{http.StatusOK: 500}, codes)
	g.metric("livekit_connector_webhook_queue_length 8")

	c := g.dialled()
	g.event("connect_outbound", "done")
	require.NoError(t, c.PickUp())
	_, err := g.listener.Wait(wait(t), livekittest.Is(livekittest.EventTrackPublished, "callee"))
	require.NoError(t, err)
	heardAtLeast(t, c, 10)
	require.NoError(t, c.HangUp())
	requireOver(t, c)
	for _, c := range slow {
		require.Equal(t, fakemeta.StatePreAccepted, c.State(), "still at it")
		require.NoError(t, c.HangUp())
		requireOver(t, c)
	}
	g.nothingLeft(g.room)
	g.metric("livekit_connector_webhook_queue_length 0")
}

// The queue is as full as it may be: Meta is asked to come again, and who hangs up makes room.
func TestGatewayQueueFullOfSlowCalls(t *testing.T) {
	t.Parallel()
	g := newGateway(t, "gateway-full-queue", worldOptions{
		config: func(c *app.Config) { c.SetupTimeout, c.Webhook.QueueSize = time.Minute, 4 },
		meta:   func(o *fakemeta.Options) { o.Timing.AcceptWindow = 2 * patience },
	}, awaiting)
	slow := g.waiting(4)
	codes := g.flood(func(i int) int { return g.post(strangers(i)) })
	require.Equal(t, map[int]int{http.StatusServiceUnavailable: 500}, codes)
	for _, c := range slow {
		require.Equal(t, fakemeta.StatePreAccepted, c.State())
		require.NoError(t, c.HangUp())
		requireOver(t, c)
	}
	g.nothingLeft(g.room)
	g.metric("livekit_connector_webhook_queue_length 0")
	for i := range 4 {
		require.Equal(t, http.StatusOK, g.post(strangers(i)), "what was refused was not remembered")
	}
	g.metric(`livekit_connector_webhook_events_total{event="terminate",outcome="unknown_call"} 1`)
}
