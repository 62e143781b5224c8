package media

import (
	"errors"
	"math"
)

// KeyForm is how a Line says keys.
type KeyForm uint8

const (
	// KeyEvents are RTP events (RFC 4733) in the numbering of the audio, in place of it while they last.
	KeyEvents KeyForm = iota
	// KeyTones are tones in the audio (ITU-T Q.23), for who has no ear for events.
	KeyTones
)

// Reasons for which SendKeys takes nothing.
var (
	ErrLineShut  = errors.New("media: line is not open")
	ErrManyKeys  = errors.New("media: more keys than a line keeps waiting")
	ErrNoEncoder = errors.New("media: no encoder for tones")
)

const (
	// keyFrames is for how many frames a key is held: 100 ms. ITU-T Q.24 lets receivers want 40.
	keyFrames = 5
	// keyPause is how many frames follow before the next key, at least: 60 ms. Q.24 lets receivers want 40.
	keyPause = 3
	// keyEnds is how often the end of an event is said (RFC 4733 section 2.5.1.4).
	keyEnds = 3
	// keyVolume is what events give as the power of the tone: -10 dBm0.
	keyVolume = 10
	// maxKeys is how many keys wait at most: ten seconds' worth.
	maxKeys = 64
	// eventFrameTicks is a frame on the clock of a duration.
	eventFrameTicks = EventRate / 50

	// toneLow and toneHigh are the amplitudes of the two tones of a key, against full scale: -14.1 and -12.1 dB, which is
	// -11 and -9 dBm0, because a sine of full scale has 3.1 dBm0 (ITU-T G.711). Lines make the high one weaker, so it
	// begins stronger, and Q.24 allows more than these 2 dB.
	toneLow, toneHigh = 0.197, 0.248
	// toneRamp is the part of a frame in which a tone rises and falls, so that it does not click: 2 ms.
	toneRamp = 10
)

// The frequencies of the rows and columns of a telephone's keys in Hz (ITU-T Q.23).
var (
	keyRows    = [4]float64{697, 770, 852, 941}
	keyColumns = [4]float64{1209, 1336, 1477, 1633}
)

// keypad says where on the telephone the keys are.
const keypad = "123A456B789C*0#D"

// tones returns the frequencies of a key's two tones in Hz.
func (k Key) tones() (low, high float64) {
	for at := range keypad {
		if keypad[at] == keyNames[k] {
			return keyRows[at/4], keyColumns[at%4]
		}
	}
	return 0, 0
}

// keying is what a line has to say in keys. Guarded by the line's lock. Its zero value is nothing.
type keying struct {
	queue   []queuedKey // the first one is being said
	step    int         // frames of it that were sent
	began   uint32      // timestamp of its first frame
	payload [eventBytes]byte
}

type queuedKey struct {
	key  Key
	form KeyForm
}

// SendKeys says keys to the far end, one after the other, each for 100 ms with 60 ms after it. Meanwhile nothing else is
// heard; what sources send is dropped. It takes all keys or none, and returns at once.
//
// Events need a destination that takes packets of EventPayloadType, tones a line that can mix. The stream stays what it
// is: events have its numbers, and its timestamps go on by as much as they last.
func (l *Line) SendKeys(keys []Key, form KeyForm) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.pacer.now()
	switch {
	case l.state != lineOpen:
		return ErrLineShut
	case len(l.keys.queue)+len(keys) > maxKeys:
		return ErrManyKeys
	case form == KeyTones && l.phase != phaseMix && (!l.canMix() || !l.beginMixLocked(nil, now)):
		return ErrNoEncoder
	case form == KeyEvents && l.phase == phaseRelay:
		l.pauseLocked(now)
	}
	for _, k := range keys {
		l.keys.queue = append(l.keys.queue, queuedKey{k, form})
	}
	return nil
}

// keyingLocked reports whether the next frames are a key's.
func (l *Line) keyingLocked() bool { return len(l.keys.queue) > 0 }

// keyFrameLocked sends the next frame of the key that is being said, or of the pause after it.
func (l *Line) keyFrameLocked() {
	k := &l.keys
	switch first := k.queue[0]; first.form {
	case KeyTones:
		l.toneFrameLocked(first.key)
	default:
		l.eventFrameLocked(first.key)
	}
	if k.step++; k.step < keyFrames+keyPause {
		return
	}
	l.counters.keys.Add(1)
	k.step = 0
	if k.queue = k.queue[1:]; len(k.queue) == 0 {
		k.queue = nil
	}
}

// eventFrameLocked sends what of an event belongs to this frame. The packet takes a sequence number, as audio does, and
// has the timestamp of the event's beginning, as all of its packets. The end is said again with each frame, as the
// updates were (RFC 4733 section 2.5.1.4).
func (l *Line) eventFrameLocked(key Key) {
	switch step := l.keys.step; {
	case step < keyFrames:
		if step == 0 {
			l.keys.began = l.ts
		}
		l.sendEventLocked(key, step, step == keyFrames-1)
		l.sent += FrameSamples
		l.ts += l.frameTicks()
		l.silent = true
	case step < keyFrames+keyEnds-1:
		l.sendEventLocked(key, keyFrames-1, true)
		l.writeSilenceLocked()
	default:
		l.writeSilenceLocked()
	}
}

// sendEventLocked sends a packet of an event that lasts to the end of frame step.
func (l *Line) sendEventLocked(key Key, step int, end bool) {
	k, typ := &l.keys, l.out.PayloadType
	KeyEvent{Key: key, End: end, Volume: keyVolume, Duration: uint16((step + 1) * eventFrameTicks)}.put(&k.payload)
	l.out.PayloadType, l.out.SequenceNumber, l.out.Timestamp = EventPayloadType, l.seq, k.began
	l.out.Marker, l.out.Payload = step == 0, k.payload[:]
	l.seq++
	l.counters.events.Add(1)
	_ = l.sendLocked() // counted; the stream goes on
	l.out.PayloadType = typ
}

// toneFrameLocked mixes the tones of a key, or the pause after it, in place of everything else.
func (l *Line) toneFrameLocked(key Key) {
	m := l.mix
	clear(m.pcm)
	if l.keys.step < keyFrames {
		key.sound(m.pcm, l.keys.step)
	}
	m.meter.level(m.pcm)
	m.quiet = 0
	l.writePCMLocked()
}

// sound fills pcm with frame step of the key's tones.
func (k Key) sound(pcm []int16, step int) {
	low, high := k.tones()
	n := float64(len(pcm))
	ramp := n / toneRamp
	radian := 2 * math.Pi * FrameDuration.Seconds() / n
	for i := range pcm {
		at := float64(step*len(pcm) + i)
		left := float64(keyFrames)*n - at
		v := toneLow*math.Sin(low*radian*at) + toneHigh*math.Sin(high*radian*at)
		pcm[i] = int16(v * math.MaxInt16 * min(1, at/ramp, left/ramp))
	}
}
