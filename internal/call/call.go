// Package call owns one call from its offer to its end: states, deadlines, teardown.
//
// A call's life is one function (runInbound, runOutbound), read from top to bottom in one goroutine; what it opens it
// closes with a defer. Whatever wants the call to end says so with End: the first reason wins and is the cause of the
// call's context. The package knows neither Pion nor LiveKit nor HTTP: two legs and a Graph are handed to it.
package call

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/livekit-connector/livekit-connector/internal/panics"
	"github.com/livekit-connector/livekit-connector/media"
)

// Direction says who called whom.
type Direction uint8

// The directions, as Meta names them user-initiated and business-initiated.
const (
	DirectionUnknown Direction = iota
	// Inbound is a call from a WhatsApp user to the business.
	Inbound
	// Outbound is a call from the business to a WhatsApp user.
	Outbound
)

// Directions are all the values that a direction takes, for label sets.
var Directions = []Direction{Inbound, Outbound}

func (d Direction) String() string {
	switch d {
	case Inbound:
		return "inbound"
	case Outbound:
		return "outbound"
	default:
		return "unknown"
	}
}

// Options are what a call needs. All fields are required but those that say otherwise.
type Options struct {
	ID        string
	Direction Direction
	Meta      MetaLeg
	Graph     Graph
	// Join enters the room. Audio of the room goes into the line; the returned leg belongs to the call.
	Join func(ctx context.Context, line *media.Line) (RoomLeg, error)
	// Pacer paces the stream to Meta. It is shared by all calls and not closed by any.
	Pacer *media.Pacer
	// Audio says what is decoded; its zero value nothing.
	Audio    Audio
	Timeouts Timeouts
	// Keys says what becomes of keys that the room presses for the phone.
	Keys KeyMode
	// StatusesSeen says that what Meta's webhooks say of this call should reach Report. Then an outbound call is picked up
	// when they say so, else, or if nothing at all was said of it, at the first audio; and when Meta closes the connection the call waits a moment to hear why.
	StatusesSeen bool
	// WaitForRoom keeps an inbound call ringing until somebody in the room can talk with the caller.
	WaitForRoom bool
	// AnswerAlone answers a call that waits for the room even if nobody came in time.
	AnswerAlone bool
	// SetupDeadline is when setting up an inbound call must have succeeded, if Timeouts.Setup does not end before; zero
	// means as long as that.
	SetupDeadline time.Time
	// RoomDeadline is until when WaitForRoom waits; zero means as long as the setup allows.
	RoomDeadline time.Time
	// Started is when the request that made the call arrived; zero means now.
	Started time.Time
	Logger  *slog.Logger
	// Panics counts mistakes that ended the call; may be nil.
	Panics *panics.Counter
	// Observer hears of stages and of the end; may be nil.
	Observer Observer
}

// Observer hears what a call goes through, for metrics. Its methods are called by the call's goroutines and must not block.
type Observer interface {
	// Stage reports that a stage was reached, so long after the call started.
	Stage(d Direction, s Stage, after time.Duration)
	// Ended reports the end, once for every call; talked is zero if it was never answered.
	Ended(d Direction, r Reason, talked time.Duration)
}

