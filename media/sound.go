package media

import (
	"math/bits"
	"time"

	"github.com/pion/rtp"
)

// sound is what a packet holds as far as it can be told without a decoder.
type sound uint8

const (
	soundNone   sound = iota // digital silence
	soundNoise               // the encoder found no voice in it
	soundSpeech              // voice, or what no encoder judged
)

// Payload sizes that need no decoder to be understood.
const (
	// pauseBytes: libopus says "nothing until further notice" (DTX) with a packet
	// of the TOC byte and at most one more.
	pauseBytes = 2
	// quietBytes: digital silence, as SilenceFrame. livekit-server fills its own up with
	// zeros.
	quietBytes = 3
	// maxG711Bytes is 120 ms, as much as an Opus packet may hold.
	maxG711Bytes = 960
)

const (
	// quietLevel in dB below full scale (RFC 6464): what is quieter is the room that
	// a speaker sits in.
	quietLevel = 55
	// silentLevel is digital silence on that scale.
	silentLevel = 127
)

// judgement is what the line reads out of a packet's bytes.
type judgement struct {
	ticks  uint32 // of the source's clock
	heard  sound
	sure   bool // whether an encoder or meter judged it
	proper bool // the far end takes a packet of this form
}

// judge looks at a packet that is not a pause. ok is false for garbage.
func (s *Source) judge(p *rtp.Packet) (j judgement, ok bool) {
	if s.options.Codec == CodecOpus {
		ticks, err := OpusDuration(p.Payload)
		if err != nil {
			return judgement{}, false
		}
		j.ticks = ticks
		j.heard, j.sure = soundOf(p.Payload)
		j.proper = ticks == FrameSamples && !OpusStereo(p.Payload)
	} else {
		if len(p.Payload) > maxG711Bytes {
			return judgement{}, false
		}
		j.ticks, j.heard = uint32(len(p.Payload)), soundSpeech
		j.proper = len(p.Payload) == g711FrameBytes
		if isG711Silence(p.Payload) {
			j.heard, j.sure = soundNone, true
		}
	}
	j.proper = j.proper && s.options.Codec == s.line.options.Codec
	if level, found := s.audioLevel(&p.Header); found && j.heard != soundNone {
		j.sure = true
		switch {
		case level >= silentLevel:
			j.heard = soundNone
		case level > quietLevel:
			j.heard = soundNoise
		}
	}
	if j.heard == soundNoise && s.speaking {
		j.heard = soundSpeech // the room knows better
	}
	return j, true
}

// audioLevel reads the level that the sender measured, in dB below full scale (RFC
// 6464 section 3). Its V bit is not used: senders set it for all or for nothing.
func (s *Source) audioLevel(h *rtp.Header) (level uint8, found bool) {
	if s.options.AudioLevelID == 0 {
		return 0, false
	}
	ext := h.GetExtension(s.options.AudioLevelID)
	if len(ext) == 0 {
		return 0, false
	}
	return ext[0] & 0x7F, true
}

// isPause reports whether a payload says "nothing until further notice".
func (s *Source) isPause(payload []byte) bool {
	if s.options.Codec != CodecOpus {
		return len(payload) == 0
	}
	return len(payload) <= pauseBytes
}

// soundOf judges an Opus payload. sure says that its encoder did.
func soundOf(payload []byte) (heard sound, sure bool) {
	if len(payload) <= quietBytes || string(payload[:quietBytes]) == string(SilenceFrame) {
		return soundNone, true
	}
	voice, known := OpusVoice(payload)
	if known && !voice {
		return soundNoise, true
	}
	return soundSpeech, known
}

// onset follows when a source begins to sound, over packets that the line may not
// be playing yet. One packet proves nothing: between two packets of DTX an encoder
// sends one that describes the noise, and in noise it believes now and then to
// find a voice. What was sent until it is believed is in the source's history, so
// nothing is lost by waiting.
type onset struct {
	bits  uint8 // bit i: sound in the packet i before the newest
	blips int   // how often a voice was found for a moment only: 256 for each, a 256th fades per packet
	need  int   // of how many packets sound is believed that nobody judged

	judged bool          // the newest was
	at     time.Duration // of the newest packet
}

const (
	// blipMost is how many packets of speech in a row are none, if noise is around them.
	blipMost = 3
	// noisy is from how many recent blips on a source is one of noise. In white noise of
	// -50 dB libopus makes 36 of them, of -60 dB 3, in speech none.
	noisy = 6 * 256
	// In how many packets in a row a judged voice has to be found to be believed, and to be
	// likely: in the noise of -40 dB there are 7 in a row once a minute.
	believedRun, believedNoisyRun = 4, 7
	likelyRun, likelyNoisyRun     = 2, 5
)

// backlog is how many packets of an onset are played at most once it is believed:
// more would be delay that takes long to make up for.
const backlog = 8

// trust is for how long a source that was believed is believed sooner: it takes
// part in the conversation.
const trust = 10 * time.Second

func (o *onset) note(j judgement, span, now time.Duration) {
	if now-o.at > historyGap {
		o.bits = 0
	}
	o.at = now
	run := o.run()
	o.bits <<= 1
	o.blips -= o.blips >> 8
	if j.heard == soundSpeech {
		o.bits |= 1
	} else if run > 0 && run <= blipMost {
		o.blips += 256
	}
	o.judged, o.need = j.sure && span <= FrameDuration, 2
	if span > 2*FrameDuration {
		o.need = 1
	}
}

func (o *onset) pause() { o.bits = 0 }

// run is how many packets with sound came last, without one of none between them; at
// most 8.
func (o *onset) run() int { return bits.TrailingZeros8(^o.bits) }

// noisy reports whether the source's encoder takes noise for a voice now and then.
func (o *onset) noisy() bool { return o.blips >= noisy }

// believed reports whether the newest packets are sound: where each was judged as many
// as noise does not make, else the last 2.
func (o *onset) believed() bool {
	switch {
	case !o.judged:
		return o.run() >= o.need
	case o.noisy():
		return o.run() >= believedNoisyRun
	default:
		return o.run() >= believedRun
	}
}

// likely is enough where one more decoder is all that is at stake.
func (o *onset) likely() bool {
	if o.noisy() {
		return o.run() >= likelyNoisyRun
	}
	return o.believed() || o.run() >= likelyRun
}

// quiet reports whether the two newest packets are no sound.
func (o *onset) quiet() bool { return o.bits&0x03 == 0 }

// length is how many packets the onset has so far, at most backlog: back to the
// first one with sound, and the one before, in which an encoder that judged may
// have missed the beginning. Before that there may be noise.
func (o *onset) length() int {
	n := o.run()
	if !o.noisy() {
		n = bits.Len8(o.bits & (1<<believedRun - 1))
	}
	if o.judged && o.believed() {
		n++
	}
	return min(max(1, n), backlog)
}
