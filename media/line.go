package media

import (
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/rtp"
)

const (
	// grace is how far the sent media time may lag behind the wall clock before
	// the line fills the gap itself. Packets that are late by less follow those
	// before them, and the phone's jitter buffer stretches and shrinks the sound
	// around them; silence in their place would split a word, and stay as delay.
	// A source that stops on purpose says so (DTX, mute) and is not waited for.
	grace = 200 * time.Millisecond
	// slack is how far media time may be ahead of the wall clock without anything
	// being done about it: five packets, as jitter has it.
	slack = 100 * time.Millisecond
	// maxAhead is how far media time may run ahead of the wall clock, by sources
	// that catch up after a stall. Up to there the next pause makes up for it, one
	// between two words is enough; beyond it speech is dropped.
	maxAhead = 400 * time.Millisecond
	// lasting is the lead that a source without pauses may keep. More goes away by
	// one packet per drift window.
	lasting = 200 * time.Millisecond
	// maxCatchUp is how much silence is sent at once after a stall of ours. More
	// would help nobody: the line counts the stall and goes on from now.
	maxCatchUp = 500 * time.Millisecond
	// hangOver is how long the chosen source may be silent before another one is
	// taken: the pauses between words are its own.
	hangOver = 400 * time.Millisecond
	// talking is in how many of its last eight packets a source has speech when it
	// talks. Fewer may be noise and keep the line from nobody.
	talking = 6
	// pauseLag is how long a source was silent when it says so: libopus begins DTX
	// after ten frames without activity.
	pauseLag = 200 * time.Millisecond
	// hintDelay is how much later than the first syllable the room's speaker
	// detection reports it. So long after a switch hints do not cause another.
	hintDelay = 600 * time.Millisecond
	// driftWindow is after how many relayed packets the line asks whether its
	// source's clock is slower than ours: 5 s of 20 ms packets.
	driftWindow = 250
)

// Payload sizes that need no decoder to be understood.
const (
	// pauseBytes: libopus says "nothing until further notice" (DTX) with a packet
	// of the TOC byte and at most one more.
	pauseBytes = 2
	// quietBytes: digital silence, as SilenceFrame.
	quietBytes = 3
)

// Line makes one continuous stream out of many sources: room to phone.
//
// From Open to Close it sends without a pause, because the WhatsApp client hangs
// up on silence of the network (Meta's troubleshooting page: 20 s at the start,
// 30 s later), and with one SSRC, sequence numbers that go up by one and
// timestamps without a hole. While a source is heard its packets are relayed as
// they come, losses included; when nobody is heard SilenceFrame fills the time.
//
// At any time one source is heard (see choose). The place where several would be
// mixed instead is marked in receive.
//
// The timeline is tied to the wall clock by origin: at pacer time t the line
// should have sent t - origin of media. A source that is late or stops makes it
// fall behind, and after a grace period silence catches up; a source that delivers
// late what it owed makes it run ahead, and the next pause is shortened by that.
//
// The lock orders what is written, so it is held during dst.WriteRTP. The
// destination must therefore not call back into the Line; it is a datagram socket
// with encryption in front, which does not block.
type Line struct {
	dst     Writer
	pacer   *Pacer
	options LineOptions // Mode and ExpectedLoss are guarded by mu

	// due is the pacer time at which the line has to act by itself. Written under
	// mu, read by the pacer without it.
	due atomic.Int64

	mu      sync.Mutex
	state   lineState
	remove  func()        // takes the line off the pacer
	sources []*Source     // open ones
	active  *Source       // the one that is heard; nil if none
	since   time.Duration // when active was chosen

	out     rtp.Packet
	seq     uint16        // of the next packet
	ts      uint32        // of the next packet
	origin  time.Duration // pacer time at which media time began
	sent    int64         // media time sent since origin, in ticks
	filling bool          // the line sends by itself
	silent  bool          // the last packet sent was silence, or none was sent

	leadMin   time.Duration // least lead within the drift window
	leadMax   time.Duration // greatest
	leadCount int
	hurry     bool // leave out one packet, whatever it holds

	counters lineCounters
}

type lineState uint8

const (
	lineShut lineState = iota
	lineOpen
	lineClosed
)

// NewLine returns a line to dst, silent and shut until Open. Whoever calls
// NewLine closes the line, and dst after that.
func NewLine(dst Writer, o LineOptions) *Line {
	l := &Line{
		dst:     dst,
		pacer:   o.Pacer,
		options: o,
		silent:  true,
		seq:    uint16(rand.Uint32()),
		ts:     rand.Uint32(),
		out:    rtp.Packet{Header: rtp.Header{Version: 2, PayloadType: OpusPayloadType, SSRC: rand.Uint32()}},

		leadMin: math.MaxInt64,
		leadMax: math.MinInt64,
	}
	l.due.Store(math.MaxInt64)
	return l
}

