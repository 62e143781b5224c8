package call

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"sync"
	"time"

	"github.com/livekit-connector/livekit-connector/internal/panics"
	"github.com/livekit-connector/livekit-connector/pkg/whatsapp"
)

// Attributes that a call keeps current on its participant.
const (
	// AttributeStatus holds "dialing", "ringing", "active" or "hangup", as LiveKit's SIP service has it in sip.callStatus.
	AttributeStatus = "whatsapp.callStatus"
	// AttributeAnswerTime is when an outbound call was answered, in Unix milliseconds (protocol livekit/attrs.go).
	AttributeAnswerTime = "lk.connector.answerTime"
	// AttributeEndReason is why the call ended, a Reason's name; set just before the participant leaves.
	AttributeEndReason = "whatsapp.endReason"
	// AttributeEndCode is Meta's error code, if Meta said that the call failed.
	AttributeEndCode = "whatsapp.endCode"
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
	watch.Go(func() {
		defer c.opts.Panics.Recover(panics.Call, c.log, c.broken)
		c.watch(s)
	})
	defer watch.Wait()
	defer c.finish(s)
	defer c.opts.Panics.Recover(panics.Call, c.log, c.broken) // before the end, which has to be taken either way

	ctx, cancel := context.WithDeadlineCause(c.ctx, c.opts.SetupDeadline, &EndError{Reason: ReasonSetupTimeout})
	defer cancel()
	if err := c.setUpInbound(ctx, s); err != nil {
		c.end(err)
		return
	}
	c.talk(s.room)
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

// talk is the answered call: it lasts until somebody or something ends it.
func (c *Call) talk(room RoomLeg) {
	limit, alone := newAlarm(), newAlarm()
	defer limit.stop()
	defer alone.stop()
	limit.start(c.opts.Timeouts.MaxDuration)
	for {
		company, changed := room.Company()
		if company == CompanyLeft {
			alone.start(c.opts.Timeouts.Alone)
		} else {
			alone.stop() // while nobody can tell who is there, too: it starts afresh
		}
		select {
		case <-changed:
		case <-limit.C:
			c.End(ReasonMaxDuration, nil)
			return
		case <-alone.C:
			c.End(ReasonLeftAlone, nil)
			return
		case <-c.ctx.Done():
			return
		}
	}
}

// alarm is a timer that may be stopped and started at will.
type alarm struct{ *time.Timer }

func newAlarm() *alarm {
	t := time.NewTimer(time.Hour)
	t.Stop()
	return &alarm{t}
}

// start lets the alarm ring after d, which is never if d is not positive.
func (a *alarm) start(d time.Duration) {
	if d > 0 {
		a.Reset(d)
	}
}

func (a *alarm) stop() { a.Stop() }

// answered opens the call for audio: first towards Meta, whose clients hang up without media, then into the room.
func (c *Call) answered(ctx context.Context, s *seat, e Event) error {
	c.opts.Meta.Open()
	c.line.Open()
	now := time.Now()
	c.mu.Lock()
	c.activeAt = now // before the state: Check counts silence from here
	c.mu.Unlock()
	c.to(e)
	attributes := map[string]string{AttributeStatus: StatusActive}
	if c.opts.Direction == Outbound {
		attributes[AttributeAnswerTime] = strconv.FormatInt(now.UnixMilli(), 10)
	}
	c.setAttributes(s, attributes)
	c.markAt(StageAnswered, now) // whoever hears of it sees the attributes, too
	if err := s.room.Publish(ctx); err != nil {
		reason := ReasonRoomJoinFailed
		select {
		case <-s.room.Done(): // whoever ended the participant ended this, too
			reason = s.room.Reason()
		default:
		}
		return reasonFor(ctx, reason, fmt.Errorf("publish the caller's track: %w", err))
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
		defer c.opts.Panics.Recover(panics.Call, c.log, func() {
			s.err = &panics.Error{Place: panics.Call}
			c.broken()
		})
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

const (
	// wordPatience is how long Meta may take to say why it closed the connection. Its webhook comes within a second.
	wordPatience = 2 * time.Second
	// declinePatience is how much later than the end of a call Meta may say that the user declined it: the two come in
	// webhooks of their own, in any order.
	declinePatience = time.Second
)

// watch ends the call when one of its legs is gone, and records what the legs report. It returns when the call ends.
func (c *Call) watch(s *seat) {
	connected, firstAudio, ready := c.opts.Meta.Connected(), c.opts.Meta.FirstAudio(), s.ready
	closed, over := c.opts.Meta.Done(), c.over.Done()
	var gone <-chan struct{}
	unexplained := newAlarm()
	defer unexplained.stop()
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
		case <-closed:
			closed = nil
			if c.over.Err() != nil { // Meta said so in the same breath, which counts whichever case comes up
				continue
			}
			if !c.opts.StatusesSeen || !c.opts.Meta.ClosedByMeta() {
				c.End(c.lost(), nil)
				return
			}
			c.line.Close() // nobody hears it
			unexplained.start(wordPatience)
		case <-over:
			over, closed = nil, nil
			unexplained.start(declinePatience)
		case <-unexplained.C:
			c.End(c.unexplained(), nil)
			return
		case <-c.ctx.Done():
			return
		}
	}
}

// unexplained names an end of which Meta said nothing more, or nothing at all.
func (c *Call) unexplained() Reason {
	if said := c.Said(); !said.TerminatedAt.IsZero() {
		return c.terminated(&said)
	}
	return c.lost()
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

// setAttributes changes the participant's attributes; a call does not end because that failed.
func (c *Call) setAttributes(s *seat, attributes map[string]string) {
	c.noteAttributes(attributes)
	if err := s.room.SetAttributes(maps.Clone(attributes)); err != nil {
		c.log.Warn("participant attributes not set", "error", err)
	}
}

// noteAttributes keeps for the call's facts what its participant's attributes are, or would be if there were one.
func (c *Call) noteAttributes(attributes map[string]string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	maps.Copy(c.attributes, attributes)
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
func (c *Call) waitRoomReady(waiting context.Context, s *seat) error {
	const forAccept = 3 * time.Second
	deadline := c.opts.SetupDeadline.Add(-forAccept)
	if asked := c.opts.RoomDeadline; !asked.IsZero() && asked.Before(deadline) {
		deadline = asked
	}
	ctx, cancel := context.WithDeadlineCause(waiting, deadline, &EndError{Reason: ReasonRoomNotReady})
	defer cancel()
	select {
	case <-s.room.Ready():
	case <-ctx.Done():
		select {
		case <-s.room.Ready(): // an impatient requester's deadline may be over before the wait began
		default:
			if c.opts.AnswerAlone && waiting.Err() == nil {
				return nil
			}
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
