package call

import (
	"log/slog"
	"time"
)

// stuckGrace is what a state may last beyond its own deadline before the call counts as stuck. Every state has a timer
// of its own in the call's goroutine; being stuck means that this goroutine hangs.
const stuckGrace = 10 * time.Second

// Check looks for signs that the call was left behind, and adapts a live one to its network. It is cheap and never blocks: a node's sweeper asks every call
// once a second. ok reports that the call should end for the returned reason.
func (c *Call) Check(now time.Time) (r Reason, ok bool) {
	c.mu.Lock()
	state, since, activeAt := c.state, c.since, c.activeAt
	c.mu.Unlock()
	switch state {
	case StateActive:
		c.adapt()
		heard := activeAt
		if last := c.opts.Meta.LastReceived(); last.After(heard) {
			heard = last
		}
		if now.Sub(heard) >= c.opts.Timeouts.Media {
			return ReasonMediaTimeout, true
		}
	case StateOffered, StatePreAccepted:
		if now.After(c.opts.SetupDeadline.Add(stuckGrace)) {
			return ReasonStuck, true
		}
	case StateDialing, StateRinging:
		if now.After(c.ringBy.Add(stuckGrace)) {
			return ReasonStuck, true
		}
	case StateEnding:
		if now.Sub(since) > c.opts.Timeouts.Terminate+c.opts.Timeouts.Leave+stuckGrace {
			return ReasonStuck, true
		}
	default:
	}
	return ReasonUnknown, false
}

// report tells of the call's end, once.
func (c *Call) report() {
	end := c.endError()
	c.mu.Lock()
	activeAt, endedAt, said := c.activeAt, c.endedAt, c.said
	c.mu.Unlock()
	talked := said.Duration // of a call that was over before we heard of its pick-up
	if !activeAt.IsZero() {
		talked = endedAt.Sub(activeAt)
	}
	if c.opts.Observer != nil {
		c.guarded(func() { c.opts.Observer.Ended(c.opts.Direction, end.Reason, talked) })
	}
	stages := make([]any, 0, len(stageFacts))
	for _, m := range c.Stages() {
		stages = append(stages, slog.Int64(m.Stage.String(), m.At.Sub(c.started).Milliseconds()))
	}
	attributes := []any{
		"reason", end.Reason.String(), "result", string(end.Reason.Result()),
		"started", c.started, "duration", endedAt.Sub(c.started).Round(time.Millisecond), "talked", talked.Round(time.Millisecond), slog.Group("stagesMs", stages...),
	}
	c.guarded(func() {
		heard := c.Heard()
		attributes = append(attributes, heard.attributes()...)
	})
	c.guarded(func() { attributes = append(attributes, c.opts.Meta.LogAttrs()...) })
	if end.Err != nil {
		attributes = append(attributes, "error", end.Err)
	}
	c.log.Info("call ended", attributes...)
}
