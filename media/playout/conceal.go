package playout

import "github.com/livekit-connector/livekit-connector/media/jitter"

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
