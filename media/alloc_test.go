package media

import (
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/rtp"
	"github.com/stretchr/testify/require"
)

type nowhere struct{}

func (nowhere) WriteRTP(*rtp.Packet) error { return nil }

// handPacer is a clock that moves by hand: no goroutine visits its lines. Time goes by for it as well, so a test that
// counts frames uses it in a bubble, where none does.
func handPacer() *Pacer {
	return &Pacer{epoch: time.Now(), shards: []*shard{{wake: make(chan struct{}, 1)}}}
}

func (p *Pacer) move(d time.Duration) { p.epoch = p.epoch.Add(-d) }

func speech() *rtp.Packet {
	return &rtp.Packet{
		Header:  rtp.Header{Version: 2, PayloadType: 96, SSRC: 1},
		Payload: []byte{0xF8, 1, 2, 3, 4, 5},
	}
}

func TestLineDoesNotAllocate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := handPacer()
		l := NewLine(nowhere{}, LineOptions{Pacer: p})
		l.Open()
		a, b := l.AddSource("a", SourceOptions{}), l.AddSource("b", SourceOptions{})
		pkt, dtx := speech(), speech()
		dtx.Payload = dtx.Payload[:1]
		runs := uint64(0)
		require.Zero(t, testing.AllocsPerRun(1000, func() {
			runs++
			p.move(FrameDuration)
			pkt.SequenceNumber += 2
			pkt.Timestamp += FrameSamples
			_ = a.WriteRTP(pkt)
			_ = b.WriteRTP(pkt)
			if runs%100 == 0 {
				dtx.SequenceNumber, dtx.Timestamp = pkt.SequenceNumber+1, pkt.Timestamp+1
				_ = a.WriteRTP(dtx)
				p.move(500 * time.Millisecond)
				pkt.Timestamp += 500 * 48
				l.tick(p.now())
			}
		}))
		st := l.Stats()
		require.Equal(t, runs, st.Relayed)
		require.NotZero(t, st.Silence)
		require.Equal(t, runs, st.Unheard)
	})
}

func TestPacerVisitDoesNotAllocate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := handPacer()
		l := NewLine(nowhere{}, LineOptions{Pacer: p})
		l.Open()
		require.Zero(t, testing.AllocsPerRun(1000, func() {
			p.move(FrameDuration)
			for n := range int64(slotsPerTick) {
				p.shards[0].visit(n, p.now())
			}
		}))
	})
}

func BenchmarkLineRelay(b *testing.B) {
	p := handPacer()
	l := NewLine(nowhere{}, LineOptions{Pacer: p})
	l.Open()
	src := l.AddSource("a", SourceOptions{})
	pkt := speech()
	b.ReportAllocs()
	for b.Loop() {
		p.move(FrameDuration)
		pkt.SequenceNumber++
		pkt.Timestamp += FrameSamples
		_ = src.WriteRTP(pkt)
	}
}

// BenchmarkPacerTick1000 is one tick (20 ms) of a shard with 1000 lines: what
// the clock itself costs. Relaying lines are never due.
func BenchmarkPacerTick1000(b *testing.B) {
	for name, filling := range map[string]bool{"relaying": false, "filling": true} {
		b.Run(name, func(b *testing.B) {
			p := handPacer()
			for range 1000 {
				l := NewLine(nowhere{}, LineOptions{Pacer: p})
				l.Open()
				if !filling {
					l.due.Store(int64(time.Hour) * 1e3)
				}
			}
			b.ReportAllocs()
			for b.Loop() {
				if filling {
					p.move(FrameDuration)
				}
				for n := range int64(slotsPerTick) {
					p.shards[0].visit(n, p.now())
				}
			}
		})
	}
}

