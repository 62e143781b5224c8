package e2e_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/internal/app"
	"github.com/livekit-connector/livekit-connector/pkg/fakemeta"
)

// impatient is a connector that gives Meta half a second for a request.
func impatient(c *app.Config) { c.WhatsApp.RequestTimeout = 500 * time.Millisecond }

func TestMetaThatAnswersTooLate(t *testing.T) {
	t.Parallel()
	t.Run("a dial is not repeated, because Meta may have placed the call", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, worldOptions{ // Meta gets the request in time on any machine
			config: func(c *app.Config) { c.WhatsApp.RequestTimeout = 5 * time.Second },
			faults: []fakemeta.Fault{{Action: "connect", Delay: 20 * time.Second}},
		})
		sdk := newGoSDK(w.url, w.livekit.APIKey(), w.livekit.APISecret())
		_, err := sdk.do(wait(t), "dial", dialRequest().with(options{"roomName": "slow-dial"}))
		requireCode(t, "failed_precondition", err)
		require.Equal(t, 1, w.meta.ActiveCalls(), "Meta did place it, once")
		require.NoError(t, w.app.Node().WaitEmpty(wait(t)))
	})
	t.Run("an accept is repeated, because it says the same", func(t *testing.T) {
		t.Parallel()
		s := newScene(t, "slow-accept", worldOptions{config: impatient, faults: []fakemeta.Fault{
			{Action: "pre_accept", Delay: 2 * time.Second}, {Action: "accept", Delay: 2 * time.Second},
		}}, nil)
		require.Equal(t, fakemeta.StateActive, s.call.State())
		require.NoError(t, s.call.HangUp())
		requireOver(t, s.call)
		require.Zero(t, s.call.Heard().SSRCChanges)
		s.nothingLeft(s.room)
	})
	t.Run("a terminate is repeated until it took", func(t *testing.T) {
		t.Parallel()
		s := newScene(t, "slow-terminate", worldOptions{config: impatient, faults: []fakemeta.Fault{
			{Action: "terminate", DelayBefore: 2 * time.Second},
		}}, func(a *application) { a.ignoreTerminate = true })
		require.NoError(t, s.livekit.DeleteRoom(wait(t), s.room))
		requireOver(t, s.call)
		s.nothingLeft(s.room)
	})
	t.Run("an accept that never comes through ends the call in time", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, worldOptions{config: impatient, faults: []fakemeta.Fault{{Action: "accept", DropRequest: true, Times: -1}}})
		a := w.newApplication(func(a *application) { a.accept = options{"roomName": "slow-for-ever"} })
		c, err := w.meta.User(userNumber).Call(wait(t), numberID)
		require.NoError(t, err)
		requireCode(t, "failed_precondition", a.wait("accept", c.ID()).err)
		requireOver(t, c)
		require.Zero(t, c.Heard().EarlyPackets)
		w.nothingLeft("slow-for-ever")
	})
}