// Call is one call. Make it with New, give it a goroutine with Run.
type Call struct {
	// Constant after construction.
	opts    Options
	log     *slog.Logger
	ctx     context.Context //nolint:containedctx // the call is a task; its context carries the reason of its end
	end     context.CancelCauseFunc
	line    *media.Line
	answers chan answer
	started time.Time
	// ringBy is when an outbound call must have been picked up: counted from when Meta took it, not from the request.
	ringBy time.Time

	// Closed by Report: the phone rings, the user picked up. Without statuses the SDP answer counts as the former.
	rang, accepted chan struct{}
	ringOnce       sync.Once
	// over ends when Meta said that the call is over, or when nothing of it is left.
	over       context.Context //nolint:containedctx // as ctx
	overAtMeta context.CancelFunc
	// hurry ends when Meta is to be told of the end no longer: see GiveUp.
	hurry  context.Context //nolint:containedctx // as ctx
	giveUp context.CancelFunc

	// Closed by the call's goroutine.
	joined  chan struct{}
	ringing chan struct{}
	active  chan struct{}
	told    chan struct{}
	done    chan struct{}

	// preAcceptSent is set before Meta hears of our answer: from then on a call is terminated, not rejected.
	preAcceptSent atomic.Bool
	// preAccepted is set once Meta took our answer, or may have.
	preAccepted atomic.Bool

	keys keyCounters

	mu sync.Mutex // guards all following fields; never held across I/O
	//
	state    State
	since    time.Time
	activeAt time.Time
	endedAt  time.Time
	stages   []Mark
	// endGraph, when set, replaces opts.Graph for the last word to Meta: a newer token may have come with Disconnect.
	endGraph Graph
	// endErr is what telling Meta about the end came to.
	endErr error
	// relay or toRoom is the phone's way into the room, once there is one.
	relay  *media.Relay
	toRoom *media.Line
	guard  guard
	// room is the participant, once there is one.
	room RoomLeg
	// last is what the legs knew when the call ended; nil before.
	last *legFacts
	said Said
	// attributes are those that the call gave its participant, or keeps for it.
	attributes map[string]string
}

// answer is Meta's SDP answer on its way into the call's goroutine; reply has room for one.
type answer struct {
	sdp   string
	reply chan error
}

// New returns a call in its first state. Nothing happens before Run; ctx ends the call but never carries a deadline of a
// request. Run must be called, or the Meta leg stays open.
func New(ctx context.Context, opts Options) *Call {
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	now := time.Now()
	if opts.Started.IsZero() {
		opts.Started = now
	}
	if limit := now.Add(opts.Timeouts.Setup); opts.SetupDeadline.IsZero() || limit.Before(opts.SetupDeadline) {
		opts.SetupDeadline = limit
	}
	c := &Call{
		opts:    opts,
		log:     opts.Logger.With("callID", opts.ID, "direction", opts.Direction.String()),
		answers: make(chan answer),
		started: opts.Started,
		ringBy:  now.Add(opts.Timeouts.Ringing),
		rang:    make(chan struct{}), accepted: make(chan struct{}),
		joined:  make(chan struct{}),
		ringing: make(chan struct{}),
		active:  make(chan struct{}),
		told:    make(chan struct{}),
		done:    make(chan struct{}),
		since:   now,
		state:   StateOffered,

		attributes: map[string]string{},
	}
	c.over, c.overAtMeta = context.WithCancel(context.Background())
	c.hurry, c.giveUp = context.WithCancel(context.Background())
	if opts.Direction == Outbound {
		c.state = StateDialing
	}
	c.ctx, c.end = context.WithCancelCause(ctx)
	c.line = c.newLine()
	return c
}

// ID is Meta's call ID.
func (c *Call) ID() string { return c.opts.ID }

// Direction says who called whom.
func (c *Call) Direction() Direction { return c.opts.Direction }

// Started is when the request that made the call arrived.
func (c *Call) Started() time.Time { return c.started }

// Joined is closed once the call's participant is in the room.
func (c *Call) Joined() <-chan struct{} { return c.joined }

// Active is closed once the call was answered and audio may flow both ways.
func (c *Call) Active() <-chan struct{} { return c.active }

// PreAccepted says whether Meta knows, or may know, that we took part in the call: always so for one that we placed.
func (c *Call) PreAccepted() bool { return c.opts.Direction == Outbound || c.preAccepted.Load() }

// Answered says whether the call was ever answered. It is true a moment before Active is closed: the phone has been
// picked up already while the track is still being published.
func (c *Call) Answered() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.activeAt.IsZero()
}

// Ending is closed as soon as the call has a reason to end.
func (c *Call) Ending() <-chan struct{} { return c.ctx.Done() }

// Told is closed when Meta knows of the end, or will not hear of it from us any more: see TerminateErr.
func (c *Call) Told() <-chan struct{} { return c.told }

// Done is closed when nothing of the call is left: not at Meta, not in the room, not in the process.
func (c *Call) Done() <-chan struct{} { return c.done }

// State returns the call's state and since when it is in it.
func (c *Call) State() (State, time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state, c.since
}

