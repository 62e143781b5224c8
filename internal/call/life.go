package call

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"sync"
	"time"

	"github.com/livekit-connector/livekit-connector/pkg/whatsapp"
)

// Attributes that a call keeps current on its participant.
const (
	// AttributeStatus holds "dialing", "ringing", "active" or "hangup", as LiveKit's SIP service has it in sip.callStatus.
	AttributeStatus = "whatsapp.callStatus"
	// AttributeAnswerTime is when an outbound call was answered, in Unix milliseconds (protocol livekit/attrs.go).
	AttributeAnswerTime = "lk.connector.answerTime"
)

// The values of AttributeStatus.
const (
	StatusDialing = "dialing"
	StatusRinging = "ringing"
	StatusActive  = "active"
	StatusHangup  = "hangup"
)

// seat is the call's place in the room: taken by a goroutine of its own, because joining and talking to Meta go side by
// side. room and err may be read once ready is closed.
type seat struct {
	ready chan struct{}
	room  RoomLeg
	err   error
}

// runInbound: offered, pre-accepted, accepted, active, over.
func (c *Call) runInbound() {
	s := c.takeSeat()
	var watch sync.WaitGroup
	watch.Go(func() { c.watch(s) })
	defer watch.Wait()
	defer c.finish(s)

	ctx, cancel := context.WithDeadlineCause(c.ctx, c.opts.SetupDeadline, &EndError{Reason: ReasonSetupTimeout})
	defer cancel()
	if err := c.setUpInbound(ctx, s); err != nil {
		c.end(err)
		return
	}
	c.talk()
}

// setUpInbound brings the call to where both sides hear each other. Meta asks for this order: media is connected before
// accept, so that no word is clipped, and nothing is sent before accept's 200, because the caller's phone takes the first
// packet for the answer (Meta: user-initiated calls; FAQ).
func (c *Call) setUpInbound(ctx context.Context, s *seat) error {
	if ctx.Err() != nil { // over before it began: Meta need not hear of our answer
		return reasonFor(ctx, ReasonUnknown, nil)
	}
	c.preAcceptSent.Store(true)
	err := c.opts.Graph.PreAccept(ctx)
	c.preAccepted.Store(err == nil || errors.Is(err, whatsapp.ErrOutcomeUnknown))
	if err != nil {
		return reasonFor(ctx, refusal(err), fmt.Errorf("pre-accept: %w", err))
	}
	c.to(EventPreAccepted)
	c.mark(StagePreAccepted)
	if err := c.waitSeated(ctx, s); err != nil {
		return err
	}
	if err := c.waitConnected(ctx); err != nil {
		return err
	}
	if c.opts.WaitForRoom {
		if err := c.waitRoomReady(ctx, s); err != nil {
			return err
		}
	}
	if err := c.opts.Graph.Accept(ctx); err != nil {
		return reasonFor(ctx, refusal(err), fmt.Errorf("accept: %w", err))
	}
	return c.answered(ctx, s, EventAccepted)
}

// runOutbound: dialing, answer received, ringing, picked up, active, over.
func (c *Call) runOutbound() {
	s := c.takeSeat()
	var watch sync.WaitGroup
	watch.Go(func() { c.watch(s) })
	defer watch.Wait()
	defer c.finish(s)

	ctx, cancel := context.WithDeadline(c.ctx, c.ringBy)
	defer cancel()
	if err := c.setUpOutbound(ctx, s); err != nil {
		c.end(err)
		return
	}
	c.talk()
}

// setUpOutbound waits for Meta's SDP answer, which is not the pick-up: the phone rings on, with the gate shut, until the
// first audio packet. Agents in the room would otherwise greet a ringing phone.
func (c *Call) setUpOutbound(ctx context.Context, s *seat) error {
	for answered := false; !answered; {
		select {
		case a := <-c.answers:
			err := c.opts.Meta.SetAnswer(a.sdp)
			a.reply <- err
			answered = err == nil
		case <-ctx.Done():
			return reasonFor(ctx, ReasonNoSDPAnswer, nil)
		}
	}
	c.line.SetCodec(c.opts.Meta.Codec())
	c.to(EventAnswer)
	close(c.ringing)
	c.mark(StageAnswer)
	if err := c.waitSeated(ctx, s); err != nil {
		return err
	}
	c.hearPhone(s.room)
	c.setAttributes(s, map[string]string{AttributeStatus: StatusRinging})
	c.mark(StageRinging)
	select {
	case <-c.opts.Meta.Connected():
	case <-ctx.Done():
		return reasonFor(ctx, ReasonConnectFailed, nil)
	}
	select {
	case <-c.opts.Meta.FirstAudio():
	case <-ctx.Done():
		return reasonFor(ctx, ReasonNoAnswer, nil)
	}
	publishing, cancel := context.WithTimeout(c.ctx, c.opts.Timeouts.Publish)
	defer cancel()
	return c.answered(publishing, s, EventPickedUp)
}

