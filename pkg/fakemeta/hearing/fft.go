package hearing

import (
	"math"
	"math/bits"
	"math/cmplx"
)

// fft is a Fourier transform of one fixed length, a power of two.
type fft struct {
	n       int
	twiddle []complex128 // exp(-2*pi*i*k/n) for k below n/2
}

func newFFT(n int) *fft {
	f := &fft{n: n, twiddle: make([]complex128, n/2)}
	for k := range f.twiddle {
		f.twiddle[k] = cmplx.Rect(1, -2*math.Pi*float64(k)/float64(n))
	}
	return f
}

// transform replaces x, of length n, by its spectrum.
func (f *fft) transform(x []complex128) {
	shift := 64 - bits.TrailingZeros(uint(f.n))
	for i := range x {
		if j := int(bits.Reverse64(uint64(i)) >> shift); j > i {
			x[i], x[j] = x[j], x[i]
		}
	}
	for size := 2; size <= f.n; size *= 2 {
		half, stride := size/2, f.n/size
		for start := 0; start < f.n; start += size {
			for k := range half {
				a, b := x[start+k], x[start+k+half]*f.twiddle[k*stride]
				x[start+k], x[start+k+half] = a+b, a-b
			}
		}
	}
}

// correlate gives c[i] = sum over n of a[n]*b[n+i-(len(a)-1)]: the correlation for
// every lag of b against a, from -(len(a)-1) to len(b)-1.
func correlate(a, b []float64) []float64 {
	n := 2
	for n < len(a)+len(b) {
		n *= 2
	}
	f := newFFT(n)
	// Both are real, so one transform takes a reversed as real and b as imaginary
	// part, and the product is taken apart by symmetry.
	x := make([]complex128, n)
	for i, v := range a {
		x[len(a)-1-i] = complex(v, 0)
	}
	for i, v := range b {
		x[i] += complex(0, v)
	}
	f.transform(x)
	y := make([]complex128, n)
	for k := range x {
		p, q := x[k], cmplx.Conj(x[(n-k)&(n-1)])
		// ((p+q)/2) * ((p-q)/2i), conjugated, since the inverse transform is done
		// with the forward one.
		y[k] = cmplx.Conj((p + q) * (p - q) * complex(0, -0.25))
	}
	f.transform(y)
	c := make([]float64, len(a)+len(b)-1)
	for i := range c {
		c[i] = real(y[i]) / float64(n)
	}
	return c
}
