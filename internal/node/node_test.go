package node

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/livekit/protocol/livekit"
	"github.com/livekit/psrpc"
	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/internal/call"
	"github.com/livekit-connector/livekit-connector/media"
	"github.com/livekit-connector/livekit-connector/pkg/whatsapp"
	"github.com/livekit-connector/livekit-connector/proto/connectorpb"
)

const (
	byUser     = livekit.DisconnectWhatsAppCallRequest_USER_INITIATED
	byBusiness = livekit.DisconnectWhatsAppCallRequest_BUSINESS_INITIATED
)

func wait(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// dialled places a call that waits for its room.
func (s *stand) dialled(t *testing.T) *entry {
	t.Helper()
	failed := s.begin(wait(t))
	require.Equal(t, "connect", s.next(t))
	e, err := s.table.find(wait(t), dialledID)
	require.NoError(t, err)
	t.Cleanup(func() {
		e.call.End(call.ReasonUserHangup, nil)
		require.Error(t, <-failed)
	})
	return e
}

// held answers a Graph request only when release is called, or when the test is over.
func (s *stand) held(t *testing.T, action string, answer http.HandlerFunc) (release func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	s.on(action, func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-ctx.Done():
			answer(w, r)
		case <-r.Context().Done():
		}
	})
	return cancel
}

func placed(w http.ResponseWriter, _ *http.Request) { connected(w, dialledID) }

// What Meta makes of a dial while we go down would ring on with nobody to hang it up.
func TestCallThatIsBeingDialledIsHungUpToo(t *testing.T) {
	tests := []struct {
		name string
		end  func(*stand)
	}{
		{"hanging up", func(s *stand) { _ = s.HangUpAll(context.Background()) }},
		{"closing", func(s *stand) {
			_ = s.Close(context.Background())
			s.closing = make(chan struct{}) // the stand closes its node too
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newStand(t)
			release := s.held(t, "connect", placed)
			failed := s.begin(wait(t))
			require.Equal(t, "connect", s.next(t))
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				tt.end(s)
			}()
			<-s.calls.Done()
			release()
			require.Equal(t, "terminate", s.next(t))
			<-ended
			require.Zero(t, s.Calls())
			requireCode(t, psrpc.FailedPrecondition, <-failed)
		})
	}
}

func TestDrainingNodeTakesNoCall(t *testing.T) {
	s := newStand(t)
	s.RefuseCalls()
	_, err := s.StartCall(wait(t), dialRequest())
	requireCode(t, psrpc.ResourceExhausted, err)
	require.Empty(t, s.asked)
	require.Zero(t, s.Calls())
}

// noAnswer is a Meta that hears and says nothing.
type noAnswer struct{}

func (noAnswer) RoundTrip(r *http.Request) (*http.Response, error) {
	_ = r.Body.Close()
	<-r.Context().Done()
	return nil, context.Cause(r.Context())
}

func TestDisconnectIsAnsweredInTimeWhateverMetaDoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pacer := media.NewPacer(1)
		defer pacer.Close()
		client, err := whatsapp.NewClient(whatsapp.Options{HTTPClient: &http.Client{Transport: noAnswer{}}})
		require.NoError(t, err)
		s := &stand{Node: &Node{opts: Options{Graph: client}, table: newTable()}}
		c := call.New(t.Context(), call.Options{
			ID: dialledID, Direction: call.Outbound, Meta: &quiet{done: make(chan struct{})}, Pacer: pacer,
			Timeouts: call.DefaultTimeouts(), Graph: graph{client: client, creds: dialCredentials(), callID: dialledID},
			Join: func(ctx context.Context, _ *media.Line) (call.RoomLeg, error) {
				<-ctx.Done()
				return nil, context.Cause(ctx)
			},
		})
		s.table.put(dialledID, &entry{call: c, apiKey: "key", creds: dialCredentials()})
		go func() { _ = c.Run() }()

		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		asked := time.Now()
		require.NoError(t, s.disconnect(ctx, byBusiness, "token"))
		require.Equal(t, time.Second-answerMargin, time.Since(asked), "after that the requester does not listen")
		select {
		case <-c.Told():
			t.Fatal("Meta knows")
		default:
		}
		c.GiveUp()
		<-c.Done()
	})
}

