package media_test

import (
	"errors"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/rtp"
	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/media"
)

func TestRelayKeepsOnlyWhatBelongsToTheStream(t *testing.T) {
	dst := &recorder{}
	r := media.NewRelay(dst)
	v := &voice{ssrc: 1, seq: 65530, ts: 0xFFFFFF00} // wraps both
	for range 20 {
		p := v.packet()
		before := p.Clone()
		require.NoError(t, r.WriteRTP(p))
		require.Equal(t, before, p, "the packet belongs to the caller")
	}
	got := dst.all()
	require.Len(t, got, 20)
	requireContinuous(t, got)
	require.True(t, got[0].Marker, "the source's marker goes on")
	require.Equal(t, media.RelayStats{Relayed: 20, Restarts: 1}, r.Stats())
}

func TestRelayKeepsGapsAndReordering(t *testing.T) {
	dst := &recorder{}
	r := media.NewRelay(dst)
	v := &voice{ssrc: 1, seq: 100, ts: 5000}
	p := make([]*rtp.Packet, 10)
	for i := range p {
		p[i] = v.packet()
	}
	for _, i := range []int{0, 1, 4, 3, 4, 1, 7, 6, 9} { // 2, 5 and 8 lost; 4 and 1 twice
		require.NoError(t, r.WriteRTP(p[i]))
	}
	got := dst.all()
	base := got[0]
	order := []int{0, 1, 4, 3, 7, 6, 9}
	require.Len(t, got, len(order))
	for k, i := range order {
		require.Equal(t, base.SequenceNumber+uint16(i), got[k].SequenceNumber)
		require.Equal(t, base.Timestamp+uint32(i)*media.FrameSamples, got[k].Timestamp)
		require.Equal(t, p[i].Payload, got[k].Payload)
	}
	require.EqualValues(t, 2, r.Stats().Duplicate)
}

func TestRelayFollowsARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dst := &recorder{}
		r := media.NewRelay(dst)
		old := &voice{ssrc: 1, seq: 100, ts: 5000}
		straggler := old.packet()
		for range 3 {
			require.NoError(t, r.WriteRTP(old.packet()))
			time.Sleep(20 * time.Millisecond) // fake time
		}
		time.Sleep(200 * time.Millisecond) // fake time
		renewed := &voice{ssrc: 2, seq: 40000, ts: 77}
		require.NoError(t, r.WriteRTP(renewed.packet()))
		require.NoError(t, r.WriteRTP(straggler))
		require.NoError(t, r.WriteRTP(renewed.packet()))
		got := dst.all()
		require.Len(t, got, 5)
		require.Equal(t, got[2].SequenceNumber+1, got[3].SequenceNumber)
		require.Equal(t, got[2].Timestamp+11*media.FrameSamples, got[3].Timestamp, "200 ms of pause and the frame itself")
		require.Equal(t, got[3].Timestamp+media.FrameSamples, got[4].Timestamp)
		require.Equal(t, media.RelayStats{Relayed: 5, Restarts: 2, Stray: 1}, r.Stats())
	})
}

func TestRelayBelievesAJumpAfterTwoPackets(t *testing.T) {
	dst := &recorder{}
	r := media.NewRelay(dst)
	v := &voice{ssrc: 1, seq: 100, ts: 5000}
	require.NoError(t, r.WriteRTP(v.packet()))
	wild := &voice{ssrc: 1, seq: 30000, ts: 9}
	require.NoError(t, r.WriteRTP(wild.packet()))
	require.NoError(t, r.WriteRTP(v.packet()), "one wild packet does not move the stream")
	wild = &voice{ssrc: 1, seq: 20000, ts: 9}
	for range 3 {
		require.NoError(t, r.WriteRTP(wild.packet()))
	}
	got := dst.all()
	require.Len(t, got, 4)
	requireContinuous(t, got)
	require.EqualValues(t, 2, r.Stats().Stray)
}

