package webhook_test

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/livekit/psrpc"
	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/internal/route"
	"github.com/livekit-connector/livekit-connector/internal/webhook"
	"github.com/livekit-connector/livekit-connector/proto/connectorpb"
)

// slow makes every Accept take as long as a node may take for one whose agent never comes.
func slow(s *stand) {
	s.nodes.start = func(*connectorpb.StartCallRequest) error {
		time.Sleep(route.WaitBudget) // fake time
		return psrpc.NewErrorf(psrpc.DeadlineExceeded, "nobody came")
	}
}

func TestSlowCallsHoldUpNobody(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStand(t)
		slow(s)
		for i := range 200 {
			require.Equal(t, http.StatusOK, s.post(envelope(numberID, calls(offer(fmt.Sprint("slow-", i))))))
		}
		synctest.Wait()
		require.Equal(t, 200, s.count("webhook_queue_length"))
		began := time.Now()
		var posting sync.WaitGroup
		for i := range 500 {
			posting.Go(func() {
				id := fmt.Sprint("quick-", i/4)
				switch i % 4 {
				case 0:
					s.post(envelope(numberID, calls(answer(id))))
				case 1:
					s.post(envelope(numberID, statuses(status(id, "RINGING"))))
				case 2:
					s.post(envelope(numberID, statuses(status(id, "ACCEPTED"))))
				case 3:
					s.post(envelope(numberID, calls(terminate(id+"-other"))))
				}
			})
		}
		posting.Wait()
		synctest.Wait()
		require.Zero(t, time.Since(began), "not a moment was waited")
		_, connects, reports := s.nodes.counts()
		require.Equal(t, 500, connects+reports)
		require.Equal(t, 200, s.count("webhook_queue_length"), "the slow ones are still at it")
		require.NoError(t, s.Close(t.Context()))
		require.Equal(t, 200, s.count("webhook_events_total", "connect_inbound", "failed"))
	})
}

func TestEventsOfOneCallAreDoneOneAfterTheOther(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStand(t)
		var mu sync.Mutex
		var order []string
		busy, together := false, false
		enter := func(what string) {
			mu.Lock()
			together = together || busy
			busy = true
			order = append(order, what)
			mu.Unlock()
			time.Sleep(time.Second) // fake time
			mu.Lock()
			busy = false
			mu.Unlock()
		}
		s.nodes.connect = func(*connectorpb.ConnectCallRequest) error { enter("answer"); return nil }
		s.nodes.report = func(r *connectorpb.ReportCallRequest) error { enter(r.GetEvent().String()); return nil }
		for _, value := range []object{calls(answer(callID)), statuses(status(callID, "RINGING")), statuses(status(callID, "ACCEPTED")), calls(terminate(callID))} {
			s.post(envelope(numberID, value))
			synctest.Wait()
		}
		require.NoError(t, s.Close(t.Context()))
		require.Equal(t, []string{"answer", "RINGING", "ACCEPTED", "TERMINATED"}, order)
		require.False(t, together)
	})
}

// A full queue is the one reason to refuse what is signed: Meta sends it again.
func TestFullQueue(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStand(t, func(o *webhook.Options) { o.QueueSize = 3 })
		slow(s)
		for i := range 3 {
			require.Equal(t, http.StatusOK, s.post(envelope(numberID, calls(offer(fmt.Sprint(i))))))
		}
		more := envelope(numberID, calls(offer("3")))
		require.Equal(t, http.StatusServiceUnavailable, s.post(more))
		require.Equal(t, 1, s.count("webhooks_total", "full"))
		require.Equal(t, http.StatusOK, s.post(envelope(numberID, calls(offer("2")))), "repetitions need no room")
		require.Equal(t, http.StatusOK, s.post(envelope(numberID)), "nor does what is not about calls")
		time.Sleep(route.WaitBudget) // fake time
		synctest.Wait()
		require.Equal(t, http.StatusOK, s.post(more), "nothing of it was remembered")
		time.Sleep(route.WaitBudget) // fake time
		synctest.Wait()
		require.Equal(t, 4, s.count("webhook_events_total", "connect_inbound", "failed"))
		var many []object
		s.nodes.report = func(*connectorpb.ReportCallRequest) error { time.Sleep(time.Second); return nil } // fake time
		for i := range 10 {
			many = append(many, terminate(fmt.Sprint("t", i)))
		}
		require.Equal(t, http.StatusOK, s.post(envelope(numberID, calls(many...))), "a batch larger than the queue would never fit")
		synctest.Wait()
		require.Equal(t, 10, s.count("webhook_queue_length"))
		require.Equal(t, http.StatusOK, s.post(envelope(numberID, calls(many...))), "there is room for what needs none")
		require.Equal(t, http.StatusOK, s.post(envelope(numberID)))
	})
}

// The end of a call that fills the queue gets in: it makes room.
func TestFullQueueTakesTheEndOfWhatFillsIt(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStand(t, func(o *webhook.Options) { o.QueueSize = 1 })
		over := make(chan struct{})
		s.nodes.start = func(*connectorpb.StartCallRequest) error {
			s.nodes.hold(callID)
			<-over
			return psrpc.NewErrorf(psrpc.FailedPrecondition, "the call has ended")
		}
		s.nodes.report = func(*connectorpb.ReportCallRequest) error { close(over); return nil }
		require.Equal(t, http.StatusOK, s.post(envelope(numberID, calls(offer(callID)))))
		require.Equal(t, http.StatusServiceUnavailable, s.post(envelope(numberID, calls(terminate("wacid.B")))))
		require.Equal(t, http.StatusOK, s.post(envelope(numberID, calls(terminate(callID)))))
		synctest.Wait()
		require.Zero(t, s.count("webhook_queue_length"))
	})
}

func TestShutdownFinishesTheQueue(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStand(t)
		s.nodes.report = func(*connectorpb.ReportCallRequest) error { time.Sleep(time.Second); return nil } // fake time
		s.post(envelope(numberID, statuses(status(callID, "RINGING"), status(callID, "ACCEPTED")), calls(terminate(callID))))
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		require.NoError(t, s.Close(ctx))
		require.Len(t, s.nodes.said(callID), 3)
		require.Equal(t, http.StatusServiceUnavailable, s.post(envelope(numberID)))
		require.Equal(t, 1, s.count("webhooks_total", "closing"))
	})
}

func TestShutdownReportsWhatIsLeft(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStand(t)
		s.nodes.report = func(*connectorpb.ReportCallRequest) error { time.Sleep(4 * time.Second); return nil } // fake time
		s.post(envelope(numberID, statuses(status(callID, "RINGING"), status(callID, "ACCEPTED")), calls(terminate(callID))))
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		require.ErrorContains(t, s.Close(ctx), "1 events of calls were not done")
		require.Len(t, s.nodes.said(callID), 2, "what was begun is finished")
		require.Equal(t, 1, s.count("webhook_events_total", "terminate", "left"))
		require.Zero(t, s.count("webhook_queue_length"))
		require.Contains(t, s.log.String(), "left undone")
	})
}
