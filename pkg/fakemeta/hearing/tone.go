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
	reach := float64(resampleTaps) / cutoff
	out := make([]int16, int64(len(pcm))*int64(to)/int64(from))
	for i := range out {
		at := float64(i) * float64(from) / float64(to)
		var sum float64
		for j := max(0, int(math.Ceil(at-reach))); j < len(pcm) && float64(j) <= at+reach; j++ {
			d := float64(j) - at
			sum += float64(pcm[j]) * cutoff * sinc(cutoff*d) * (0.5 + 0.5*math.Cos(math.Pi*d/reach))
		}
		out[i] = clip(sum)
	}
	return out
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
