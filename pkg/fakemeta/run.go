package fakemeta

import (
	"errors"
	"fmt"
	"time"

	"github.com/livekit-connector/livekit-connector/pkg/fakemeta/relay"
)

// alarm is a timer that may not be set: then it never rings.
type alarm struct{ timer *time.Timer }

func (a *alarm) set(d time.Duration) {
	a.stop()
	a.timer = time.NewTimer(max(d, 0))
}

func (a *alarm) stop() {
	if a.timer != nil {
		a.timer.Stop()
		a.timer = nil
	}
}

func (a *alarm) rings() <-chan time.Time {
	if a.timer == nil {
		return nil
	}
	return a.timer.C
}

// life is what run alone knows about a call.
type life struct {
	*Call
	connect  alarm // outbound: the answer goes out
	ring     alarm // outbound: the phone begins to ring
	expire   alarm // nobody answers
	accepted alarm // outbound: the ACCEPTED status goes out
	media    alarm // nothing was heard for too long
	habit    alarm // the user does something by himself
	habitual event // what
	wish     event // what the user wants to do as soon as the phone rings
	opened   bool  // the media path knows the business
	through  bool  // DTLS is done
	speaking bool  // the handset has begun
	dumb     bool  // one-way mode: the handset may not speak
}

// run is a call from its beginning to its end.
func (c *Call) run() {
	defer close(c.done)
	l := &life{Call: c}
	defer l.tearDown()
	gone := l.gone
	l.begin()
	for c.State() != StateEnded {
		select {
		case m := <-c.mailbox:
			m.reply <- l.handle(m)
		case s := <-c.signals:
			l.notice(s)
		case <-l.connect.rings():
			l.connect.stop()
			l.announce()
		case <-l.ring.rings():
			l.ring.stop()
			_ = l.handle(message{event: evRing}) // a call that cannot ring any more is no fault
		case <-l.expire.rings():
			l.expire.stop()
			_ = l.handle(message{event: evExpire})
		case <-l.habit.rings():
			l.habit.stop()
			_ = l.handle(message{event: l.habitual})
		case <-l.accepted.rings():
			l.accepted.stop()
			l.say("ACCEPTED")
		case <-l.media.rings():
			l.listen()
		case <-gone:
			gone = nil
			l.stopAlarms()
		case <-c.server.ctx.Done():
			l.finish(ending{By: "meta"}) // the server closes; its webhooks have ended
		}
	}
}

// begin sets the call in motion.
func (l *life) begin() {
	t := &l.server.timing
	l.note(MomentPlaced, string(l.direction))
	if l.direction == Inbound {
		l.expire.set(t.scaled(t.AcceptWindow))
		l.sendConnect(Session{SDP: l.Offer(), SDPType: "offer"})
		return
	}
	if err := l.open(l.taken.peer, l.taken.role); err != nil {
		l.problem(err.Error())
	}
	l.ring.set(t.scaled(t.Ringing))
	if l.hasty {
		l.announce()
		return
	}
	l.connect.set(t.scaled(t.Connect))
}

// announce sends the answer of an outbound call: Meta's media leg is ready, which does not mean that anybody
// picked up.
func (l *life) announce() { l.sendConnect(Session{SDP: l.Answer(), SDPType: "answer"}) }

