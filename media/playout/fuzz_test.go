package playout_test

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/pion/rtp"
	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/media"
	"github.com/livekit-connector/livekit-connector/media/opus"
)

// FuzzVoice has packets of any numbering and content arrive at any time at a voice
// with the real decoder: 2 bytes of sequence number, 3 of timestamp, 1 of stream
// and action, 1 of wait, 1 of length, then the payload. Every Read is full, and what
// is held stays bounded.
func FuzzVoice(f *testing.F) {
	step := func(seq uint16, ts uint32, action, wait byte, payload []byte) []byte {
		b := binary.BigEndian.AppendUint16(nil, seq)
		b = append(b, byte(ts>>16), byte(ts>>8), byte(ts), action, wait, byte(len(payload)))
		return append(b, payload...)
	}
	var even, wild []byte
	for i := range 60 {
		speech := []byte{tocSpeech, 0xC0, byte(i), byte(i * 3), 77, byte(i * 7)}
		if i%9 != 4 {
			even = append(even, step(uint16(i), uint32(i)*960/64, 0, 20, speech)...)
		}
		wild = append(wild, step(uint16(i*7919), uint32(i)*777777, byte(i*37), byte(i*11), speech[:i%7])...)
	}
	f.Add(even)
	f.Add(wild)
	f.Add(append(append([]byte(nil), even...), wild...))
	f.Fuzz(func(t *testing.T, data []byte) {
		d, err := opus.NewDecoder(rate)
		require.NoError(t, err)
		v := newVoice(t, d)
		pcm := make([]int16, frame)
		at, read := time.Duration(0), time.Duration(0)
		data = data[:min(len(data), 4096)]
		for len(data) >= 8 {
			action := data[5]
			n := min(int(data[7]), len(data)-8)
			at += time.Duration(data[6]) * time.Millisecond
			p := &rtp.Packet{Header: rtp.Header{
				SequenceNumber: binary.BigEndian.Uint16(data),
				Timestamp:      (uint32(data[2])<<16 | uint32(data[3])<<8 | uint32(data[4])) << 6,
				SSRC:           uint32(action & 1),
			}, Payload: data[8 : 8+n]}
			data = data[8+n:]
			if action&0xF0 == 0x70 {
				v.Prime(p.Payload)
			} else {
				v.Write(p, at)
			}
			for ; read <= at; read += media.FrameDuration {
				pcm[0], pcm[frame-1] = 1, 1
				s := v.Read(pcm, read)
				require.LessOrEqual(t, s.Level, uint8(127))
			}
			require.LessOrEqual(t, v.Depth(), 128*120*time.Millisecond+time.Second)
			v.Stats()
		}
		v.Finish(pcm, at)
		v.Pending(func(*rtp.Packet) {})
	})
}
