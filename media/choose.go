package media

import (
	"math"
	"math/bits"
	"time"

	"github.com/pion/rtp"
)

// receive is the path of every packet of every source. The packet arrived age ago.
func (l *Line) receive(s *Source, p *rtp.Packet, age time.Duration) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.pacer.now()
	l.came = now - age
	switch {
	case l.state != lineOpen:
		l.counters.shut.Add(1)
		return nil
	case s.closed || s.muted:
		l.counters.muted.Add(1)
		return nil
	case s.red != nil:
		return l.receiveREDLocked(s, p, now)
	default:
		return l.acceptLocked(s, p, now)
	}
}

// acceptLocked takes a packet of a source that may be heard.
func (l *Line) acceptLocked(s *Source, p *rtp.Packet, now time.Duration) error {
	if s.isPause(p.Payload) {
		return l.acceptPauseLocked(s, p, now)
	}
	j, ok := s.judge(p)
	if !ok {
		l.counters.garbage.Add(1)
		return nil
	}
	s.talkLocked(j.heard, now)
	if l.canMix() {
		span := durationOf(int64(j.ticks) * s.scale())
		s.fit.note(j.proper, len(p.Payload), span, l.options.MaxRelayBitrate)
		s.onset.note(j, span, l.came)
		s.past.put(p, l.came)
		if s.onset.believed() {
			s.soundAt = now
		}
	}
	if l.phase == phaseMix {
		l.mixPacketLocked(s, p, j, now)
		return nil
	}
	if l.keyingLocked() {
		s.past.use() // it is not to be heard later either
		l.counters.keyed.Add(1)
		return nil
	}
	switch l.chooseLocked(s, j.heard, now) {
	case choiceTake:
		if next(l.phase, l.demandOf(s), true) == phaseMix && l.beginMixLocked(s, now) {
			return nil
		}
		if s.options.Codec == l.options.Codec {
			if l.active != s {
				l.takeLocked(s, now)
				l.catchUpLocked(s, now)
			}
			return l.relayLocked(s, p, j.ticks, j.heard, now)
		}
	case choiceJoin:
		if l.beginMixLocked(s, now) {
			return nil
		}
	case choiceLeave:
	}
	l.counters.unheard.Add(1)
	return nil
}

// acceptPauseLocked handles a packet that says the source will be silent: from
// here on the line fills, and the packet itself is not sent, because the phone
// would wait for a comfort noise that a relay of many sources cannot promise.
func (l *Line) acceptPauseLocked(s *Source, p *rtp.Packet, now time.Duration) error {
	l.counters.pauses.Add(1)
	s.onset.pause()
	if s.past != nil {
		s.past.clear()
	}
	if l.active != s && s.channel == nil {
		return nil
	}
	if len(p.Payload) == 0 { // a probe, it says nothing
		if s.in.skip(&p.Header) {
			s.seqOffset--
		}
		return nil
	}
	if v, _, _ := s.in.next(&p.Header, l.came); v != inOrder && v != restarted {
		return nil
	}
	if s.channel != nil {
		s.channel.voice.Write(p, l.came)
		return nil
	}
	s.lastHeard = min(s.lastHeard, now-pauseLag)
	l.pauseLocked(now)
	l.fillLocked(now)
	return nil
}

// choice is what becomes of a packet while the line does not mix.
type choice uint8

const (
	choiceLeave choice = iota // another one is heard
	choiceTake                // its source is the one that is heard
	choiceJoin                // its source is heard beside the one that is relayed
)

// chooseLocked decides whether s is the source that is heard now that a packet of
// it came. The chosen one keeps the line until it says nothing for the hang-over,
// goes away, or the room says that it is silent and another one speaks. Noise is
// heard while nobody sends, but it neither takes nor keeps the line: an open
// microphone must not cost an agent its first words.
//
// Where the line can mix, nobody has to wait for the line who speaks: see onset.
func (l *Line) chooseLocked(s *Source, heard sound, now time.Duration) choice {
	switch {
	case l.active == s:
		return choiceTake
	case heard == soundNone:
		return choiceLeave
	case l.active == nil || l.yieldsLocked(s, heard, now):
		return choiceTake
	case l.canMix() && s.joins(now):
		return choiceJoin
	default:
		return choiceLeave
	}
}

