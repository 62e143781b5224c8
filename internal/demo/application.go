package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/livekit/protocol/livekit"
	lksdk "github.com/livekit/server-sdk-go/v2"
	"github.com/twitchtv/twirp"

	"github.com/livekit-connector/livekit-connector/pkg/whatsapp"
)

// The business and its users, all invented.
const (
	numberID       = "1000555000111"
	businessNumber = "15550001111"
	scriptedUser   = "15550002222"         // of the two calls at start
	handUser       = "15550003333"         // for calls by hand
	metaToken      = "EAAdemo-graph-token" //nolint:gosec // invented
	appSecret      = "demo-app-secret"     //nolint:gosec // invented
	verifyToken    = "demo-verify-token"   //nolint:gosec // invented
	graphVersion   = "24.0"
)

// agentName is what calls ask for; greetOnly is the job metadata of calls in which the agent must not echo.
const (
	agentName = "greeter"
	greetOnly = "greet only"
)

// What the application notes, where the timeline has to find it again.
const (
	notedAccept = "AcceptWhatsAppCall asked for, with the greeter, waiting until somebody is there"
	notedDial   = "DialWhatsAppCall asked for, with the greeter"
)

// application is what a user of the connector writes: a webhook for Meta that hands calls over with LiveKit's SDK.
type application struct {
	sdk     *lksdk.ConnectorClient
	notes   *notebook
	server  *http.Server
	url     string
	serving sync.WaitGroup
	working sync.WaitGroup  // one per event
	ctx     context.Context //nolint:containedctx // the lifetime of what webhooks set off
	cancel  context.CancelFunc
}

// startApplication opens the webhook on a free port. The SDK speaks to the connector.
func startApplication(sdk *lksdk.ConnectorClient, notes *notebook) (*application, error) {
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("open the application's webhook: %w", err)
	}
	a := &application{sdk: sdk, notes: notes, url: "http://" + l.Addr().String() + "/webhook"}
	a.ctx, a.cancel = context.WithCancel(context.Background())
	mux := http.NewServeMux()
	mux.HandleFunc("GET /webhook", a.verify)
	mux.HandleFunc("POST /webhook", a.receive)
	a.server = &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	a.serving.Go(func() { _ = a.server.Serve(l) }) // ends with ErrServerClosed
	return a, nil
}

// close stops listening and waits for what was begun.
func (a *application) close() error {
	err := a.server.Close()
	a.serving.Wait()
	a.cancel()
	a.working.Wait()
	return err
}

// verify answers the challenge that Meta sends when a webhook is registered.
func (a *application) verify(w http.ResponseWriter, r *http.Request) {
	challenge, err := whatsapp.ChallengeResponse(r.URL.Query(), verifyToken)
	if err != nil {
		http.Error(w, "refused", http.StatusForbidden)
		return
	}
	w.Header().Set("Content-Type", "text/plain")
	_, _ = io.WriteString(w, challenge) //nolint:gosec // plain text, and only Meta knows the token
}

// receive acknowledges a webhook at once and works on it afterwards: Meta repeats what is not acknowledged in time.
func (a *application) receive(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, whatsapp.MaxWebhookSize))
	if err != nil {
		http.Error(w, "unreadable", http.StatusBadRequest)
		return
	}
	if err = whatsapp.VerifySignature(body, r.Header.Get(whatsapp.SignatureHeader), appSecret); err != nil {
		http.Error(w, "not signed by Meta", http.StatusUnauthorized)
		return
	}
	n, err := whatsapp.Parse(body)
	if err != nil {
		http.Error(w, "not understood", http.StatusBadRequest)
		return
	}
	w.WriteHeader(http.StatusOK)
	now := time.Now()
	for _, entry := range n.Entries {
		for _, change := range entry.Changes {
			for _, c := range change.Calls {
				a.notes.add(c.ID, now, byApplication, "webhook "+c.Event+" came, signature verified")
				a.working.Go(func() { a.handle(a.ctx, c) })
			}
			for _, s := range change.Statuses {
				a.notes.add(s.ID, now, byApplication, "webhook "+s.Status+" came, signature verified")
			}
		}
	}
}

