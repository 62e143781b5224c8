package media

import "math"

const (
	// ceiling is the highest sample that leaves a mix: 1 dB below full scale, which
	// the lossy codec behind it may add again.
	ceiling = 29204
	// limiterBlocks is how many steps of gain a frame has: one per millisecond.
	limiterBlocks = int(FrameDuration / 1e6)
	// limiterRelease is the time constant with which the gain returns to 1, in
	// blocks: 200 ms, slow enough not to pump within a word.
	limiterRelease = 200
)

// limiter keeps a sum below the ceiling without clipping it. Attack: at most 1 ms,
// with the gain falling in a straight line to where the peak needs it; a peak at
// the very beginning of a frame is rounded off for that millisecond. Release: 200
// ms, exponential near 1, and in decibels far below it, so that the gain does not
// ride on the waves of what is far too loud. It adds no delay: the frame itself is
// all it looks ahead.
// Its zero value is ready for use.
type limiter struct {
	reduction float32 // 1 - gain: the zero value lets all pass
}

// apply writes sum times gain, limited, to pcm of the same length. It returns the
// least gain of the limiter in this frame: 1 if it had nothing to do.
func (l *limiter) apply(sum []int32, gain float32, pcm []int16) float32 {
	var need [limiterBlocks + 1]float32
	step := len(sum) / limiterBlocks
	least := float32(1)
	for b := range limiterBlocks {
		need[b] = 1
		if peak := float32(peakOf(sum[b*step:(b+1)*step])) * gain; peak > ceiling {
			need[b] = ceiling / peak
			least = min(least, need[b])
		}
	}
	need[limiterBlocks] = 1
	if least == 1 && l.reduction < 1e-4 {
		l.reduction = 0
		scale(sum, gain, pcm)
		return 1
	}
	const release = 1.0 / limiterRelease
	g := 1 - l.reduction
	for b := range limiterBlocks {
		to := min(g+g*(1-g)*release, need[b], need[b+1])
		block, out := sum[b*step:(b+1)*step], pcm[b*step:(b+1)*step]
		slope := (to - g) / float32(step)
		for i, v := range block {
			g += slope
			out[i] = int16(max(-ceiling, min(ceiling, float32(v)*gain*g)))
		}
		g = to
		least = min(least, g)
	}
	l.reduction = 1 - g
	return least
}

// rest lets the gain recover during a frame of silence.
func (l *limiter) rest() {
	l.reduction *= float32(math.Exp(-float64(limiterBlocks) / limiterRelease))
}

func peakOf(block []int32) int32 {
	var high, low int32
	for _, v := range block {
		high, low = max(high, v), min(low, v)
	}
	return max(high, -low)
}

// scale writes sum times gain to pcm. The result is known to fit.
func scale(sum []int32, gain float32, pcm []int16) {
	if gain == 1 {
		for i, v := range sum {
			pcm[i] = int16(v)
		}
		return
	}
	for i, v := range sum {
		pcm[i] = int16(float32(v) * gain)
	}
}

// addTo adds pcm to sum, four samples a step: with a voice per source this is the
// loop that grows with the room.
func addTo(sum []int32, pcm []int16) {
	for len(sum) >= 4 && len(pcm) >= 4 {
		s, p := sum[:4:4], pcm[:4:4]
		s[0] += int32(p[0])
		s[1] += int32(p[1])
		s[2] += int32(p[2])
		s[3] += int32(p[3])
		sum, pcm = sum[4:], pcm[4:]
	}
	for i := range min(len(sum), len(pcm)) {
		sum[i] += int32(pcm[i])
	}
}

// fade multiplies the first n samples of pcm by a straight line between from and to.
func fade(pcm []int16, n int, from, to float32) {
	slope := (to - from) / float32(n)
	g := from
	for i := range min(n, len(pcm)) {
		g += slope
		pcm[i] = int16(float32(pcm[i]) * g)
	}
}
