package hearing_test

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/pkg/fakemeta/hearing"
)

// tones of two frequencies, each with its amplitude against full scale.
func tones(n int, low, high, a, b float64) []int16 {
	pcm := make([]int16, ms(n))
	for i := range pcm {
		at := 2 * math.Pi * float64(i) / rate
		pcm[i] = int16(32767 * (a*math.Sin(low*at) + b*math.Sin(high*at)))
	}
	return pcm
}

var keypad = map[byte][2]float64{
	'1': {697, 1209}, '2': {697, 1336}, '3': {697, 1477}, 'A': {697, 1633},
	'4': {770, 1209}, '5': {770, 1336}, '6': {770, 1477}, 'B': {770, 1633},
	'7': {852, 1209}, '8': {852, 1336}, '9': {852, 1477}, 'C': {852, 1633},
	'*': {941, 1209}, '0': {941, 1336}, '#': {941, 1477}, 'D': {941, 1633},
}

// dialled is a number as a telephone dials it.
func dialled(digits string, on, off int, a, b float64) (pcm []int16) {
	pcm = silence(100)
	for _, d := range []byte(digits) {
		pcm = append(pcm, tones(on, keypad[d][0], keypad[d][1], a, b)...)
		pcm = append(pcm, silence(off)...)
	}
	return pcm
}

func TestKeysAreHeard(t *testing.T) {
	const all = "0123456789*#ABCD"
	for name, pcm := range map[string][]int16{
		"as usual":         dialled(all, 100, 60, 0.2, 0.25),
		"as fast as may":   dialled(all, 50, 50, 0.2, 0.25),
		"slowly":           dialled(all, 400, 400, 0.2, 0.25),
		"softly":           dialled(all, 100, 60, 0.02, 0.02),
		"high tone louder": dialled(all, 100, 60, 0.1, 0.2),
		"low tone louder":  dialled(all, 100, 60, 0.2, 0.1),
		"with noise":       mixed(dialled(all, 100, 60, 0.2, 0.25), noise(ms(2660), 0.01)),
		"in opus":          coded(t, dialled(all, 100, 60, 0.2, 0.25), 20000),
	} {
		t.Run(name, func(t *testing.T) { require.Equal(t, all, hearing.Digits(hearing.Keys(pcm, rate))) })
	}
	require.Equal(t, "1111", hearing.Digits(hearing.Keys(dialled("1111", 100, 60, 0.2, 0.25), rate)))
	keys := hearing.Keys(dialled("5", 100, 60, 0.2, 0.25), rate)
	require.InDelta(t, 100*time.Millisecond, keys[0].At, float64(15*time.Millisecond))
	require.InDelta(t, 100*time.Millisecond, keys[0].Duration, float64(20*time.Millisecond))
}

func TestWhatIsNoKeyIsNotHeardAsOne(t *testing.T) {
	for name, pcm := range map[string][]int16{
		"nothing":                nil,
		"silence":                silence(500),
		"noise":                  noise(ms(5000), 0.3),
		"one tone":               tones(300, 697, 1209, 0.4, 0),
		"two of the same group":  tones(300, 697, 852, 0.2, 0.2),
		"beside a key":           tones(300, 735, 1270, 0.2, 0.2),
		"too short":              dialled("1234567890", 20, 60, 0.2, 0.25),
		"too soft":               dialled("1234567890", 100, 60, 0.004, 0.004),
		"one tone far too loud":  dialled("1234567890", 100, 60, 0.4, 0.05),
		"a voice":                speech(t, "agent.wav"),
		"another voice":          speech(t, "caller.wav"),
		"a key under two voices": mixed(tones(5000, 697, 1209, 0.02, 0.02), mixed(speech(t, "agent.wav"), speech(t, "caller.wav"))[:ms(5000)])[ms(1000):ms(1300)],
	} {
		t.Run(name, func(t *testing.T) { require.Empty(t, hearing.Keys(pcm, rate)) })
	}
}
