package api_test

import (
	"context"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/livekit/protocol/livekit"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/livekit-connector/livekit-connector/internal/api"
	"github.com/livekit-connector/livekit-connector/proto/connectorpb"
)

// stuck is a node that takes every request and answers none before its context ends.
func stuck() *node {
	return &node{
		bid: 1,
		start: func(ctx context.Context, _ *connectorpb.StartCallRequest) (*connectorpb.StartCallResponse, error) {
			<-ctx.Done()
			<-time.After(time.Second)
			return &connectorpb.StartCallResponse{}, nil
		},
		connect: func(ctx context.Context, _ *connectorpb.ConnectCallRequest) (*connectorpb.ConnectCallResponse, error) {
			<-ctx.Done()
			<-time.After(time.Second)
			return &connectorpb.ConnectCallResponse{}, nil
		},
		disconnect: func(ctx context.Context, _ *connectorpb.DisconnectCallRequest) (*connectorpb.DisconnectCallResponse, error) {
			<-ctx.Done()
			<-time.After(time.Second)
			return &connectorpb.DisconnectCallResponse{}, nil
		},
	}
}

// inBubble runs a test with fake time and lets everything end in it, so that nothing of the stand outlives the bubble.
func inBubble(t *testing.T, n *node, f func(t *testing.T, s *stand), change ...func(*api.Options)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		f(t, newStand(t, n, change...))
		<-time.After(time.Minute)
	})
}

func TestTheFrontAnswersBeforeTheCallerGivesUp(t *testing.T) {
	waiting := accept(func(r *livekit.AcceptWhatsAppCallRequest) { r.WaitUntilAnswered = true })
	connecting := connect(func(r *livekit.ConnectWhatsAppCallRequest) { r.WaitUntilAnswered = true })
	uncertain := failure{412, "failed_precondition", "the outcome of this call is unknown", nil}
	silent := failure{408, "deadline_exceeded", "did not answer in time", nil}
	for _, tc := range []struct {
		name   string
		method string
		req    proto.Message
		change func(*http.Request)
		within time.Duration // from request to answer
		want   failure
	}{
		{"Dial", dialMethod, dial(), nil, 8500 * time.Millisecond, uncertain},
		{"Accept", acceptMethod, accept(), nil, 8500 * time.Millisecond, uncertain},
		{"Accept that waits", acceptMethod, waiting, nil, 28500 * time.Millisecond, uncertain},
		{"Connect", connectMethod, connect(), nil, 8500 * time.Millisecond, silent},
		{"Connect that waits", connectMethod, connecting, nil, 8500 * time.Millisecond, silent},
		{"Disconnect", disconnectMethod, disconnect(), nil, 8500 * time.Millisecond, silent},
		{"caller with 5 s", dialMethod, dial(), header("X-Twirp-Timeout-Ms", "5000"), 5 * time.Second, uncertain},
		{"caller with 60 s", dialMethod, dial(), header("X-Twirp-Timeout-Ms", "60000"), 8500 * time.Millisecond, uncertain},
		{"waiting caller with 15 s", acceptMethod, waiting, header("X-Twirp-Timeout-Ms", "15000"), 15 * time.Second, uncertain},
		{"caller with 10 ms", dialMethod, dial(), header("X-Twirp-Timeout-Ms", "10"), 1500 * time.Millisecond, uncertain},
		{"caller with nonsense", dialMethod, dial(), header("X-Twirp-Timeout-Ms", "-5e3"), 8500 * time.Millisecond, uncertain},
		{"context with 4 s", dialMethod, dial(), func(r *http.Request) {
			ctx, cancel := context.WithTimeout(r.Context(), 4*time.Second)
			context.AfterFunc(ctx, cancel)
			*r = *r.WithContext(ctx)
		}, 4 * time.Second, uncertain},
	} {
		for _, e := range encodings {
			t.Run(tc.name+"/"+e.name, func(t *testing.T) {
				inBubble(t, stuck(), func(t *testing.T, s *stand) {
					change := tc.change
					if change == nil {
						change = func(*http.Request) {}
					}
					began := time.Now()
					w := s.post(t, e, tc.method, tc.req, change)
					require.Equal(t, tc.within, time.Since(began))
					requireFailure(t, tc.want, w)
				})
			})
		}
	}
}

func TestTheNodeKeepsWorkingWhenTheCallerLeaves(t *testing.T) {
	n := newNode()
	ended := make(chan error, 1)
	inBubble(t, n, func(t *testing.T, s *stand) {
		began := make(chan struct{})
		n.start = func(ctx context.Context, _ *connectorpb.StartCallRequest) (*connectorpb.StartCallResponse, error) {
			close(began)
			<-time.After(5 * time.Second)
			ended <- ctx.Err()
			return &connectorpb.StartCallResponse{CallId: callID, RoomName: "r"}, nil
		}
		ctx, leave := context.WithCancel(t.Context())
		go func() {
			<-began
			leave()
		}()
		answered := s.post(t, encodings[1], dialMethod, dial(), func(r *http.Request) { *r = *r.WithContext(ctx) })
		require.Equal(t, http.StatusOK, answered.Code)
		require.NoError(t, <-ended, "the node's context outlives the HTTP request")
	})
}

func TestNoNodeIsNoticedWithinSeconds(t *testing.T) {
	silent := newNode()
	silent.bid = -1
	for name, n := range map[string]*node{"none registered": nil, "all silent": silent} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, n, func(t *testing.T, s *stand) {
				began := time.Now()
				w := s.post(t, encodings[0], dialMethod, dial())
				require.Equal(t, 3*time.Second, time.Since(began))
				requireFailure(t, failure{503, "unavailable", "no connector node is running", nil}, w)
			})
		})
	}
}

func TestBidsTakeNoTimeWhenANodeIsIdle(t *testing.T) {
	for bid, wait := range map[float32]time.Duration{1: 0, 0.5: 20 * time.Millisecond} {
		n := newNode()
		n.bid = bid
		inBubble(t, n, func(t *testing.T, s *stand) {
			began := time.Now()
			require.Equal(t, 200, s.post(t, encodings[0], dialMethod, dial()).Code)
			require.Equal(t, wait, time.Since(began))
		})
	}
}

func TestUnknownCallsCostNoTime(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, s *stand) {
		began := time.Now()
		w := s.post(t, encodings[0], connectMethod, connect(func(r *livekit.ConnectWhatsAppCallRequest) { r.WhatsappCallId = "wacid.other" }))
		require.Equal(t, 404, w.Code)
		require.Zero(t, time.Since(began))
	})
}

func TestAFullNodeIsToldThatItLost(t *testing.T) {
	n := newNode()
	n.bid = 0
	inBubble(t, n, func(t *testing.T, s *stand) {
		require.Equal(t, http.StatusTooManyRequests, s.post(t, encodings[0], dialMethod, dial()).Code)
		down := make(chan struct{})
		go func() {
			s.bus.Shutdown() // waits for the goroutine that waits for the election's outcome
			close(down)
		}()
		select {
		case <-down:
		case <-time.After(5 * time.Second): // fake time
			t.Fatal("the node still waits for its bid's outcome")
		}
	})
}
