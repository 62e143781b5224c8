package media

import (
	"time"

	"github.com/pion/rtp"
)

const (
	// primed is how many packets warm a decoder. SILK predicts a vowel from the pitch
	// period before (RFC 6716 section 4.2.7.6), so what a decoder did not hear may be
	// missed for long: of places in speech at 32 kb/s, after 5 packets 13 % were decoded
	// with less than 10 dB of SNR, after 8 packets 4 %, after 12 1 %, after 16 none. CELT
	// needs no more than primedCELT.
	primed     = 16
	primedCELT = 5
	// voiceHang is how long a source keeps its place in the mix after it last
	// sounded. With settleAfter, the time in which a second speaker may come back
	// without another switch.
	voiceHang = time.Second
	// settleAfter is how long the last source of a mix has to be the only one before
	// it is relayed again although it speaks. In its silence it is relayed at once.
	settleAfter = 500 * time.Millisecond
	// pauseLevel is what counts as silence for that.
	pauseLevel = 50
	// placeHang is how long a source must have been quiet before another one takes
	// its place in a mix that is full.
	placeHang = 300 * time.Millisecond
	// placeAgain is how long a source that lost its place waits for another one,
	// unless its encoder finds voice in it: sources of unknown noise would else take
	// each other's places all the time.
	placeAgain = 2 * time.Second
	// tail is how many frames of no sound are encoded before silence frames take
	// their place: the encoder holds back some ms of what came before, and pauses
	// between words need no change of codec mode.
	tail = 5
	// warmUp is how many frames an encoder is given before its first one counts.
	warmUp = 2
	// approach is how many frames are coded in the mode of a source before it is
	// relayed again: the encoder goes over with the second.
	approach = 3
	// fadeIn, a 400th of a second, is for a source that joins.
	fadeIn = 400
	// codecRetry is how long a line goes without a mix when codecs cannot be made.
	codecRetry = time.Second
	// maxPayload is the longest payload an Encoder makes.
	maxPayload = maxOpusFrame
)

// mix is what a line has in addition while it decodes and encodes. Guarded by the
// line's lock.
type mix struct {
	encoder Encoder
	places  []channel // those without a voice are free
	limiter limiter
	agc     agc
	gain    float32

	frames  int           // read, of all mixes
	quiet   int           // frames since there was sound
	cold    bool          // the encoder has to be warmed by silence
	aloneAt time.Duration // since when there is one source, at most, that can be relayed
	retryAt time.Duration // after a failure
	now     time.Duration // for relayPendingLocked

	approach int // frames coded in the mode of the source that will be relayed

	sum     []int32
	pcm     []int16
	recall  []int16 // warmUp frames
	payload [maxPayload]byte
	packet  rtp.Packet
	pending func(*rtp.Packet) // relayPendingLocked, made once

	meter meter
}

// channel is a place in the mix. Its source is nil while it fades out.
type channel struct {
	voice  Voice
	source *Source
	sound  Sound
	fresh  bool          // not heard yet
	loudAt time.Duration // when it was last loud
}

// canMix reports whether the line has what a mix is made of.
func (l *Line) canMix() bool { return l.options.Codecs != nil }

// demandOf is what s asks of the line when it is the only one to hear.
func (l *Line) demandOf(s *Source) demand {
	o := &l.options
	if l.canMix() && (o.levels() || s.options.Codec != o.Codec || !s.fit.fits()) {
		return demandMix
	}
	return demandRelay
}

