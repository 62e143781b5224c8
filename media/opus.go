package media

import "errors"

// ErrOpus is returned for a payload that is no Opus packet (RFC 6716 section 3.4).
var ErrOpus = errors.New("media: not an Opus packet")

// SilenceFrame is 20 ms of silence: one CELT fullband mono frame whose payload
// decodes to zeros. It is what every Opus sender puts on the wire for silence,
// so every Opus decoder knows it. It must not be modified.
var SilenceFrame = []byte{0xF8, 0xFF, 0xFE}

const (
	// maxOpusTicks is the longest packet, 120 ms (RFC 6716 section 3.2.5, R5).
	maxOpusTicks = 120 * ClockRate / 1000
	// maxOpusFrame is the longest frame in bytes (RFC 6716 section 3.2.1, R2).
	maxOpusFrame = 1275
)

// opusFrameTicks is the frame length for each configuration number of the TOC
// byte (RFC 6716 table 2): SILK, hybrid, CELT.
var opusFrameTicks = [32]uint32{
	480, 960, 1920, 2880, 480, 960, 1920, 2880, 480, 960, 1920, 2880,
	480, 960, 480, 960,
	120, 240, 480, 960, 120, 240, 480, 960, 120, 240, 480, 960, 120, 240, 480, 960,
}

// OpusStereo reports whether the packet was coded with two channels (the s bit
// of the TOC byte, RFC 6716 section 3.1). It is false for an empty payload.
func OpusStereo(payload []byte) bool {
	return len(payload) > 0 && payload[0]&0x04 != 0
}

// firstCELT is the first configuration number without SILK (RFC 6716 table 2).
const firstCELT = 16

// isCELT reports whether an Opus payload is coded in CELT mode.
func isCELT(payload []byte) bool { return len(payload) > 0 && payload[0]>>3 >= firstCELT }

// OpusVoice reports whether the encoder found a voice in the packet. In the SILK
// and hybrid modes, those of speech, it says so in the first bits of the frame (RFC
// 6716 section 4.2.3: a VAD flag per 20 ms, mid channel first). known is false
// where there is no such flag: CELT, packets of several frames, empty ones.
func OpusVoice(payload []byte) (voice, known bool) {
	if len(payload) < 2 || isCELT(payload) || payload[0]&0x03 != 0 {
		return false, false
	}
	flags := max(1, opusFrameTicks[payload[0]>>3]/FrameSamples) // SILK frames
	mask := byte(0xFF) << (8 - flags)
	if OpusStereo(payload) { // after the mid channel's flag for redundancy
		mask |= mask >> (flags + 1)
	}
	return payload[1]&mask != 0, true
}

// OpusDuration returns how much media time an Opus packet holds, in RTP ticks
// (48 kHz). It checks the whole framing (RFC 6716 section 3.4, R1 to R7), so that
// what it accepts a decoder can parse. A packet of one byte is valid: it says
// that nothing was sent for that time (DTX).
func OpusDuration(payload []byte) (ticks uint32, err error) {
	if len(payload) == 0 { // R1
		return 0, ErrOpus
	}
	frame := opusFrameTicks[payload[0]>>3]
	body := payload[1:]
	switch payload[0] & 0x03 {
	case 0:
		if len(body) > maxOpusFrame {
			return 0, ErrOpus
		}
		return frame, nil
	case 1:
		if len(body)%2 != 0 || len(body)/2 > maxOpusFrame { // R3
			return 0, ErrOpus
		}
		return 2 * frame, nil
	case 2:
		first, rest, ok := opusFrameLength(body) // R4
		if !ok || first > len(rest) || len(rest)-first > maxOpusFrame {
			return 0, ErrOpus
		}
		return 2 * frame, nil
	default:
		return opusCode3(frame, body)
	}
}

// opusCode3 measures a packet with a signalled number of frames: a count byte,
// optional padding, then frames of equal (CBR) or signalled (VBR) length.
func opusCode3(frame uint32, body []byte) (uint32, error) {
	if len(body) == 0 { // R6
		return 0, ErrOpus
	}
	count := int(body[0] & 0x3F)
	vbr, padded := body[0]&0x80 != 0, body[0]&0x40 != 0
	ticks := uint32(count) * frame
	if count == 0 || ticks > maxOpusTicks { // R5
		return 0, ErrOpus
	}
	body = body[1:]
	if padded {
		var ok bool
		if body, ok = opusTrimPadding(body); !ok {
			return 0, ErrOpus
		}
	}
	if !vbr {
		if len(body)%count != 0 || len(body)/count > maxOpusFrame { // R6
			return 0, ErrOpus
		}
		return ticks, nil
	}
	total := 0
	for range count - 1 {
		n, rest, ok := opusFrameLength(body)
		if !ok {
			return 0, ErrOpus
		}
		total, body = total+n, rest
	}
	if total > len(body) || len(body)-total > maxOpusFrame { // R7
		return 0, ErrOpus
	}
	return ticks, nil
}

// opusFrameLength reads a frame length of one or two bytes (RFC 6716 section
// 3.2.1) and returns what follows it.
func opusFrameLength(b []byte) (n int, rest []byte, ok bool) {
	switch {
	case len(b) == 0:
		return 0, nil, false
	case b[0] < 252:
		return int(b[0]), b[1:], true
	case len(b) == 1:
		return 0, nil, false
	default:
		return int(b[1])*4 + int(b[0]), b[2:], true
	}
}

// opusTrimPadding removes the padding of a code 3 packet: its length bytes from
// the front (255 means 254 and another byte), the padding itself from the end.
func opusTrimPadding(b []byte) ([]byte, bool) {
	padding := 0
	for {
		if len(b) == 0 {
			return nil, false
		}
		n := int(b[0])
		b = b[1:]
		if n < 255 {
			padding += n
			break
		}
		padding += 254
	}
	if padding > len(b) {
		return nil, false
	}
	return b[:len(b)-padding], true
}
