package hearing

import "math"

// align finds where in heard the speech of said begins, in samples, and how sure
// that is: the correlation of the spectra over the whole of said, 0 to 1.
//
// It looks for the shape of the spectrum over time first, to 10 ms, which no codec
// changes and no gain, and then for the waveform, to the sample.
func align(e *ear, said, heard []float64, a, b []spectrum, rate int) (lag int, score float64) {
	frames, score := alignFrames(shapes(a), shapes(b))
	lag = frames * e.hop

	// The waveform, first at 4 kHz within 20 ms, then at the full rate.
	step := max(1, rate/4000)
	if step > 1 {
		coarse := bestLag(decimate(said, step), decimate(heard, step), lag/step, 2*e.hop/step)
		lag = coarse * step
		return bestLag(said, heard, lag, 2*step), score
	}
	return bestLag(said, heard, lag, 2*e.hop), score
}

// shapes makes the bands comparable: in dB above the floor, without their mean.
func shapes(frames []spectrum) [][]float64 {
	floor := activeLevel(frames) + floorDB
	out := make([][]float64, bandCount)
	for b := range out {
		out[b] = make([]float64, len(frames))
		var mean float64
		for t, f := range frames {
			out[b][t] = max(f.bands[b], floor)
			mean += out[b][t] / float64(len(frames))
		}
		for t := range out[b] {
			out[b][t] -= mean
		}
	}
	return out
}

// alignFrames gives the lag, in frames, at which the shapes fit best.
func alignFrames(a, b [][]float64) (lag int, score float64) {
	n, m := len(a[0]), len(b[0])
	total := make([]float64, n+m-1)
	energy := make([]float64, m+1) // of b up to a frame, all bands
	var own float64
	for band := range a {
		for i, c := range correlate(a[band], b[band]) {
			total[i] += c
		}
		for _, v := range a[band] {
			own += v * v
		}
		for t, v := range b[band] {
			energy[t+1] += v * v
		}
	}
	for t := range m {
		energy[t+1] += energy[t]
	}
	span := func(i int) float64 { // energy of b under a at this lag
		from := i - (n - 1)
		return energy[min(m, from+n)] - energy[max(0, from)]
	}
	var most float64
	for i := range total {
		most = max(most, span(i))
	}
	if own == 0 || most == 0 {
		return 0, 0
	}
	best := math.Inf(-1)
	for i, c := range total {
		// A little overlap that fits by chance is no find: divide by what a good
		// part of the recording has at least.
		if c /= math.Sqrt(own * max(span(i), most/4)); c > best {
			best, lag = c, i-(n-1)
		}
	}
	return lag, best
}

// bestLag looks for the lag within reach of lag at which the waveforms fit best,
// whatever their polarity.
func bestLag(a, b []float64, lag, reach int) int {
	best, most := lag, -1.0
	for l := lag - reach; l <= lag+reach; l++ {
		var sum float64
		for i := max(0, -l); i < len(a) && i+l < len(b); i++ {
			sum += a[i] * b[i+l]
		}
		if sum = math.Abs(sum); sum > most {
			best, most = l, sum
		}
	}
	return best
}

// decimate averages step samples into one. Speech has little above the 2 kHz where
// that begins to alias.
func decimate(x []float64, step int) []float64 {
	out := make([]float64, len(x)/step)
	for i := range out {
		for _, v := range x[i*step : (i+1)*step] {
			out[i] += v / float64(step)
		}
	}
	return out
}

// echo looks for a second copy of said in what remains of heard after the copy at
// lag is taken out. It gives the copy's strength relative to the first and how much
// later it is, in samples.
func echo(said, heard []float64, lag, rate int) (strength float64, later int) {
	step := max(1, rate/4000)
	a := decimate(said, step)
	b := make([]float64, len(said))
	for i := range b {
		if j := i + lag; j >= 0 && j < len(heard) {
			b[i] = heard[j]
		}
	}
	b = decimate(b, step)
	var aa, ab float64
	for i := range a {
		aa += a[i] * a[i]
		ab += a[i] * b[i]
	}
	if aa == 0 || ab == 0 {
		return 0, 0
	}
	gain := ab / aa
	for i := range b {
		b[i] -= gain * a[i]
	}
	c := correlate(a, b)
	near := rate / step / 50 // within 20 ms it is a filter's tail, not a copy
	for i, v := range c {
		l := i - (len(a) - 1)
		if max(l, -l) < near {
			continue
		}
		if v = math.Abs(v / (aa * gain)); v > strength {
			strength, later = v, l*step
		}
	}
	return strength, later
}