// beginMixLocked makes a mix of what is relayed, if anything is, and of s, whose
// newest packet came now; s is nil if it is for a key. It reports false if there is no codec to be had; nothing
// has changed then.
func (l *Line) beginMixLocked(s *Source, now time.Duration) bool {
	m := l.readyMix()
	if now < m.retryAt {
		return false
	}
	encoder, err := l.options.Codecs.NewEncoder(l.options.Codec)
	if err != nil {
		l.codecFailedLocked(now)
		return false
	}
	m.encoder = encoder
	l.countLocked(encoder.SetExpectedLoss(l.options.ExpectedLoss))
	m.cold, m.quiet, m.aloneAt, m.approach = true, 0, now, 0
	a := l.active
	if l.phase == phaseRelay && a != nil && !l.carryOverLocked(a, a == s, now) {
		l.endMixLocked()
		return false
	}
	if s != nil && s.channel == nil && !l.joinMixLocked(s, now) {
		if a == nil || a.channel == nil {
			l.endMixLocked()
			return false
		}
		l.counters.unheard.Add(1)
	}
	if a != nil && a.channel == nil {
		a.unalign()
	}
	l.active = nil
	l.enterLocked(phaseMix, now)
	l.scheduleLocked()
	return true
}

// readyMix returns the line's mix, made when it is first needed.
func (l *Line) readyMix() *mix {
	if l.mix != nil {
		return l.mix
	}
	frame := l.options.Codecs.Rate() / int(time.Second/FrameDuration)
	l.mix = &mix{
		// As many again, for those that fade out.
		places:  make([]channel, 2*l.options.MaxVoices),
		gain:    decibelGain(l.options.GainDB),
		sum:     make([]int32, frame),
		pcm:     make([]int16, frame),
		recall:  make([]int16, warmUp*frame),
		pending: l.relayPendingLocked,
	}
	return l.mix
}

// carryOverLocked gives a source that was relayed its place in the mix: a voice
// that knows what was heard last, and an encoder that was there. With current the
// source's newest packet is yet to be heard.
func (l *Line) carryOverLocked(a *Source, current bool, now time.Duration) bool {
	c := l.openChannelLocked(a, now)
	if c == nil {
		return false
	}
	c.fresh = false
	if a.onset.likely() || !a.onset.noisy() && !a.onset.quiet() {
		a.soundAt = now // it begins to speak, and is not believed yet
	}
	h := a.past
	h.sort()
	end := h.count
	if current && end > 0 {
		end--
	}
	c.prime(end)
	if end > 0 {
		m := l.mix
		m.cold = false
		c.voice.Recall(m.recall)
		l.warmLocked(h.payload(end - 1))
	}
	a.relayed, a.relayedTo = a.aligned, a.in.seq
	if end < h.count {
		l.feedLocked(c, end)
	}
	return true
}

// joinMixLocked gives a source that was not heard a place in the mix, and plays
// the beginning of its sound that the history has. It reports false if no place
// is free for it.
func (l *Line) joinMixLocked(s *Source, now time.Duration) bool {
	c := l.openChannelLocked(s, now)
	if c == nil {
		return false
	}
	h := s.past
	h.sort()
	first := max(h.unused(), h.count-s.onset.length(), 0)
	c.prime(first)
	s.in, s.relayed = follower{}, false
	if s.onset.likely() {
		s.soundAt = now
	}
	l.counters.unheard.Add(-uint64(max(0, h.count-first-1))) // they are heard after all
	l.feedLocked(c, first)
	return true
}

// prime decodes what was sent before entry end of the history.
func (c *channel) prime(end int) {
	h, n := c.source.past, primed
	if end > 0 && (c.source.options.Codec != CodecOpus || isCELT(h.payload(end-1))) {
		n = primedCELT
	}
	for i := max(0, end-n); i < end; i++ {
		c.voice.Prime(h.payload(i))
	}
}

// feedLocked writes what the history has from entry i on to a voice.
func (l *Line) feedLocked(c *channel, i int) {
	p := &l.mix.packet
	for h := c.source.past; i < h.count; i++ {
		h.packet(i, p)
		at := h.kept[i].at
		c.source.in.next(&p.Header, at)
		c.voice.Write(p, at)
		h.kept[i].used = true
		l.counters.voiced.Add(1)
	}
	p.Payload = nil
}

