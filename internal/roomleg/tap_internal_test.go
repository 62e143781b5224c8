package roomleg

import (
	"bytes"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/interceptor"
	"github.com/pion/rtp"
	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/media"
)

// wire is an RTP stream that two readers may read by turns.
type wire struct{ packets [][]byte }

func (w *wire) Read(b []byte, a interceptor.Attributes) (int, interceptor.Attributes, error) {
	n := copy(b, w.packets[0])
	w.packets = w.packets[1:]
	return n, a, nil
}

func newWire(t *testing.T, n int, payload func(int) []byte) *wire {
	t.Helper()
	w := &wire{}
	for i := range n {
		raw, err := (&rtp.Packet{
			Header: rtp.Header{Version: 2, SSRC: 7, SequenceNumber: uint16(i)}, Payload: payload(i),
		}).Marshal()
		require.NoError(t, err)
		w.packets = append(w.packets, raw)
	}
	return w
}

// Pion probes a stream that is not announced yet, and goes on with that beside the track's own reading.
func TestTapHearsWhatTheProbeReads(t *testing.T) {
	all := newTaps()
	in, err := all.NewInterceptor("")
	require.NoError(t, err)
	w := newWire(t, 20, func(i int) []byte { return []byte{byte(i), 1, 2, 3} })
	probe := in.BindRemoteStream(&interceptor.StreamInfo{SSRC: 7}, w)
	buf := make([]byte, maxPacket)
	read := func(r interceptor.RTPReader) {
		_, _, err := r.Read(buf, nil)
		require.NoError(t, err)
	}
	read(probe)
	read(probe)
	track := in.BindRemoteStream(&interceptor.StreamInfo{SSRC: 7}, w)
	read(track)

	var heard []uint16
	s := all.of(7)
	s.listen(func(p *rtp.Packet, _ time.Duration) error {
		heard = append(heard, p.SequenceNumber)
		return nil
	})
	require.Equal(t, []uint16{0, 1, 2}, heard, "what came before the track was announced")
	for range 4 {
		read(probe)
		read(track)
	}
	in.UnbindRemoteStream(&interceptor.StreamInfo{SSRC: 7}) // the probe gives up; the track goes on
	for range 9 {
		read(track)
	}
	require.Len(t, heard, 20)
	for i, seq := range heard {
		require.EqualValues(t, i, seq)
	}
	s.stop()
	s.offer([]byte{0x80, 0, 0, 99, 0, 0, 0, 0, 0, 0, 0, 7, 1, 2, 3})
	require.Len(t, heard, 20, "nothing after the end")
}

func TestTapHoldsNoMoreThanItMay(t *testing.T) {
	all := newTaps()
	for ssrc := range uint32(2 * tappedMax) {
		s := all.of(ssrc)
		for range 2 * heldMax {
			s.offer([]byte{0x80})
		}
		require.Len(t, s.held, heldMax)
	}
	require.Len(t, all.streams, tappedMax)
	require.Len(t, all.order, tappedMax)
	all.drop(2*tappedMax - 1)
	require.Len(t, all.order, tappedMax-1)
}

func TestTapLeavesOutPaddingAndCutsTheServersSilence(t *testing.T) {
	s := &tapped{}
	var payloads [][]byte
	s.listen(func(p *rtp.Packet, _ time.Duration) error {
		payloads = append(payloads, append([]byte(nil), p.Payload...))
		return nil
	})
	silence := make([]byte, 80)
	copy(silence, media.SilenceFrame)
	mulaw := bytes.Repeat([]byte{0xFE}, 80) // 10 ms of almost nothing that begins as Opus silence does
	copy(mulaw, media.SilenceFrame)
	w := newWire(t, 4, func(i int) []byte { return [][]byte{nil, silence, {1, 2, 3, 4}, mulaw}[i] })
	for _, raw := range w.packets {
		s.offer(raw)
	}
	s.offer([]byte("not RTP"))
	require.Equal(t, [][]byte{media.SilenceFrame, {1, 2, 3, 4}, mulaw}, payloads)
}

func TestTapTellsHowLongAPacketWaited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &tapped{}
		w := newWire(t, 4, func(int) []byte { return []byte{1, 2, 3, 4} })
		for _, raw := range w.packets[:3] {
			s.offer(raw)
			time.Sleep(20 * time.Millisecond) // fake time
		}
		var ages []time.Duration
		s.listen(func(_ *rtp.Packet, age time.Duration) error {
			ages = append(ages, age)
			return nil
		})
		s.offer(w.packets[3])
		require.Equal(t, []time.Duration{60 * time.Millisecond, 40 * time.Millisecond, 20 * time.Millisecond, 0}, ages)
	})
}

func TestTappingAllocatesNothing(t *testing.T) {
	s := &tapped{}
	s.listen(func(*rtp.Packet, time.Duration) error { return nil })
	raw := newWire(t, 1, func(int) []byte { return make([]byte, 80) }).packets[0]
	require.Zero(t, testing.AllocsPerRun(2000, func() { s.offer(raw) }))
}