// AddSource adds a voice to the line. id is for the caller's own use. The caller
// closes the source, unless it closes the line.
func (l *Line) AddSource(id string, o SourceOptions) *Source {
	s := &Source{id: id, line: l, options: o}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.state == lineClosed {
		s.closed = true
		return s
	}
	l.sources = append(l.sources, s)
	return s
}

// SetMode changes how the line works from the next packet on.
func (l *Line) SetMode(m Mode) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.options.Mode = m
}

// SetExpectedLoss says how many percent of the line's packets the far end loses,
// as its RTCP receiver reports tell. The encoder guards against as much; a relay
// carries what its source sent.
func (l *Line) SetExpectedLoss(percent int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.options.ExpectedLoss = percent
}

// Open starts the stream: the first frame leaves before Open returns. Idempotent,
// and without effect after Close.
func (l *Line) Open() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.state != lineShut {
		return
	}
	l.state = lineOpen
	l.filling = true
	now := l.pacer.now()
	l.origin = now
	l.fillLocked(now)
	l.remove = l.pacer.add(l)
}

// Close ends the stream: nothing is written after it returned. Sources need not
// be closed. Idempotent.
func (l *Line) Close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.state == lineClosed {
		return
	}
	l.state = lineClosed
	l.due.Store(math.MaxInt64)
	l.active = nil
	for _, s := range l.sources {
		s.closed = true
	}
	l.sources = nil
	if l.remove != nil {
		l.remove()
	}
}

// tick is the pacer's visit at now.
func (l *Line) tick(now time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.state == lineOpen {
		l.fillLocked(now)
	}
}

// fillLocked sends the silence that is due at now: none while a source is
// relayed and within the grace, else every frame that should have left by now.
func (l *Line) fillLocked(now time.Duration) {
	behind := -l.leadLocked(now)
	if !l.filling {
		if behind < grace {
			l.scheduleLocked()
			return
		}
		l.counters.underruns.Add(1)
		l.pauseLocked()
	}
	if behind > maxCatchUp {
		l.counters.stalls.Add(1)
		l.origin += behind - maxCatchUp
	}
	for l.leadLocked(now) <= 0 {
		l.writeSilenceLocked()
	}
	l.scheduleLocked()
}

// pauseLocked makes the line send by itself from where it is. The source it
// relayed stays chosen, but its next packet begins a new stretch.
func (l *Line) pauseLocked() {
	l.filling = true
	if l.active != nil {
		l.active.unalign()
	}
	l.scheduleLocked()
}

// releaseLocked takes s off the line and closes it out of the list if it is gone.
func (l *Line) releaseLocked(s *Source) {
	if s.closed {
		for i, other := range l.sources {
			if other == s {
				l.sources = append(l.sources[:i], l.sources[i+1:]...)
				break
			}
		}
	}
	if l.active == s {
		l.pauseLocked()
		l.active = nil
	}
}

// leadLocked is how far the sent media is ahead of the wall clock.
func (l *Line) leadLocked(now time.Duration) time.Duration {
	return durationOf(l.sent) - (now - l.origin)
}

// scheduleLocked tells the pacer when the line has to act by itself.
func (l *Line) scheduleLocked() {
	if l.state != lineOpen {
		return
	}
	due := l.origin + durationOf(l.sent)
	if !l.filling {
		due += grace
	}
	l.due.Store(int64(due))
}

func (l *Line) writeSilenceLocked() {
	l.out.SequenceNumber, l.out.Timestamp = l.seq, l.ts
	l.out.Marker = false
	l.out.Payload = SilenceFrame
	l.advanceLocked(l.seq, l.ts, FrameSamples)
	l.silent = true
	l.counters.silence.Add(1)
	_ = l.sendLocked() // counted; the stream goes on
}

// advanceLocked moves the timeline past a packet.
func (l *Line) advanceLocked(seq uint16, ts, duration uint32) {
	l.sent += int64(ts - l.ts + duration)
	l.seq, l.ts = seq+1, ts+duration
}

func (l *Line) sendLocked() error {
	err := l.dst.WriteRTP(&l.out)
	l.out.Payload = nil
	if err != nil {
		l.counters.writeErrors.Add(1)
	}
	return err
}
