package media

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
)

// Key is a key of a telephone by its event code (RFC 4733 section 3.2, table 3): 0 to 9, 10 for *, 11 for #, 12 to 15
// for A to D. Other values are no keys.
type Key uint8

// keyNames are in the order of the event codes.
const keyNames = "0123456789*#ABCD"

// Valid reports whether k is a key.
func (k Key) Valid() bool { return int(k) < len(keyNames) }

// String is what is printed on the key.
func (k Key) String() string {
	if !k.Valid() {
		return "?"
	}
	return keyNames[k : k+1]
}

// ErrNoKey is returned by ParseKeys for what is on no telephone.
var ErrNoKey = errors.New("media: not a key of a telephone")

// ParseKeys reads keys as they are printed, one after the other, A to D in either case. The error does not quote the
// text: what is keyed in may be a secret.
func ParseKeys(text string) ([]Key, error) {
	keys := make([]Key, 0, len(text))
	for i, r := range strings.ToUpper(text) {
		code := strings.IndexRune(keyNames, r)
		if code < 0 {
			return nil, fmt.Errorf("%w: character %d", ErrNoKey, i+1)
		}
		keys = append(keys, Key(code))
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("%w: nothing", ErrNoKey)
	}
	return keys, nil
}

const (
	// EventPayloadType marks RTP events (RFC 4733) among the packets that a Line writes. It is Meta's number for them;
	// legs that negotiated another one replace it.
	EventPayloadType = 126
	// EventRate is the clock of a KeyEvent's duration in Hz. It is Meta's telephone-event/8000, whatever clock the
	// timestamps of the stream count in (Meta: user-initiated calls, DTMF).
	EventRate = 8000
	// eventBytes is the length of one event in a payload.
	eventBytes = 4
)

// KeyEvent is one event of a payload of RFC 4733 (section 2.3):
//
//	 0                   1                   2                   3
//	+---------------+-+-+-----------+-------------------------------+
//	|     event     |E|R|  volume   |           duration            |
//	+---------------+-+-+-----------+-------------------------------+
type KeyEvent struct {
	// Key is the event's code, which need not be that of a key.
	Key Key
	// End says that the key was let go.
	End bool
	// Volume is the power of the tone in -dBm0, 0 to 63.
	Volume uint8
	// Duration since the packet's timestamp, in ticks of EventRate.
	Duration uint16
}

// ParseKeyEvent reads the first event of a payload. Several may follow each other in one packet, each beginning where
// the one before ended (section 2.5.1.5); rest is what comes after the first.
func ParseKeyEvent(payload []byte) (e KeyEvent, rest []byte, ok bool) {
	if len(payload) < eventBytes {
		return KeyEvent{}, nil, false
	}
	return KeyEvent{
		Key: Key(payload[0]), End: payload[1]&0x80 != 0, Volume: payload[1] & 0x3F,
		Duration: binary.BigEndian.Uint16(payload[2:]),
	}, payload[eventBytes:], true
}

// put writes the event into the four bytes of dst.
func (e KeyEvent) put(dst *[eventBytes]byte) {
	dst[0], dst[1] = byte(e.Key), e.Volume&0x3F
	if e.End {
		dst[1] |= 0x80
	}
	binary.BigEndian.PutUint16(dst[2:], e.Duration)
}
