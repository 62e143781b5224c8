package media

import (
	"sync/atomic"
	"time"
)

// DelayBounds are the upper bounds of the classes in which added delays are counted, the last class being without one.
// The bars of a relay (5 ms) and of a mix (45 ms) are among them.
var DelayBounds = [...]time.Duration{
	500 * time.Microsecond, time.Millisecond, 2 * time.Millisecond, 3 * time.Millisecond, 5 * time.Millisecond,
	7 * time.Millisecond, 10 * time.Millisecond, 15 * time.Millisecond, 20 * time.Millisecond, 30 * time.Millisecond,
	45 * time.Millisecond, 60 * time.Millisecond, 80 * time.Millisecond, 100 * time.Millisecond, 150 * time.Millisecond,
	200 * time.Millisecond,
}

// DelayCounts are delays that were added to audio: how many fell into each class of DelayBounds, and their sum. It is a
// copy.
type DelayCounts struct {
	Classes [len(DelayBounds) + 1]uint64
	Sum     time.Duration
}

// Add adds the counts of other.
func (c *DelayCounts) Add(other *DelayCounts) {
	for i, n := range other.Classes {
		c.Classes[i] += n
	}
	c.Sum += other.Sum
}

// Delays are samples of what this process adds to the way of audio. They leave out the network, and the kernel's queue
// before the packet was read.
//
// Of what is relayed, a packet now and then is timed from when it was read, and decrypted, to when the destination took
// it. Of what is mixed, each voice that sounds is asked once a second how much of it is held in its jitter buffer and its
// decoder, to which half a frame is added, which is how long a packet waits on average for the next frame, and what the
// encoder looks ahead.
type Delays struct {
	Relay, Mix DelayCounts
}

const (
	// delayRelayEvery is of how many relayed packets one is timed: about three a second.
	delayRelayEvery = 16
	// delayMixEvery is at every how many mixed frames the voices are asked: once a second.
	delayMixEvery = 50
	// opusLookAhead is what libopus holds back of what it encodes, at 48 kHz and in its mode for speech (OPUS_GET_LOOKAHEAD:
	// 312 samples).
	opusLookAhead = 6500 * time.Microsecond
)

// delayCounter counts delays without a lock. Its zero value is ready.
type delayCounter struct {
	classes [len(DelayBounds) + 1]atomic.Uint64
	sum     atomic.Int64
}

func (c *delayCounter) observe(d time.Duration) {
	d = max(0, d)
	class := 0
	for class < len(DelayBounds) && d > DelayBounds[class] {
		class++
	}
	c.classes[class].Add(1)
	c.sum.Add(int64(d))
}

func (c *delayCounter) counts() (counts DelayCounts) {
	for i := range c.classes {
		counts.Classes[i] = c.classes[i].Load()
	}
	counts.Sum = time.Duration(c.sum.Load())
	return counts
}

// Delays returns the delays that were sampled since the relay was made; there is no mix among them. Safe to call from any
// goroutine.
func (r *Relay) Delays() Delays { return Delays{Relay: r.delays.counts()} }

// Delays returns the delays that were sampled since the line was made. Safe to call from any goroutine.
func (l *Line) Delays() Delays {
	return Delays{Relay: l.relayDelays.counts(), Mix: l.mixDelays.counts()}
}

// Mixing reports whether the line decodes and encodes now. Safe to call from any goroutine.
func (l *Line) Mixing() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.state == lineOpen && l.phase == phaseMix
}

// timeRelayLocked times the relayed packet that came last.
func (l *Line) timeRelayLocked() {
	if l.counters.relayed.Load()%delayRelayEvery == 0 {
		l.relayDelays.observe(l.pacer.now() - l.came)
	}
}

// timeMixLocked asks the voices of the mix how long the frame that is being made waited.
func (l *Line) timeMixLocked() {
	m := l.mix
	if m.frames++; m.frames%delayMixEvery != 0 {
		return
	}
	rest := FrameDuration / 2
	if l.options.Codec == CodecOpus {
		rest += opusLookAhead
	}
	for i := range m.places {
		if c := &m.places[i]; c.voice != nil && c.source != nil && c.sound.Active {
			l.mixDelays.observe(c.voice.Depth() + rest)
		}
	}
}