func TestRelayFollowsAClockThatJumps(t *testing.T) {
	dst := &recorder{}
	r := media.NewRelay(dst)
	v := &voice{ssrc: 1, seq: 100, ts: 5000}
	require.NoError(t, r.WriteRTP(v.packet()))
	v.ts -= 1 << 20
	require.NoError(t, r.WriteRTP(v.packet()))
	v.ts += 1 << 30
	require.NoError(t, r.WriteRTP(v.packet()))
	requireContinuous(t, dst.all())
	require.EqualValues(t, 3, r.Stats().Relayed)
}

func TestRelayLeavesNoHoleForWhatItLeavesOut(t *testing.T) {
	dst := &recorder{}
	r := media.NewRelay(dst, 96)
	v := &voice{ssrc: 1, seq: 100, ts: 5000}
	require.NoError(t, r.WriteRTP(v.packet()))
	for range 3 { // a key is pressed: its time stands still
		event := v.packet()
		event.PayloadType = 126
		event.Timestamp = 5960
		require.NoError(t, r.WriteRTP(event))
	}
	padding := v.packet()
	padding.Payload = nil
	require.NoError(t, r.WriteRTP(padding))
	require.NoError(t, r.WriteRTP(v.packet()))
	got := dst.all()
	require.Len(t, got, 2)
	require.Equal(t, got[0].SequenceNumber+1, got[1].SequenceNumber)
	require.Equal(t, got[0].Timestamp+5*media.FrameSamples, got[1].Timestamp, "the key's time passed")
	require.Equal(t, media.RelayStats{Relayed: 2, Filtered: 3, Empty: 1, Restarts: 1}, r.Stats())
}

func TestRelayReturnsTheDestinationsError(t *testing.T) {
	refused := errors.New("refused")
	r := media.NewRelay(&recorder{err: refused})
	v := &voice{ssrc: 1}
	require.ErrorIs(t, r.WriteRTP(v.packet()), refused)
	require.EqualValues(t, 1, r.Stats().WriteErrors)
}

type discard struct{ n int }

func (d *discard) WriteRTP(*rtp.Packet) error { d.n++; return nil }

func TestRelayDoesNotAllocate(t *testing.T) {
	r := media.NewRelay(&discard{}, 96)
	v := &voice{ssrc: 1, seq: 1}
	p := v.packet()
	require.Zero(t, testing.AllocsPerRun(1000, func() {
		p.SequenceNumber++
		p.Timestamp += media.FrameSamples
		_ = r.WriteRTP(p)
	}))
}

// TestRelayOfAnySequence plays random mishaps of a consistent source.
func TestRelayOfAnySequence(t *testing.T) {
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 1))
		dst := &recorder{}
		r := media.NewRelay(dst)
		v := &voice{ssrc: 1, seq: uint16(rng.Uint32()), ts: rng.Uint32()}
		var held *rtp.Packet
		for range 400 {
			p := v.packet()
			switch rng.IntN(12) {
			case 0: // lost
				continue
			case 1: // held back
				held, p = p, held
			case 2: // twice
				require.NoError(t, r.WriteRTP(p))
			case 3: // restart
				if rng.IntN(10) == 0 {
					v = &voice{ssrc: v.ssrc + uint32(rng.IntN(2)), seq: uint16(rng.Uint32()), ts: rng.Uint32()}
				}
			}
			if p != nil {
				require.NoError(t, r.WriteRTP(p))
			}
		}
		requireContinuous(t, dst.all())
	}
}

func BenchmarkRelay(b *testing.B) {
	r := media.NewRelay(&discard{}, 96)
	v := &voice{ssrc: 1}
	p := v.packet()
	b.ReportAllocs()
	for b.Loop() {
		p.SequenceNumber++
		p.Timestamp += media.FrameSamples
		_ = r.WriteRTP(p)
	}
}
