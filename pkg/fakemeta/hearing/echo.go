package hearing

import "math"

// echo looks for a second copy of said in what remains of heard, aligned, after the first is taken out. It gives the
// copy's strength relative to the first and how much later it is, in samples.
func echo(said, heard []float64, rate int) (strength float64, later int) {
	step := max(1, rate/4000)
	a, b := decimate(said, step), decimate(heard, step)
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