// joins reports whether s is to be heard beside the one that is relayed. One that
// took part a moment ago is believed sooner, if it was no noise that did.
func (s *Source) joins(now time.Duration) bool {
	return s.onset.believed() || s.onset.likely() && s.lastHeard > 0 && now-s.lastHeard < trust
}

// talkLocked takes note of what a source's newest packet holds.
func (s *Source) talkLocked(heard sound, now time.Duration) {
	s.voiced <<= 1
	if heard == soundSpeech {
		s.voiced |= 1
		if s.talk() >= talking && (!s.onset.noisy() || s.onset.believed()) {
			s.lastHeard = now
		}
	}
}

// takeLocked makes s the source that is relayed.
func (l *Line) takeLocked(s *Source, now time.Duration) {
	if l.active != nil {
		l.counters.switches.Add(1)
		l.active.unalign()
	}
	l.active, l.since = s, now
	s.in = follower{}
	s.aligned = false
}

// catchUpLocked relays the beginning of what s says, if it was not believed at
// first. Its newest packet, still to be relayed, is the last in its history.
func (l *Line) catchUpLocked(s *Source, now time.Duration) {
	if s.past == nil || s.past.count < 2 || s.past.unused() >= s.past.count-1 {
		return
	}
	h, p := s.past, &l.earlier
	newest := h.kept[h.count-1].seq
	h.sort()
	if h.kept[h.count-1].seq != newest {
		return // it came late itself, the order is beyond repair
	}
	for i := max(h.unused(), h.count-s.onset.length()); i < h.count-1; i++ {
		h.packet(i, p)
		h.kept[i].used = true
		if j, ok := s.judge(p); ok {
			l.counters.unheard.Add(^uint64(0)) // it is heard after all
			_ = l.relayLocked(s, p, j.ticks, soundSpeech, now)
		}
	}
	p.Payload = nil
}

// yieldsLocked reports whether the source that has the line gives it to s.
func (l *Line) yieldsLocked(s *Source, heard sound, now time.Duration) bool {
	a := l.active
	over := now-a.lastHeard >= hangOver
	switch {
	case over && l.phase == phaseSilence:
		return true // it may be the soft beginning of a word
	case heard != soundSpeech:
		return false
	case l.canMix() && l.phase == phaseSilence:
		return true // should the other go on, the two are mixed
	case over && s.outtalks(a):
		return true
	case l.canMix() && over && a.onset.quiet():
		return true // no need to find out which of the two makes more noise
	default:
		return !l.canMix() && s.speaking && !a.speaking && now-l.since >= hintDelay
	}
}

// talk is how many of the last eight packets had speech in them. Speech has it in
// almost all; in noise the encoder believes to find some now and then.
func (s *Source) talk() int { return bits.OnesCount8(s.voiced) }

// outtalks reports whether s has spoken more of late than a, and longer without a
// break: one that begins to speak has few packets of speech so far, but the newest.
// Where the two can be mixed, one that is beginning to speak is not outtalked at all.
func (s *Source) outtalks(a *Source) bool {
	if s.line.canMix() && !a.onset.noisy() && bits.OnesCount8(a.voiced&0x0F) > 1 {
		return false
	}
	return s.talk() > a.talk() && bits.TrailingZeros8(^s.voiced) > bits.TrailingZeros8(^a.voiced)
}