// End gives the call a reason to end and returns at once. The first reason wins.
func (c *Call) End(r Reason, cause error) {
	c.end(&EndError{Reason: r, Err: cause})
}

// EndWith is End with credentials that take precedence in telling Meta. Used when a request brings a token of its own.
func (c *Call) EndWith(r Reason, cause error, g Graph) {
	c.mu.Lock()
	if c.ctx.Err() == nil {
		c.endGraph = g
	}
	c.mu.Unlock()
	c.End(r, cause)
}

// GiveUp has a call that ends try no longer to tell Meta so: the process goes down. Meta ends it when it hears no audio.
func (c *Call) GiveUp() { c.giveUp() }

// Err returns why the call ends or ended: an *EndError, or nil while it lives.
func (c *Call) Err() error {
	if c.ctx.Err() == nil {
		return nil
	}
	return c.endError()
}

// TerminateErr returns, after Told, why Meta could not be told of the end; nil if it was, or did not have to be.
func (c *Call) TerminateErr() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.endErr
}

// endError reads the context's cause; a parent that was cancelled without one counts as shutdown.
func (c *Call) endError() *EndError {
	var e *EndError
	if cause := context.Cause(c.ctx); !errors.As(cause, &e) {
		e = &EndError{Reason: ReasonShutdown, Err: cause}
	}
	return e
}

// SetAnswer hands Meta's SDP answer to an outbound call and returns what became of it: a *StateError if the call already
// has one, or takes none, or an *EndError. After an answer that cannot be applied the call waits for a better one.
func (c *Call) SetAnswer(ctx context.Context, sdp string) error {
	if s, _ := c.State(); s != StateDialing {
		return &StateError{State: s, Event: EventAnswer}
	}
	a := answer{sdp: sdp, reply: make(chan error, 1)}
	select {
	case c.answers <- a:
	case <-c.ringing: // another answer was faster
		return &StateError{State: StateRinging, Event: EventAnswer}
	case <-c.ctx.Done():
		return c.endError()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	select {
	case err := <-a.reply:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Run is the call's life. It returns when nothing of the call is left, with the reason as an *EndError.
func (c *Call) Run() error {
	defer close(c.done)
	defer c.overAtMeta()
	defer c.giveUp()
	c.log.Info("call started")
	c.live()
	c.report()
	return c.endError()
}

func (c *Call) live() {
	defer c.opts.Panics.Recover(panics.Call, c.log, func() {
		c.broken()
		select {
		case <-c.told:
		default:
			c.untold(&panics.Error{Place: panics.Call})
			close(c.told) // nobody else will
		}
	})
	switch c.opts.Direction {
	case Inbound:
		c.runInbound()
	case Outbound:
		c.runOutbound()
	default:
		panic("call: internal error: call without a direction")
	}
	c.to(EventClosed)
}

// broken ends the call after a panic in one of its goroutines.
func (c *Call) broken() { c.End(ReasonInternal, &panics.Error{Place: panics.Call}) }

// silenced ends the call after a panic in what a packet or the pacer set off.
func (c *Call) silenced(v any) {
	c.opts.Panics.Caught(panics.Audio, c.log, v)
	c.End(ReasonInternal, &panics.Error{Place: panics.Audio})
}

// to moves the call's state. A move that the state machine does not know is a broken invariant, except after the end.
func (c *Call) to(e Event) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s, err := next(c.state, e)
	if err != nil {
		panic("call: internal error: " + err.Error())
	}
	if s != c.state {
		c.state, c.since = s, time.Now()
	}
}

// mark records that a stage was reached.
func (c *Call) mark(s Stage) { c.markAt(s, time.Now()) }

func (c *Call) markAt(s Stage, at time.Time) {
	c.mu.Lock()
	c.stages = append(c.stages, Mark{Stage: s, At: at})
	c.mu.Unlock()
	if c.opts.Observer != nil && stageFacts[s].setup {
		c.opts.Observer.Stage(c.opts.Direction, s, at.Sub(c.started))
	}
}

// Stages returns the stages that the call has been through so far, in order.
func (c *Call) Stages() []Mark {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]Mark(nil), c.stages...)
}