// FuzzLine plays whatever the fuzzer says into two sources and checks what comes
// out against what the far end relies on.
func FuzzLine(f *testing.F) {
	f.Add([]byte{0, 0, 0, 1, 1, 2, 0, 3, 4, 0, 5, 6, 7, 8, 9, 10, 0, 11, 0, 12, 13, 0, 14, 15, 0, 0})
	for seed := range uint64(40) {
		rng := rand.New(rand.NewPCG(seed, 2))
		script := make([]byte, 600)
		for i := range script {
			if script[i] = byte(rng.UintN(256)); rng.IntN(3) > 0 {
				script[i] &= 0x80 // mostly well-behaved
			}
		}
		f.Add(script)
	}
	f.Fuzz(func(t *testing.T, script []byte) {
		p := handPacer()
		out := &invariant{t: t}
		l := NewLine(out, LineOptions{Pacer: p})
		l.Open()
		type player struct {
			*Source
			pkt  *rtp.Packet
			held *rtp.Packet
		}
		players := []*player{
			{Source: l.AddSource("a", SourceOptions{}), pkt: speech()}, {Source: l.AddSource("b", SourceOptions{}), pkt: speech()},
		}
		for _, op := range script {
			pl := players[op>>7]
			send := func(pkt *rtp.Packet) { _ = pl.WriteRTP(pkt) }
			next := pl.pkt.Clone()
			pl.pkt.SequenceNumber++
			pl.pkt.Timestamp += FrameSamples
			switch op & 0x0F {
			case 1: // lost
				next = nil
			case 2: // held back, until the next one of these
				next, pl.held = pl.held, next
			case 3: // twice
				send(next)
			case 4: // DTX
				next.Payload = next.Payload[:1]
			case 5:
				next.Payload = SilenceFrame
			case 6: // a jump in the numbering
				pl.pkt.SequenceNumber += uint16(op) << 8
			case 7: // a jump in time
				pl.pkt.Timestamp += uint32(op) << 20
			case 8:
				pl.pkt.SSRC++
			case 9:
				pl.SetMuted(op&0x10 != 0)
			case 10:
				pl.SetSpeaking(op&0x10 != 0)
			case 11: // a pause
				p.move(time.Duration(op) * 10 * time.Millisecond)
			case 12: // a burst
				for range op & 0x7F {
					send(next)
					next = pl.pkt.Clone()
					pl.pkt.SequenceNumber++
					pl.pkt.Timestamp += FrameSamples
				}
			case 13:
				next.Payload = nil
			case 14:
				next.Payload = []byte{0xFB, 0}
			case 15: // 60 ms
				next.Payload = []byte{11 << 3, 1, 2, 3, 4}
				pl.pkt.Timestamp += 2 * FrameSamples
			}
			if next != nil {
				send(next)
			}
			if op&0x80 == 0 {
				p.move(FrameDuration)
				l.tick(p.now())
			}
			l.mu.Lock()
			lead := l.leadLocked(p.now())
			l.mu.Unlock()
			require.LessOrEqual(t, lead, maxAhead+2*60*time.Millisecond)
		}
		l.Close()
	})
}

// invariant is a Writer that checks the stream as it comes.
type invariant struct {
	t       *testing.T
	started bool
	ssrc    uint32
	seq     uint16 // expected next
	ts      uint32 // expected next
	missing map[uint16]bool
}

func (v *invariant) WriteRTP(p *rtp.Packet) error {
	ticks, err := OpusDuration(p.Payload)
	require.NoError(v.t, err)
	require.False(v.t, p.Extension || p.Padding || len(p.CSRC) > 0)
	if !v.started {
		v.started, v.ssrc, v.seq, v.ts = true, p.SSRC, p.SequenceNumber, p.Timestamp
		v.missing = map[uint16]bool{}
	}
	require.Equal(v.t, v.ssrc, p.SSRC)
	steps, gap := p.SequenceNumber-v.seq, p.Timestamp-v.ts
	switch {
	case steps == 0:
		require.Zero(v.t, gap, "hole in time without a loss")
	case steps < 1<<15: // lost packets, and their time
		require.LessOrEqual(v.t, gap, uint32(steps)*2880)
		for i := range steps {
			v.missing[v.seq+i] = true
		}
	default: // late: it fills a place that was left, and nothing else
		require.True(v.t, v.missing[p.SequenceNumber], "a number twice")
		delete(v.missing, p.SequenceNumber)
		return nil
	}
	delete(v.missing, p.SequenceNumber)
	v.seq, v.ts = p.SequenceNumber+1, p.Timestamp+ticks
	return nil
}
