package fakemeta

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/livekit-connector/livekit-connector/pkg/fakemeta/handset"
	"github.com/livekit-connector/livekit-connector/pkg/fakemeta/relay"
)

// Direction is who called, in the words of Meta's webhooks.
type Direction string

// The directions.
const (
	Inbound  Direction = "USER_INITIATED"
	Outbound Direction = "BUSINESS_INITIATED"
)

// Call is one call between a user and a business number. Its methods are safe for concurrent use.
//
// One goroutine, run, owns what happens to it; everything else sends it messages.
type Call struct {
	// Constant once the call is known to anybody.
	server    *Server
	number    *number
	user      *User
	id        string
	index     int
	direction Direction
	created   time.Time
	options   callOptions
	identity  identity
	offered   *description // ours, of an inbound call
	log       *slog.Logger
	session   session
	phone     *handset.Handset
	mailbox   chan message
	signals   chan signal
	over      chan struct{} // closed when the call ends
	done      chan struct{} // closed when nothing of it is left
	gone      chan struct{} // closed by Vanish
	vanish    sync.Once
	hasty     bool                   // outbound: the connect webhook is sent at once
	announced chan (<-chan struct{}) // capacity 1: closed when the connect webhook was answered
	taken     *acceptance            // outbound: what the offer said

	// Touched by the goroutines that read the relay's sockets.
	answered  atomic.Bool
	early     atomic.Int64 // RTP packets before the answer
	lastHeard atomic.Int64 // Unix nanoseconds of the last RTP or RTCP
	firstRTP  atomic.Int64 // Unix nanoseconds, zero: none
	byes      atomic.Int64
	deaf      atomic.Bool // one-way mode: what comes is not heard

	mu         sync.Mutex // guards all below
	state      State
	reached    [StateEnded + 1]bool
	changed    chan struct{} // closed and replaced at each change of state
	opaque     string
	offer      string // of whoever called
	answer     string // of whoever was called
	answeredAt time.Time
	endedAt    time.Time
	ending     ending
	timeline   []Moment
	problems   []string
}

// acceptance is the business' media and Meta's part in the handshake with it.
type acceptance struct {
	peer *peer
	role relay.DTLSRole
}

// ending is how a call ended.
type ending struct {
	By   string // "user", "business", "meta"
	Code int    // error code of a failure, zero if the call completed
}

// message asks the call's goroutine to do something.
type message struct {
	event  event
	answer string // SDP of pre_accept and accept
	peer   *peer
	opaque string
	code   int // of evFail
	reply  chan error
}

// signal is something the media path noticed.
type signal struct {
	name  string
	state relay.State
}

// ID returns the call ID, "wacid.…".
func (c *Call) ID() string { return c.id }

// Index returns the number of the call on this server, from 1.
func (c *Call) Index() int { return c.index }

// Direction returns who called.
func (c *Call) Direction() Direction { return c.direction }

// User returns the WhatsApp user of the call.
func (c *Call) User() *User { return c.user }

// Offer returns the SDP offer: Meta's of an inbound call, the business' of an outbound one.
func (c *Call) Offer() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.offer
}

// Answer returns the SDP answer, empty until there is one.
func (c *Call) Answer() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.answer
}

// State returns where the call stands.
func (c *Call) State() State {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state
}

// Done is closed when the call ended and nothing of it is left: no timer, no media.
func (c *Call) Done() <-chan struct{} { return c.done }

// Wait returns when the call is in the state, or was and moved on: states only grow. It fails when the call ended
// without having been there, and with ctx.
func (c *Call) Wait(ctx context.Context, want State) error {
	for {
		c.mu.Lock()
		state, changed, been := c.state, c.changed, c.reached[want]
		c.mu.Unlock()
		switch {
		case been:
			return nil
		case state == StateEnded:
			return fmt.Errorf("wait for %s: %w", want, errCallEnded)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: call is %s: %w", want, state, context.Cause(ctx))
		}
	}
}

// talk returns how long the call was answered, in Meta's time, and since when. ok is false if it never was.
func (c *Call) talk() (since time.Time, duration time.Duration, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.answeredAt.IsZero() {
		return time.Time{}, 0, false
	}
	end := c.endedAt
	if end.IsZero() {
		end = time.Now()
	}
	return c.answeredAt, c.server.timing.metaTime(end.Sub(c.answeredAt)), true
}

// PickUp makes the user answer. Before the phone rings it is remembered. It fails when the call is no outbound one
// that waits for the user.
func (c *Call) PickUp() error { return c.do(message{event: evPickUp}) }

// Reject makes the user decline. Before the phone rings it is remembered.
func (c *Call) Reject() error { return c.do(message{event: evDecline}) }

// HangUp makes the user end the call, in any state.
func (c *Call) HangUp() error { return c.do(message{event: evHangUp}) }

// Fail ends the call as FAILED with one of the codes that come by webhook: 138019 to 138023 and others.
func (c *Call) Fail(code int) error { return c.do(message{event: evFail, code: code}) }

// Vanish makes phone and relay silent as if a cable was cut: nothing is sent, no check is answered, and Meta does
// not notice: no timer runs, no webhook comes until the business ends the call.
func (c *Call) Vanish() {
	c.vanish.Do(func() {
		c.session.Silence()
		close(c.gone)
		c.note(MomentVanished, "")
	})
}

// do sends a message to the call's goroutine and waits for its verdict.
func (c *Call) do(m message) error {
	m.reply = make(chan error, 1)
	select {
	case c.mailbox <- m:
		return <-m.reply
	case <-c.over:
		return errCallEnded
	}
}

// move changes the state and tells everybody who waits for it.
func (c *Call) move(to State) {
	c.mu.Lock()
	if c.state == to {
		c.mu.Unlock()
		return
	}
	c.state = to
	if to == StateEnded {
		c.endedAt = time.Now()
	}
	changed := c.changed
	c.changed = make(chan struct{})
	c.reached[to] = true
	c.noteLocked(stateMoment(to), "")
	c.mu.Unlock()
	close(changed)
	c.logMoment(stateMoment(to), "")
}
