// Package playout turns the packets of one source into an unbroken flow of PCM: it
// waits for what is late no longer than needed, and hides what does not come.
//
// # Delay
//
// Each Read plays what is due. The margin, by which packets come before the Read
// that needs them, is held at what jitter.Buffer asks for by lengthening or
// shortening the sound by pitch periods (WSOLA: Verhelst and Roelands, ICASSP
// 1993), in pauses by exact amounts. Pauses take what there is to change; in speech it
// is spread so thin that words keep their rhythm, unless much is at stake. Since whole packets meet whole Reads, the
// margin can only be had in steps of a packet or a Read, whichever is shorter. The
// rule is the least step that suffices, and no decoded sound left over, which would
// be delay that helps nobody. The same rule absorbs the drift of the clocks.
//
// # Loss
//
// A hole in the numbering is filled from the in-band FEC of the next packet if it
// is there by then (RFC 6716 section 4.2.4), else by the decoder's own concealment.
// When nothing is there at all, what is missing may be lost or late. Where packets are
// rather lost than late, the decoder conceals at once, and no time is gained or lost.
// Where they are rather late, the last pitch period is repeated without the decoder,
// so that the packet still finds it where the one before left it and is played
// whole. Both fade to silence in a tenth of a second. A pause of the source (RFC 7587
// section 3.1.3) is neither: it costs no decoding, and what comes after it is timed
// anew.
package playout

import (
	"errors"
	"time"

	"github.com/pion/rtp"

	"github.com/livekit-connector/livekit-connector/media"
	"github.com/livekit-connector/livekit-connector/media/jitter"
)

// Decoder turns payloads into PCM at the voice's rate. It decides nothing.
type Decoder interface {
	// Decode writes the sound of a payload into pcm and returns how many samples it
	// is. 120 ms of room take any payload.
	Decode(payload []byte, pcm []int16) (samples int, err error)
	// DecodeFEC fills pcm with the sound lost just before next, from what next
	// carries of it. len(pcm) is a multiple of 2.5 ms. next itself is decoded after.
	DecodeFEC(next []byte, pcm []int16) error
	// Conceal fills pcm with what probably was said. len(pcm) is a multiple of 2.5 ms.
	Conceal(pcm []int16) error
	// Reset forgets the sound so far: another stream begins.
	Reset() error
}

// Options make a Voice. Zero values take the defaults.
type Options struct {
	// Decoder decodes the source's payloads at Rate. Required.
	Decoder Decoder
	// Rate of the PCM in Hz: 8000, 12000, 16000, 24000 or 48000. Required.
	Rate int
	// Codec of the payloads: tells clock and packet length.
	Codec media.Codec
	// MinDelay is the least mean depth. Default 10 ms, which is what reading every
	// 20 ms costs by itself.
	MinDelay time.Duration
	// MaxDelay is the most that is waited for late packets. Default 300 ms.
	MaxDelay time.Duration
	// TargetLoss is the share of packets, 0 to 1, that may have to be made up for
	// coming too late. Default 0.01.
	TargetLoss float64
	// Closed is called by Close, once, with the voice that may be Renewed. Optional.
	Closed func(*Voice)
}

// ErrOptions is returned by New when a required option is missing or not usable.
var ErrOptions = errors.New("playout: decoder or rate missing")

const (
	maxPacket = 120 * time.Millisecond // RFC 6716 section 3.2.5
	// maxPayload is more than any datagram holds.
	maxPayload = 1500

	leastPeriod = 2500 * time.Microsecond // a voice of 400 Hz
	mostPeriod  = 15 * time.Millisecond   // a voice of 67 Hz
	window      = 10 * time.Millisecond   // that is compared to find it
	fadeTime    = 4 * time.Millisecond    // to blend two pieces of sound

	// holdTime and fadeOut say how long a broken-off sound goes on: with full
	// strength, and until it is silent.
	holdTime = 30 * time.Millisecond
	fadeOut  = 100 * time.Millisecond
)

