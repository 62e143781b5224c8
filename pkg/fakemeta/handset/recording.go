package handset

import (
	"slices"
	"time"

	"github.com/livekit-connector/livekit-connector/media/opus"
)

const (
	// concealLimit is how much loss the phone hides; what is longer is silent
	// after it.
	concealLimit = 60 * time.Millisecond
	// longestGap is the longest stretch of RTP time without packets that is taken
	// at its word. Beyond it, or backwards, the timestamp has jumped, and the
	// recording goes on without a gap.
	longestGap = 10 * time.Second
)

// Mark ties a place in a recording to the packet that filled it.
type Mark struct {
	// Sample index in the recording.
	Sample int
	// Arrived is when the packet came.
	Arrived time.Time
	// Sequence and Timestamp of the packet.
	Sequence  uint16
	Timestamp uint32
}

// Recording is what the user heard since the answer: mono PCM16 at Options.Rate,
// starting with the first packet and honouring RTP timestamps. Lost packets are
// concealed as a phone does it, time without packets is silent.
func (h *Handset) Recording() (pcm []int16, rate int) {
	l := h.listen()
	return l.pcm, l.rate
}

// Timeline says which packet filled which part of the Recording, in the order of
// the recording. Late packets are where they belong.
func (h *Handset) Timeline() []Mark {
	return h.listen().marks
}

// listen decodes what is on file.
func (h *Handset) listen() *listening {
	o := h.options()
	l := newListening(o)
	for _, s := range split(h.Packets(), o) {
		l.play(s)
	}
	return l
}

// stretch is all audio of one SSRC after the answer, each packet once, in the
// order of extended sequence numbers.
type stretch struct {
	ssrc    uint32
	packets []numbered

	duplicates, reordered int
}

// numbered is a packet with a sequence number that does not wrap.
type numbered struct {
	Packet
	ext   int64
	event bool // RFC 4733, not audio
}

// split sorts the packets by source, drops what is early or of a foreign payload
// type, and puts each source in order.
func split(packets []Packet, o Options) []*stretch {
	var all []*stretch
	for _, p := range packets {
		if p.Early || p.PayloadType != o.PayloadType && p.PayloadType != o.DTMFPayloadType {
			continue
		}
		i := slices.IndexFunc(all, func(s *stretch) bool { return s.ssrc == p.SSRC })
		if i < 0 {
			i = len(all)
			all = append(all, &stretch{ssrc: p.SSRC})
		}
		all[i].add(numbered{Packet: p, event: p.PayloadType == o.DTMFPayloadType})
	}
	return all
}

// add inserts p where its sequence number belongs; a second copy is dropped.
func (s *stretch) add(p numbered) {
	n := len(s.packets)
	if n == 0 {
		p.ext = int64(p.Sequence)
		s.packets = append(s.packets, p)
		return
	}
	newest := s.packets[n-1]
	p.ext = newest.ext + int64(int16(p.Sequence-newest.Sequence))
	at, found := slices.BinarySearchFunc(s.packets, p.ext, func(q numbered, ext int64) int { return int(q.ext - ext) })
	if found {
		s.duplicates++
		return
	}
	if at < n {
		s.reordered++
	}
	s.packets = slices.Insert(s.packets, at, p)
}

// listening is the phone's ear: a decoder and what came out of it.
type listening struct {
	opts    Options
	rate    int
	clock   int64 // RTP ticks per second
	pcm     []int16
	marks   []Mark
	scratch []int16

	garbage, notTwentyMS, events, jumps int
	jumped                              []Jump
	missing, runs                       int
}

func newListening(o Options) *listening {
	return &listening{
		opts: o, rate: o.Rate, clock: o.Codec.clockRate(), scratch: make([]int16, opus.FrameSamples(o.Rate, opus.MaxPacketDuration)),
	}
}

// play appends a stretch to the recording.
func (l *listening) play(s *stretch) {
	dec, err := newDecoder(l.opts)
	if err != nil {
		panic("handset: internal error: " + err.Error()) // New checked the rate
	}
	var (
		last   *numbered // the audio packet before
		lastMS int64     // its length in ticks
		lost   int64     // sequence numbers missing since last
		events int       // since last
	)
	for i := range s.packets {
		p := &s.packets[i]
		if i > 0 {
			if hole := p.ext - s.packets[i-1].ext - 1; hole > 0 {
				l.missing += int(hole)
				l.runs++
				lost += hole
			}
		}
		if p.event {
			l.events++
			events++
			continue
		}
		if last != nil {
			l.bridge(dec, p, int64(int32(p.Timestamp-last.Timestamp))-lastMS, lost, events)
		}
		lastMS = l.decode(dec, p)
		last, lost, events = p, 0, 0
	}
}

// bridge fills the time between two audio packets that are ticks apart, and
// judges whether the timestamp is where it should be.
func (l *listening) bridge(dec decoder, p *numbered, ticks, lost int64, events int) {
	if off := ticks - lost*l.opts.Codec.frameTicks(); off != 0 && events == 0 {
		l.jumps++
		if len(l.jumped) < MaxJumps {
			l.jumped = append(l.jumped, Jump{Sequence: p.Sequence, Ticks: off})
		}
	}
	if ticks <= 0 || ticks > int64(longestGap/time.Second)*l.clock {
		return
	}
	gap := int(ticks * int64(l.rate) / l.clock)
	if lost > 0 {
		gap -= l.conceal(dec, p, gap)
	}
	l.pcm = append(l.pcm, make([]int16, gap)...)
}

// conceal hides the first part of a loss, or all of it with the help of the
// packet after it, and returns how many samples it hid.
func (l *listening) conceal(dec decoder, after *numbered, gap int) (hidden int) {
	frame := opus.FrameSamples(l.rate, frameDuration)
	whole := gap <= opus.FrameSamples(l.rate, concealLimit)
	limit := min(gap, opus.FrameSamples(l.rate, concealLimit))
	for hidden+frame <= limit {
		pcm := l.scratch[:frame]
		var err error
		if whole && hidden+2*frame > limit {
			err = dec.DecodeFEC(after.Payload, pcm)
		} else {
			err = dec.Conceal(pcm)
		}
		if err != nil {
			return hidden
		}
		l.pcm = append(l.pcm, pcm...)
		hidden += frame
	}
	return hidden
}

// decode appends one packet and returns its length in ticks. Garbage sounds like
// a lost frame.
func (l *listening) decode(dec decoder, p *numbered) (ticks int64) {
	l.marks = append(l.marks, Mark{Sample: len(l.pcm), Arrived: p.Arrived, Sequence: p.Sequence, Timestamp: p.Timestamp})
	n, err := dec.Decode(p.Payload, l.scratch)
	if err != nil {
		l.garbage++
		n = opus.FrameSamples(l.rate, frameDuration)
		if dec.Conceal(l.scratch[:n]) != nil {
			clear(l.scratch[:n])
		}
	}
	l.pcm = append(l.pcm, l.scratch[:n]...)
	ticks = int64(n) * l.clock / int64(l.rate)
	if ticks != l.opts.Codec.frameTicks() {
		l.notTwentyMS++
	}
	return ticks
}
