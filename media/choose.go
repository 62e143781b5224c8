package media

import (
	"math"
	"time"

	"github.com/pion/rtp"
)

// receive is the path of every packet of every source.
func (l *Line) receive(s *Source, p *rtp.Packet) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.state != lineOpen:
		l.counters.shut.Add(1)
		return nil
	case s.closed || s.muted:
		l.counters.muted.Add(1)
		return nil
	}
	now := l.pacer.now()
	if len(p.Payload) <= pauseBytes {
		return l.receivePauseLocked(s, p, now)
	}
	duration, err := OpusDuration(p.Payload)
	if err != nil {
		l.counters.garbage.Add(1)
		return nil
	}
	// A mixer takes over here: with two sources heard, or one that Meta cannot
	// take as it is, packets go to its jitter buffers instead, and tick sends
	// what it makes in place of silence.
	if !l.chooseLocked(s, p, now) {
		l.counters.unheard.Add(1)
		return nil
	}
	return l.relayLocked(s, p, duration, now)
}

// receivePauseLocked handles a packet that says the source will be silent: from
// here on the line fills, and the packet itself is not sent, because the phone
// would wait for a comfort noise that a relay of many sources cannot promise.
func (l *Line) receivePauseLocked(s *Source, p *rtp.Packet, now time.Duration) error {
	l.counters.pauses.Add(1)
	if l.active != s {
		return nil
	}
	if len(p.Payload) == 0 { // a probe, it says nothing
		if s.in.skip(&p.Header) {
			s.seqOffset--
		}
		return nil
	}
	if v, _, _ := s.in.next(&p.Header, now); v != inOrder && v != restarted {
		return nil
	}
	s.lastHeard = min(s.lastHeard, now-pauseLag)
	l.pauseLocked()
	l.fillLocked(now)
	return nil
}

// chooseLocked decides whether s is the source that is heard now that a packet of
// it came. The chosen one keeps the line until it is silent for the hang-over,
// goes away, or the room says that it is silent and another one speaks.
func (l *Line) chooseLocked(s *Source, p *rtp.Packet, now time.Duration) bool {
	speech := len(p.Payload) > quietBytes
	if speech {
		s.lastHeard = now
	}
	if l.active == s {
		return true
	}
	if !speech || !l.yieldsLocked(s, now) {
		return false
	}
	if l.active != nil {
		l.counters.switches.Add(1)
		l.active.unalign()
	}
	l.active, l.since = s, now
	s.in = follower{}
	s.aligned = false
	return true
}

// yieldsLocked reports whether the line is free for s.
func (l *Line) yieldsLocked(s *Source, now time.Duration) bool {
	a := l.active
	if a == nil || now-a.lastHeard >= hangOver {
		return true
	}
	return s.speaking && !a.speaking && now-l.since >= hintDelay
}

// relayLocked sends a packet of the chosen source in its place.
func (l *Line) relayLocked(s *Source, p *rtp.Packet, duration uint32, now time.Duration) error {
	v, steps, ticks := s.in.next(&p.Header, now)
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
	if v == inOrder && !s.continues(steps, ticks, duration, lead) {
		s.aligned = false
	}
	if lead > maxAhead || (lead > grace && len(p.Payload) <= quietBytes) {
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
	l.filling = false
	l.advanceLocked(seq, ts, duration)
	err := l.write(s, p)
	l.silent = false
	l.followClockLocked(now)
	l.scheduleLocked()
	return err
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
func (s *Source) continues(steps uint16, ticks, duration uint32, lead time.Duration) bool {
	if !s.aligned || ticks < s.duration {
		return false
	}
	gap := ticks - s.duration
	lost := uint32(steps) - 1
	return gap <= lost*max(duration, s.duration) && (gap == 0 || lead+durationOf(int64(gap)) <= grace)
}

// write sends p in the place that its source's mapping gives it.
func (l *Line) write(s *Source, p *rtp.Packet) error {
	l.out.SequenceNumber, l.out.Timestamp = p.SequenceNumber+s.seqOffset, p.Timestamp+s.tsOffset
	l.out.Marker = l.silent // RFC 3551 section 4.1: the first packet after silence
	l.out.Payload = p.Payload
	l.counters.relayed.Add(1)
	return l.sendLocked()
}

// followClockLocked moves origin when the relayed source turns out to be slower
// than our clock: if in a whole window no packet came as early as it should have,
// the difference is drift and not jitter, and filling it with silence would put a
// hole into speech.
func (l *Line) followClockLocked(now time.Duration) {
	l.leadMax = max(l.leadMax, l.leadLocked(now))
	l.leadCount++
	if l.leadCount < driftWindow {
		return
	}
	if l.leadMax < FrameDuration {
		l.origin += FrameDuration - l.leadMax
		l.counters.slips.Add(1)
	}
	l.leadMax, l.leadCount = math.MinInt64, 0
}