func dialCredentials() whatsapp.Credentials { return credentialsOf(dialRequest().GetDial()) }

func TestUserWhoHangsUpDoesNotWaitUntilMetaKnows(t *testing.T) {
	s := newStand(t)
	e := s.dialled(t)
	release := s.held(t, "terminate", expired)
	e.call.End(call.ReasonMaxDuration, nil)
	require.Equal(t, "terminate", s.next(t))
	require.NoError(t, s.disconnect(wait(t), byUser, ""))
	select {
	case <-e.call.Told():
		t.Fatal("the answer waited for Meta")
	default:
	}
	release()
	requireCode(t, psrpc.NotFound, s.disconnect(wait(t), byUser, ""))
}

func TestCallThatMetaWasNotToldOfIsEndedByABetterToken(t *testing.T) {
	s := newStand(t)
	s.dialled(t)
	s.on("terminate", expired)
	requireCode(t, psrpc.FailedPrecondition, s.disconnect(wait(t), byBusiness, "as old"))
	requireCode(t, psrpc.FailedPrecondition, s.disconnect(wait(t), byBusiness, "older still"))
	require.NoError(t, s.WaitEmpty(wait(t)))
	s.on("terminate", nil)
	require.NoError(t, s.disconnect(wait(t), byBusiness, "new"))
	requireCode(t, psrpc.NotFound, s.disconnect(wait(t), byBusiness, "new"))
}

func TestDialledCallWhoseIDIsTakenIsEnded(t *testing.T) {
	s := newStand(t)
	require.NoError(t, s.table.admit())
	require.NoError(t, s.table.reserve(dialledID))
	_, err := s.StartCall(wait(t), dialRequest())
	requireCode(t, psrpc.FailedPrecondition, err)
	require.Equal(t, "connect", s.next(t))
	require.Equal(t, "terminate", s.next(t))
	s.table.drop(dialledID)
	require.NoError(t, s.WaitEmpty(wait(t)))
	require.Zero(t, s.gauge(t))
}

func TestPanicOfARequestEndsThatRequestAlone(t *testing.T) {
	s := newStand(t)
	s.opts.Meta = nil
	client := s.client(t)
	req := dialRequest()
	req.RequestId = "request"
	_, err := client.StartCall(wait(t), Cluster, req)
	requireCode(t, psrpc.Internal, err)
	require.Zero(t, s.Calls())
	_, err = s.StartCall(wait(t), req)
	requireCode(t, psrpc.FailedPrecondition, err)
}

func TestOfferThatMetaHeardNothingOfMayBeAcceptedAnew(t *testing.T) {
	s := newStand(t)
	for _, action := range []string{"pre_accept", "terminate", "reject"} {
		s.on(action, expired)
	}
	sdp := offer(t)
	_, err := s.StartCall(wait(t), acceptRequest(sdp))
	requireCode(t, psrpc.UpstreamClientError, err)
	require.NoError(t, s.WaitEmpty(wait(t)))
	for _, action := range []string{"pre_accept", "terminate", "reject"} {
		require.Equal(t, action, s.next(t))
		s.on(action, nil)
	}
	failed := make(chan error, 1)
	go func() {
		_, again := s.StartCall(wait(t), acceptRequest(sdp))
		failed <- again
	}()
	require.Equal(t, "pre_accept", s.next(t))
	s.hangUp(&call.EndError{Reason: call.ReasonUserHangup})
	requireCode(t, psrpc.FailedPrecondition, <-failed)
	require.NoError(t, s.WaitEmpty(wait(t)))
	_, err = s.StartCall(wait(t), acceptRequest(sdp))
	requireCode(t, psrpc.FailedPrecondition, err)
}

