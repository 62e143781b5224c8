package call

import (
	"context"
	"sync"

	"github.com/livekit-connector/livekit-connector/internal/panics"
)

// runOutbound: dialing, answer received, ringing, picked up, active, over.
func (c *Call) runOutbound() {
	s := c.takeSeat()
	var watch sync.WaitGroup
	watch.Go(func() {
		defer c.opts.Panics.Recover(panics.Call, c.log, c.broken)
		c.watch(s)
	})
	defer watch.Wait()
	defer c.finish(s)
	defer c.opts.Panics.Recover(panics.Call, c.log, c.broken) // as runInbound

	ctx, cancel := context.WithDeadline(c.ctx, c.ringBy)
	defer cancel()
	if err := c.setUpOutbound(ctx, s); err != nil {
		c.end(err)
		return
	}
	c.talk(s.room)
}

// setUpOutbound waits for Meta's SDP answer, which is not the pick-up: the phone rings on, with the gate shut. Agents in
// the room would otherwise greet a ringing phone.
func (c *Call) setUpOutbound(ctx context.Context, s *seat) error {
	b := c.newBell(s)
	if err := c.waitAnswer(ctx, b); err != nil {
		return err
	}
	c.line.SetCodec(c.opts.Meta.Codec())
	c.to(EventAnswer)
	close(c.ringing)
	c.mark(StageAnswer)
	if !c.opts.StatusesSeen {
		c.ring() // it is all that we will know
	}
	if !b.await(ctx.Done(), s.ready) {
		return reasonFor(ctx, ReasonRoomJoinFailed, nil)
	}
	if s.err != nil {
		return reasonFor(ctx, ReasonRoomJoinFailed, s.err)
	}
	c.hearPhone(s.room)
	if !b.await(ctx.Done(), c.opts.Meta.Connected()) {
		return reasonFor(ctx, ReasonConnectFailed, nil)
	}
	if err := c.waitPickUp(ctx, b); err != nil {
		return err
	}
	publishing, cancel := context.WithTimeout(c.ctx, c.opts.Timeouts.Publish)
	defer cancel()
	return c.answered(publishing, s, EventPickedUp)
}

// waitAnswer waits for an SDP answer that can be applied.
func (c *Call) waitAnswer(ctx context.Context, b *bell) error {
	for {
		select {
		case a := <-c.answers:
			err := c.opts.Meta.SetAnswer(a.sdp)
			a.reply <- err
			if err == nil {
				return nil
			}
		case <-b.next:
			b.strike()
		case <-ctx.Done():
			return reasonFor(ctx, ReasonNoSDPAnswer, nil)
		}
	}
}

// waitPickUp waits until Meta says that the user picked up, which may have been long ago. Where Meta's word does not reach
// us the first audio has to do, though a ringback tone looks the same. That it should reach us is not to say that it does:
// somebody may have forgotten to tell Meta where its webhooks go. Then nothing at all is heard of the call.
func (c *Call) waitPickUp(ctx context.Context, b *bell) error {
	audio, forgotten := c.opts.Meta.FirstAudio(), newAlarm()
	defer forgotten.stop()
	for {
		select {
		case <-c.accepted:
			if ctx.Err() != nil { // over in the same breath, which counts whichever case comes up
				return reasonFor(ctx, ReasonNoAnswer, nil)
			}
			return nil
		case <-audio:
			if !c.opts.StatusesSeen {
				return nil
			}
			audio = nil
			forgotten.start(wordPatience)
		case <-forgotten.C:
			if said := c.Said(); said.nothing() {
				c.log.Warn("no webhook about this call came to the gateway, so its first audio counts as the pick-up: check the " +
					"callback URL of the number's Meta app, or leave the number out of webhook.phone_number_ids")
				return nil
			}
		case <-b.next:
			b.strike()
		case <-ctx.Done():
			return reasonFor(ctx, ReasonNoAnswer, nil)
		}
	}
}

// bell sets the participant's status to ringing as soon as the phone rings and there is a participant.
type bell struct {
	call *Call
	seat *seat
	// next is what to wait for before strike; nil when there is nothing left to do.
	next <-chan struct{}
	rung bool
}

func (c *Call) newBell(s *seat) *bell { return &bell{call: c, seat: s, next: c.rang} }

// strike is to be called when next is closed.
func (b *bell) strike() {
	if !b.rung {
		b.rung, b.next = true, b.seat.ready
		b.call.noteAttributes(map[string]string{AttributeStatus: StatusRinging})
		b.call.mark(StageRinging)
		return
	}
	b.next = nil
	if b.seat.room != nil {
		b.call.setAttributes(b.seat, map[string]string{AttributeStatus: StatusRinging})
	}
}

// await waits for ch with one ear at the bell, and reports whether it came before done.
func (b *bell) await(done, ch <-chan struct{}) bool {
	for {
		select {
		case <-ch:
			return true
		case <-b.next:
			b.strike()
		case <-done:
			return false
		}
	}
}
