package media

import (
	"time"

	"github.com/pion/rtp"
)

// Source is one voice that may be heard on a Line: a subscribed track. It is a
// Writer for that track's RTP packets. All methods may be called from any
// goroutine; packets of one source must come from one at a time.
type Source struct {
	id      string
	line    *Line
	options SourceOptions

	// Guarded by line.mu.
	muted     bool
	speaking  bool // the room says so
	closed    bool
	voiced    uint8         // bit i: speech in the packet i before the newest
	lastHeard time.Duration // when it last talked

	// Used only where the line can mix.
	past      *history
	onset     onset
	soundAt   time.Duration // when it last sounded beyond doubt
	evictedAt time.Duration // when it lost its place to another one
	fit       fitness
	channel   *channel // its place in the mix; nil while it has none
	red       *RED     // if its payloads are redundancy

	relayed   bool   // before the mix; what comes of then is relayed still
	relayedTo uint16 // newest of then

	in        follower
	aligned   bool // seqOffset and tsOffset say where its packets go
	seqOffset uint16
	tsOffset  uint32
	duration  uint32 // of its newest packet, in ticks of its clock
}

// ID returns the name given to AddSource.
func (s *Source) ID() string { return s.id }

// scale is how many ticks of ClockRate one tick of the source's clock has.
func (s *Source) scale() int64 { return int64(ClockRate / s.options.Codec.ClockRate()) }

// WriteRTP offers a packet to the line, which relays it, mixes it or drops it; none
// of these is an error. The error is the destination's.
func (s *Source) WriteRTP(p *rtp.Packet) error { return s.WriteRTPAt(p, 0) }

// WriteRTPAt is WriteRTP for a packet that arrived some time ago and had to wait, as
// those do that a track sends before it is announced. So the wait is not taken for
// jitter of the network, and what is no speech is not heard that late.
func (s *Source) WriteRTPAt(p *rtp.Packet, age time.Duration) error {
	defer s.line.guard()
	return s.line.receive(s, p, max(0, age))
}

// SetMuted takes the source off the line at once, or lets it back in.
func (s *Source) SetMuted(muted bool) {
	l := s.line
	l.mu.Lock()
	defer l.mu.Unlock()
	s.muted = muted
	if muted {
		s.onset.pause()
		if s.past != nil {
			s.past.clear()
		}
		l.releaseLocked(s)
	}
}

// SetSpeaking tells what the room's speaker detection thinks of the source. It
// is a hint, some hundred milliseconds old: it lets through what its encoder took
// for noise, gives it a place in a mix that is full, and decides between two that
// send where a line cannot mix; not whether one that sends is heard.
func (s *Source) SetSpeaking(speaking bool) {
	l := s.line
	l.mu.Lock()
	defer l.mu.Unlock()
	s.speaking = speaking
}

// Close takes the source off the line for good. Its packets are dropped from then
// on. Idempotent.
func (s *Source) Close() {
	l := s.line
	l.mu.Lock()
	defer l.mu.Unlock()
	if s.closed {
		return
	}
	s.closed = true
	l.releaseLocked(s)
	s.past = nil
}

// align maps the source's packets so that the one with header h is the next of
// the line.
func (s *Source) align(h *rtp.Header, seq uint16, ts uint32) {
	s.seqOffset, s.tsOffset = seq-h.SequenceNumber, ts-h.Timestamp
	s.aligned = true
	s.in.seal()
}

// unalign forgets where the source's packets go: the line went on without it.
// What is still on its way from before has no place any more.
func (s *Source) unalign() {
	s.aligned = false
	s.in.seal()
}
