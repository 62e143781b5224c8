package hearing

import "math"

const (
	hopsPerSecond = 100  // a frame every 10 ms
	bandCount     = 18   // about the ear's resolution
	lowestBand    = 150  // Hz
	highestBand   = 7000 // Hz: wideband speech, Opus at 16 kHz
	floorDB       = -45  // what is softer than this, relative to the speech, is silence
	silenceDB     = -120 // of full scale: nothing at all
)

// ear turns PCM at one rate into band energies, frame by frame.
type ear struct {
	hop, window int
	fft         *fft
	taper       []float64
	edges       []int // FFT bins between which the bands lie
	x           []complex128
}

func newEar(rate int) *ear {
	hop := rate / hopsPerSecond
	window := hop * 5 / 2
	n := 2
	for n < window {
		n *= 2
	}
	e := &ear{hop: hop, window: window, fft: newFFT(n), taper: make([]float64, window), x: make([]complex128, n)}
	for i := range e.taper {
		e.taper[i] = 0.5 - 0.5*math.Cos(2*math.Pi*(float64(i)+0.5)/float64(window))
	}
	mel := func(f float64) float64 { return math.Log1p(f / 700) }
	top := min(highestBand, 0.45*float64(rate))
	for b := range bandCount + 1 {
		m := mel(lowestBand) + (mel(top)-mel(lowestBand))*float64(b)/bandCount
		bin := int(math.Round(700 * math.Expm1(m) * float64(n) / float64(rate)))
		if b > 0 {
			bin = max(bin, e.edges[b-1]+1)
		}
		e.edges = append(e.edges, bin)
	}
	return e
}

// spectrum is the sound of one frame, in dB of full scale.
type spectrum struct {
	level float64
	bands [bandCount]float64
}

// listen gives the frames of pcm, the first one centred on sample start and then
// one each hop. Outside of pcm there is silence.
func (e *ear) listen(pcm []float64, start, frames int) []spectrum {
	out := make([]spectrum, frames)
	for t := range out {
		from := start + t*e.hop - e.window/2
		clear(e.x)
		for i, w := range e.taper {
			if j := from + i; j >= 0 && j < len(pcm) {
				e.x[i] = complex(pcm[j]*w, 0)
			}
		}
		e.fft.transform(e.x)
		var all float64
		for b := range bandCount {
			var sum float64
			for k := e.edges[b]; k < e.edges[b+1] && k < len(e.x)/2; k++ {
				sum += real(e.x[k])*real(e.x[k]) + imag(e.x[k])*imag(e.x[k])
			}
			out[t].bands[b] = e.decibel(sum)
			all += sum
		}
		out[t].level = e.decibel(all)
	}
	return out
}

// decibel scales the energy of a frame so that a sine of full scale has 0 dB.
func (e *ear) decibel(energy float64) float64 {
	full := float64(e.window) / 4
	return max(silenceDB, 10*math.Log10(energy/(full*full)+1e-30))
}

// floats scales PCM to -1..1.
func floats(pcm []int16) []float64 {
	x := make([]float64, len(pcm))
	for i, v := range pcm {
		x[i] = float64(v) / 32768
	}
	return x
}

// activeLevel is the mean power, in dB, of the frames that are speech: those within
// 30 dB of the loudest ones.
func activeLevel(frames []spectrum) float64 {
	loudest := float64(silenceDB)
	for _, f := range frames {
		loudest = max(loudest, f.level)
	}
	if loudest == silenceDB {
		return silenceDB
	}
	return meanPower(frames, func(i int) bool { return frames[i].level > loudest-30 })
}

// meanPower is the mean power in dB of the frames that are chosen; silenceDB if
// none is.
func meanPower(frames []spectrum, chosen func(i int) bool) float64 {
	var sum float64
	var n int
	for i, f := range frames {
		if chosen(i) {
			sum += math.Pow(10, f.level/10)
			n++
		}
	}
	if n == 0 {
		return silenceDB
	}
	return max(silenceDB, 10*math.Log10(sum/float64(n)+1e-30))
}
