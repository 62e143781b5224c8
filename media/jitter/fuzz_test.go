package jitter_test

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/pion/rtp"
	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/media/jitter"
)

// FuzzPut has packets of any numbering arrive at any time, nine bytes each: 2 of
// sequence number, 3 of timestamp, 1 of stream and kind, 1 of duration, 2 of
// arrival. What comes out must be in order and bounded.
func FuzzPut(f *testing.F) {
	step := func(seq uint16, ts uint32, kind, dur byte, wait uint16) []byte {
		b := binary.BigEndian.AppendUint16(nil, seq)
		b = append(b, byte(ts>>16), byte(ts>>8), byte(ts), kind, dur)
		return binary.BigEndian.AppendUint16(b, wait)
	}
	var even, wild []byte
	for i := range 30 {
		even = append(even, step(uint16(i), uint32(i)*4, 0, 8, 200)...)
		wild = append(wild, step(uint16(i*7919), uint32(i)*777777, byte(i*37), byte(i*11), uint16(i*3001))...)
	}
	f.Add(even)
	f.Add(wild)
	f.Add(append(append([]byte(nil), even...), wild...))
	f.Fuzz(func(t *testing.T, data []byte) {
		b := jitter.New(options())
		at := time.Duration(0)
		last := int64(-1 << 62)
		data = data[:min(len(data), 9*500)]
		for ; len(data) >= 9; data = data[9:] {
			kind := data[5]
			var body []byte
			if kind&4 == 0 {
				body = payload(uint16(data[6])*120, kind&8 != 0, make([]byte, int(kind>>4)*100)...)
			}
			at += time.Duration(binary.BigEndian.Uint16(data[7:])) * 100 * time.Microsecond
			b.Put(&rtp.Packet{Header: rtp.Header{
				SequenceNumber: binary.BigEndian.Uint16(data),
				Timestamp:      (uint32(data[2])<<16 | uint32(data[3])<<8 | uint32(data[4])) << 8,
				SSRC:           uint32(kind & 3),
			}, Payload: body}, at)
			require.LessOrEqual(t, b.Len(), 128)
			need := b.Need()
			require.True(t, need >= time.Millisecond && need <= 300*time.Millisecond)
			if p := b.Front(); p != nil && data[7]&1 != 0 {
				require.Greater(t, p.Seq, last)
				last = p.Seq
				b.Pop()
			}
			b.Stats()
		}
	})
}
