package media

import (
	"math"
	"math/bits"
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
	heard := soundOf(p.Payload)
	if !l.chooseLocked(s, heard, now) {
		l.counters.unheard.Add(1)
		return nil
	}
	return l.relayLocked(s, p, duration, heard, now)
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

// sound is what a packet holds as far as it can be told without a decoder.
type sound uint8

const (
	soundNone   sound = iota // digital silence
	soundNoise               // the encoder found no voice in it
	soundSpeech              // voice, or what no encoder judged
)

func soundOf(payload []byte) sound {
	if len(payload) <= quietBytes {
		return soundNone
	}
	if voice, known := OpusVoice(payload); known && !voice {
		return soundNoise
	}
	return soundSpeech
}

// chooseLocked decides whether s is the source that is heard now that a packet of
// it came. The chosen one keeps the line until it says nothing for the hang-over,
// goes away, or the room says that it is silent and another one speaks. Noise is
// heard while nobody sends, but it neither takes nor keeps the line: an open
// microphone must not cost an agent its first words.
func (l *Line) chooseLocked(s *Source, heard sound, now time.Duration) bool {
	s.voiced <<= 1
	if heard == soundSpeech {
		s.voiced |= 1
		if s.talk() >= talking {
			s.lastHeard = now
		}
	}
	if l.active == s {
		return true
	}
	if heard == soundNone || l.active != nil && !l.yieldsLocked(s, heard, now) {
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

// yieldsLocked reports whether the source that has the line gives it to s.
func (l *Line) yieldsLocked(s *Source, heard sound, now time.Duration) bool {
	a := l.active
	over := now-a.lastHeard >= hangOver
	switch {
	case over && l.filling:
		return true // it may be the soft beginning of a word
	case heard != soundSpeech:
		return false
	case over && s.talk() > a.talk():
		return true
	default:
		return s.speaking && !a.speaking && now-l.since >= hintDelay
	}
}

// talk is how many of the last eight packets had speech in them. Speech has it in
// almost all; in noise the encoder believes to find some now and then.
func (s *Source) talk() int { return bits.OnesCount8(s.voiced) }

// relayLocked sends a packet of the chosen source in its place.
func (l *Line) relayLocked(s *Source, p *rtp.Packet, duration uint32, heard sound, now time.Duration) error {
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
	if lead > maxAhead || (l.hurry && lead > lasting) || (lead > slack && heard != soundSpeech) {
		l.hurry = false
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
	return gap <= lost*max(duration, s.duration) && (gap == 0 || lead+durationOf(int64(gap)) <= slack)
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
// faster, or it never pauses after a stall: one packet less, then.
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
	l.hurry = l.leadMin > lasting
	l.leadMin, l.leadMax, l.leadCount = math.MaxInt64, math.MinInt64, 0
}
