package media

import (
	"math"
	"time"

	"github.com/pion/rtp"
)

// mixFrameLocked makes the next frame while the line mixes, or ends the mix.
func (l *Line) mixFrameLocked(now time.Duration) {
	m := l.mix
	// After a late visit several frames are due. Voices are read on a regular clock.
	now -= max(0, -l.leadLocked(now)).Truncate(FrameDuration)
	alone, p := l.reviewLocked(now)
	if p == phaseRelay && !l.approachLocked(alone) {
		p = phaseMix
	}
	switch p {
	case phaseRelay:
		l.leaveMixLocked(alone, now)
	case phaseSilence:
		l.endMixLocked()
		l.enterLocked(phaseSilence, now)
		l.writeSilenceLocked()
	default:
		clear(m.sum)
		active := false
		for i := range m.places {
			if c := &m.places[i]; c.voice != nil {
				active = l.readLocked(c, now) || active
			}
		}
		l.timeMixLocked()
		if l.keyingLocked() {
			l.keyInMixLocked()
			return
		}
		l.writeMixLocked(active)
	}
}

// reviewLocked looks who still has to be heard, and says what comes next; alone is
// the one that is left for a relay.
func (l *Line) reviewLocked(now time.Duration) (alone *channel, p phase) {
	m := l.mix
	m.dismiss(now)
	sources, leaving := 0, 0
	for i := range m.places {
		switch c := &m.places[i]; {
		case c.source != nil:
			sources++
			alone = c
		case c.voice != nil:
			leaving++
		}
	}
	d := demandMix
	switch {
	case leaving > 0, l.keyingLocked():
	case sources == 0:
		d = demandNone
	case sources == 1:
		d = l.demandOf(alone.source)
	}
	if d == demandMix {
		m.aloneAt = now
		if m.approach > 0 {
			m.approach = 0
			l.countLocked(m.encoder.Imitate(nil))
		}
	}
	settled := d == demandNone || now-m.aloneAt >= settleAfter ||
		sources == 1 && !alone.fresh && (!alone.sound.Active || alone.sound.Level >= pauseLevel)
	return alone, next(phaseMix, d, settled)
}

// approachLocked reports whether the mix can be left for the source in c. A decoder
// that is given the middle of another encoder's CELT stream hears it too soft for
// 100 ms, because its bands are coded as differences to those before (RFC 6716
// section 4.3.2.1). It has to have heard the same sound in CELT frames before.
func (l *Line) approachLocked(c *channel) bool {
	m := l.mix
	last := c.source.past.newest()
	if m.approach == approach || !isCELT(last) || m.quiet > tail {
		return true
	}
	if m.approach++; m.approach == 1 {
		l.countLocked(m.encoder.Imitate(last))
	}
	return false
}

// dismiss takes their places from sources that have not sounded for long. Of
// several that only make noise the one that spoke last stays as long as it sends.
func (m *mix) dismiss(now time.Duration) {
	var last *channel
	for i := range m.places {
		if c := &m.places[i]; c.source != nil && (last == nil || c.source.soundAt > last.source.soundAt) {
			last = c
		}
	}
	for i := range m.places {
		c := &m.places[i]
		if c.source == nil || c.fresh || now-c.source.soundAt < voiceHang {
			continue
		}
		if c != last || !c.sound.Active {
			c.retire()
		}
	}
}

// readLocked adds a frame of a voice to the sum and reports whether there is sound
// in it.
func (l *Line) readLocked(c *channel, now time.Duration) bool {
	m := l.mix
	c.sound = c.voice.Read(m.pcm, now)
	heard := c.sound.Active
	switch {
	case c.source == nil:
		fade(m.pcm, len(m.pcm), 1, 0)
		l.closeChannelLocked(c)
	case c.fresh:
		fade(m.pcm, l.options.Codecs.Rate()/fadeIn, 0, 1)
		c.fresh = false
	}
	if c.source != nil && heard && c.sound.Level < quietLevel && now-c.source.soundAt < placeHang {
		c.loudAt = now
	}
	addTo(m.sum, m.pcm)
	return heard
}

// writeMixLocked sends the frame that is in sum.
func (l *Line) writeMixLocked(active bool) {
	m := l.mix
	if m.quiet++; active {
		m.quiet = 0
	}
	if m.quiet > tail {
		m.cold = true
		m.limiter.rest()
		l.writeSilenceLocked()
		return
	}
	if l.options.AGC {
		m.agc.apply(m.sum)
	}
	m.meter.limited(m.limiter.apply(m.sum, m.gain, m.pcm))
	m.meter.level(m.pcm)
	l.writePCMLocked()
}