// talk is the answered call: it lasts until somebody or something ends it.
func (c *Call) talk() {
	var limit <-chan time.Time
	if d := c.opts.Timeouts.MaxDuration; d > 0 {
		t := time.NewTimer(d)
		defer t.Stop()
		limit = t.C
	}
	select {
	case <-limit:
		c.End(ReasonMaxDuration, nil)
	case <-c.ctx.Done():
	}
}

// answered opens the call for audio: first towards Meta, whose clients hang up without media, then into the room.
func (c *Call) answered(ctx context.Context, s *seat, e Event) error {
	c.opts.Meta.Open()
	c.line.Open()
	now := time.Now()
	c.mu.Lock()
	c.activeAt = now // before the state: Check counts silence from here
	c.mu.Unlock()
	c.to(e)
	c.mark(StageAnswered)
	attributes := map[string]string{AttributeStatus: StatusActive}
	if c.opts.Direction == Outbound {
		attributes[AttributeAnswerTime] = strconv.FormatInt(now.UnixMilli(), 10)
	}
	c.setAttributes(s, attributes)
	if err := s.room.Publish(ctx); err != nil {
		return reasonFor(ctx, ReasonRoomJoinFailed, fmt.Errorf("publish the caller's track: %w", err))
	}
	c.mark(StagePublished)
	c.log.Info("call active", "setup", now.Sub(c.started).Round(time.Millisecond))
	close(c.active)
	return nil
}

// takeSeat starts joining the room. The seat is ready as soon as that succeeded or failed; finish waits for it.
func (c *Call) takeSeat() *seat {
	s := &seat{ready: make(chan struct{})}
	go func() {
		defer close(s.ready)
		ctx, cancel := context.WithTimeout(c.ctx, c.opts.Timeouts.Join)
		defer cancel()
		c.mark(StageJoining)
		if s.room, s.err = c.opts.Join(ctx, c.line); s.err != nil {
			return
		}
		c.seated(s.room)
		if c.opts.Direction == Inbound {
			c.hearPhone(s.room)
		}
		c.mark(StageRoomJoined)
		close(c.joined)
	}()
	return s
}

// watch ends the call when one of its legs is gone, and records what the legs report. It returns when the call ends.
func (c *Call) watch(s *seat) {
	connected, firstAudio, ready := c.opts.Meta.Connected(), c.opts.Meta.FirstAudio(), s.ready
	var gone <-chan struct{}
	for {
		select {
		case <-connected:
			connected = nil
			if at := c.opts.Meta.ICEConnected(); !at.IsZero() {
				c.markAt(StageICE, at)
			}
			c.mark(StageConnected)
		case <-firstAudio:
			firstAudio = nil
			c.mark(StageFirstAudio)
		case <-ready:
			ready = nil
			if s.err != nil {
				c.End(ReasonRoomJoinFailed, s.err)
				return
			}
			gone = s.room.Done()
		case <-gone:
			c.End(s.room.Reason(), nil)
			return
		case <-c.opts.Meta.Done():
			c.End(c.lost(), nil)
			return
		case <-c.ctx.Done():
			return
		}
	}
}

// lost names the end of the connection to Meta, which hangs it up when the call is over: its webhook takes longer to say so.
func (c *Call) lost() Reason {
	switch {
	case !c.opts.Meta.ClosedByMeta():
	case c.opts.Direction == Outbound && !c.Answered():
		return ReasonMetaClosedUnanswered
	default:
		return ReasonMetaClosed
	}
	select {
	case <-c.opts.Meta.Connected():
		return ReasonMediaLost
	default:
		return ReasonConnectFailed
	}
}

