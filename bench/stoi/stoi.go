// Package stoi measures how well speech can still be understood: STOI (Taal, Hendriks, Heusdens, Jensen: "An algorithm
// for intelligibility prediction of time-frequency weighted noisy speech", IEEE TASLP 2011) and ESTOI (Jensen, Taal:
// "An algorithm for predicting the intelligibility of speech masked by modulated noise maskers", IEEE TASLP 2016).
//
// Both compare a signal with the clean one it was made from, which must be aligned with it, and give 1 for what is the
// same. They look at 150 Hz to 4.3 kHz, at pieces of 384 ms, and leave out where the clean speech is silent. They tell
// what can be understood and not what is pleasant: they do not replace PESQ or listeners.
package stoi

import (
	"math"
)

// The algorithm's constants.
const (
	rate      = 10000 // Hz
	window    = 256   // samples of a frame
	hop       = window / 2
	fftSize   = 512
	bands     = 15
	lowest    = 150  // Hz, centre of the lowest third-octave band
	segment   = 30   // frames that are judged together
	clipping  = 15.0 // dB of distortion beyond which nothing is worse
	dynamic   = 40.0 // dB below the loudest frame from which speech is silent
	tinyValue = 2.220446049250313e-16
)

// Scores are the results for a pair of signals.
type Scores struct {
	STOI  float64 `json:"stoi"`
	ESTOI float64 `json:"estoi"`
}

// Compare judges heard by what was said: mono PCM at sampleRate Hz, sample by sample at the same place. The longer one
// is cut. Less than half a second of speech gives zeros.
func Compare(said, heard []float64, sampleRate int) Scores {
	n := min(len(said), len(heard))
	x, y := Resample(said[:n], sampleRate, rate), Resample(heard[:n], sampleRate, rate)
	x, y = withoutSilence(x, y)
	a, b := spectrogram(x), spectrogram(y)
	if len(a) < segment {
		return Scores{}
	}
	var s Scores
	for m := segment; m <= len(a); m++ {
		s.STOI += correlation(a[m-segment:m], b[m-segment:m])
		s.ESTOI += spectralCorrelation(a[m-segment:m], b[m-segment:m])
	}
	count := float64(len(a) - segment + 1)
	return Scores{STOI: s.STOI / count, ESTOI: s.ESTOI / count}
}

// hann is the window of both steps, without the zeros at its ends.
var hann = func() (w [window]float64) {
	for i := range w {
		w[i] = 0.5 - 0.5*math.Cos(2*math.Pi*float64(i+1)/(window+1))
	}
	return w
}()

// withoutSilence leaves out of both the frames in which x is silent, and joins the others by overlapping them.
func withoutSilence(x, y []float64) (xs, ys []float64) {
	var levels []float64
	loudest := math.Inf(-1)
	for from := 0; from+window < len(x); from += hop {
		var sum float64
		for i, w := range hann {
			sum += w * w * x[from+i] * x[from+i]
		}
		level := 20 * math.Log10(math.Sqrt(sum)+tinyValue)
		levels = append(levels, level)
		loudest = max(loudest, level)
	}
	xs, ys = make([]float64, len(x)+window), make([]float64, len(x)+window)
	to := 0
	for f, level := range levels {
		if level <= loudest-dynamic {
			continue
		}
		for i, w := range hann {
			xs[to+i] += w * x[f*hop+i]
			ys[to+i] += w * y[f*hop+i]
		}
		to += hop
	}
	if to == 0 {
		return nil, nil
	}
	end := to - hop + window
	return xs[:end], ys[:end]
}

// frame is the magnitude in each third-octave band.
type frame [bands]float64

// edges are the FFT bins between which each band lies.
var edges = func() (e [bands][2]int) {
	nearest := func(f float64) int { return int(math.Round(f * fftSize / rate)) }
	for k := range e {
		e[k][0] = nearest(lowest * math.Pow(2, float64(2*k-1)/6))
		e[k][1] = nearest(lowest * math.Pow(2, float64(2*k+1)/6))
	}
	return e
}()

func spectrogram(x []float64) []frame {
	var frames []frame
	buf := make([]complex128, fftSize)
	for from := 0; from+window < len(x); from += hop {
		clear(buf)
		for i, w := range hann {
			buf[i] = complex(w*x[from+i], 0)
		}
		transform(buf)
		var f frame
		for k, e := range edges {
			var sum float64
			for _, c := range buf[e[0]:e[1]] {
				sum += real(c)*real(c) + imag(c)*imag(c)
			}
			f[k] = math.Sqrt(sum)
		}
		frames = append(frames, f)
	}
	return frames
}

// correlation is the intermediate measure of STOI: the mean over the bands of the correlation of both courses in time,
// after y was given the energy of x and was clipped.
func correlation(x, y []frame) float64 {
	limit := 1 + math.Pow(10, clipping/20)
	var sum float64
	for k := range bands {
		var xx, yy float64
		for m := range x {
			xx += x[m][k] * x[m][k]
			yy += y[m][k] * y[m][k]
		}
		scale := math.Sqrt(xx) / (math.Sqrt(yy) + tinyValue)
		var p, q [segment]float64
		for m := range x {
			p[m] = x[m][k]
			q[m] = min(y[m][k]*scale, x[m][k]*limit)
		}
		sum += dot(normal(&p), normal(&q))
	}
	return sum / bands
}

// spectralCorrelation is that of ESTOI: the mean over the frames of the correlation of both spectra, after mean and
// energy of each band's course were taken out.
func spectralCorrelation(x, y []frame) float64 {
	a, b := normalRows(x), normalRows(y)
	var sum float64
	for m := range a {
		sum += dot(normal(&a[m]), normal(&b[m]))
	}
	return sum / segment
}

// normalRows gives each band zero mean and unit energy over time.
func normalRows(x []frame) (out [segment]frame) {
	for k := range bands {
		var row [segment]float64
		for m := range x {
			row[m] = x[m][k]
		}
		for m, v := range normal(&row) {
			out[m][k] = v
		}
	}
	return out
}

// normal takes out the mean and scales to unit energy, in place.
func normal[V *[segment]float64 | *frame](v V) []float64 {
	var s []float64
	switch v := any(v).(type) {
	case *[segment]float64:
		s = v[:]
	case *frame:
		s = v[:]
	}
	var mean, energy float64
	for _, a := range s {
		mean += a
	}
	mean /= float64(len(s))
	for i := range s {
		s[i] -= mean
		energy += s[i] * s[i]
	}
	scale := 1 / (math.Sqrt(energy) + tinyValue)
	for i := range s {
		s[i] *= scale
	}
	return s
}

func dot(a, b []float64) (sum float64) {
	for i := range a {
		sum += a[i] * b[i]
	}
	return sum
}
