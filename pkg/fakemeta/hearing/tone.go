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

func clip(v float64) int16 {
	return int16(math.Round(max(math.MinInt16, min(math.MaxInt16, v))))
}