// relayLocked sends a packet of the chosen source in its place.
func (l *Line) relayLocked(s *Source, p *rtp.Packet, duration uint32, heard sound, now time.Duration) error {
	v, steps, ticks := s.in.next(&p.Header, l.came)
	switch v {
	case duplicate, stray:
		l.counters.late.Add(1)
		return nil
	case reordered:
		return l.write(s, p)
	case restarted:
		s.aligned = false
	case inOrder:
	}
	lead := l.leadLocked(now)
	if v == inOrder && !l.continues(s, steps, ticks, duration, lead) {
		s.aligned = false
	}
	if l.skipsLocked(heard, lead, now) {
		l.hurry, l.ease = false, false
		l.counters.ahead.Add(1)
		s.duration = duration
		s.unalign()
		return nil
	}
	if !s.aligned {
		l.joinLocked(s, &p.Header, v, now)
	}
	seq, ts := p.SequenceNumber+s.seqOffset, p.Timestamp+s.tsOffset
	s.duration = duration
	s.past.use()
	l.enterLocked(phaseRelay, now)
	l.advanceLocked(seq, ts, duration)
	err := l.write(s, p)
	l.timeRelayLocked()
	l.silent = false
	l.followClockLocked(now)
	l.scheduleLocked()
	return err
}

// skipsLocked reports whether the relay goes on without a packet, so as to be less ahead
// of the clock by lead, or because what is no speech in it is old.
func (l *Line) skipsLocked(heard sound, lead, now time.Duration) bool {
	if heard != soundSpeech && (lead > slack || now-l.came > slack || l.ease) {
		return true
	}
	return lead > maxAhead || l.hurry && lead > lasting
}

// joinLocked gives s the next place of the line. If the source paused for less
// than the grace without saying so, its pause is made up for first.
func (l *Line) joinLocked(s *Source, h *rtp.Header, v verdict, now time.Duration) {
	if v == inOrder {
		for l.leadLocked(now)+FrameDuration <= 0 {
			l.writeSilenceLocked()
		}
	}
	s.align(h, l.seq, l.ts)
}

// continues reports whether a packet that came steps sequence numbers and ticks
// after the one before follows it without a pause: the packets between, if any,
// were lost, and their time with them. lead is that of the line: a source that
// counts faster than time passes has not lost anything.
func (l *Line) continues(s *Source, steps uint16, ticks, duration uint32, lead time.Duration) bool {
	if !s.aligned || ticks < s.duration {
		return false
	}
	gap := ticks - s.duration
	lost := uint32(steps) - 1
	return gap <= lost*max(duration, s.duration) && (gap == 0 || lead+l.span(gap) <= slack)
}

// write sends p in the place that its source's mapping gives it.
func (l *Line) write(s *Source, p *rtp.Packet) error {
	l.out.SequenceNumber, l.out.Timestamp = p.SequenceNumber+s.seqOffset, p.Timestamp+s.tsOffset
	l.out.Marker = l.silent // RFC 3551 section 4.1: the first packet after silence
	l.out.Payload = p.Payload
	l.counters.relayed.Add(1)
	return l.sendLocked()
}

// followClockLocked looks at what the lead was in a whole window. If no packet
// came as early as it should have, the relayed source is slower than our clock: the
// difference is drift and not jitter, and filling it with silence would put a hole
// into speech, so origin moves. If none came without lasting delay, the source is
// faster, or it never pauses after a stall: one packet less, then. A lesser delay
// that lasts is what a mix left behind: the next pause has a packet less.
func (l *Line) followClockLocked(now time.Duration) {
	lead := l.leadLocked(now)
	l.leadMin, l.leadMax = min(l.leadMin, lead), max(l.leadMax, lead)
	l.leadCount++
	if l.leadCount < driftWindow {
		return
	}
	if l.leadMax < FrameDuration {
		l.origin += FrameDuration - l.leadMax
		l.counters.slips.Add(1)
	}
	l.hurry, l.ease = l.leadMin > lasting, l.leadMin > 2*FrameDuration
	l.leadMin, l.leadMax, l.leadCount = math.MaxInt64, math.MinInt64, 0
}
