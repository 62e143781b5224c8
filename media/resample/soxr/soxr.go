// Package soxr converts whole recordings from one sample rate to another. It is
// the only package that touches libsoxr.
//
// It has soxr's quality and no delay, and needs all of the audio at once: in
// streaming use soxr holds back 20 to 160 ms and gives chunks of uneven length.
// Live audio has package resample.
package soxr

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/zaf/resample"
)

// ErrRate is returned for sample rates that Convert does not take.
var ErrRate = errors.New("soxr: sample rates must be between 8000 and 96000 Hz")

// The rates between which anything is converted, in Hz.
const minRate, maxRate = 8000, 96000

// Convert turns the whole of pcm, at in Hz, into out Hz by soxr at high quality.
// The result is new, has ceil(len(pcm)*out/in) samples, is not delayed, and is the
// same every time. Rates lie between 8 and 96 kHz.
//
// What of zaf/resample is worked around here: it frees soxr's error texts, which
// are constants, so that any error of soxr ends the process; hence no rate
// reaches it that soxr may refuse. It leaks all memory of a resampler that is not
// closed. It drops input that does not make a whole number of output samples, and
// at the end what was held back beyond 65,536 samples; hence one write, padded.
// With 16-bit samples soxr adds random dither; hence floating point.
func Convert(pcm []int16, in, out int) (converted []int16, err error) {
	if min(in, out) < minRate || max(in, out) > maxRate {
		return nil, fmt.Errorf("convert from %d to %d Hz: %w", in, out, ErrRate)
	}
	if in == out || len(pcm) == 0 {
		return append([]int16(nil), pcm...), nil
	}
	want := int((int64(len(pcm))*int64(out) + int64(in) - 1) / int64(in))

	// Silence up to a whole number of output samples.
	period := in / gcd(in, out)
	samples := (len(pcm) + period - 1) / period * period
	raw := make([]byte, 0, 4*samples)
	for _, v := range pcm {
		raw = binary.NativeEndian.AppendUint32(raw, math.Float32bits(float32(v)))
	}
	raw = raw[:4*samples]

	var result bytes.Buffer
	result.Grow(4 * (want + period))
	converter, err := resample.New(&result, float64(in), float64(out), 1, resample.F32, resample.HighQ)
	if err != nil {
		return nil, fmt.Errorf("create soxr: %w", err)
	}
	_, err = converter.Write(raw)
	// Close also gives out what is held back.
	if err = errors.Join(err, converter.Close()); err != nil {
		return nil, fmt.Errorf("convert from %d to %d Hz: %w", in, out, err)
	}

	raw = result.Bytes()
	converted = make([]int16, want)
	for i := range min(want, len(raw)/4) {
		converted[i] = round(math.Float32frombits(binary.NativeEndian.Uint32(raw[4*i:])))
	}
	return converted, nil
}

// round is v as a sample, cut where it is too loud for one.
func round(v float32) int16 {
	return int16(math.Round(float64(max(math.MinInt16, min(math.MaxInt16, v)))))
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}
