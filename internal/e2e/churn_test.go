package e2e_test

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/pkg/fakemeta"
)

const (
	// churnAtOnce is how many calls there are at a time, half in each direction.
	churnAtOnce = 10
	churnRounds = 20
)

// Two hundred calls leave nothing: no goroutine, no socket, no other file, no call at Meta. The test is not parallel, so
// that what is counted is its own.
func TestTwoHundredCallsLeaveNothing(t *testing.T) {
	w := newWorld(t, worldOptions{meta: func(o *fakemeta.Options) {
		o.Timing.Connect, o.Timing.Ringing = 50*time.Millisecond, 100*time.Millisecond
	}})
	a := w.newApplication(func(a *application) { a.connect = options{"waitUntilAnswered": true} })
	c := churn{world: w, app: a, graph: portOf(t, w.meta.GraphURL())}
	c.round() // what is made once and kept
	before, others := settled(t, 20, func() []stack { return goroutines(t) }), counted(c.counts)
	for range churnRounds {
		c.round()
	}
	require.Less(t, c.failed, c.made/2, "most calls were whole")
	w.noSocketLeft()
	until(t, func() string {
		if n := counted(c.counts); n > others {
			return fmt.Sprintf("%d files, %d before: %v", n, others, openFiles())
		}
		if n := counted(c.pooled); n > 2*churnAtOnce {
			return fmt.Sprintf("%d ends of connections to Meta", n)
		}
		if now := goroutines(t); total(now) > total(before) {
			return fmt.Sprintf("%d goroutines, %d before:\n\n%s", total(now), total(before), more(before, now))
		}
		return ""
	})
	for _, direction := range []string{"inbound", "outbound"} {
		w.shows(fmt.Sprintf("livekit_connector_calls_active{direction=%q}", direction), 0)
	}
}

// churn makes calls and ends them.
type churn struct {
	*world
	app   *application
	graph int // Meta's port
	// made are the calls so far, and failed those of them that this machine did not set up within the eight seconds that an
	// SDK leaves: they are over, and may leave nothing either.
	made, failed int
}

// round makes calls in both directions at once; half of each the user hangs up, half the business.
func (c *churn) round() {
	t := c.t
	t.Helper()
	users := make([]*fakemeta.User, churnAtOnce)
	dialled := make([]error, churnAtOnce)
	calls := make([]*fakemeta.Call, churnAtOnce)
	var dialling sync.WaitGroup
	for i := range users {
		c.made++
		number := fmt.Sprintf("1555%07d", c.made)
		users[i] = c.meta.User(number)
		if i%2 == 0 {
			var err error
			calls[i], err = users[i].Call(wait(t), numberID)
			require.NoError(t, err)
			continue
		}
		dialling.Go(func() {
			dialled[i] = c.do("dial", dialRequest().with(options{"whatsappToPhoneNumber": number}))
		})
	}
	dialling.Wait()
	over := make([]bool, churnAtOnce)
	for i, user := range users {
		if i%2 == 0 {
			if err := c.app.wait("accept", calls[i].ID()).err; err != nil {
				require.True(t, begunAndFailed(err), err)
				over[i] = true
				c.failed++
			}
			continue
		}
		require.NoError(t, dialled[i])
		var err error
		calls[i], err = user.NextCall(wait(t))
		require.NoError(t, err)
		require.NoError(t, calls[i].Wait(wait(t), fakemeta.StateRinging))
		require.NoError(t, calls[i].PickUp())
	}
	for i, call := range calls {
		if over[i] {
			continue
		}
		if i%2 == 1 {
			require.NoError(t, c.app.wait("connect", call.ID()).err)
		}
		if i%4 < 2 {
			require.NoError(t, call.HangUp())
			continue
		}
		require.NoError(t, c.do("disconnect", options{"whatsappCallId": call.ID(), "whatsappApiKey": metaToken}))
	}
	for _, call := range calls {
		requireOver(t, call)
	}
	require.NoError(t, c.world.app.Node().WaitEmpty(wait(t)))
	require.Zero(t, c.meta.ActiveCalls())
	c.noGoroutineLeft()
	http.DefaultClient.CloseIdleConnections() // of the SDKs, the application's and the connector's
}

// do makes a request and ends its context, which the Go SDK keeps a goroutine for.
func (c *churn) do(method string, args options) error {
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	_, err := c.app.sdk.do(ctx, method, args)
	return err
}

// pooled are the connections between the connector and Meta. The connector keeps some in reserve, at most one for each
// call there was at a time; both ends of each are in this process.
func (c *churn) pooled(f file) bool { return f.connection() && f.between(c.graph) }

// counts are the files that there may not be more of. Nothing varies in their number, now that the SDKs' connections are
// closed.
func (c *churn) counts(f file) bool { return !c.pooled(f) && !f.udp() }

func portOf(t *testing.T, address string) int {
	t.Helper()
	u, err := url.Parse(address)
	require.NoError(t, err)
	port, err := strconv.Atoi(u.Port())
	require.NoError(t, err)
	return port
}
