package media_test

import (
	"sync"
	"testing"
	"time"

	"github.com/pion/rtp"
	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/internal/leaks"
	"github.com/livekit-connector/livekit-connector/media"
)

func TestMain(m *testing.M) { leaks.Main(m) }

// written is one packet as a recorder saw it.
type written struct {
	rtp.Packet
	at       time.Time
	duration uint32
}

func (w written) isSilence() bool { return string(w.Payload) == string(media.SilenceFrame) }

// recorder is a Writer that keeps everything.
type recorder struct {
	mu      sync.Mutex
	packets []written
	err     error
}

func (r *recorder) WriteRTP(p *rtp.Packet) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	w := written{Packet: *p.Clone(), at: time.Now()}
	w.duration, _ = media.OpusDuration(p.Payload)
	r.packets = append(r.packets, w)
	return r.err
}

func (r *recorder) all() []written {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]written(nil), r.packets...)
}

func (r *recorder) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.packets)
}

// speech returns the payloads that are not silence, by their last byte.
func (r *recorder) speech() []byte {
	var marks []byte
	for _, w := range r.all() {
		if !w.isSilence() {
			marks = append(marks, w.Payload[len(w.Payload)-1])
		}
	}
	return marks
}

// requireContinuous checks what the far end relies on: one stream, every number
// once, time that never overlaps, and a hole in time only where packets are
// missing.
func requireContinuous(tb testing.TB, packets []written) {
	tb.Helper()
	if len(packets) == 0 {
		return
	}
	type place struct {
		ts, duration uint32
	}
	first := packets[0]
	places := map[int64]place{}
	newest := int64(0)
	for i, w := range packets {
		require.Equal(tb, first.SSRC, w.SSRC, "packet %d", i)
		require.Equal(tb, first.PayloadType, w.PayloadType, "packet %d", i)
		require.EqualValues(tb, 2, w.Version)
		require.False(tb, w.Extension, "header extension")
		require.Empty(tb, w.Extensions)
		require.Empty(tb, w.CSRC)
		require.False(tb, w.Padding)
		require.Zero(tb, w.PaddingSize)
		require.NotEmpty(tb, w.Payload)
		index := newest + int64(int16(w.SequenceNumber-first.SequenceNumber-uint16(newest)))
		_, twice := places[index]
		require.False(tb, twice, "sequence number %d twice", w.SequenceNumber)
		places[index] = place{w.Timestamp - first.Timestamp, w.duration}
		newest = max(newest, index)
	}
	previous, end := int64(-1), uint32(0)
	for i := int64(0); i <= newest; i++ {
		p, ok := places[i]
		if !ok {
			continue
		}
		if i == previous+1 {
			require.Equal(tb, end, p.ts, "hole in time without a loss, at packet %d", i)
		} else {
			lost := uint32(i - previous - 1)
			require.LessOrEqual(tb, p.ts-end, lost*5760, "gap of time longer than the lost packets, at packet %d", i)
		}
		previous, end = i, p.ts+p.duration
	}
}

// voice is a well-behaved source of numbered 20 ms Opus packets.
type voice struct {
	ssrc uint32
	seq  uint16
	ts   uint32
	n    byte
}

// toc20 is CELT fullband mono 20 ms, one frame.
const toc20 = 31 << 3

func (v *voice) packet() *rtp.Packet {
	v.n++
	p := &rtp.Packet{
		Header: rtp.Header{
			Version: 2, PayloadType: 96, SequenceNumber: v.seq, Timestamp: v.ts, SSRC: v.ssrc,
			Extension: true, ExtensionProfile: 0xBEDE, CSRC: []uint32{7, 8}, Marker: true,
		},
		Payload: []byte{toc20, 1, 2, 3, 4, v.n},
	}
	_ = p.SetExtension(1, []byte{0x42})
	v.seq++
	v.ts += media.FrameSamples
	return p
}

// dtx is the marker of libopus for a pause.
func (v *voice) dtx() *rtp.Packet {
	p := v.packet()
	v.n--
	p.Payload = []byte{toc20}
	return p
}

// pass lets time go by without a packet.
func (v *voice) pass(d time.Duration) { v.ts += uint32(d / time.Millisecond * 48) }