// An API front of another version may say less.
func TestCallWithoutDeadlinesGetsTheDefaults(t *testing.T) {
	s := newStand(t)
	failed, sdp := make(chan error, 1), offer(t)
	go func() {
		_, err := s.StartCall(wait(t), acceptRequest(sdp))
		failed <- err
	}()
	require.Equal(t, "pre_accept", s.next(t))
	e, err := s.table.find(wait(t), "wacid.offered")
	require.NoError(t, err)
	e.call.End(call.ReasonUserHangup, nil)
	requireCode(t, psrpc.FailedPrecondition, <-failed)
}

// A key may belong to somebody else's application.
func TestCallIsSteeredWithItsOwnKeyAlone(t *testing.T) {
	s := newStand(t)
	e := s.dialled(t)
	_, err := s.ConnectCall(wait(t), &connectorpb.ConnectCallRequest{ApiKey: "other", Request: &livekit.ConnectWhatsAppCallRequest{
		WhatsappCallId: dialledID, Sdp: &livekit.SessionDescription{Type: "answer", Sdp: offer(t)},
	}})
	requireCode(t, psrpc.PermissionDenied, err)
	for _, key := range []string{"other", ""} {
		_, err = s.DisconnectCall(wait(t), &connectorpb.DisconnectCallRequest{ApiKey: key, Request: &livekit.DisconnectWhatsAppCallRequest{
			WhatsappCallId: dialledID, DisconnectReason: byUser,
		}})
		requireCode(t, psrpc.PermissionDenied, err)
	}
	require.NoError(t, e.call.Err(), "the call goes on")
	require.NoError(t, s.disconnect(wait(t), byUser, ""))
}

// What may have reached Meta must not be repeated: neither by the SDK, which the code tells, nor by the node's memory of
// requests.
func TestDialThatMayHaveReachedMetaIsNotRepeated(t *testing.T) {
	tests := []struct {
		name   string
		answer http.HandlerFunc
	}{
		{"no answer", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }},
		{"a server error", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }},
		{"success without a call", func(http.ResponseWriter, *http.Request) {}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newStand(t)
			s.on("connect", tt.answer)
			req := dialRequest()
			req.RequestId = "request"
			for range 2 {
				_, err := s.StartCall(wait(t), req)
				requireCode(t, psrpc.FailedPrecondition, err)
				require.ErrorContains(t, err, "do not dial again")
			}
			require.Equal(t, "connect", s.next(t))
			require.Empty(t, s.asked, "once")
			require.Zero(t, s.Calls())
		})
	}
}

func TestDialThatMetaRefusedMayBeRepeated(t *testing.T) {
	s := newStand(t)
	s.on("connect", expired)
	req := dialRequest()
	req.RequestId = "request"
	for range 2 {
		_, err := s.StartCall(wait(t), req)
		requireCode(t, psrpc.UpstreamClientError, err)
		require.Equal(t, "connect", s.next(t))
	}
}

func TestOutcomeThatIsUnknownIsUnknownWhateverMetaSaid(t *testing.T) {
	for _, err := range []error{
		whatsapp.ErrOutcomeUnknown,
		errors.Join(whatsapp.ErrOutcomeUnknown, context.DeadlineExceeded),
		errors.Join(whatsapp.ErrOutcomeUnknown, &whatsapp.APIError{HTTPStatus: http.StatusTooManyRequests}),
		errors.Join(whatsapp.ErrOutcomeUnknown, &whatsapp.APIError{HTTPStatus: http.StatusInternalServerError}),
	} {
		dial := &dialError{err: err}
		requireCode(t, psrpc.FailedPrecondition, rpcError(dial))
		require.False(t, notSent(dial))
	}
	requireCode(t, psrpc.Unavailable, rpcError(&dialError{err: errors.New("dial tcp: refused")}))
}
