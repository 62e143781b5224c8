package playout

import (
	"bytes"
	"time"

	"github.com/livekit-connector/livekit-connector/media"
	"github.com/livekit-connector/livekit-connector/media/jitter"
)

const (
	// tolerance is what the timestamps of neighbouring packets may be off by.
	tolerance = 5 * time.Millisecond
	// primedWait is how long a primed sound is stretched for the margin to build up.
	primedWait = 60 * time.Millisecond
	// spurtLate is how much later than needed the first packet after a pause may be
	// and still be trusted to belong to the old timing.
	spurtLate = 10 * time.Millisecond
	// giveUp is how much of a loss is concealed; what is behind is silence.
	giveUp = 100 * time.Millisecond
)

// produce makes sure that there are n samples to play.
func (v *Voice) produce(n int) {
	for start := true; v.out.len() < n; start = false {
		p := v.front()
		switch {
		case p == nil:
			v.bridge(n - v.out.len())
		case v.ext.on || !v.anchored:
			if !start || !v.due(p) {
				v.extend(n - v.out.len())
				continue
			}
			v.skipExcess()
			v.resume()
		case v.ahead > 0:
			v.commit(p)
		case v.gap(p) <= 0:
			v.decode()
		case v.missing(p) == 0: // a pause: what is behind is due in its own time
			v.pause = true
			v.extend(n - v.out.len())
		default:
			v.conceal(p)
		}
	}
}

// front returns the next packet with sound, and passes over those without.
func (v *Voice) front() *jitter.Packet {
	for {
		p := v.buf.Front()
		switch {
		case p == nil:
			return nil
		case p.Ticks == 0: // padding: a number without sound
			if v.anchored && p.Seq == v.seq+1 {
				v.seq++
			} else {
				v.skipped++
			}
			v.buf.Pop()
		case v.isSilence(p):
			v.pass(p)
			v.pause = true
			v.buf.Pop()
		default:
			return p
		}
	}
}

// isSilence reports whether p says by itself that nothing is heard: DTX (RFC 6716
// section 3.1: a frame of one byte at most), or digital silence that follows silence.
func (v *Voice) isSilence(p *jitter.Packet) bool {
	if v.opt.Codec != media.CodecOpus {
		return false
	}
	if p.Len <= 2 {
		return true
	}
	if p.Len != len(media.SilenceFrame) || !v.ext.silent() && v.control.last > 0 {
		return false
	}
	v.payload = v.buf.Payload(p, v.payload)
	return bytes.Equal(v.payload, media.SilenceFrame)
}

// pass takes note that p is behind us.
func (v *Voice) pass(p *jitter.Packet) {
	v.anchored = true
	v.seq, v.cursor, v.packet = p.Seq, p.Time+p.Ticks, p.Ticks
	v.skipped, v.ahead = 0, 0
}

// gap is how much sound is missing before p, in samples; what is within rounding
// counts as none.
func (v *Voice) gap(p *jitter.Packet) int {
	g := p.Time - v.cursor
	if v.buf.Duration(g) <= tolerance {
		return 0
	}
	return v.ofTicks(g)
}

// missing is how many packets are lost before p.
func (v *Voice) missing(p *jitter.Packet) int {
	return int(max(0, p.Seq-v.seq-1-v.skipped))
}

// due reports whether p, the first one after sound that was made up, is to be
// played in this Read.
func (v *Voice) due(p *jitter.Packet) bool {
	need := v.buf.Need()
	// The frame may take more packets than p; the last of them has to be there, too.
	last := p.Time + (v.toTicks(v.frame)-1)/p.Ticks*p.Ticks
	if v.afterLoss(p) && p.Redundant {
		last -= p.Ticks // it begins with what it carries of the one before
	}
	margin := v.buf.Margin(v.now, last)
	if v.ext.on && !v.ext.silent() && !v.pause {
		switch {
		case !v.anchored: // primed
			return margin >= need || v.toTime(v.ext.made) >= primedWait
		case v.gap(p) <= 0 || v.missing(p) > 0:
			return true // it broke off a moment ago; what comes is late already
		}
	}
	if margin < need {
		return false
	}
	// A source that was away may come back with its clock behind: then only the
	// packet's own arrival tells when it is due.
	late := v.buf.Margin(p.At, p.Time)
	return late <= need+spurtLate || v.now-p.At >= need || v.buf.Held() >= need+media.FrameDuration
}