// finish takes the call down in the order in which the callers notice it: silence, Meta, the room, the connection.
func (c *Call) finish(s *seat) {
	c.End(ReasonUnknown, nil) // has an effect after a panic only, which must get past the watch
	end := c.endError()
	before, _ := c.State()
	c.to(EventEnd)
	c.mu.Lock()
	c.endedAt = time.Now()
	c.mu.Unlock()
	c.keep()
	c.line.Close()

	var telling sync.WaitGroup
	telling.Go(func() {
		err := c.tellMeta(end.Reason, before)
		c.mu.Lock()
		c.endErr = err
		c.mu.Unlock()
		c.mark(StageTold)
		close(c.told)
		if err != nil {
			c.log.Error("meta not told of the end", "reason", end.Reason.String(), "error", err)
		}
	})
	<-s.ready
	c.deafen()
	if s.room != nil {
		select {
		case <-s.room.Done(): // there is no participant any more to say it of
		default:
			c.setAttributes(s, map[string]string{AttributeStatus: StatusHangup})
		}
		if err := s.room.Leave(end.Reason.Departure()); err != nil {
			c.log.Warn("room not left cleanly", "error", err)
		}
		c.mark(StageRoomLeft)
	}
	if err := c.opts.Meta.Close(); err != nil {
		c.log.Warn("connection to meta not closed cleanly", "error", err)
	}
	telling.Wait()
}

// tellMeta says that the call is over, unless Meta said so to us. Meta bills, and the user listens to silence, until it
// knows (Meta: terminate call). An offer that may have been pre-accepted without our knowing gets both words.
func (c *Call) tellMeta(r Reason, before State) error {
	if r.verdict().overAtMeta {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.ctx), c.opts.Timeouts.Terminate)
	defer cancel()
	c.mu.Lock()
	newer := c.endGraph
	c.mu.Unlock()
	if newer != nil {
		err := c.tellMetaBy(ctx, newer, before)
		if err == nil {
			return nil
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

// setAttributes changes the participant's attributes; a call does not end because that failed.
func (c *Call) setAttributes(s *seat, attributes map[string]string) {
	if err := s.room.SetAttributes(maps.Clone(attributes)); err != nil {
		c.log.Warn("participant attributes not set", "error", err)
	}
}

func (c *Call) waitSeated(ctx context.Context, s *seat) error {
	select {
	case <-s.ready:
		if s.err != nil {
			return reasonFor(ctx, ReasonRoomJoinFailed, s.err)
		}
		return nil
	case <-ctx.Done():
		return reasonFor(ctx, ReasonRoomJoinFailed, nil)
	}
}

func (c *Call) waitConnected(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, c.opts.Timeouts.Connect, &EndError{Reason: ReasonConnectFailed})
	defer cancel()
	select {
	case <-c.opts.Meta.Connected():
		return nil
	case <-ctx.Done():
		return reasonFor(ctx, ReasonConnectFailed, nil)
	}
}

// waitRoomReady leaves a part of the setup time for accept.
func (c *Call) waitRoomReady(ctx context.Context, s *seat) error {
	const forAccept = 3 * time.Second
	deadline := c.opts.SetupDeadline.Add(-forAccept)
	if asked := c.opts.RoomDeadline; !asked.IsZero() && asked.Before(deadline) {
		deadline = asked
	}
	ctx, cancel := context.WithDeadlineCause(ctx, deadline, &EndError{Reason: ReasonRoomNotReady})
	defer cancel()
	select {
	case <-s.room.Ready():
	case <-ctx.Done():
		select {
		case <-s.room.Ready(): // an impatient requester's deadline may be over before the wait began
		default:
			return reasonFor(ctx, ReasonRoomNotReady, nil)
		}
	}
	c.mark(StageRoomReady)
	return nil
}

// reasonFor names the end after a step failed: a reason that ctx carries was there first.
func reasonFor(ctx context.Context, r Reason, err error) error {
	var end *EndError
	if cause := context.Cause(ctx); errors.As(cause, &end) {
		if end.Err == nil && err != nil {
			return &EndError{Reason: end.Reason, Err: err}
		}
		return end
	}
	return &EndError{Reason: r, Err: err}
}