// handle moves the call and does what the move brings about.
func (l *life) handle(m message) error {
	from := l.State()
	to, err := next(from, m.event)
	if from == StateDialing && errors.Is(err, errNotTheirs) {
		l.wish = m.event
		return nil
	}
	if err != nil {
		return err
	}
	switch m.event {
	case evPreAccept, evAccept:
		return l.answerTo(m, to)
	case evRing:
		l.startRinging()
	case evPickUp:
		l.note(MomentPickUp, "")
		l.pickUp()
	case evReject:
		l.note(MomentReject, "")
		l.finish(ending{By: "business"})
	case evTerminate:
		l.note(MomentTerminate, "")
		l.finish(ending{By: "business"})
	case evDecline:
		l.note(MomentDecline, "")
		l.say("REJECTED")
		l.finish(ending{By: "user"})
	case evHangUp:
		l.note(MomentHangUp, "")
		l.finish(ending{By: "user"})
	case evExpire:
		l.note(MomentExpired, "")
		l.finish(ending{By: "meta", Code: l.missedCode()})
	case evFail:
		l.note(MomentFailed, fmt.Sprintf("%d %s", m.code, codeMessage(m.code)))
		l.finish(ending{By: "meta", Code: m.code})
	}
	return nil
}

// missedCode is the error of a call that nobody answered in time, if it has one.
func (l *life) missedCode() int {
	if l.direction == Inbound && l.server.opts.MissedIsFailure {
		return CodeConnectTimeout
	}
	return 0
}

// answerTo applies pre_accept and accept.
func (l *life) answerTo(m message, to State) error {
	if before := l.Answer(); before != "" && before != m.answer {
		return errAnswerChanged
	}
	if err := l.open(m.peer, l.inboundRole(m.peer)); err != nil {
		return err
	}
	l.mu.Lock()
	l.answer = m.answer
	if m.opaque != "" {
		l.opaque = m.opaque
	}
	l.mu.Unlock()
	if m.event == evPreAccept {
		l.note(MomentPreAccept, "")
		l.move(to)
		return nil
	}
	l.note(MomentAccept, "")
	l.expire.stop()
	l.startTalking()
	l.move(to)
	l.watch()
	return nil
}

// inboundRole is Meta's part in the handshake of an inbound call: it waits for the business' ClientHello and never
// sends one, so the call of a business that answered passive dies for want of media.
func (l *life) inboundRole(p *peer) relay.DTLSRole {
	switch {
	case p.setup == "active":
		return relay.DTLSRoleServer
	case l.server.opts.LenientPassive:
		return relay.DTLSRoleClient
	}
	return relay.DTLSRoleNone
}

// open tells the media path who the business is. Before that every ClientHello is dropped.
func (l *life) open(p *peer, role relay.DTLSRole) error {
	if l.opened {
		return nil
	}
	for _, r := range p.remarks {
		l.note(MomentSDPRemark, r)
	}
	if role == relay.DTLSRoleNone {
		l.problem("answer says setup:passive: Meta never sends the ClientHello of an inbound call")
	}
	if err := l.session.SetRemote(relay.Remote{Ufrag: p.ufrag, Pwd: p.pwd, Fingerprint: p.fingerprint, DTLSRole: role}); err != nil {
		return fmt.Errorf("open media: %w", err)
	}
	if err := l.phone.Negotiate(p.codec, p.payload, p.dtmf); err != nil {
		return fmt.Errorf("open media: %w", err)
	}
	l.opened = true
	l.deaf.Store(p.direction == "recvonly" || p.direction == "inactive")
	l.dumb = p.direction == "sendonly" || p.direction == "inactive"
	return nil
}

// startRinging is the moment the user's phone rings.
func (l *life) startRinging() {
	l.move(StateRinging)
	l.say("RINGING")
	t := &l.server.timing
	l.expire.set(t.scaled(t.RingTimeout))
	l.speak() // a ringback tone
	habits, _ := l.user.habits()
	switch {
	case l.wish != 0:
		_ = l.handle(message{event: l.wish})
	case habits.PickUpAfter > 0:
		l.habitual = evPickUp
		l.habit.set(habits.PickUpAfter)
	case habits.RejectAfter > 0:
		l.habitual = evDecline
		l.habit.set(habits.RejectAfter)
	}
}

