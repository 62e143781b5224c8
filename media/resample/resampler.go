package resample

import (
	"errors"
	"math"
)

// ErrBuffer is returned when the output does not fit.
var ErrBuffer = errors.New("resample: destination too short")

// chunk is how many samples are worked on at a time.
const chunk = 480

// Resampler changes the sample rate of one live stream. It starts nothing and
// need not be closed. It must not be used by two goroutines at the same time.
type Resampler struct {
	filter *Filter
	// next is when the next output sample is due: in steps of 1/phases of an input
	// sample, counted from the first sample not yet taken.
	next int
	work []float32 // taps-1 samples of the past, then up to chunk new ones
}

// New makes a resampler.
func New(f *Filter) *Resampler {
	return &Resampler{filter: f, work: make([]float32, f.taps-1+chunk)}
}

// Filter is the filter that the resampler was made of.
func (r *Resampler) Filter() *Filter {
	return r.filter
}

// Reset forgets everything heard, as if the resampler were new.
func (r *Resampler) Reset() {
	r.next = 0
	clear(r.work)
}

// Len is how many samples Resample gives for the next n.
func (r *Resampler) Len(n int) int {
	f := r.filter
	return max(0, (n*f.phases-r.next+f.step-1)/f.step)
}

// Resample writes into dst what src adds to the output and returns the number of
// samples, which is Len(len(src)). When they do not fit into dst nothing is
// taken. dst must not overlap src unless the rates are equal.
func (r *Resampler) Resample(src, dst []int16) (n int, err error) {
	if r.Len(len(src)) > len(dst) {
		return 0, ErrBuffer
	}
	if r.filter.in == r.filter.out {
		return copy(dst, src), nil
	}
	for len(src) > 0 {
		some := src[:min(len(src), chunk)]
		n += r.step(some, dst[n:])
		src = src[len(some):]
	}
	return n, nil
}

func (r *Resampler) step(src, dst []int16) (n int) {
	f := r.filter
	past := f.taps - 1
	fresh := r.work[past:][:len(src)]
	for i, v := range src {
		fresh[i] = float32(v)
	}
	index, phase := r.next/f.phases, r.next%f.phases
	advance, turn := f.step/f.phases, f.step%f.phases
	for index < len(src) {
		row := f.coeffs[phase*f.taps:][:f.taps]
		dst[n] = round(dot(r.work[index:][:f.taps], row))
		n++
		index += advance
		if phase += turn; phase >= f.phases {
			phase -= f.phases
			index++
		}
	}
	r.next = (index-len(src))*f.phases + phase
	copy(r.work, r.work[len(src):][:past])
	return n
}

// dot is the sum of the products of a and b, whose length is a multiple of 8.
// Eight sums at a time keep the processor from waiting for one.
func dot(a, b []float32) float32 {
	b = b[:len(a)]
	var s0, s1, s2, s3, s4, s5, s6, s7 float32
	for i := 0; i+8 <= len(a); i += 8 {
		x, y := (*[8]float32)(a[i:]), (*[8]float32)(b[i:])
		s0 += x[0] * y[0]
		s1 += x[1] * y[1]
		s2 += x[2] * y[2]
		s3 += x[3] * y[3]
		s4 += x[4] * y[4]
		s5 += x[5] * y[5]
		s6 += x[6] * y[6]
		s7 += x[7] * y[7]
	}
	return (s0 + s1 + (s2 + s3)) + (s4 + s5 + (s6 + s7))
}

func round(v float32) int16 {
	if v >= 0 {
		return int16(min(v+0.5, math.MaxInt16))
	}
	return int16(max(v-0.5, math.MinInt16))
}
