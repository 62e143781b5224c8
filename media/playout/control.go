package playout

import (
	"time"

	"github.com/livekit-connector/livekit-connector/media"
)

const (
	// pace is by which part of its length speech may be played faster or slower: 1.5 %. A
	// change has to be worked off at that pace before the next one, so words keep their
	// rhythm. Where the margin is off by more than farOff, delay or holes are worse: the
	// pace grows by 1 % for each farStep.
	pace    = 65
	farOff  = 100 * time.Millisecond
	farStep = 10 * time.Millisecond
	// freely is for how many Reads it must have been quiet for a pause between words,
	// in which any change is free. A shorter one may be within a word.
	freely = 5
	// opAlike is how alike two periods have to be for one of them to be dropped or
	// said twice; after opPatience Reads that a change has waited, opHardlyAlike.
	opAlike       = 0.85
	opHardlyAlike = 0.5
	opPatience    = 25
	// opMost is the most that is cut or put in at once where pitch does not matter.
	opMost = 12 * time.Millisecond
	// opSure is how many Reads in a row the margin must be too large: one that came
	// late found it larger than it is.
	opSure = 10
	// slack keeps the margin from being lowered and raised in turn.
	slack = 2 * time.Millisecond
	// needFall is how fast, per Read, a need that is over is forgotten: 5 ms a second.
	needFall = 100 * time.Microsecond

	quietBelow = 1.0 / 40 // of the power of loud sound: 16 dB
	quietPower = 32768.0 * 32768 / 1e5
	loudFall   = 0.986 // per Read: 3 dB a second
)

// control decides when sound is stretched.
type control struct {
	debt    int           // samples that speech was changed by of late
	hush    int           // Reads in a row that were quiet
	waiting int           // Reads that a change has been due
	long    int           // Reads in a row with too much margin
	need    time.Duration // the recent maximum
	loud    float64       // power of loud sound
	last    float64       // power of the last Read
}

// heard takes note of the power of what was read.
func (c *control) heard(p float64) {
	c.last = p
	c.loud = max(p, c.loud*loudFall)
}

// quiet reports whether sound of power p may be cut anywhere.
func (c *control) quiet(p float64) bool {
	return p <= max(c.loud*quietBelow, 1) && p < quietPower
}

// adjust brings the margin, with n samples about to be read, towards what is
// needed, by one step at most.
func (v *Voice) adjust(n int) {
	c := &v.control
	need := v.buf.Need()
	c.need = max(need, c.need-needFall)
	if v.ext.on || !v.anchored || n != v.frame || v.out.len() < n {
		return
	}
	quiet := c.quiet(power(v.out.ahead()[:n]))
	if c.hush++; !quiet {
		c.hush = 0
	}
	packet := max(v.ofTicks(v.packet), 1)
	grain := min(packet, v.frame)
	left := v.out.len() - n
	margin := v.margin(left, packet)
	excess := margin - v.toTime(grain) - c.need - slack
	if c.long++; excess < 0 {
		c.long = 0
	}
	if !c.may(n, max(margin-v.toTime(grain)-need, need-margin)) {
		return
	}
	over := left % grain
	switch {
	case margin < need:
		v.lengthen(grain-over, quiet)
	case c.long >= opSure && v.buf.Settled() && v.ready():
		v.shorten(grain, v.pitch.most, quiet)
		v.produce(n)
	default:
		c.waiting = 0
		if over > 0 {
			v.shorten(over, over, quiet)
		}
	}
}

// may reports whether n samples about to be read may be changed in length, now that
// the margin is off by so much.
func (c *control) may(n int, off time.Duration) bool {
	paid := n/pace + n*int(max(0, off-farOff)/farStep)/100
	c.debt = max(0, c.debt-paid)
	return c.debt == 0 || c.hush >= freely
}

// likely reports whether two periods are alike enough for a change that is due.
func (c *control) likely(alike float64) bool {
	c.waiting++
	return alike >= opAlike || c.waiting > opPatience && alike >= opHardlyAlike
}

// margin is how early the fastest packet is there for the next Read that needs
// one, when left samples remain after this one. That Read may need several; the
// last one counts.
func (v *Voice) margin(left, packet int) time.Duration {
	reads := left/v.frame + 1
	want := reads*v.frame - left
	last := int64((want-1)/packet) * v.packet
	return v.buf.Margin(v.now+time.Duration(reads)*media.FrameDuration, v.cursor+last)
}

// ready reports whether sound is there that can be played right away.
func (v *Voice) ready() bool {
	p := v.buf.Front()
	return p != nil && p.Ticks > 0 && !p.Fresh && v.gap(p) <= 0 && v.buf.Held() >= media.FrameDuration
}

// shorten cuts up to k samples out of what is about to be played; a pitch period of
// at most most samples where there is a voice.
func (v *Voice) shorten(k, most int, quiet bool) {
	c := &v.control
	have := v.out.len()
	if quiet {
		k = min(k, v.samples(opMost), have-v.fade)
		v.removeExactly(k)
		v.changed(&v.stats.Shortened, k)
		return
	}
	n := min(v.win, have/2)
	s := span{v.pitch.least, min(v.pitch.most, most, have-n)}
	if s.most < s.least {
		return
	}
	n = min(v.win, have-s.most)
	lag, alike := period(v.out.ahead(), 0, n, s, 1, v.step, true)
	if !c.likely(alike) {
		return
	}
	v.out.remove(0, lag, min(v.fade, n))
	v.changed(&v.stats.Shortened, lag)
}

// lengthen puts k samples in where it is quiet, else a pitch period.
func (v *Voice) lengthen(k int, quiet bool) {
	c := &v.control
	if quiet {
		k = min(k, v.samples(opMost))
		v.insertExactly(k)
		v.changed(&v.stats.Stretched, k)
		return
	}
	lag, alike := period(v.out.buf[:v.out.w], v.out.r, v.win, v.pitch, -1, v.step, true)
	if !c.likely(alike) {
		return
	}
	v.out.insert(0, lag, v.fade)
	v.changed(&v.stats.Stretched, lag)
}

// changed takes note of a change by so many samples.
func (v *Voice) changed(count *uint64, samples int) {
	*count++
	v.control.waiting = 0
	if v.control.hush < freely {
		v.control.debt += samples
	}
}

// removeExactly cuts lag samples out where it is heard least.
func (v *Voice) removeExactly(lag int) {
	if lag <= 0 {
		return
	}
	at := seam(v.out.ahead(), 0, v.out.len()-lag-v.fade, lag, v.fade, v.step)
	v.out.remove(at, lag, v.fade)
}

// insertExactly puts lag samples in where it is heard least.
func (v *Voice) insertExactly(lag int) {
	if lag <= 0 {
		return
	}
	at := seam(v.out.buf, v.out.r, v.out.w-v.fade, -lag, v.fade, v.step)
	v.out.insert(at-v.out.r, lag, v.fade)
}
