package playout_test

import (
	"errors"
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

// brokenDecoder fails on what it is told to.
type brokenDecoder struct {
	markerDecoder
	bad func(payload []byte) bool
}

func (d *brokenDecoder) Decode(payload []byte, pcm []int16) (int, error) {
	if d.bad(payload) {
		return 0, errors.New("corrupt")
	}
	return d.markerDecoder.Decode(payload, pcm)
}

type resetCounter struct {
	markerDecoder
	resets int
}

func (d *resetCounter) Reset() error { d.resets++; return nil }

// toneDecoder says one steady tone.
type toneDecoder struct {
	freq, amp float64
	pos       int
	rate      int
	length    int // of a packet in samples, if not 20 ms
}

func (d *toneDecoder) at(pos int) float64 {
	r := d.rate
	if r == 0 {
		r = rate
	}
	return d.amp * math.Sin(2*math.Pi*d.freq*float64(pos)/float64(r))
}

func (d *toneDecoder) write(pcm []int16) {
	for i := range pcm {
		pcm[i] = int16(math.Round(d.at(d.pos + i)))
	}
	d.pos += len(pcm)
}

func (d *toneDecoder) Decode(payload []byte, pcm []int16) (int, error) {
	n := frame
	if d.length > 0 {
		n = d.length
	}
	d.pos = (int(payload[4])<<8 | int(payload[5])) * n
	d.write(pcm[:n])
	return n, nil
}

func (d *toneDecoder) DecodeFEC(next []byte, pcm []int16) error {
	d.pos = (int(next[4])<<8|int(next[5]))*frame - len(pcm)
	d.write(pcm)
	return nil
}

func (d *toneDecoder) Conceal(pcm []int16) error { d.write(pcm); return nil }

func (d *toneDecoder) Reset() error { return nil }

// requireSmooth checks that got has no click: no step much steeper than the tone's
// own, and none of a change of slope.
func (d *toneDecoder) requireSmooth(tb testing.TB, got []int16) {
	tb.Helper()
	step, bend := d.roughness(got)
	w := 2 * math.Pi * d.freq / rate
	require.LessOrEqual(tb, step, 1.3*d.amp*w+3, "steepest step")
	require.LessOrEqual(tb, bend, d.amp*w*w+0.35*d.amp*w+6, "sharpest bend")
}

func (d *toneDecoder) roughness(got []int16) (step, bend float64) {
	for i := 2; i < len(got); i++ {
		a, b := float64(got[i])-float64(got[i-1]), float64(got[i-1])-float64(got[i-2])
		step, bend = max(step, math.Abs(a)), max(bend, math.Abs(a-b))
	}
	return step, bend
}
