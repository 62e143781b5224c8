package fakemeta

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"strings"
)

// callID builds a call ID the way Meta does: base64 over a small Thrift-like structure with both parties' digits
// and 16 random bytes. Nobody but Meta may read anything out of it; the shape is kept because its length, its
// alphabet and its optional padding have broken parsers.
func callID(direction Direction, user, business string, unique [16]byte, padded bool) string {
	// 0x12 in place of 0x02 marks an opaque user ID instead of a phone number.
	kind := byte(0x02)
	if strings.Contains(user, ".") {
		kind = 0x12
	}
	way := byte(0x12)
	if direction == Outbound {
		way = 0x11
	}
	b := make([]byte, 0, 80)
	b = append(b, 0x1c, 0x18, byte(len(user)))
	b = append(b, user...)
	b = append(b, 0x15, kind, 0x00, way, 0x18, 0x20)
	b = append(b, strings.ToUpper(hex.EncodeToString(unique[:]))...)
	b = append(b, 0x1c, 0x18, byte(len(business)))
	b = append(b, business...)
	b = append(b, 0x15, 0x02, 0x00, 0x00)
	if padded {
		return "wacid." + base64.StdEncoding.EncodeToString(b)
	}
	return "wacid." + base64.RawStdEncoding.EncodeToString(b)
}

// newCallID builds a call ID that nobody has seen before. Every other one comes without base64 padding.
func newCallID(direction Direction, user, business string) string {
	var unique [16]byte
	_, _ = rand.Read(unique[:]) // never fails
	return callID(direction, user, business, unique, unique[0]&1 == 0)
}

// traceID returns an fbtrace_id: what Meta's support asks for, and so what a client should log.
func traceID() string {
	var b [8]byte
	_, _ = rand.Read(b[:])
	return "A" + base64.RawURLEncoding.EncodeToString(b[:])
}

// messageID returns a message ID of the messaging side.
func messageID() string {
	var b [24]byte
	_, _ = rand.Read(b[:])
	return "wamid." + base64.StdEncoding.EncodeToString(b[:])
}
