package handset

import (
	"math"
	"math/rand/v2"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"

	"github.com/livekit-connector/livekit-connector/media/opus"
)

// sent is the state of the outgoing stream. The goroutine of speak alone changes
// it, under Handset.mu.
type sent struct {
	Spoken
	octets   uint32
	lastTS   uint32
	lastSent time.Time
}

// stream is what the goroutine of speak keeps to itself.
type stream struct {
	h       *Handset
	ticks   uint32 // of a frame
	pcm     []int16
	packet  []byte
	seq     uint16
	firstTS uint32
	n       uint64      // packets made, for Options.Impair
	held    *rtp.Packet // a swapped packet that waits for the next one
	script  script
}

// speak is the phone's goroutine: one frame every 20 ms, due at multiples of
// 20 ms after the start, so that a late frame does not make the next one late.
func (h *Handset) speak() {
	defer close(h.done)
	s := &stream{
		h:       h,
		ticks:   uint32(h.opts.Codec.frameTicks()),
		pcm:     make([]int16, opus.FrameSamples(h.opts.Rate, frameDuration)),
		packet:  make([]byte, opus.MaxPacketBytes),
		seq:     uint16(rand.Uint32()),
		firstTS: rand.Uint32(),
		script:  newScript(h.opts),
	}
	start := time.Now()
	h.mu.Lock()
	h.sent.Began = start
	h.mu.Unlock()

	timer := time.NewTimer(0)
	defer timer.Stop()
	report := start.Add(h.opts.RTCPInterval / 2) // RFC 3550, section 6.2: half at first
	for frame := uint32(0); ; frame++ {
		due := start.Add(time.Duration(frame) * frameDuration)
		timer.Reset(time.Until(due))
		select {
		case <-h.quit:
			return
		case <-timer.C:
		}
		s.frame(frame)
		if !due.Before(report) {
			h.sendReports(due)
			report = report.Add(h.opts.RTCPInterval)
		}
	}
}

// frame sends what belongs to the n-th 20 ms: voice, or a step of a DTMF digit in
// its place.
func (s *stream) frame(n uint32) {
	payload, ended, err := s.words(n)
	if err != nil {
		s.h.opts.Logger.Error("encode voice", "error", err)
		return
	}
	ts := s.firstTS + n*s.ticks
	if ended {
		s.h.mu.Lock()
		s.h.sent.VoiceEnded = time.Now()
		s.h.mu.Unlock()
	}
	if t := s.h.currentTone(); t != nil {
		s.toneStep(t, ts)
		return
	}
	s.send(&rtp.Packet{
		Header: rtp.Header{
			Version:     2,
			Marker:      n == 0,
			PayloadType: s.h.opts.PayloadType,
			Timestamp:   ts,
			SSRC:        s.h.opts.SSRC,
		},
		Payload: payload,
	})
}

// words are what is said in the n-th 20 ms. They may be kept.
func (s *stream) words(n uint32) (payload []byte, ended bool, err error) {
	if packets := s.h.opts.Packets; packets != nil {
		count := uint32(len(packets))
		if n >= count && !s.h.opts.Loop || count == 0 {
			return s.h.opts.Codec.silence(), false, nil
		}
		return packets[n%count], n+1 == count, nil
	}
	ended = s.script.next(s.pcm)
	length, err := s.h.enc.Encode(s.pcm, s.packet)
	return append([]byte(nil), s.packet[:length]...), ended, err
}

// send numbers p and lets its fate decide.
func (s *stream) send(p *rtp.Packet) {
	p.SequenceNumber = s.seq
	s.seq++
	fate := Deliver
	if s.h.opts.Impair != nil {
		fate = s.h.opts.Impair(s.n)
	}
	s.n++
	held := s.held
	s.held = nil
	switch fate {
	case Deliver:
		s.h.write(p)
	case Duplicate:
		s.h.write(p)
		s.h.write(p)
	case Swap:
		s.held = p
	case Drop:
	}
	if held != nil {
		s.h.write(held)
	}
}

// write hands one packet to the Sender and books it.
func (h *Handset) write(p *rtp.Packet) {
	err := h.opts.Sender.WriteRTP(p)
	h.mu.Lock()
	defer h.mu.Unlock()
	if err != nil {
		h.sent.Refused++
		return
	}
	h.sent.Packets++
	h.sent.octets += uint32(len(p.Payload))
	h.sent.lastTS = p.Timestamp
	h.sent.lastSent = time.Now()
}

// sendReports sends SR, or RR before the first packet went out, with SDES.
func (h *Handset) sendReports(now time.Time) {
	h.mu.Lock()
	blocks := h.got.reception(now)
	var first rtcp.Packet = &rtcp.ReceiverReport{SSRC: h.opts.SSRC, Reports: blocks}
	if h.sent.Packets > 0 {
		elapsed := now.Sub(h.sent.lastSent)
		first = &rtcp.SenderReport{
			SSRC:        h.opts.SSRC,
			NTPTime:     ntp(now),
			RTPTime:     h.sent.lastTS + uint32(int64(elapsed)*h.opts.Codec.clockRate()/int64(time.Second)),
			PacketCount: uint32(h.sent.Packets),
			OctetCount:  h.sent.octets,
			Reports:     blocks,
		}
	}
	h.mu.Unlock()

	err := h.opts.Sender.WriteRTCP([]rtcp.Packet{first, &rtcp.SourceDescription{
		Chunks: []rtcp.SourceDescriptionChunk{{
			Source: h.opts.SSRC,
			Items:  []rtcp.SourceDescriptionItem{{Type: rtcp.SDESCNAME, Text: h.opts.CNAME}},
		}},
	}})
	h.mu.Lock()
	defer h.mu.Unlock()
	if err != nil {
		h.sent.Refused++
		return
	}
	h.sent.Reports++
}

// ntp is t in the 32.32 format of RFC 3550, section 4.
func ntp(t time.Time) uint64 {
	const epoch = 2208988800 // 1900 to 1970, seconds
	seconds := uint64(t.Unix() + epoch)
	fraction := uint64(math.Round(float64(t.Nanosecond()) / 1e9 * (1 << 32)))
	return seconds<<32 + fraction
}

// script gives the samples of silence, voice, silence, once or in a loop.
type script struct {
	voice         []int16
	before, after int // samples
	loop          bool
	at            int // in samples
}

func newScript(o Options) script {
	return script{
		voice:  o.Voice,
		before: opus.FrameSamples(o.Rate, o.SilenceBefore),
		after:  opus.FrameSamples(o.Rate, o.SilenceAfter),
		loop:   o.Loop,
	}
}

// next fills pcm and reports whether the voice ended in it for the first time.
func (s *script) next(pcm []int16) (ended bool) {
	total := s.before + len(s.voice) + s.after
	for i := range pcm {
		at := s.at
		if s.loop && total > 0 {
			at %= total
		}
		pcm[i] = 0
		if v := at - s.before; v >= 0 && v < len(s.voice) {
			pcm[i] = s.voice[v]
		}
		s.at++
		ended = ended || len(s.voice) > 0 && s.at == s.before+len(s.voice)
	}
	return ended
}