// skipExcess drops what piled up in an outage and would be heard far too late.
func (v *Voice) skipExcess() {
	if !v.ext.silent() {
		return
	}
	for v.buf.Held() > v.opt.MaxDelay+maxPacket {
		p := v.buf.Front()
		v.pass(p)
		v.buf.Pop()
		v.stats.Discarded++
	}
}

// resume goes from made-up sound back to the source's.
func (v *Voice) resume() {
	p := v.buf.Front()
	if v.afterLoss(p) {
		v.patch(p, v.missing(p))
		if !v.ext.on {
			return
		}
	}
	v.decode()
}

// afterLoss reports whether the sound just before p is lost.
func (v *Voice) afterLoss(p *jitter.Packet) bool {
	return v.anchored && !v.pause && v.missing(p) > 0 && v.gap(p) > 0
}

// extend makes n samples up out of the last that were heard.
func (v *Voice) extend(n int) {
	if !v.ext.on {
		v.ext.begin(v.out.past(v.win+v.pitch.most), v.win, v.pitch, v.step)
		v.made = 0
		if !v.pause {
			v.stats.Underruns++
		}
	}
	if !v.pause && !v.ext.silent() {
		v.madeUp = true
	}
	v.ext.next(v.out.room(n))
	v.out.fill(n)
	v.made += n
}

// decode plays the front packet.
func (v *Voice) decode() {
	p := *v.buf.Front()
	v.payload = v.buf.Payload(&p, v.payload)
	if p.Fresh {
		if v.dec.Reset() != nil {
			v.stats.Garbage++
		}
		if !v.ext.on {
			v.ext.begin(v.out.past(v.win+v.pitch.most), v.win, v.pitch, v.step)
		}
	}
	v.pass(&p)
	v.buf.Pop()
	n, err := v.dec.Decode(v.payload, v.scratch)
	if err != nil || n <= 0 || n > len(v.scratch) {
		v.stats.Garbage++
		n = min(v.ofTicks(p.Ticks), len(v.scratch)) / v.unit * v.unit
		if n == 0 || v.ext.on {
			return
		}
		v.hide(v.scratch[:n])
		v.join(v.scratch[:n])
		return
	}
	v.stats.Decoded++
	v.pause = false
	v.unfade(v.scratch[:n])
	v.join(v.scratch[:n])
}

// join puts sound of the decoder behind what was heard. What was made up goes on
// until it meets the new sound in phase, then the two are blended.
func (v *Voice) join(pcm []int16) {
	if !v.ext.on {
		copy(v.out.room(len(pcm)), pcm)
		v.out.fill(len(pcm))
		return
	}
	fade := min(v.fade, len(pcm))
	at := 0
	tail := v.tail[:v.ext.lag+fade]
	v.ext.peek(tail)
	if !v.ext.silent() {
		at = v.meet(tail, pcm[:fade])
	}
	dst := v.out.room(at + len(pcm))
	copy(dst, tail[:at])
	copy(dst[at:], pcm)
	if v.ext.silent() && pcm[0] > -smallStep && pcm[0] < smallStep {
		fade = 0
	}
	for i := range fade {
		dst[at+i] = blend(tail[at+i], pcm[i], i, fade)
	}
	v.out.fill(at + len(pcm))
	v.ext.stop()
}

// smallStep is a step out of silence that nobody hears.
const smallStep = 64

// meet finds the position in tail at which pcm fits best.
func (v *Voice) meet(tail, pcm []int16) int {
	best, least := 0, int64(-1)
	for at := 0; at+len(pcm) <= len(tail); at++ {
		var sum int64
		for i, s := range pcm {
			d := int64(s) - int64(tail[at+i])
			sum += d * d
		}
		if least < 0 || sum < least {
			best, least = at, sum
		}
	}
	return best
}
