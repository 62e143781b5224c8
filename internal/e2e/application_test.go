package e2e_test

import (
	"context"
	"sync"

	"github.com/livekit-connector/livekit-connector/pkg/fakemeta"
)

// application is what a user of the connector writes today: a webhook handler that passes Meta's events on.
type application struct {
	w   *world
	sdk sdk
	// accept and connect are merged into the requests.
	accept, connect options
	// deaf to the end of calls: the terminate webhook is not passed on.
	ignoreTerminate bool

	mu      sync.Mutex
	answers []answered
	changed chan struct{} // closed and replaced at every answer
}

// answered is one request that the application made, and what came of it.
type answered struct {
	method, callID string
	res            options
	err            error
}

// run serves webhooks until the test ends. Requests are made side by side, as a webhook server makes them.
func (a *application) run() {
	a.changed = make(chan struct{})
	events := a.w.meta.Events()
	ctx, cancel := context.WithCancel(context.Background())
	var working sync.WaitGroup
	working.Go(func() {
		for {
			e, err := events.Next(ctx)
			if err != nil {
				return
			}
			for _, c := range e.Calls() {
				working.Go(func() { a.handle(ctx, c) })
			}
		}
	})
	a.w.t.Cleanup(func() {
		cancel()
		events.Close()
		working.Wait()
	})
}

func (a *application) handle(ctx context.Context, c fakemeta.CallEvent) {
	switch {
	case c.Event == "connect" && c.Direction == "USER_INITIATED":
		a.do(ctx, "accept", c.ID, acceptRequest(c.ID, c.Session.SDP).with(a.accept))
	case c.Event == "connect":
		a.do(ctx, "connect", c.ID, options{
			"whatsappCallId": c.ID, "sdp": options{"type": "answer", "sdp": c.Session.SDP},
		}.with(a.connect))
	case c.Event == "terminate" && !a.ignoreTerminate:
		a.do(ctx, "disconnect", c.ID, options{"whatsappCallId": c.ID, "disconnectReason": "USER_INITIATED"})
	}
}

func (a *application) do(ctx context.Context, method, callID string, args options) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // the Go SDK keeps a goroutine until then
	res, err := a.sdk.do(ctx, method, args)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.answers = append(a.answers, answered{method: method, callID: callID, res: res, err: err})
	close(a.changed)
	a.changed = make(chan struct{})
}

// wait returns the answer to the first request of that kind for a call.
func (a *application) wait(method, callID string) answered {
	a.w.t.Helper()
	ctx := wait(a.w.t)
	for {
		a.mu.Lock()
		changed := a.changed
		for _, got := range a.answers {
			if got.method == method && got.callID == callID {
				a.mu.Unlock()
				return got
			}
		}
		a.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			a.w.t.Fatalf("no answer to %s", method)
		}
	}
}

// waitAll returns the first n answers to requests of that kind for a call.
func (a *application) waitAll(method, callID string, n int) []answered {
	a.w.t.Helper()
	ctx := wait(a.w.t)
	for {
		var all []answered
		a.mu.Lock()
		changed := a.changed
		for _, got := range a.answers {
			if got.method == method && got.callID == callID {
				all = append(all, got)
			}
		}
		a.mu.Unlock()
		if len(all) >= n {
			return all[:n]
		}
		select {
		case <-changed:
		case <-ctx.Done():
			a.w.t.Fatalf("%d of %d answers to %s", len(all), n, method)
		}
	}
}

// acceptRequest is the least that an application says to take a call.
func acceptRequest(callID, offer string) options {
	return options{
		"whatsappPhoneNumberId": numberID, "whatsappApiKey": metaToken, "whatsappCloudApiVersion": "24.0",
		"whatsappCallId": callID, "sdp": options{"type": "offer", "sdp": offer},
	}
}

// dialRequest is the least that an application says to place a call.
func dialRequest() options {
	return options{
		"whatsappPhoneNumberId": numberID, "whatsappApiKey": metaToken, "whatsappCloudApiVersion": "24.0",
		"whatsappToPhoneNumber": userNumber,
	}
}

// newApplication starts an application that speaks the Go SDK.
func (w *world) newApplication(change func(*application)) *application {
	a := &application{w: w, sdk: newGoSDK(w.url, w.livekit.APIKey(), w.livekit.APISecret())}
	if change != nil {
		change(a)
	}
	a.run()
	return a
}
