package media

// OpusHasFEC reports whether the packet carries, beside its own sound, a second
// and coarser copy of what came just before it: in-band FEC, called LBRR in RFC
// 6716 section 4.2.4. Only SILK and hybrid frames have room for it. It is
// announced by one flag per channel after the VAD flags, in the first bits of the
// packet's first frame (section 4.2.3: symbols of even odds, which the range coder
// leaves in place, so that no decoder is needed to read them). False for what is
// no Opus packet.
func OpusHasFEC(payload []byte) bool {
	const celt = 16 // the first configuration number without SILK (RFC 6716 table 2)
	if len(payload) < 2 || payload[0]>>3 >= celt {
		return false
	}
	first := opusFirstFrame(payload)
	if len(first) < 2 { // one byte or none is DTX (RFC 6716 section 3.1)
		return false
	}
	frames := max(1, opusFrameTicks[payload[0]>>3]/FrameSamples) // SILK frames, of 20 ms at most
	mid := first[0]>>(7-frames)&1 != 0
	side := OpusStereo(payload) && first[0]>>(6-2*frames)&1 != 0
	return mid || side
}

// opusFirstFrame returns the first frame of a packet (RFC 6716 section 3.2), or
// nil when the framing is broken before its end.
func opusFirstFrame(payload []byte) []byte {
	body := payload[1:]
	switch payload[0] & 0x03 {
	case 0:
		return body
	case 1:
		return body[:len(body)/2]
	case 2:
		n, rest, ok := opusFrameLength(body)
		if !ok || n > len(rest) {
			return nil
		}
		return rest[:n]
	default:
		return opusFirstOfMany(body)
	}
}

// opusFirstOfMany returns the first frame of a code 3 packet, given what follows
// the TOC byte.
func opusFirstOfMany(body []byte) []byte {
	count, vbr, padded := int(body[0]&0x3F), body[0]&0x80 != 0, body[0]&0x40 != 0
	if count == 0 {
		return nil
	}
	body = body[1:]
	if padded {
		var ok bool
		if body, ok = opusTrimPadding(body); !ok {
			return nil
		}
	}
	if !vbr {
		return body[:len(body)/count]
	}
	size := -1 // of the first; the last has no length of its own
	for range count - 1 {
		n, rest, ok := opusFrameLength(body)
		if !ok {
			return nil
		}
		if size < 0 {
			size = n
		}
		body = rest
	}
	if size < 0 {
		return body
	}
	if size > len(body) {
		return nil
	}
	return body[:size]
}
