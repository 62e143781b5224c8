package fakemeta_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/pkg/fakemeta"
	"github.com/livekit-connector/livekit-connector/pkg/fakemeta/handset"
)

// heard waits until n packets came to a phone.
func heard(t *testing.T, phone *handset.Handset, n int) {
	t.Helper()
	require.Eventually(t, func() bool { return len(phone.Packets()) >= n }, limit, 20*time.Millisecond)
}

func TestInboundCallWithAudioBothWays(t *testing.T) {
	t.Parallel()
	says, answers := speech(t, "caller"), speech(t, "agent")
	srv := start(t, fakemeta.Options{Speech: says})
	events := srv.Events()
	call, err := srv.User(caller).Call(t.Context(), pnid)
	require.NoError(t, err)
	connect, err := events.NextCall(patience(t), call.ID(), "connect")
	require.NoError(t, err)
	require.Equal(t, call.Offer(), connect.Session.SDP)

	b := newBusiness(t, businessOptions{says: answers})
	answer := b.answer(connect.Session.SDP)
	status, got := action(t, srv, map[string]any{"action": "pre_accept", "call_id": call.ID(), "session": session("answer", answer)})
	require.Equal(t, http.StatusOK, status, "%v", got)
	b.awaitMedia(call)
	status, got = action(t, srv, map[string]any{"action": "accept", "call_id": call.ID(), "session": session("answer", answer)})
	require.Equal(t, http.StatusOK, status, "%v", got)
	require.Equal(t, true, got["success"])
	require.Equal(t, fakemeta.StateActive, call.State())
	require.NoError(t, b.phone.Start())

	heard(t, call.Handset(), len(answers.Samples)/320+5)
	heard(t, b.phone, len(says.Samples)/320+5)
	status, _ = action(t, srv, map[string]any{"action": "terminate", "call_id": call.ID()})
	require.Equal(t, http.StatusOK, status)
	over(t, call)
	end, err := events.NextCall(patience(t), call.ID(), "terminate")
	require.NoError(t, err)
	require.Equal(t, "COMPLETED", end.Status)
	require.NotEmpty(t, end.StartTime)
	r := call.Report()
	require.Empty(t, r.Problems)
	require.True(t, r.OK())
	require.Zero(t, srv.ActiveCalls())
	sameSpeech(t, answers, func() ([]int16, int) { return call.Recording() })
	sameSpeech(t, says, func() ([]int16, int) { return b.phone.Recording() })
	if testing.Verbose() {
		for _, m := range r.Timeline {
			t.Log(m)
		}
	}
}

func TestOutboundCallWithAudioBothWays(t *testing.T) {
	t.Parallel()
	says, answers := speech(t, "caller"), speech(t, "agent")
	srv := start(t, fakemeta.Options{Speech: says, Timing: unhurried()})
	events := srv.Events()
	b := newBusiness(t, businessOptions{says: answers})
	status, got := action(t, srv, map[string]any{
		"action": "connect", "to": caller, "session": session("offer", b.offer()), "biz_opaque_callback_data": "corr-1",
	})
	require.Equal(t, http.StatusOK, status, "%v", got)
	id := got["calls"].([]any)[0].(map[string]any)["id"].(string)
	call, err := srv.User(caller).NextCall(patience(t))
	require.NoError(t, err)
	require.Equal(t, id, call.ID())
	connect, err := events.NextCall(patience(t), id, "connect")
	require.NoError(t, err)
	require.Equal(t, "corr-1", connect.BizOpaqueCallbackData)
	b.accept(connect.Session.SDP)
	b.awaitMedia(call)
	require.NoError(t, call.Wait(patience(t), fakemeta.StateRinging))
	require.Zero(t, b.phone.Report().Packets, "nothing before the pick-up")
	require.NoError(t, call.PickUp())
	_, err = events.NextStatus(patience(t), id, "ACCEPTED")
	require.NoError(t, err)
	require.NoError(t, b.phone.Start())
	heard(t, call.Handset(), len(answers.Samples)/320+5)
	heard(t, b.phone, len(says.Samples)/320+5)
	require.NoError(t, call.HangUp())
	over(t, call)
	end, err := events.NextCall(patience(t), id, "terminate")
	require.NoError(t, err)
	require.Equal(t, "COMPLETED", end.Status)
	require.Empty(t, call.Report().Problems)
	sameSpeech(t, answers, func() ([]int16, int) { return call.Recording() })
	sameSpeech(t, says, func() ([]int16, int) { return b.phone.Recording() })
}