// Voice is one source as heard. It implements media.Voice.
type Voice struct {
	opt   Options
	dec   Decoder
	buf   *jitter.Buffer
	clock int64
	unit  int // 2.5 ms in samples
	frame int // media.FrameDuration in samples
	fade  int
	win   int
	pitch span
	step  int // coarseness of the search for pitch
	now   time.Duration

	out     line
	ext     extender
	scratch []int16
	tail    []int16
	payload []byte

	anchored bool  // cursor and seq are valid
	cursor   int64 // timestamp of the sound behind out, in ticks of the line
	seq      int64 // the newest packet in out, or passed over
	packet   int64 // duration of the newest packet in ticks
	pause    bool  // the source is silent by its own account
	skipped  int64 // numbers since seq that are no loss: padding
	made     int   // samples made up since the sound broke off
	lost     int   // samples concealed in a row
	ahead    int   // samples the decoder concealed behind cursor with nothing to tell how much is lost
	madeUp   bool  // in this Read

	control control
	stats   media.VoiceStats
	closed  bool
}

var _ media.Voice = (*Voice)(nil)

// New makes a voice. The caller closes it.
func New(o Options) (*Voice, error) {
	if o.Decoder == nil || o.Rate < 8000 || o.Rate%400 != 0 {
		return nil, ErrOptions
	}
	if o.MinDelay <= 0 {
		o.MinDelay = 10 * time.Millisecond
	}
	if o.MaxDelay <= 0 {
		o.MaxDelay = 300 * time.Millisecond
	}
	v := &Voice{opt: o, dec: o.Decoder, clock: int64(o.Codec.ClockRate()), unit: o.Rate / 400}
	b := jitter.Options{
		ClockRate: o.Codec.ClockRate(), Duration: opusDuration, Redundant: media.OpusHasFEC,
		TargetLoss: o.TargetLoss, MaxNeed: o.MaxDelay,
		// Reads are 20 ms apart, so the mean depth is half of that more than the margin.
		MinNeed: max(time.Millisecond, o.MinDelay-media.FrameDuration/2),
	}
	if o.Codec != media.CodecOpus {
		b.Duration, b.Redundant = g711Duration, nil
	}
	v.buf = jitter.New(b)
	v.frame = v.samples(media.FrameDuration)
	v.fade, v.win = v.samples(fadeTime), v.samples(window)
	v.pitch = span{v.samples(leastPeriod), v.samples(mostPeriod)}
	v.step = max(1, o.Rate/8000)
	v.ext.loop = make([]int16, v.pitch.most)
	v.ext.hold, v.ext.end = v.samples(holdTime), v.samples(fadeOut)
	v.scratch = make([]int16, v.samples(maxPacket))
	v.tail = make([]int16, v.pitch.most+v.fade)
	v.payload = make([]byte, 0, maxPayload)
	// A packet is decoded when less than a frame is left, and may be lengthened.
	v.out = newLine(v.win+2*v.pitch.most, 2*v.samples(maxPacket))
	v.begin()
	return v, nil
}

func opusDuration(payload []byte) (uint32, error) { return media.OpusDuration(payload) }

// g711Duration is a tick per byte (RFC 3551 section 4.5.14).
func g711Duration(payload []byte) (uint32, error) { return uint32(len(payload)), nil }

func (v *Voice) begin() {
	v.anchored, v.pause, v.lost, v.made, v.ahead, v.skipped = false, true, 0, 0, 0, 0
	v.cursor, v.seq, v.packet = 0, 0, v.clock/50
	v.control = control{}
	v.stats = media.VoiceStats{}
	v.ext.beginSilent()
}

// Renew makes a closed voice good for another source.
func (v *Voice) Renew() error {
	if err := v.dec.Reset(); err != nil {
		return err
	}
	v.buf.Reset()
	v.out.reset()
	v.begin()
	v.closed = false
	return nil
}

func (v *Voice) samples(d time.Duration) int {
	return int(int64(d) * int64(v.opt.Rate) / int64(time.Second))
}

