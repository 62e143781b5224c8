package hearing

import (
	"math"
	"time"
)

// Tone is a sine of frequency Hz and amplitude 0 to 1 of full scale, with edges
// faded over 5 ms so that they do not click.
func Tone(frequency, amplitude float64, length time.Duration, rate int) []int16 {
	pcm := make([]int16, int(length.Seconds()*float64(rate)))
	edge := float64(rate) * 0.005
	for i := range pcm {
		fade := min(1, float64(i)/edge, float64(len(pcm)-1-i)/edge)
		pcm[i] = clip(fade * amplitude * math.MaxInt16 * math.Sin(2*math.Pi*frequency*float64(i)/float64(rate)))
	}
	return pcm
}

// resampleTaps is half the length of Resample's filter, in samples of the lower
// rate.
const resampleTaps = 24

// Resample changes the sample rate with a windowed sinc, without delay. It takes
// the whole signal at once and is meant for tests and files.
func Resample(pcm []int16, from, to int) []int16 {
	if from == to {
		return append([]int16(nil), pcm...)
	}
	cutoff := min(1, float64(to)/float64(from)) * 0.95
	reach := int(math.Ceil(resampleTaps / cutoff))
	// Sample i of the result lies between two of pcm at one of to/gcd places.
	kernels := make(map[int][]float64)
	out := make([]int16, int64(len(pcm))*int64(to)/int64(from))
	for i := range out {
		at := int64(i) * int64(from)
		whole, phase := int(at/int64(to)), int(at%int64(to))
		kernel := kernels[phase]
		if kernel == nil {
			kernel = resampleKernel(float64(phase)/float64(to), cutoff, reach)
			kernels[phase] = kernel
		}
		var sum float64
		for k, w := range kernel {
			if j := whole - reach + k; j >= 0 && j < len(pcm) {
				sum += float64(pcm[j]) * w
			}
		}
		out[i] = clip(sum)
	}
	return out
}

// resampleKernel weighs the samples around a place that lies offset, below 1,
// after a sample.
func resampleKernel(offset, cutoff float64, reach int) []float64 {
	kernel := make([]float64, 2*reach+1)
	for k := range kernel {
		d := float64(k-reach) - offset
		if math.Abs(d) < float64(reach) {
			kernel[k] = cutoff * sinc(cutoff*d) * (0.5 + 0.5*math.Cos(math.Pi*d/float64(reach)))
		}
	}
	return kernel
}

func sinc(x float64) float64 {
	if x == 0 {
		return 1
	}
	return math.Sin(math.Pi*x) / (math.Pi * x)
}

func clip(v float64) int16 {
	return int16(math.Round(max(math.MinInt16, min(math.MaxInt16, v))))
}
