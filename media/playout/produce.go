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

// patch settles a loss before p part of which was made up while nothing was there.
// The decoder is led over it in any case; what it gives is heard as far as there is
// time left, or if more margin is needed anyway.
func (v *Voice) patch(p *jitter.Packet, lost int) {
	gap := v.gap(p)
	n := min(gap/lost, v.samples(maxPacket)) / v.unit * v.unit // the last lost packet
	if n == 0 {
		return
	}
	before := (gap - n) / v.unit * v.unit
	past := min((v.made+v.unit-1)/v.unit*v.unit, before)
	v.lead(past - v.ahead)
	v.ahead = 0
	if left := min(before-past, len(v.scratch)); left > 0 && !v.ext.silent() {
		v.hide(v.scratch[:left])
		v.stats.Concealed += uint64(lost - 1)
		v.seq, v.cursor = p.Seq-1-v.skipped-1, p.Time-v.toTicks(n)
		v.buf.Pass(v.seq, v.cursor)
		v.join(v.scratch[:left])
		return
	}
	v.lead(before - past)
	rest := min(gap-v.made, n)
	pcm := v.scratch[:n]
	recovered := v.recover(p, pcm)
	switch {
	case recovered && (v.ext.silent() || rest <= 0 && v.buf.Margin(v.now, p.Time) < v.buf.Need()):
		rest = n
	case v.ext.silent():
		rest = 0
	}
	v.stats.Concealed += uint64(lost - 1)
	if recovered && rest > 0 {
		v.stats.Recovered++
	} else {
		v.stats.Concealed++
	}
	v.cursor = p.Time
	v.buf.Pass(p.Seq-1, v.cursor)
	if rest > 0 {
		v.seq = p.Seq - 1 - v.skipped
		v.join(pcm[n-rest:])
	}
}

// lead has the decoder conceal n samples that are not heard, so that it stays in time
// with the source. What it would say after giveUp is nothing.
func (v *Voice) lead(n int) {
	for n = min(n, v.samples(giveUp)); n > 0; {
		part := min(n, len(v.scratch))
		v.hide(v.scratch[:part])
		n -= part
	}
}

// conceal fills the next lost packet of those before p, while sound flows.
func (v *Voice) conceal(p *jitter.Packet) {
	lost, gap := v.missing(p), v.gap(p)
	n := min(gap/lost, v.samples(maxPacket)) / v.unit * v.unit
	if n == 0 {
		v.cursor = p.Time
		return
	}
	if v.toTime(v.lost) >= giveUp {
		v.stats.Concealed += uint64(lost)
		v.seq = p.Seq - 1 - v.skipped
		v.pause = true // silence until p is due
		return
	}
	v.seq++
	v.cursor += v.toTicks(n)
	pcm := v.out.room(n)
	if lost == 1 {
		v.cursor = p.Time
	}
	v.buf.Pass(v.seq, v.cursor)
	if lost == 1 {
		if v.recover(p, pcm) {
			v.stats.Recovered++
			v.out.fill(n)
			return
		}
	} else {
		v.hide(pcm)
	}
	v.stats.Concealed++
	v.madeUp = true
	v.out.fill(n)
}

// recover fills pcm with the sound lost just before p: from p if it carries it, else
// made up.
func (v *Voice) recover(p *jitter.Packet, pcm []int16) bool {
	if p.Redundant && len(pcm) <= v.ofTicks(p.Ticks) {
		v.payload = v.buf.Payload(p, v.payload)
		if v.dec.DecodeFEC(v.payload, pcm) == nil {
			v.unfade(pcm)
			return true
		}
	}
	v.hide(pcm)
	return false
}

// hide has the decoder conceal, and fades what goes on for too long.
func (v *Voice) hide(pcm []int16) {
	if v.dec.Conceal(pcm) != nil {
		clear(pcm)
	}
	hold, end := v.samples(giveUp/2), v.samples(giveUp)
	for i := range pcm {
		if at := v.lost + i; at > hold {
			pcm[i] = int16(int(pcm[i]) * max(0, end-at) / (end - hold))
		}
	}
	v.lost += len(pcm)
	v.madeUp = true
}

// unfade ends a run of losses: real sound comes back as fast as it may after a fade.
func (v *Voice) unfade(pcm []int16) {
	hold, end := v.samples(giveUp/2), v.samples(giveUp)
	if v.lost > hold && !v.ext.on {
		gone, n := min(v.lost, end)-hold, min(v.fade, len(pcm))
		for i := range n {
			pcm[i] -= int16(int(pcm[i]) * gone / (end - hold) * (n - i) / n)
		}
	}
	v.lost = 0
}

// bridge makes sound up while nothing is there, n samples or a few more. If the next
// packet is rather lost than late the decoder does it, as it would if that were
// known; else it is spared, so that the packet can be played whole when it comes.
func (v *Voice) bridge(n int) {
	unit := min(v.ofTicks(v.packet), v.samples(maxPacket)) / v.unit * v.unit
	if v.ext.on || v.pause || !v.anchored || unit == 0 ||
		v.ahead == 0 && !v.buf.RatherLost(v.buf.Margin(v.now, v.cursor)) {
		v.extend(n)
		return
	}
	if v.ahead == 0 {
		v.stats.Underruns++
	}
	if v.toTime(v.lost) >= giveUp { // faded out
		v.ext.beginSilent()
		v.made = v.ahead
		return
	}
	v.hide(v.out.room(unit))
	v.out.fill(unit)
	v.ahead += unit
}

// commit settles what the decoder concealed before p came.
func (v *Voice) commit(p *jitter.Packet) {
	lost, gap, ahead := v.missing(p), v.gap(p), v.ahead
	v.ahead = 0
	switch {
	case gap > 0 && lost == 0:
		v.pause = true // it was a pause
	case ahead < gap:
		packets := min(max(1, ahead*lost/gap), lost-1)
		v.stats.Concealed += uint64(packets)
		v.seq += int64(packets)
		v.cursor += v.toTicks(ahead)
		v.buf.Pass(v.seq, v.cursor)
	default:
		v.stats.Concealed += uint64(lost)
		if ahead > gap { // p was late after all, and goes on somewhere else
			v.ext.begin(v.out.past(v.win+v.pitch.most), v.win, v.pitch, v.step)
		}
		v.cursor = p.Time
		v.decode()
	}
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