// ofTicks converts ticks of the source's clock to samples.
func (v *Voice) ofTicks(ticks int64) int { return int(ticks * int64(v.opt.Rate) / v.clock) }

func (v *Voice) toTicks(samples int) int64 { return int64(samples) * v.clock / int64(v.opt.Rate) }

func (v *Voice) toTime(samples int) time.Duration {
	return time.Duration(int64(samples) * int64(time.Second) / int64(v.opt.Rate))
}

// Prime decodes a payload that was heard already. What it gives is history: the
// first Read goes on from it.
func (v *Voice) Prime(payload []byte) {
	n, err := v.dec.Decode(payload, v.scratch)
	if err != nil || n == 0 {
		return
	}
	copy(v.out.room(n), v.scratch[:n])
	v.out.fill(n)
	v.out.play(n)
	v.ext.stop()
	v.pause = false
}

// Write takes a packet that arrived at at.
func (v *Voice) Write(p *rtp.Packet, at time.Duration) { v.buf.Put(p, at) }

// Read fills pcm with what is heard at now.
func (v *Voice) Read(pcm []int16, now time.Duration) media.Sound {
	v.now, v.madeUp = now, false
	s := media.Sound{}
	for len(pcm) > 0 { // a frame, as a rule
		n := min(len(pcm), v.frame)
		v.produce(n)
		v.adjust(n)
		copy(pcm, v.out.play(n))
		s = v.sound(pcm[:n])
		pcm = pcm[n:]
	}
	v.stats.MaxDepth = max(v.stats.MaxDepth, v.Depth())
	return s
}

// Finish fills pcm with what is left of the decoded sound.
func (v *Voice) Finish(pcm []int16, now time.Duration) media.Sound {
	v.now, v.madeUp = now, false
	n := len(pcm)
	most := v.samples(12 * time.Millisecond)
	for v.out.len() > n && v.out.len() > 2*v.fade {
		v.removeExactly(min(v.out.len()-n, most, v.out.len()-v.fade))
	}
	for v.out.len() < n && v.out.len() >= v.fade {
		v.insertExactly(min(n-v.out.len(), most))
	}
	if short := n - v.out.len(); short > 0 {
		v.extend(short)
	}
	copy(pcm, v.out.play(n))
	return v.sound(pcm)
}

// Pending hands out the packets that are not decoded, oldest first.
func (v *Voice) Pending(yield func(p *rtp.Packet)) { v.buf.Each(v.payload, yield) }

// Recall fills pcm with what was read last, zeros before it. At most 40 ms are
// remembered for certain.
func (v *Voice) Recall(pcm []int16) {
	n := min(len(pcm), v.out.r)
	clear(pcm[:len(pcm)-n])
	copy(pcm[len(pcm)-n:], v.out.buf[v.out.r-n:v.out.r])
}

// Depth is how much sound is held, decoded or not.
func (v *Voice) Depth() time.Duration { return v.toTime(v.out.len()) + v.buf.Held() }

// Stats counts since New or Renew.
func (v *Voice) Stats() media.VoiceStats {
	s, b := v.stats, v.buf.Stats()
	s.Packets, s.Duplicate, s.Late = b.Packets, b.Duplicate, b.Late
	s.Garbage += b.Garbage + b.Stray
	s.Discarded += b.Discarded
	s.Jitter, s.DriftPPM = b.Jitter, b.DriftPPM
	s.Target = v.buf.Need() + media.FrameDuration/2
	s.Depth = v.Depth()
	return s
}

// Close ends the voice.
func (v *Voice) Close() {
	if v.closed {
		return
	}
	v.closed = true
	if v.opt.Closed != nil {
		v.opt.Closed(v)
	}
}

// sound says what pcm is, the last thing that was read.
func (v *Voice) sound(pcm []int16) media.Sound {
	p := power(pcm)
	v.control.heard(p)
	l := level(p)
	return media.Sound{
		Level:     l,
		Active:    l < 127 && !v.pause && !v.ext.silent(),
		Concealed: v.madeUp,
	}
}
