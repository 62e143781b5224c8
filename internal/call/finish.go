package call

import (
	"context"
	"errors"
	"strconv"
	"sync"

	"github.com/livekit-connector/livekit-connector/internal/panics"
	"github.com/livekit-connector/livekit-connector/pkg/whatsapp"
)

// finish takes the call down in the order in which the callers notice it: silence, Meta, the room, the connection. A mistake in
// one step keeps it from none of the others.
func (c *Call) finish(s *seat) {
	c.End(ReasonUnknown, nil) // has an effect after a mistake only, which must get past the watch
	end := c.endError()
	before, _ := c.State()
	c.guarded(func() { c.to(EventEnd) })
	c.guarded(c.keep)
	c.guarded(c.line.Close)

	var telling sync.WaitGroup
	telling.Go(func() {
		defer close(c.told)
		defer c.opts.Panics.Recover(panics.Call, c.log, func() { c.untold(&panics.Error{Place: panics.Call}) })
		err := c.tellMeta(end.Reason, before)
		c.untold(err)
		c.mark(StageTold)
		if err != nil {
			c.log.Error("meta not told of the end", "reason", end.Reason.String(), "error", err)
		}
	})
	defer telling.Wait()
	<-s.ready
	c.guarded(c.deafen)
	c.guarded(func() { c.leave(s, end) })
	c.guarded(c.disconnect)
}

// guarded takes one step of a call that ends in any case.
func (c *Call) guarded(step func()) {
	defer c.opts.Panics.Recover(panics.Call, c.log, nil)
	step()
}

// untold notes why Meta does not know of the end; nil if it does.
func (c *Call) untold(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.endErr = err
}

// leave takes the participant out of the room, with a last word in its attributes.
func (c *Call) leave(s *seat, end *EndError) {
	farewell := c.farewell(end)
	c.noteAttributes(farewell)
	if s.room == nil {
		return
	}
	select {
	case <-s.room.Done(): // there is no participant any more to say it of
	default:
		c.setAttributes(s, farewell)
	}
	if err := s.room.Leave(end.Reason.Departure()); err != nil {
		c.log.Warn("room not left cleanly", "error", err)
	}
	c.mark(StageRoomLeft)
}

func (c *Call) disconnect() {
	if err := c.opts.Meta.Close(); err != nil {
		c.log.Warn("connection to meta not closed cleanly", "error", err)
	}
}

// farewell is what the participant's attributes say when it leaves.
func (c *Call) farewell(end *EndError) map[string]string {
	a := map[string]string{AttributeStatus: StatusHangup, AttributeEndReason: end.Reason.String()}
	code := c.Said().Code
	if refused, ok := errors.AsType[*whatsapp.APIError](end.Err); ok && code == 0 {
		code = refused.Code
	}
	if code != 0 {
		a[AttributeEndCode] = strconv.Itoa(code)
	}
	return a
}

// tellMeta says that the call is over, unless Meta said so to us, before or meanwhile. Meta bills, and the user listens to silence, until it
// knows (Meta: terminate call). An offer that may have been pre-accepted without our knowing gets both words.
func (c *Call) tellMeta(r Reason, before State) error {
	if r.verdict().overAtMeta || c.over.Err() != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.ctx), c.opts.Timeouts.Terminate)
	defer cancel()
	defer context.AfterFunc(c.over, cancel)()
	defer context.AfterFunc(c.hurry, cancel)()
	err := c.tellMetaByAny(ctx, before)
	if c.over.Err() != nil {
		return nil
	}
	return err
}

// tellMetaByAny takes the credentials of the request for the end, if it brought some, or the call's own.
func (c *Call) tellMetaByAny(ctx context.Context, before State) error {
	c.mu.Lock()
	newer := c.endGraph
	c.mu.Unlock()
	if newer != nil {
		err := c.tellMetaBy(ctx, newer, before)
		if err == nil || ctx.Err() != nil {
			return err
		}
		c.log.Warn("meta refused the end of the call by the request's token, using the call's", "error", err)
	}
	return c.tellMetaBy(ctx, c.opts.Graph, before)
}

func (c *Call) tellMetaBy(ctx context.Context, g Graph, before State) error {
	if before == StateOffered && !c.preAcceptSent.Load() {
		return g.Reject(ctx)
	}
	err := g.Terminate(ctx)
	if before != StateOffered {
		return err
	}
	// Meta may have refused the terminate of a call that it does not count as begun, or taken it for one of an unknown
	// call, while the phone still rings.
	if rejectErr := g.Reject(ctx); rejectErr != nil {
		return errors.Join(err, rejectErr)
	}
	return nil
}

// refusal tells a call that was over before Meta got our answer from one that Meta refused us.
func refusal(err error) Reason {
	if errors.Is(err, whatsapp.ErrCallOver) {
		return ReasonUserHangup
	}
	return ReasonMetaRefused
}
