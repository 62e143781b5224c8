package fakemeta

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"time"

	"github.com/livekit-connector/livekit-connector/pkg/fakemeta/handset"
	"github.com/livekit-connector/livekit-connector/pkg/fakemeta/relay"
)

// deadIPv6 is an address of the documentation prefix: nothing answers there.
var deadIPv6 = netip.MustParseAddr("2001:db8:f312:131:face:b00c:0:699c")

// newCall builds a call with its media path: an outbound one if an offer of the business was taken. The caller adds
// the SDP and starts it.
func (s *Server) newCall(n *number, u *User, o callOptions, taken *acceptance) (*Call, error) {
	direction := Inbound
	if taken != nil {
		direction = Outbound
	}
	dialect := s.opts.Dialect
	if o.dialect != nil {
		dialect = *o.dialect
	}
	addrs := slices.Clone(s.addrs)
	if s.opts.DeadIPv6 && len(addrs) == 1 {
		addrs = append(addrs, netip.AddrPortFrom(deadIPv6, addrs[0].Port()))
	}
	now := time.Now()
	c := &Call{
		server: s, number: n, user: u, direction: direction, options: o, created: now,
		id: newCallID(direction, u.waID, n.business()), identity: newIdentity(dialect, now, addrs),
		mailbox: make(chan message), signals: make(chan signal, 16), changed: make(chan struct{}),
		over: make(chan struct{}), done: make(chan struct{}), gone: make(chan struct{}),
		announced: make(chan (<-chan struct{}), 1),
		state:     StateOffered, taken: taken,
	}
	if direction == Outbound {
		c.state = StateDialing
		c.hasty = s.currentDelivery().ConnectBeforeResponse
	}
	c.reached[c.state] = true
	var err error
	c.session, err = s.newSession(relay.SessionOptions{
		Ufrag: c.identity.ufrag, Pwd: c.identity.pwd,
		OnRTP: c.onRTP, OnRTCP: c.onRTCP, OnState: c.onState,
	})
	if err != nil {
		return nil, fmt.Errorf("open media path: %w", err)
	}
	c.identity.fingerprint = "sha-256 " + c.session.Fingerprint()
	if c.phone, err = handset.New(c.handsetOptions()); err != nil {
		return nil, errors.Join(fmt.Errorf("make handset: %w", err), c.session.Close())
	}
	return c, nil
}

// handsetOptions gives the handset its words. The codec comes with the business' description.
func (c *Call) handsetOptions() handset.Options {
	speech := c.options.speech
	if speech.empty() {
		_, speech = c.user.habits()
	}
	if speech.empty() {
		speech = c.server.opts.Speech
	}
	return handset.Options{
		Sender: c.session, SSRC: c.identity.ssrc, CNAME: c.identity.cname, Logger: c.server.log,
		Voice: speech.Samples, Packets: speech.Packets, Rate: speech.Rate, Loop: speech.Loop,
		SilenceBefore: speech.Before, SilenceAfter: speech.After,
	}
}

// admitCall makes a call known and starts it, unless user and number are busy.
func (s *Server) admitCall(c *Call) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrClosed
	}
	sameNumber := 0
	for _, other := range s.calls {
		if other.number.PhoneNumberID != c.number.PhoneNumberID || other.State() == StateEnded {
			continue
		}
		sameNumber++
		if other.user == c.user && !s.opts.AllowSecondCall {
			return ErrBusy
		}
	}
	if sameNumber >= s.opts.MaxCalls {
		return ErrOverloaded
	}
	s.lastIndex++
	c.index = s.lastIndex
	c.log = s.log.With(slog.Int("call", c.index), slog.String("callID", c.id))
	s.calls[c.id] = c
	s.calling.Go(c.run)
	return nil
}

// discard releases a call that was never admitted.
func (c *Call) discard() {
	close(c.over)
	c.phone.Stop()
	_ = c.session.Close() // nothing has happened on it
}

// ring places an inbound call.
func (s *Server) ring(n *number, u *User, o callOptions) (*Call, error) {
	c, err := s.newCall(n, u, o, nil)
	if err != nil {
		return nil, fmt.Errorf("call business: %w", err)
	}
	c.offer = c.identity.offer(n.additionalCodecs()...)
	if c.offered, err = parseDescription(c.offer); err == nil {
		err = s.admitCall(c)
	}
	if err != nil {
		c.discard()
		return nil, fmt.Errorf("call business: %w", err)
	}
	return c, nil
}

// hastyAck is how long a request waits for its webhook to be acknowledged, with ConnectBeforeResponse.
const hastyAck = time.Second

// dial places an outbound call whose offer was found good.
func (s *Server) dial(n *number, u *User, offer string, p *peer, opaque string) (*Call, *graphError) {
	setup, role := s.answerSetup(p.setup)
	c, err := s.newCall(n, u, callOptions{}, &acceptance{peer: p, role: role})
	if err != nil {
		return nil, refusal(CodeConnectionError, err.Error())
	}
	c.opaque, c.offer = opaque, offer
	c.answer = c.identity.answer(p, setup, s.sdpPolicy(n))
	if err = s.admitCall(c); err != nil {
		c.discard()
		switch {
		case errors.Is(err, ErrBusy):
			return nil, refusal(CodeDuplicateCall, "a call with this user is ongoing")
		case errors.Is(err, ErrOverloaded):
			return nil, refusal(CodeConcurrentCalls, "the number has reached its concurrent calls")
		}
		return nil, refusal(CodeConnectionError, err.Error())
	}
	select {
	case u.rings <- c:
	default: // nobody has asked for this user's calls for long
	}
	if c.hasty {
		c.awaitAnnouncement()
	}
	return c, nil
}

func (c *Call) awaitAnnouncement() {
	limit := time.NewTimer(hastyAck)
	defer limit.Stop()
	select {
	case answered := <-c.announced:
		select {
		case <-answered:
		case <-limit.C:
		}
	case <-limit.C:
	}
}

// answerSetup returns a=setup of the answer to an offer, and what Meta then does in the handshake.
func (s *Server) answerSetup(offered string) (string, relay.DTLSRole) {
	switch {
	case offered == "active":
		return "passive", relay.DTLSRoleServer
	case offered == "passive", s.opts.AnswerSetup == SetupActive:
		return "active", relay.DTLSRoleClient
	}
	return string(s.opts.AnswerSetup), relay.DTLSRoleServer
}

// forget moves a call from the living to the ended.
func (s *Server) forget(c *Call) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.calls, c.id)
	s.tombstones[c.id] = struct{}{}
	s.buried = append(s.buried, c.id)
	if len(s.buried) > tombstoneLimit {
		delete(s.tombstones, s.buried[0])
		s.buried = s.buried[1:]
	}
	s.ended = append(s.ended, c)
	if len(s.ended) > s.opts.KeepEnded {
		s.ended = slices.Delete(s.ended, 0, len(s.ended)-s.opts.KeepEnded)
	}
}

// ActiveCalls returns how many calls live: sockets, timers or media of them are still there.
func (s *Server) ActiveCalls() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.calls)
}

// Calls returns the living calls and the last ended ones, oldest first.
func (s *Server) Calls() []*Call {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := slices.Clone(s.ended)
	for _, c := range s.calls {
		all = append(all, c)
	}
	slices.SortFunc(all, func(a, b *Call) int { return a.index - b.index })
	return all
}

// Call returns a call by ID, nil if it is unknown or forgotten.
func (s *Server) Call(id string) *Call {
	for _, c := range s.Calls() {
		if c.id == id {
			return c
		}
	}
	return nil
}
