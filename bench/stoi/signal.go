package stoi

import (
	"math"
	"math/cmplx"
)

// Resample changes the sample rate by a windowed sinc of 60 dB, without delay.
func Resample(x []float64, from, to int) []float64 {
	if from == to {
		return x
	}
	g := gcd(from, to)
	up, down := to/g, from/g
	most := max(up, down)
	cutoff := 1 / (2 * float64(most)) // of the rate from * up
	const rejection = 60.0
	half := int(math.Ceil((rejection - 8) / (28.714 * cutoff / 10)))
	beta := 0.1102 * (rejection - 8.7)
	taps := make([]float64, 2*half+1)
	var sum float64
	for i := range taps {
		t := float64(i - half)
		r := t / float64(half)
		taps[i] = sinc(2*cutoff*t) * bessel(beta*math.Sqrt(1-r*r))
		sum += taps[i]
	}
	out := make([]float64, (len(x)*up+down-1)/down)
	for n := range out {
		at := n * down // on the fine grid
		first := max(0, (at-half+up-1)/up)
		last := min(len(x)-1, (at+half)/up)
		var v float64
		for i := first; i <= last; i++ {
			v += x[i] * taps[at-i*up+half]
		}
		out[n] = v * float64(up) / sum
	}
	return out
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

func sinc(x float64) float64 {
	if x == 0 {
		return 1
	}
	return math.Sin(math.Pi*x) / (math.Pi * x)
}

// bessel is the modified one of the first kind, order zero.
func bessel(x float64) float64 {
	sum, term := 1.0, 1.0
	for k := 1.0; term > sum*1e-17; k++ {
		term *= (x / (2 * k)) * (x / (2 * k))
		sum += term
	}
	return sum
}

// transform is the FFT in place; len(x) is a power of two.
func transform(x []complex128) {
	n := len(x)
	for i, j := 1, 0; i < n; i++ {
		bit := n >> 1
		for ; j&bit != 0; bit >>= 1 {
			j ^= bit
		}
		j ^= bit
		if i < j {
			x[i], x[j] = x[j], x[i]
		}
	}
	for size := 2; size <= n; size *= 2 {
		step := cmplx.Rect(1, -2*math.Pi/float64(size))
		for from := 0; from < n; from += size {
			w := complex(1, 0)
			for i := from; i < from+size/2; i++ {
				a, b := x[i], x[i+size/2]*w
				x[i], x[i+size/2] = a+b, a-b
				w *= step
			}
		}
	}
}