// openChannelLocked makes a voice for s and a place for it; nil if there is none.
func (l *Line) openChannelLocked(s *Source, now time.Duration) *channel {
	c := l.placeLocked(s, now)
	if c == nil {
		return nil
	}
	voice, err := l.options.Codecs.NewVoice(s.options.Codec)
	if err != nil {
		l.codecFailedLocked(now)
		return nil
	}
	*c = channel{voice: voice, source: s, fresh: true, loudAt: now}
	s.channel = c
	l.mix.meter.voices(l.mix.count())
	return c
}

// placeLocked finds a place for s: a free one, or in a full mix that of the source
// which was loud longest ago, if that was long ago.
func (l *Line) placeLocked(s *Source, now time.Duration) *channel {
	m := l.mix
	var free, worst *channel
	for i := range m.places {
		switch c := &m.places[i]; {
		case c.voice == nil:
			free = c
		case c.source != nil && (worst == nil || c.yieldsBefore(worst)):
			worst = c
		}
	}
	switch {
	case free == nil: // all that left are still fading
		return nil
	case m.count() < l.options.MaxVoices:
		return free
	case !s.onset.judged && !s.speaking && now-s.evictedAt < placeAgain && s.evictedAt > 0:
		return nil
	case now-worst.loudAt < placeHang || worst.source.speaking && !s.speaking:
		return nil
	}
	worst.source.evictedAt = now
	l.counters.evicted.Add(1)
	worst.retire()
	return free
}

func (c *channel) yieldsBefore(other *channel) bool {
	if a, b := c.source.speaking, other.source.speaking; a != b {
		return b
	}
	return c.loudAt < other.loudAt
}

// retire takes the source's place away; what is left of its sound fades out.
func (c *channel) retire() { c.source.channel, c.source = nil, nil }

// count is how many sources have a place.
func (m *mix) count() (n int) {
	for i := range m.places {
		if m.places[i].source != nil {
			n++
		}
	}
	return n
}

// closeChannelLocked gives a voice back.
func (l *Line) closeChannelLocked(c *channel) {
	l.mix.meter.gone(c.voice.Stats())
	c.voice.Close()
	if c.source != nil {
		c.source.channel = nil
	}
	*c = channel{}
}

// endMixLocked gives all voices and the encoder back. Idempotent.
func (l *Line) endMixLocked() {
	if l.mix == nil {
		return
	}
	for i := range l.mix.places {
		if c := &l.mix.places[i]; c.voice != nil {
			l.closeChannelLocked(c)
		}
	}
	if l.mix.encoder != nil {
		l.mix.encoder.Close()
		l.mix.encoder = nil
	}
	l.mix.limiter = limiter{}
}

// mixPacketLocked takes a packet while the line mixes.
func (l *Line) mixPacketLocked(s *Source, p *rtp.Packet, j judgement, now time.Duration) {
	if s.channel == nil {
		heard := s.onset.likely() || j.heard != soundNone && l.mix.count() == 0
		if !heard || !l.joinMixLocked(s, now) {
			l.counters.unheard.Add(1)
		}
		return
	}
	v, _, _ := s.in.next(&p.Header, l.came)
	switch {
	case v == duplicate || v == stray:
		l.counters.late.Add(1)
		return
	case v == restarted:
		s.relayed = false
	case v == reordered && s.relayed && int16(p.SequenceNumber-s.relayedTo) <= 0:
		_ = l.write(s, p) // it was on its way when the mix began, and still has its place
		return
	}
	s.channel.voice.Write(p, l.came)
	s.past.use()
	l.counters.voiced.Add(1)
}

// codecFailedLocked counts a failure to make a codec. The line goes on without.
func (l *Line) codecFailedLocked(now time.Duration) {
	l.counters.codecErrors.Add(1)
	l.mix.retryAt = now + codecRetry
}

// countLocked counts an error of a codec, if it is one.
func (l *Line) countLocked(err error) {
	if err != nil {
		l.counters.codecErrors.Add(1)
	}
}
