package hearing

import (
	"math"
	"time"
)

// What an ear for the tones of telephone keys takes for one, after ITU-T Q.24.
const (
	keyWindow = 32 * time.Millisecond
	keyHop    = 5 * time.Millisecond
	// keyLeast is how long a key has to sound to count, of which the window hides a part at each end; keyGap how long
	// nothing may be heard of it before the same key again is another press.
	keyLeast = 40 * time.Millisecond
	keyGap   = 20 * time.Millisecond
	// keyLevel is how loud each tone has to be at least, in dB of full scale.
	keyLevel = -40.0
	// keyTwist is how much louder one of the two tones may be than the other, in dB.
	keyTwist = 8.0
	// keyClear is how much louder a tone has to be than the others of its group, in dB.
	keyClear = 10.0
	// keyShare is how much of all that is heard the two tones have to be: speech has their frequencies too.
	keyShare = 0.6
)

// The tones of the keys in Hz (ITU-T Q.23), and which key has which.
var (
	keyLow  = [4]float64{697, 770, 852, 941}
	keyHigh = [4]float64{1209, 1336, 1477, 1633}
	keysAt  = [4]string{"123A", "456B", "789C", "*0#D"}
)

// Key is a key of a telephone that was heard.
type Key struct {
	// Digit is one of 0-9, *, #, A-D.
	Digit byte
	// At is when it began, Duration how long it sounded; both to within 10 ms.
	At, Duration time.Duration
}

// Keys finds the tones of telephone keys in a recording: two sines that last at least 40 ms, alone, about as loud as
// each other. rate is in Hz, at least 4000.
func Keys(pcm []int16, rate int) []Key {
	var (
		all    []Key
		window = int(keyWindow * time.Duration(rate) / time.Second)
		hop    = int(keyHop * time.Duration(rate) / time.Second)
		hann   = make([]float64, window)
		frame  = make([]float64, window)
		now    run
	)
	for i := range hann {
		hann[i] = 0.5 - 0.5*math.Cos(2*math.Pi*float64(i)/float64(window))
	}
	finish := func() {
		if k, ok := now.key(); ok {
			all = append(all, k)
		}
		now = run{}
	}
	for at := 0; at+window <= len(pcm); at += hop {
		for i := range frame {
			frame[i] = float64(pcm[at+i]) / (1 << 15) * hann[i]
		}
		digit, when := keyIn(frame, rate), samples(at, rate)
		switch {
		case digit != 0 && digit == now.digit:
			now.last = when
		case digit != 0:
			finish()
			now = run{digit: digit, first: when, last: when}
		case now.digit != 0 && when-now.last > keyGap:
			finish()
		}
	}
	finish()
	return all
}

// Digits is what Keys were heard, in order.
func Digits(keys []Key) string {
	b := make([]byte, 0, len(keys))
	for _, k := range keys {
		b = append(b, k.Digit)
	}
	return string(b)
}

// run is of windows that have the same key in them, by where they begin.
type run struct {
	digit       byte
	first, last time.Duration
}

// key is the press in a run: a window at whose edges the tones begin or end has enough of them when they fill about
// half of it.
func (r run) key() (Key, bool) {
	d := r.last - r.first + keyHop
	return Key{Digit: r.digit, At: r.first + keyWindow/2, Duration: d}, r.digit != 0 && d >= keyLeast
}

// keyIn returns the key whose tones a windowed frame consists of, or 0.
func keyIn(frame []float64, rate int) byte {
	var energy, weight float64
	for _, v := range frame {
		energy += v * v
	}
	// Of a sine of amplitude a under a Hann window: its energy is a²/2 times 3/8 of the length, and what goertzel finds
	// a²/4 times the square of half the length.
	n := float64(len(frame))
	weight = 16 / (n * n) // to a²
	row, low, rowClear := loudestOf(frame, rate, keyLow)
	column, high, columnClear := loudestOf(frame, rate, keyHigh)
	low, high = low*weight, high*weight
	least := math.Pow(10, keyLevel/10)
	twist := math.Abs(10 * math.Log10(low/high))
	switch {
	case low < least || high < least || !rowClear || !columnClear || twist > keyTwist:
		return 0
	case (low+high)/2*n*3/8 < keyShare*energy:
		return 0
	}
	return keysAt[row][column]
}

// loudestOf finds the loudest of four tones and reports whether it is by far.
func loudestOf(frame []float64, rate int, tones [4]float64) (at int, power float64, clear bool) {
	var second float64
	for i, hz := range tones {
		switch p := goertzel(frame, hz/float64(rate)); {
		case p > power:
			second, power, at = power, p, i
		default:
			second = max(second, p)
		}
	}
	return at, power, power > second*math.Pow(10, keyClear/10)
}

// goertzel is the squared magnitude of one frequency, in turns per sample, in a frame.
func goertzel(frame []float64, turns float64) float64 {
	var before, last float64
	c := 2 * math.Cos(2*math.Pi*turns)
	for _, v := range frame {
		before, last = last, v+c*last-before
	}
	return last*last + before*before - c*last*before
}
