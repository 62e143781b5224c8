// Package opus turns Opus packets into 16-bit mono PCM and back, and hides
// loss. It is the only package that touches libopus.
//
// Sample rates are those libopus works at: 8000, 12000, 16000, 24000 and
// 48000 Hz. They are independent of the RTP clock, which is 48 kHz always
// (RFC 7587, section 4.1), and of the rate the other end encoded at: a decoder
// at 16 kHz takes any Opus packet, mono or stereo, and gives mono at 16 kHz.
//
// Neither Encoder nor Decoder allocates once it is made. Neither may be used by
// two goroutines at the same time.
//
// The binding is the package's own, libopus.go: github.com/hraban/opus cannot
// reset a decoder, so that every reuse of one would leave 18 KB of garbage, and
// hands libopus the capacity of a slice as its length.
package opus

import (
	"errors"
	"fmt"
	"time"
)

// MaxPacketDuration is the longest audio one Opus packet holds (RFC 6716,
// section 3.2). A PCM buffer of this length takes any packet.
const MaxPacketDuration = 120 * time.Millisecond

// MaxPacketBytes is a destination size that suffices for every packet of up to
// 60 ms at any bitrate: three frames of 1275 bytes and their header (RFC 6716,
// sections 3.1 and 3.2.5).
const MaxPacketBytes = 3*1275 + 7

// ErrSampleRate is returned when libopus has no mode for the sample rate.
var ErrSampleRate = errors.New("opus: sample rate must be 8000, 12000, 16000, 24000 or 48000 Hz")

// ErrBuffer is returned when a PCM or packet buffer has an unusable length.
var ErrBuffer = errors.New("opus: buffer length not usable")

// Version is libopus' own version string, "libopus 1.5.2" for example.
func Version() string {
	return version()
}

// FrameSamples is the number of samples that d lasts at sampleRate.
func FrameSamples(sampleRate int, d time.Duration) int {
	return int(int64(sampleRate) * int64(d) / int64(time.Second))
}

func checkRate(sampleRate int) error {
	switch sampleRate {
	case 8000, 12000, 16000, 24000, 48000:
		return nil
	}
	return fmt.Errorf("check rate %d: %w", sampleRate, ErrSampleRate)
}
