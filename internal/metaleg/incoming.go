package metaleg

import (
	"io"
	"sync"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/transport/v5/packetio"

	"github.com/livekit-connector/livekit-connector/internal/panics"
)

// inlet is where Pion puts the decrypted packets of one SSRC. It takes them at once,
// on the goroutine that decrypted them, so that none is woken to read them. It goes
// round Pion's search for the track of an SSRC too, which gives up the whole track
// if its first packet has an unknown payload type.
type inlet struct {
	take   func(raw []byte)
	broken func(v any) // is told of a panic
	closed chan struct{}
	once   sync.Once
}

// newInlet makes an inlet of a leg, for RTP or RTCP. Pion decrypts RTP on one
// goroutine and RTCP on another.
func (l *Leg) newInlet(kind packetio.BufferPacketType, ssrc uint32) io.ReadWriteCloser {
	i := &inlet{closed: make(chan struct{}), take: l.receive, broken: func(v any) { l.broken(panics.Audio, v) }}
	if kind == packetio.RTCPBufferPacket {
		i.take = func(raw []byte) { l.receiveRTCP(ssrc, raw) }
	}
	return i
}

// Write takes a packet, which it does not keep.
func (i *inlet) Write(raw []byte) (int, error) {
	defer i.guard()
	i.take(raw)
	return len(raw), nil
}

// guard keeps what one packet set off from ending the process. It is a method so
// that deferring it allocates nothing.
func (i *inlet) guard() {
	if v := recover(); v != nil {
		i.broken(v)
	}
}

// guard is deferred, itself, where a goroutine of the leg begins and where Pion's
// enter it.
func (l *Leg) guard() {
	if v := recover(); v != nil {
		l.broken(panics.Call, v)
	}
}

// broken ends the leg after a panic.
func (l *Leg) broken(where panics.Place, v any) {
	l.panics.Caught(where, l.log.leg(), v)
	l.end(&panics.Error{Place: where})
}

// Read waits for the end of the stream: there is never anything to read.
func (i *inlet) Read([]byte) (int, error) {
	<-i.closed
	return 0, io.EOF
}

// Close ends Read.
func (i *inlet) Close() error {
	i.once.Do(func() { close(i.closed) })
	return nil
}

// incoming is what receive needs from packet to packet.
type incoming struct {
	packet  rtp.Packet
	events  eventGap
	presses presses
}

// receive sorts one RTP packet: audio to the sink, events out of its way.
func (l *Leg) receive(raw []byte) {
	now := time.Now()
	l.times.Set(&l.times.received, now)
	pkt, events := &l.incoming.packet, &l.incoming.events
	if err := pkt.Unmarshal(raw); err != nil {
		l.counters.malformed.Add(1)
		return
	}
	types := l.payloadTypes.Load()
	switch uint32(pkt.PayloadType) {
	case types & 0xFF:
	case types >> 8:
		l.times.Set(&l.times.in, now)
		// All packets of a key press have one timestamp, so they tell no jitter.
		l.reception.Take(pkt.SSRC, pkt.SequenceNumber, pkt.Timestamp, 0, now)
		events.take(pkt.SequenceNumber)
		l.receiveEvents(pkt)
		return
	default:
		l.counters.unknownPayload.Add(1)
		return
	}
	l.counters.receivedPackets.Add(1)
	l.counters.receivedBytes.Add(uint64(len(pkt.Payload)))
	l.times.Set(&l.times.in, now)
	if !l.times.rtpIn.IsSet() && l.times.mark(&l.times.rtpIn) {
		close(l.firstAudio)
	}
	l.reception.Take(pkt.SSRC, pkt.SequenceNumber, pkt.Timestamp, l.Codec().ClockRate(), now)
	events.close(&pkt.Header)
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
	newest  uint16               // as Meta numbered it
	taken   uint16               // how many events' numbers the audio does not have
	events  [reorderLimit]uint16 // the newest of them, a ring; audio from before them may come after them
	kept    int                  // ever put into events since it was empty
}

// reorderLimit is how many packets back or ahead still is reordering or loss and not a restart.
const reorderLimit = 100

// take notes an event. Audio that is missing before it stays missing, or comes late and finds its number. An event
// leaves its hole if it comes late itself: the audio after it went on already.
func (g *eventGap) take(seq uint16) {
	if ahead := int16(seq - g.newest); g.started && (ahead <= 0 || ahead > reorderLimit) {
		return
	}
	if g.started {
		g.taken++
		g.events[g.kept%reorderLimit] = seq
		g.kept++
	}
	g.started, g.newest = true, seq
}

// close renumbers audio.
func (g *eventGap) close(h *rtp.Header) {
	seq := h.SequenceNumber
	if !g.started || int16(seq-g.newest) > 0 {
		g.started, g.newest = true, seq
	}
	h.SequenceNumber = seq - g.taken + g.later(seq)
}

// later is how many of the events that were taken come after audio.
func (g *eventGap) later(seq uint16) (n uint16) {
	if g.kept == 0 {
		return 0
	}
	switch ahead := int16(seq - g.events[(g.kept-1)%reorderLimit]); {
	case ahead > reorderLimit || ahead < -reorderLimit:
		g.kept = 0 // far from them: never mind
		return 0
	case ahead > 0:
		return 0
	}
	for _, event := range g.events[:min(g.kept, reorderLimit)] {
		if int16(event-seq) > 0 {
			n++
		}
	}
	return n
}

// receiveRTCP takes one packet of a compound, which Pion hands to every SSRC that it
// is about: to Meta's that it comes from, to ours that it tells of.
func (l *Leg) receiveRTCP(ssrc uint32, raw []byte) {
	now := time.Now()
	l.times.Set(&l.times.received, now)
	l.counters.receivedRTCP.Add(1)
	if b := l.track.bound.Load(); b != nil && b.ssrc == ssrc {
		if l.feedback.Take(raw, ssrc, l.Codec().ClockRate(), now) {
			l.times.Set(&l.times.report, now)
		}
		return
	}
	l.reception.TakeReports(raw, now)
}
