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
	// easeWindow is how long the first window after a mix is.
	easeWindow = 25
)

// Line makes one continuous stream out of many sources: room to phone.
//
// From Open to Close it sends without a pause, because the WhatsApp client hangs
// up on silence of the network (Meta's troubleshooting page: 20 s at the start,
// 30 s later), and with one SSRC, sequence numbers that go up by one and
// timestamps without a hole. While a source is heard its packets are relayed as
// they come, losses included; when nobody is heard SilenceFrame fills the time.
//
// It is in one of three phases (see next). It relays while one source is heard
// whose packets the far end can take as they are; it mixes while several are
// heard, or one that must be decoded; it sends silence while nobody is. Without
// LineOptions.Codecs it never mixes: one source is heard at any time (see choose).
// In no phase does a source wait for the line's clock longer than to the next
// frame, and no change of phase shows in the numbering.
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
	options LineOptions // Codec, Mode and ExpectedLoss are guarded by mu

	// due is the pacer time at which the line has to act by itself. Written under
	// mu, read by the pacer without it.
	due atomic.Int64

	mu      sync.Mutex
	state   lineState
	remove  func()        // takes the line off the pacer
	sources []*Source     // open ones
	came    time.Duration // when the packet that is being taken arrived
	active  *Source       // the one that is relayed, or was before silence; nil while mixing
	since   time.Duration // when active was chosen

	phase     phase
	phaseAt   time.Duration    // when it began
	spent     [3]time.Duration // in each phase, before phaseAt
	mix       *mix             // nil until the first mix
	unwrapped rtp.Packet       // out of redundancy
	earlier   rtp.Packet       // out of a history

	out    rtp.Packet
	seq    uint16        // of the next packet
	ts     uint32        // of the next packet
	origin time.Duration // pacer time at which media time began
	sent   int64         // media time sent since origin, in ticks
	silent bool          // the last packet sent was silence, or none was sent

	keys keying

	leadMin   time.Duration // least lead within the drift window
	leadMax   time.Duration // greatest
	leadCount int
	hurry     bool // leave out one packet, whatever it holds
	ease      bool // leave out one packet without speech

	counters lineCounters

	relayDelays, mixDelays delayCounter
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
	if o.MaxRelayBitrate == 0 {
		o.MaxRelayBitrate = DefaultMaxRelayBitrate
	}
	if o.MaxVoices <= 0 {
		o.MaxVoices = DefaultMaxVoices
	}
	l := &Line{
		dst:     dst,
		pacer:   o.Pacer,
		options: o,
		silent:  true,
		seq:     uint16(rand.Uint32()),
		ts:      rand.Uint32(),
		out:     rtp.Packet{Header: rtp.Header{Version: 2, SSRC: rand.Uint32()}},

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
	if l.canMix() {
		s.past = &history{}
	}
	if o.RED {
		s.red = &RED{}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.state == lineClosed {
		s.closed = true
		return s
	}
	l.sources = append(l.sources, s)
	return s
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
	l.out.PayloadType = payloadType(l.options.Codec)
	now := l.pacer.now()
	l.origin, l.phaseAt = now, now
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
	now := l.pacer.now()
	l.enterLocked(phaseSilence, now)
	if l.state == lineOpen {
		l.spent[phaseSilence] += now - l.phaseAt // of a line that was silent before
	}
	l.endMixLocked()
	l.state = lineClosed
	l.due.Store(math.MaxInt64)
	l.active = nil
	l.counters.keysCut.Add(uint64(len(l.keys.queue)))
	l.keys = keying{}
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

// fillLocked sends what is due at now: nothing while a source is relayed and
// within the grace, else every frame that should have left by now, of the mix, of a
// key or of silence.
func (l *Line) fillLocked(now time.Duration) {
	behind := -l.leadLocked(now)
	if l.phase == phaseRelay {
		if behind < grace {
			l.scheduleLocked()
			return
		}
		l.counters.underruns.Add(1)
		l.pauseLocked(now)
	}
	if behind > maxCatchUp {
		l.counters.stalls.Add(1)
		l.origin += behind - maxCatchUp
	}
	for l.phase != phaseRelay && l.leadLocked(now) <= 0 {
		switch {
		case l.phase == phaseMix:
			l.mixFrameLocked(now)
		case l.keyingLocked():
			l.keyFrameLocked()
		default:
			l.writeSilenceLocked()
		}
	}
	l.scheduleLocked()
}

// enterLocked makes p the line's phase.
func (l *Line) enterLocked(p phase, now time.Duration) {
	if p == l.phase {
		return
	}
	l.spent[l.phase] += now - l.phaseAt
	l.counters.moves[l.phase][p].Add(1)
	l.phase, l.phaseAt = p, now
}

// pauseLocked makes the line send by itself from where it is. The source it
// relayed stays chosen, but its next packet begins a new stretch.
func (l *Line) pauseLocked(now time.Duration) {
	l.enterLocked(phaseSilence, now)
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
	if s.channel != nil {
		s.channel.source, s.channel = nil, nil // it fades out in the next frame
	}
	if l.active == s {
		l.pauseLocked(l.pacer.now())
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
	if l.phase == phaseRelay {
		due += grace
	}
	l.due.Store(int64(due))
}

func (l *Line) writeSilenceLocked() {
	l.out.SequenceNumber, l.out.Timestamp = l.seq, l.ts
	l.out.Marker = false
	l.out.Payload = silence(l.options.Codec)
	l.advanceLocked(l.seq, l.ts, l.frameTicks())
	l.silent = true
	l.counters.silence.Add(1)
	_ = l.sendLocked() // counted; the stream goes on
}

// advanceLocked moves the timeline past a packet.
func (l *Line) advanceLocked(seq uint16, ts, duration uint32) {
	l.sent += int64(ts-l.ts+duration) * l.scale()
	l.seq, l.ts = seq+1, ts+duration
}

// scale is how many ticks of ClockRate one tick of the destination's clock has.
func (l *Line) scale() int64 { return int64(ClockRate / l.options.Codec.ClockRate()) }

// span is how long so many ticks of the destination's clock are.
func (l *Line) span(ticks uint32) time.Duration { return durationOf(int64(ticks) * l.scale()) }

// frameTicks is one frame on the destination's clock.
func (l *Line) frameTicks() uint32 { return FrameSamples / uint32(l.scale()) }

func (l *Line) sendLocked() error {
	err := l.dst.WriteRTP(&l.out)
	l.out.Payload = nil
	if err != nil {
		l.counters.writeErrors.Add(1)
	}
	return err
}