func (a *application) handle(ctx context.Context, c whatsapp.Call) {
	switch {
	case c.Event == whatsapp.EventConnect && c.Session == nil:
	case c.Event == whatsapp.EventConnect && c.Direction == whatsapp.UserInitiated:
		a.accept(ctx, c)
	case c.Event == whatsapp.EventConnect:
		a.ask(c.ID, "ConnectWhatsAppCall", "ConnectWhatsAppCall asked for, with Meta's SDP answer", func() error {
			_, err := a.sdk.ConnectWhatsAppCall(ctx, &livekit.ConnectWhatsAppCallRequest{
				WhatsappCallId: c.ID, Sdp: &livekit.SessionDescription{Type: "answer", Sdp: c.Session.SDP},
			})
			return err
		})
	case c.Event == whatsapp.EventTerminate:
		defer a.notes.finish(c.ID)
		a.ask(c.ID, "DisconnectWhatsAppCall", "DisconnectWhatsAppCall asked for, USER_INITIATED", func() error {
			_, err := a.sdk.DisconnectWhatsAppCall(ctx, &livekit.DisconnectWhatsAppCallRequest{
				WhatsappCallId: c.ID, DisconnectReason: livekit.DisconnectWhatsAppCallRequest_USER_INITIATED,
			})
			return err
		})
	}
}

func (a *application) accept(ctx context.Context, c whatsapp.Call) {
	a.ask(c.ID, "AcceptWhatsAppCall", notedAccept, func() error {
		_, err := a.sdk.AcceptWhatsAppCall(ctx, &livekit.AcceptWhatsAppCallRequest{
			WhatsappPhoneNumberId: numberID, WhatsappApiKey: metaToken, WhatsappCloudApiVersion: graphVersion,
			WhatsappCallId: c.ID, Sdp: &livekit.SessionDescription{Type: "offer", Sdp: c.Session.SDP},
			Agents: greeters(c.From), WaitUntilAnswered: true,
		})
		return err
	})
}

// greeters asks for an agent; in the scripted calls it does nothing but greet.
func greeters(user string) []*livekit.RoomAgentDispatch {
	agent := &livekit.RoomAgentDispatch{AgentName: agentName}
	if user == scriptedUser {
		agent.Metadata = greetOnly
	}
	return []*livekit.RoomAgentDispatch{agent}
}

// dial calls the scripted user and returns the call's ID.
func (a *application) dial(ctx context.Context) (string, error) {
	asked := time.Now()
	res, err := a.sdk.DialWhatsAppCall(ctx, &livekit.DialWhatsAppCallRequest{
		WhatsappPhoneNumberId: numberID, WhatsappApiKey: metaToken, WhatsappCloudApiVersion: graphVersion,
		WhatsappToPhoneNumber: scriptedUser, Agents: greeters(scriptedUser),
	})
	if err != nil {
		return "", fmt.Errorf("dial: %w", err)
	}
	id := res.GetWhatsappCallId()
	a.notes.add(id, asked, byApplication, notedDial)
	a.notes.add(id, time.Now(), byApplication, "DialWhatsAppCall answered: the call is placed")
	return id, nil
}

// hangUp ends a call from the business' side.
func (a *application) hangUp(ctx context.Context, callID string) {
	a.ask(callID, "DisconnectWhatsAppCall", "DisconnectWhatsAppCall asked for: the business hangs up", func() error {
		_, err := a.sdk.DisconnectWhatsAppCall(ctx, &livekit.DisconnectWhatsAppCallRequest{
			WhatsappCallId: callID, WhatsappApiKey: metaToken,
		})
		return err
	})
}

// ask makes a request and notes it. That a call which we hung up is over is no failure: Meta tells us of it, too.
func (a *application) ask(callID, method, what string, request func() error) {
	a.notes.add(callID, time.Now(), byApplication, what)
	err := request()
	var refusal twirp.Error
	switch {
	case err == nil:
		a.notes.add(callID, time.Now(), byApplication, method+" answered: done")
	case errors.As(err, &refusal) && method == "DisconnectWhatsAppCall" && over(refusal.Code()):
		a.notes.add(callID, time.Now(), byApplication, method+" answered: over already")
	default:
		a.notes.add(callID, time.Now(), byApplication, method+failedMark+err.Error())
	}
}

// failedMark stands in the notes of requests that failed.
const failedMark = " FAILED: "

func over(code twirp.ErrorCode) bool {
	return code == twirp.NotFound || code == twirp.FailedPrecondition
}

// failures are the application's requests for a call that failed.
func (a *application) failures(callID string) []string {
	var failed []string
	for _, n := range a.notes.about(callID) {
		if strings.Contains(n.what, failedMark) {
			failed = append(failed, n.what)
		}
	}
	return failed
}
