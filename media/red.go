package media

import "errors"

const (
	// maxRedundant is how many redundant blocks a RED payload may hold: as many as
	// libwebrtc's encoder ever writes. LiveKit's clients send one or two.
	maxRedundant = 9
	// Sizes of RFC 2198 section 3's block headers, in bytes.
	redHeader        = 4
	redPrimaryHeader = 1
)

// Errors of RED.Parse.
var (
	// ErrREDShort is returned for a payload that ends before its headers or blocks do.
	ErrREDShort = errors.New("media: RED payload is cut short")
	// ErrREDBlocks is returned for a payload of more blocks than anybody sends.
	ErrREDBlocks = errors.New("media: too many blocks in RED payload")
	// ErrREDPrimary is returned for a payload whose primary block is empty.
	ErrREDPrimary = errors.New("media: RED payload without primary encoding")
)

// RED is a payload of redundant audio (RFC 2198), taken apart: the sound of its
// packet, and copies of that of some packets before. The zero value is ready for
// Parse. Not safe for concurrent use.
type RED struct {
	// PrimaryType is the payload type of the primary encoding.
	PrimaryType uint8
	// Primary is the encoding of the packet's own timestamp; never empty after a
	// successful Parse. It is a part of the payload.
	Primary []byte

	blocks [maxRedundant]REDBlock
	count  int
}

// REDBlock is the redundant encoding of an earlier packet.
type REDBlock struct {
	PayloadType uint8
	// Offset is how many ticks of the RTP clock the block's timestamp lies before
	// that of its packet: 1 to 16383, not zero.
	Offset uint16
	// Payload is a part of the payload given to Parse; never empty.
	Payload []byte
}

// Parse reads a payload. The result refers to it and is valid as long as it is
// unchanged. Blocks without content are left out (senders fill up with them at
// the start of a stream), and so are those of the packet's own time. After an error there
// is neither a primary nor a redundant block. It does not allocate.
//
// A payload is (RFC 2198 section 3) one header of four bytes for each redundant
// block, oldest first: a bit that says that another header follows, 7 bits of
// payload type, 14 of timestamp offset, 10 of length; one byte for the primary
// block, with the first bit clear; then the blocks in the same order, of which
// the primary one takes the rest.
func (r *RED) Parse(payload []byte) error {
	r.PrimaryType, r.Primary, r.count = 0, nil, 0
	headers := 0
	for rest := payload; ; rest = rest[redHeader:] {
		if len(rest) == 0 {
			return ErrREDShort
		}
		if rest[0]&0x80 == 0 {
			break
		}
		if headers++; headers > maxRedundant {
			return ErrREDBlocks
		}
		if len(rest) < redHeader {
			return ErrREDShort
		}
	}
	primaryType := payload[headers*redHeader] & 0x7F
	content := payload[headers*redHeader+redPrimaryHeader:]
	count := 0
	for i := range headers {
		h := payload[i*redHeader:]
		length := int(h[2]&0x03)<<8 | int(h[3])
		if length > len(content) {
			return ErrREDShort
		}
		offset := uint16(h[1])<<6 | uint16(h[2])>>2
		if length > 0 && offset > 0 {
			r.blocks[count] = REDBlock{PayloadType: h[0] & 0x7F, Offset: offset, Payload: content[:length]}
			count++
		}
		content = content[length:]
	}
	if len(content) == 0 {
		return ErrREDPrimary
	}
	r.PrimaryType, r.Primary, r.count = primaryType, content, count
	return nil
}

// Redundant returns the redundant blocks, oldest first as they were sent. The
// slice is r's own and valid until the next Parse.
func (r *RED) Redundant() []REDBlock { return r.blocks[:r.count] }
