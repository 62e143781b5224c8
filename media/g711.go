package media

// g711FrameBytes is one frame of G.711: 8,000 samples per second, one byte each.
const g711FrameBytes = 160

// Payloads of 20 ms of digital silence: the code for the smallest positive sample
// (ITU-T G.711: mu-law 0xFF; A-law 0xD5, after its inversion of even bits).
var (
	silencePCMU = fill(0xFF)
	silencePCMA = fill(0xD5)
)

func fill(code byte) []byte {
	frame := make([]byte, g711FrameBytes)
	for i := range frame {
		frame[i] = code
	}
	return frame
}

// silence is one frame of silence in codec c. It must not be modified.
func silence(c Codec) []byte {
	switch c {
	case CodecPCMU:
		return silencePCMU
	case CodecPCMA:
		return silencePCMA
	default:
		return SilenceFrame
	}
}

// payloadType is the number that the line writes for codec c: the static ones of
// RFC 3551 table 4 for G.711.
func payloadType(c Codec) uint8 {
	switch c {
	case CodecPCMU:
		return 0
	case CodecPCMA:
		return 8
	default:
		return OpusPayloadType
	}
}

// isG711Silence reports whether a payload is the same code all over: zero in either
// law, of either sign.
func isG711Silence(payload []byte) bool {
	if len(payload) == 0 {
		return true
	}
	first := payload[0]
	switch first {
	case 0xFF, 0x7F, 0xD5, 0x55:
	default:
		return false
	}
	for _, b := range payload {
		if b != first {
			return false
		}
	}
	return true
}
