// Package resample changes the sample rate of live mono PCM16.
//
// A Resampler is a polyphase FIR filter that delays by less than 2 ms, takes
// chunks of any length and gives for N samples in exactly ceil(N*out/in) samples
// out, without allocating. It is not soxr, which in streaming use holds back 20 to
// 160 ms and gives chunks of uneven length; for whole recordings there is package
// soxr below this one, which is apart so that no live path needs that library.
//
// What an Opus source or listener needs is neither: libopus works at 8, 12, 16,
// 24 and 48 kHz by itself.
package resample

import (
	"errors"
	"fmt"
	"math"
	"time"
)

// ErrRate is returned for sample rates that this package does not convert.
var ErrRate = errors.New("resample: sample rates not supported")

const (
	// The rates between which anything is converted, in Hz.
	minRate, maxRate = 8000, 96000
	// maxPhases bounds a filter's memory: from and to 44,100 Hz it takes 160 to 441,
	// of up to 180 taps.
	maxPhases = 441
	// maxSpan is how much audio the filter sees: twice its delay.
	maxSpan = 4 * time.Millisecond
	// maxPeriods is how many samples of the lower rate it sees at most. From 16 kHz
	// on it is what bounds the filter: more would cost time for a steeper edge that
	// nobody hears.
	maxPeriods = 64
	// edge is where the filter is 6 dB down, as a part of the lower rate's Nyquist
	// frequency, and stopband, in dB, how much is left beyond its transition. Chosen
	// by measurement, see TestPassbandAndStopband: with 4 ms of span at 8 kHz it is
	// flat up to 3.2 kHz and closed from 4.4 kHz on, at 16 kHz from 7.0 to 8.2 kHz.
	edge     = 0.95
	stopband = 80
)

// Filter is the filter from one rate to another. It does not change: any number
// of Resamplers in any goroutines share it.
type Filter struct {
	in, out int
	phases  int // out = in*phases/step
	step    int
	taps    int       // of each phase
	coeffs  []float32 // phases rows of taps
	delay   float64   // in samples of in
}

// NewFilter designs the filter that turns in Hz into out Hz. Rates lie between
// 8 and 96 kHz, and their ratio is one of small numbers.
func NewFilter(in, out int) (*Filter, error) {
	if min(in, out) < minRate || max(in, out) > maxRate {
		return nil, fmt.Errorf("design filter from %d to %d Hz: %w", in, out, ErrRate)
	}
	divisor := gcd(in, out)
	f := &Filter{in: in, out: out, phases: out / divisor, step: in / divisor}
	if f.phases > maxPhases || f.step > maxPhases {
		return nil, fmt.Errorf("design filter from %d to %d Hz: %w", in, out, ErrRate)
	}
	if in == out {
		f.taps = 1
		return f, nil
	}
	f.design()
	return f, nil
}

func (f *Filter) design() {
	lower := float64(min(f.in, f.out))
	periods := min(maxPeriods, lower*maxSpan.Seconds())
	span := periods * float64(f.in) / lower // in samples of in
	// A multiple of 8, by which it is unrolled: no shorter, but for the delay's sake.
	f.taps = (int(span) + 7) &^ 7
	if longest := maxSpan.Seconds() * float64(f.in); float64(f.taps) > longest {
		f.taps = int(longest) &^ 7
	}
	f.delay = (float64(f.taps) - 1/float64(f.phases)) / 2
	cutoff := edge * lower / float64(f.in) // as a part of in's Nyquist frequency

	f.coeffs = make([]float32, f.phases*f.taps)
	row := make([]float64, f.taps)
	for phase := range f.phases {
		var sum float64
		for tap := range row {
			// The distance of the tap's sample from the centre of the filter.
			x := float64(phase)/float64(f.phases) + float64(f.taps-1-tap) - f.delay
			row[tap] = sinc(cutoff*x) * kaiser(x/(float64(f.taps)/2))
			sum += row[tap]
		}
		// Each phase passes a constant as it is: else the phases' differences would
		// modulate it.
		for tap, c := range row {
			f.coeffs[phase*f.taps+tap] = float32(c / sum)
		}
	}
}

// Delay is by how much the output lags behind the input.
func (f *Filter) Delay() time.Duration {
	return time.Duration(f.delay / float64(f.in) * float64(time.Second))
}

// Rates are the sample rates in Hz.
func (f *Filter) Rates() (in, out int) {
	return f.in, f.out
}

func sinc(x float64) float64 {
	if x == 0 {
		return 1
	}
	return math.Sin(math.Pi*x) / (math.Pi * x)
}

// kaiser is the Kaiser window at x from -1 to 1 for the stopband (J. F. Kaiser,
// "Nonrecursive digital filter design using the I0-sinh window function", 1974).
func kaiser(x float64) float64 {
	if x < -1 || x > 1 {
		return 0
	}
	const beta = 0.1102 * (stopband - 8.7)
	return bessel(beta*math.Sqrt(1-x*x)) / bessel(beta)
}

// bessel is the modified Bessel function of the first kind and order zero.
func bessel(x float64) float64 {
	sum, term := 1.0, 1.0
	for k := 1.0; term > sum*1e-12; k++ {
		term *= x * x / (4 * k * k)
		sum += term
	}
	return sum
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}
