// Package g711 turns 16-bit mono PCM at 8 kHz into G.711 and back, and hides
// loss.
//
// The codes are those of ITU-T G.711, in RTP as of RFC 3551, section 4.5.14: one
// octet per sample, 8 kHz clock, 20 ms are 160 octets. PCM has full 16-bit scale:
// the 14 bits of the mu-law and the 13 bits of the A-law are the upper ones.
//
// Nothing here allocates after NewDecoder. A Decoder must not be used by two
// goroutines at the same time.
package g711

import "math/bits"

// SampleRate of the PCM and of the RTP clock in Hz.
const SampleRate = 8000

// Law is how a sample is companded.
type Law uint8

const (
	// Mu is the mu-law of North America and Japan: RTP's PCMU.
	Mu Law = iota
	// A is the A-law of everywhere else: RTP's PCMA.
	A
)

// Decode writes a sample for each octet of payload into pcm and returns how many
// there were: the length of the shorter one.
func (l Law) Decode(payload []byte, pcm []int16) int {
	table := &muSamples
	if l == A {
		table = &aSamples
	}
	n := min(len(payload), len(pcm))
	pcm = pcm[:n]
	for i, code := range payload[:n] {
		pcm[i] = table[code]
	}
	return n
}

// Encode writes an octet for each sample of pcm into payload and returns how many
// there were: the length of the shorter one.
func (l Law) Encode(pcm []int16, payload []byte) int {
	n := min(len(pcm), len(payload))
	payload = payload[:n]
	if l == A {
		for i, s := range pcm[:n] {
			payload[i] = encodeA(s)
		}
		return n
	}
	for i, s := range pcm[:n] {
		payload[i] = encodeMu(s)
	}
	return n
}

var (
	muSamples = samples(decodeMu)
	aSamples  = samples(decodeA)
)

func samples(decode func(code byte) int16) (table [256]int16) {
	for code := range table {
		table[code] = decode(byte(code))
	}
	return table
}

const (
	// muBias makes every segment of the mu-law begin at a power of two; in the
	// scale of 16 bits.
	muBias = 33 << 2
	// muClip is the greatest magnitude that the last segment holds.
	muClip = 0x7FFF - muBias
)

// A mu-law code, all its bits inverted: sign, 3 bits of segment, 4 bits of
// mantissa. The magnitude is (2*mantissa+33)<<segment - 33, in 14 bits.
func decodeMu(code byte) int16 {
	code = ^code
	segment, mantissa := int(code>>4&7), int(code&15)
	magnitude := (2*mantissa+33)<<segment<<2 - muBias
	if code&0x80 != 0 {
		return int16(-magnitude)
	}
	return int16(magnitude)
}

func encodeMu(sample int16) byte {
	magnitude, sign := int(sample), byte(0)
	if magnitude < 0 {
		magnitude, sign = -magnitude, 0x80
	}
	magnitude = min(magnitude, muClip) + muBias
	segment := bits.Len(uint(magnitude)) - 8 // the first one begins at 128
	return ^(sign | byte(segment)<<4 | byte(magnitude>>(segment+3)&15))
}

// An A-law code, its even bits inverted: sign (1 is positive), 3 bits of segment,
// 4 bits of mantissa. The first two segments have the same step.
func decodeA(code byte) int16 {
	code ^= 0x55
	segment, mantissa := int(code>>4&7), int(code&15)
	magnitude := 2*mantissa + 1
	if segment > 0 {
		magnitude = (magnitude + 32) << (segment - 1)
	}
	if code&0x80 == 0 {
		magnitude = -magnitude
	}
	return int16(magnitude << 3)
}

func encodeA(sample int16) byte {
	magnitude, sign := int(sample), byte(0x80)
	if magnitude < 0 {
		// The decision values of G.711, table 1a mirror: -1 belongs to the first
		// negative interval, as 0 does to the first positive one.
		magnitude, sign = -magnitude-1, 0
	}
	magnitude >>= 4
	segment := max(bits.Len(uint(magnitude))-4, 0)
	if segment > 1 {
		magnitude >>= segment - 1
	}
	return (sign | byte(segment)<<4 | byte(magnitude&15)) ^ 0x55
}