func (l *life) pickUp() {
	t := &l.server.timing
	l.expire.stop()
	l.habit.stop()
	if habits, _ := l.user.habits(); habits.HangUpAfter > 0 {
		l.habitual = evHangUp
		l.habit.set(habits.HangUpAfter)
	}
	if l.early.Load() > 0 {
		l.problem(fmt.Sprintf("%d RTP packets before the user picked up: the callee's first words met a ringtone", l.early.Load()))
	}
	l.startTalking()
	l.move(StateActive)
	if t.AcceptedDelay > 0 {
		l.accepted.set(t.scaled(t.AcceptedDelay))
	} else {
		l.say("ACCEPTED")
	}
	l.watch()
}

// startTalking marks the call as answered, once, and lets the handset speak.
func (l *life) startTalking() {
	if l.answered.Swap(true) {
		return
	}
	l.user.connected()
	l.mu.Lock()
	l.answeredAt = time.Now()
	l.mu.Unlock()
	l.phone.MarkAnswered()
	l.speak()
}

// speak lets the handset begin once the call is answered and there is a path for its words.
func (l *life) speak() {
	ringing := l.server.opts.Ringback && l.direction == Outbound && l.State() == StateRinging
	if l.speaking || !l.through || !l.answered.Load() && !ringing {
		return
	}
	l.speaking = true
	if l.dumb {
		return
	}
	if err := l.phone.Start(); err != nil {
		l.problem(err.Error())
		return
	}
	l.note(MomentSpeaking, "")
}

// notice takes what the media path saw.
func (l *life) notice(s signal) {
	detail := ""
	if s.name == MomentMedia {
		detail = s.state.String()
		if err := l.session.Err(); err != nil && s.state == relay.StateFailed {
			detail = err.Error()
			l.problem(detail)
		}
		if s.state == relay.StateConnected {
			l.through = true
		}
	}
	l.note(s.name, detail)
	l.speak()
	if s.name != MomentFirstRTP {
		return
	}
	if l.State() == StateActive && !l.vanished() {
		l.watch()
	}
	if st := l.State(); l.direction == Inbound && (st == StateOffered || st == StatePreAccepted) {
		// The WhatsApp client takes the first media packet for the answer, whatever accept says later.
		l.problem("RTP before accept: the caller's timer started early and the first words were clipped")
		l.note(MomentEarly, "")
		l.startTalking()
	}
}

// patience is until when the business may stay silent: 20 s for its first packet, 30 s after any packet.
func (l *life) patience() time.Time {
	t := &l.server.timing
	if l.firstRTP.Load() != 0 {
		return time.Unix(0, l.lastHeard.Load()).Add(t.scaled(t.Silence))
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.answeredAt.Add(t.scaled(t.FirstMedia))
}

// watch sets the alarm that ends a call without media.
func (l *life) watch() { l.media.set(time.Until(l.patience())) }

// listen ends a call in which the business has been silent for too long.
func (l *life) listen() {
	if time.Until(l.patience()) > 0 {
		l.watch()
		return
	}
	_ = l.handle(message{event: evFail, code: CodeNoMediaToClient}) // a live call can always fail
}

// finish ends the call: first the media, so that nothing of it is left when the business hears of it.
func (l *life) finish(e ending) {
	l.mu.Lock()
	l.ending = e
	l.mu.Unlock()
	l.move(StateEnded)
}

// vanished says that Vanish was called: no timer runs any more.
func (l *life) vanished() bool {
	select {
	case <-l.gone:
		return true
	default:
		return false
	}
}

func (l *life) stopAlarms() {
	for _, a := range []*alarm{&l.connect, &l.ring, &l.expire, &l.accepted, &l.media, &l.habit} {
		a.stop()
	}
}

// tearDown releases all that the call holds and then tells the business.
func (l *life) tearDown() {
	l.stopAlarms()
	close(l.over)
	l.phone.Stop()
	if err := l.session.Close(); err != nil {
		l.note(MomentMediaProblem, err.Error())
	}
	l.note(MomentClosed, "")
	l.sendTerminate()
	l.server.forget(l.Call)
}