// writePCMLocked encodes and sends the frame that is in pcm.
func (l *Line) writePCMLocked() {
	m := l.mix
	if m.cold {
		m.cold = false
		clear(m.recall)
		l.warmLocked(silence(l.options.Codec))
	}
	payload := l.encodeLocked(m.pcm)
	if payload == nil {
		l.writeSilenceLocked()
		return
	}
	l.out.SequenceNumber, l.out.Timestamp = l.seq, l.ts
	l.out.Marker = l.silent
	l.out.Payload = payload
	l.advanceLocked(l.seq, l.ts, l.frameTicks())
	l.silent = false
	l.counters.mixed.Add(1)
	_ = l.sendLocked() // counted; the stream goes on
}

// keyInMixLocked sends a frame of a key in place of the one that is in sum.
func (l *Line) keyInMixLocked() {
	m := l.mix
	m.limiter.rest()
	if l.keys.queue[0].form == KeyEvents {
		m.cold = true // what the encoder had before is not what comes next
	}
	l.keyFrameLocked()
}

// warmLocked prepares the encoder for a frame that follows what is in recall and
// was heard with the payload after.
func (l *Line) warmLocked(after []byte) {
	m := l.mix
	l.countLocked(m.encoder.Imitate(after))
	for frame := range warmUp {
		l.encodeLocked(m.recall[frame*len(m.pcm) : (frame+1)*len(m.pcm)])
	}
	l.countLocked(m.encoder.Imitate(nil))
}

// encodeLocked encodes a frame; nil if the encoder fails. The result is valid
// until the next call.
func (l *Line) encodeLocked(pcm []int16) []byte {
	m := l.mix
	start := time.Now()
	n, err := m.encoder.Encode(pcm, m.payload[:])
	m.meter.encoded(time.Since(start))
	if err != nil {
		l.counters.codecErrors.Add(1)
		return nil
	}
	return m.payload[:n]
}

// leaveMixLocked ends the mix in favour of a relay of the source that is left: one
// frame brings what is decoded to its end, then what is not decoded is relayed,
// and the source's next packet follows. The few ms that the encoder holds back
// are not heard; the same time was heard twice when the mix began.
func (l *Line) leaveMixLocked(c *channel, now time.Duration) {
	m, s := l.mix, c.source
	clear(m.sum)
	sound := c.voice.Finish(m.pcm, now)
	speaks := sound.Active && sound.Level < pauseLevel
	if speaks { // in a pause there is no need to play it, and to be ahead by that
		addTo(m.sum, m.pcm)
		l.writeMixLocked(true)
	}
	l.active, l.since = s, now
	s.unalign()
	l.leadMin, l.leadMax, l.leadCount = math.MaxInt64, math.MinInt64, driftWindow-easeWindow
	if sound.Active {
		l.enterLocked(phaseRelay, now)
	} else {
		l.enterLocked(phaseSilence, now)
	}
	m.now = now
	c.voice.Pending(m.pending)
	l.endMixLocked()
	l.scheduleLocked()
}

// relayPendingLocked relays a packet of the active source that waited in a voice.
// The source's follower has seen it already.
func (l *Line) relayPendingLocked(p *rtp.Packet) {
	s := l.active
	if s.isPause(p.Payload) {
		l.pauseLocked(l.mix.now)
		return
	}
	j, ok := s.judge(p)
	if !ok {
		return
	}
	if s.aligned {
		steps, gap := p.SequenceNumber+s.seqOffset-l.seq, p.Timestamp+s.tsOffset-l.ts
		s.aligned = steps < reorderWindow && gap <= uint32(steps)*max(j.ticks, s.duration)
	}
	if !s.aligned {
		l.joinPendingLocked(s, p, j.ticks)
	}
	s.duration = j.ticks
	l.enterLocked(phaseRelay, l.mix.now)
	l.advanceLocked(p.SequenceNumber+s.seqOffset, p.Timestamp+s.tsOffset, j.ticks)
	_ = l.write(s, p) // counted; the stream goes on
	l.silent = false
}

// joinPendingLocked gives the first packet that waited its place. Those that are
// missing just before it may come yet, and so may those after it: they have places.
func (l *Line) joinPendingLocked(s *Source, p *rtp.Packet, ticks uint32) {
	const most = 2
	seen, back := s.in.seen, s.in.seq-p.SequenceNumber
	if back >= reorderWindow-most-1 {
		s.align(&p.Header, l.seq, l.ts)
		return
	}
	missing := uint16(0)
	for missing < most && seen>>(back+1+missing)&1 == 0 {
		missing++
	}
	s.align(&p.Header, l.seq+missing, l.ts+uint32(missing)*ticks)
	s.in.seen = seen | ^uint64(0)<<(back+1+missing)
}
