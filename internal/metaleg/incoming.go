package metaleg

import (
	"errors"
	"io"
	"time"

	"github.com/pion/interceptor"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
)

// receiveBuffer holds any datagram of Meta's path.
const receiveBuffer = 1500

// readRTP is the life of the reader of Meta's audio. It ends with the track.
func (l *Leg) readRTP(t *webrtc.TrackRemote) {
	var (
		buf    = make([]byte, receiveBuffer)
		pkt    rtp.Packet
		events eventGap
	)
	for {
		n, _, err := t.Read(buf)
		switch {
		case n > 0:
			// An error beside data is Pion's about the payload type: ours to judge.
			l.receive(buf[:n], &pkt, &events)
		case errors.Is(err, io.ErrShortBuffer):
			l.counters.malformed.Add(1)
		case err != nil:
			return
		}
	}
}

// receive sorts one RTP packet: audio to the sink, events out of the way.
func (l *Leg) receive(raw []byte, pkt *rtp.Packet, events *eventGap) {
	now := time.Now()
	l.times.received.Store(now.UnixNano())
	if err := pkt.Unmarshal(raw); err != nil {
		l.counters.malformed.Add(1)
		return
	}
	types := l.payloadTypes.Load()
	switch uint32(pkt.PayloadType) {
	case types & 0xFF:
	case types >> 8:
		l.counters.events.Add(1)
		events.take(pkt.SequenceNumber)
		return
	default:
		l.counters.unknownPayload.Add(1)
		return
	}
	l.counters.receivedPackets.Add(1)
	l.counters.receivedBytes.Add(uint64(len(pkt.Payload)))
	if l.times.rtpIn.nanos.Load() == 0 && l.times.rtpIn.mark() {
		close(l.firstAudio)
	}
	if !events.close(&pkt.Header) {
		l.counters.late.Add(1)
		return
	}
	l.reception.take(pkt.SSRC, pkt.SequenceNumber, pkt.Timestamp, now)
	w := l.sink.Load()
	if w == nil {
		l.counters.noSink.Add(1)
		return
	}
	if err := w.WriteRTP(pkt); err != nil {
		l.counters.sinkErrors.Add(1)
	}
}

// eventGap closes the holes that RTP events leave in the numbering of the audio:
// Meta numbers both in one sequence (RFC 4733 section 2.1), and a receiver of the
// audio alone would take each key press for a burst of loss.
type eventGap struct {
	started bool
	newest  uint16 // as Meta numbered it
	taken   uint16 // how many events lie before newest
	after   uint16 // the audio from here on is numbered with taken
	guarded bool   // after is set
}

// take notes an event. One that does not come next leaves its hole: the audio
// around it went on already.
func (g *eventGap) take(seq uint16) {
	if g.started && seq != g.newest+1 {
		return
	}
	if g.started {
		g.taken++
	}
	g.started, g.newest, g.after, g.guarded = true, seq, seq+1, true
}

// close renumbers audio. It reports false for a packet from before the last event
// that comes after it: its number is gone.
func (g *eventGap) close(h *rtp.Header) bool {
	seq := h.SequenceNumber
	switch ahead := int16(seq - g.newest); {
	case !g.started || ahead > 0:
		g.started, g.newest = true, seq
	case g.guarded && int16(seq-g.after) < 0 && ahead > -reorderLimit:
		return false
	}
	if ahead := int16(seq - g.after); ahead > reorderLimit || ahead < -reorderLimit {
		g.guarded = false // far from it: never mind
	}
	h.SequenceNumber = seq - g.taken
	return true
}

// reorderLimit is how many packets back still is reordering and not a restart.
const reorderLimit = 100

// readRTCP reads reports until the stream ends: that they come, and what they say
// of our own stream. Pion's report interceptors see them on the way.
func (l *Leg) readRTCP(read func([]byte) (int, interceptor.Attributes, error)) {
	buf := make([]byte, receiveBuffer)
	for {
		n, _, err := read(buf)
		if n > 0 {
			now := time.Now()
			l.times.received.Store(now.UnixNano())
			l.counters.receivedRTCP.Add(1)
			if b := l.track.bound.Load(); b != nil {
				l.feedback.read(buf[:n], b.ssrc, l.Codec().ClockRate(), now)
			}
		}
		if err != nil && !errors.Is(err, io.ErrShortBuffer) {
			return
		}
	}
}
