package jitter_test

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/pion/rtp"
	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/media/jitter"
)

const (
	frame = 20 * time.Millisecond
	ticks = 960
)

// Payloads of these tests say how long they are: two bytes of ticks; then whether
// they carry the packet before them; then anything.
func payload(n uint16, redundant bool, rest ...byte) []byte {
	b := append(binary.BigEndian.AppendUint16(nil, n), 0)
	if redundant {
		b[2] = 1
	}
	return append(b, rest...)
}

func options() jitter.Options {
	return jitter.Options{
		Duration: func(b []byte) (uint32, error) {
			if len(b) < 3 {
				return 0, errors.New("short")
			}
			return uint32(binary.BigEndian.Uint16(b)), nil
		},
		Redundant: func(b []byte) bool { return b[2] != 0 },
	}
}

func packet(seq uint16, ts uint32, body []byte) *rtp.Packet {
	return &rtp.Packet{Header: rtp.Header{Version: 2, SequenceNumber: seq, Timestamp: ts}, Payload: body}
}

// source makes the packets of an even stream.
type source struct {
	seq  uint16
	ts   uint32
	ssrc uint32
}

func (s *source) next() *rtp.Packet {
	p := packet(s.seq, s.ts, payload(ticks, false, byte(s.seq), byte(s.seq>>8)))
	p.SSRC = s.ssrc
	s.seq++
	s.ts += ticks
	return p
}

func drain(b *jitter.Buffer) (seqs, times []int64) {
	for p := b.Front(); p != nil; p = b.Front() {
		seqs, times = append(seqs, p.Seq), append(times, p.Time)
		b.Pop()
	}
	return seqs, times
}

func TestOrderIsRestoredAcrossTheWrap(t *testing.T) {
	b := jitter.New(options())
	s := source{seq: 65533, ts: 1<<32 - 2*ticks}
	var in []*rtp.Packet
	for range 6 {
		in = append(in, s.next())
	}
	for _, i := range []int{0, 2, 1, 5, 3, 4, 4, 0} {
		b.Put(in[i], time.Duration(i)*frame)
	}
	seqs, times := drain(b)
	require.Len(t, seqs, 6)
	for i := 1; i < len(seqs); i++ {
		require.EqualValues(t, 1, seqs[i]-seqs[i-1])
		require.EqualValues(t, ticks, times[i]-times[i-1])
	}
	require.EqualValues(t, 2, b.Stats().Duplicate)
	b.Put(in[5], time.Second)
	require.EqualValues(t, 3, b.Stats().Duplicate, "one that was played")
	require.Zero(t, b.Stats().Late)
}

func TestLatePackets(t *testing.T) {
	b := jitter.New(options())
	s := source{}
	first, second, third := s.next(), s.next(), s.next()
	b.Put(first, 0)
	b.Put(third, 2*frame)
	b.Pop()
	b.Pop()
	b.Put(second, 3*frame)
	require.Nil(t, b.Front())
	require.EqualValues(t, 1, b.Stats().Late)
}

func TestWhereStreamsContinueTheLine(t *testing.T) {
	at := func(i int) time.Duration { return time.Duration(i) * frame }
	tests := map[string]struct {
		change   func(s *source)
		pause    int // frames without packets
		restarts uint64
		gap      int64 // in frames, of the line's time
	}{
		"nothing":                 {func(*source) {}, 0, 0, 0},
		"DTX":                     {func(s *source) { s.ts += 20 * ticks }, 20, 0, 20},
		"another SSRC":            {func(s *source) { *s = source{ssrc: 9, seq: 7, ts: 77} }, 0, 1, 0},
		"another SSRC, later":     {func(s *source) { *s = source{ssrc: 9, seq: 7, ts: 77} }, 10, 1, 10},
		"the clock starts anew":   {func(s *source) { s.ts = 5 }, 0, 1, 0},
		"the clock leaps an hour": {func(s *source) { s.ts += 3600 * 48000 }, 0, 1, 0},
		"timestamps stand still":  {func(*source) {}, 50, 0, 0},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			b := jitter.New(options())
			s := source{ssrc: 1, seq: 10, ts: 123456789}
			for i := range 20 {
				b.Put(s.next(), at(i))
			}
			tt.change(&s)
			for i := range 20 {
				b.Put(s.next(), at(20+tt.pause+i))
			}
			seqs, times := drain(b)
			require.Len(t, seqs, 40)
			for i := 1; i < len(seqs); i++ {
				require.EqualValues(t, 1, seqs[i]-seqs[i-1])
				want := int64(ticks)
				if i == 20 {
					want += tt.gap * ticks
				}
				require.Equal(t, want, times[i]-times[i-1], "packet %d", i)
			}
			require.Equal(t, tt.restarts, b.Stats().Restarts)
		})
	}
}

// One wild sequence number is nobody's; two that follow each other are a stream.
func TestJumpsAreBelievedWhenConfirmed(t *testing.T) {
	b := jitter.New(options())
	s := source{seq: 100, ts: 1000}
	b.Put(s.next(), 0)
	b.Put(packet(40000, 55, payload(ticks, false)), frame)
	b.Put(s.next(), frame)
	require.Equal(t, 2, b.Len())
	require.EqualValues(t, 1, b.Stats().Stray)

	s = source{seq: 50000, ts: 99}
	for i := range 3 {
		b.Put(s.next(), time.Duration(2+i)*frame)
	}
	require.Equal(t, 4, b.Len(), "all but the one that had to be confirmed")
	require.EqualValues(t, 1, b.Stats().Restarts)
}

func TestStragglersOfAFormerStream(t *testing.T) {
	b := jitter.New(options())
	old, young := source{ssrc: 1}, source{ssrc: 2, seq: 500}
	b.Put(old.next(), 0)
	b.Put(young.next(), frame)
	b.Put(old.next(), frame)
	require.EqualValues(t, 1, b.Stats().Stray)
	b.Put(old.next(), time.Second)
	require.EqualValues(t, 2, b.Stats().Restarts, "but it may come back")
}

// Senders that probe for bandwidth use numbers up for padding.
func TestPaddingIsNoSound(t *testing.T) {
	b := jitter.New(options())
	s := source{}
	b.Put(s.next(), 0)
	b.Put(packet(s.seq, s.ts-ticks, nil), frame)
	s.seq++
	b.Put(s.next(), frame)
	seqs, times := drain(b)
	require.Equal(t, []int64{0, 1, 2}, seqs)
	require.EqualValues(t, ticks, times[2])
	require.Zero(t, b.Stats().Loss)
}

func TestPayloadsAreCopied(t *testing.T) {
	b := jitter.New(options())
	rng := rand.New(rand.NewPCG(1, 1))
	var want [][]byte
	for i := range 30 {
		body := payload(ticks, false)
		for range rng.IntN(700) {
			body = append(body, byte(rng.Uint32()))
		}
		want = append(want, append([]byte(nil), body...))
		b.Put(packet(uint16(i), uint32(i)*ticks, body), time.Duration(i)*frame)
		clear(body)
	}
	i := 0
	buf := make([]byte, 0, 1500)
	b.Each(buf, func(p *rtp.Packet) {
		require.Equal(t, want[i], p.Payload)
		require.EqualValues(t, i, p.SequenceNumber)
		require.EqualValues(t, i*ticks, p.Timestamp)
		i++
	})
	require.Equal(t, 30, i)
}

// Whatever is thrown at it, a buffer holds so much and no more, the newest of it.
func TestMemoryIsBounded(t *testing.T) {
	for _, size := range []int{3, 1400} {
		b := jitter.New(options())
		for i := range 5000 {
			body := append(payload(ticks, false), make([]byte, size-3)...)
			b.Put(packet(uint16(i), uint32(i)*ticks, body), time.Duration(i)*time.Microsecond)
			require.LessOrEqual(t, b.Len(), 128)
		}
		require.NotZero(t, b.Len())
		require.EqualValues(t, 5000-b.Len(), b.Stats().Discarded)
		seqs, _ := drain(b)
		require.EqualValues(t, 4999, seqs[len(seqs)-1])
	}
}

func TestSteadyStateDoesNotAllocate(t *testing.T) {
	b := jitter.New(options())
	p := packet(0, 0, payload(ticks, true, make([]byte, 150)...))
	buf := make([]byte, 0, 1500)
	at := time.Duration(0)
	require.Zero(t, testing.AllocsPerRun(2000, func() {
		p.SequenceNumber++
		p.Timestamp += ticks
		at += frame
		b.Put(p, at)
		if b.Len() > 3 {
			b.Payload(b.Front(), buf)
			b.Pop()
		}
		b.Need()
	}))
}

// network delays and drops the packets of a source and has them counted.
type network struct {
	delay     func(i int, rng *rand.Rand) time.Duration
	loss      float64
	drift     float64 // ppm
	redundant bool
}

func (n network) play(b *jitter.Buffer, from, count int) {
	rng := rand.New(rand.NewPCG(3, uint64(from)))
	for i := from; i < from+count; i++ {
		at := time.Duration(float64(i) * float64(frame) / (1 + n.drift*1e-6))
		if n.delay != nil {
			at += n.delay(i, rng)
		}
		if rng.Float64() < n.loss {
			continue
		}
		b.Put(packet(uint16(i), uint32(i)*ticks, payload(ticks, n.redundant)), at)
		b.Pop()
	}
}

func exponential(mean time.Duration) func(int, *rand.Rand) time.Duration {
	return func(_ int, rng *rand.Rand) time.Duration { return time.Duration(rng.ExpFloat64() * float64(mean)) }
}

func TestNeed(t *testing.T) {
	ms := time.Millisecond
	tests := map[string]struct {
		network
		least, most time.Duration
	}{
		"clean":                   {network{}, ms, ms},
		"loss, no redundancy":     {network{loss: 0.1}, ms, ms},
		"loss, redundancy":        {network{loss: 0.05, redundant: true}, 20 * ms, 22 * ms},
		"redundancy, no loss":     {network{redundant: true}, ms, ms},
		"jitter":                  {network{delay: exponential(10 * ms)}, 36 * ms, 60 * ms}, // q99 = 46 ms
		"jitter, redundancy":      {network{delay: exponential(10 * ms), redundant: true}, 29 * ms, 40 * ms},
		"jitter, drift":           {network{delay: exponential(10 * ms), drift: 500}, 36 * ms, 60 * ms},
		"jitter, drift backwards": {network{delay: exponential(10 * ms), drift: -500}, 36 * ms, 66 * ms},
		"beyond all bounds":       {network{delay: exponential(1000 * ms)}, 200 * ms, 300 * ms},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			b := jitter.New(options())
			require.Equal(t, ms, b.Need(), "low to begin with")
			tt.play(b, 0, 3000)
			require.GreaterOrEqual(t, b.Need(), tt.least)
			require.LessOrEqual(t, b.Need(), tt.most)
		})
	}
}

func TestNeedForgets(t *testing.T) {
	b := jitter.New(options())
	network{delay: exponential(20 * time.Millisecond)}.play(b, 0, 1000)
	require.Greater(t, b.Need(), 60*time.Millisecond)
	network{}.play(b, 1000, 1500)
	require.Less(t, b.Need(), 5*time.Millisecond)
}

// A route that gets longer by itself does not need more margin.
func TestLongerRouteIsNoJitter(t *testing.T) {
	b := jitter.New(options())
	network{}.play(b, 0, 500)
	network{delay: func(int, *rand.Rand) time.Duration { return 150 * time.Millisecond }}.play(b, 500, 30)
	require.Less(t, b.Need(), 5*time.Millisecond)
	last := int64(529 * ticks)
	require.Equal(t, time.Duration(0), b.Margin(529*frame+150*time.Millisecond, last), "the base has moved")
}

func TestDriftIsMeasured(t *testing.T) {
	for _, ppm := range []float64{-500, -50, 0, 100, 500} {
		b := jitter.New(options())
		network{delay: exponential(5 * time.Millisecond), drift: ppm}.play(b, 0, 60*50)
		require.InDelta(t, ppm, b.Stats().DriftPPM, 25)
	}
}

// RFC 3550 appendix A.8: with delays that alternate by 16 ms the estimate ends at 16 ms.
func TestInterarrivalJitter(t *testing.T) {
	b := jitter.New(options())
	network{delay: func(i int, _ *rand.Rand) time.Duration { return time.Duration(i%2) * 16 * time.Millisecond }}.play(b, 0, 200)
	require.InDelta(t, 16, b.Stats().Jitter.Seconds()*1000, 0.1)
}

func TestLossIsMeasured(t *testing.T) {
	b := jitter.New(options())
	network{loss: 0.2}.play(b, 0, 5000)
	require.InDelta(t, 0.2, b.Stats().Loss, 0.06)
	network{}.play(b, 5000, 3000)
	require.Less(t, b.Stats().Loss, 0.01)
}

func TestOtherClocks(t *testing.T) {
	o := options()
	o.ClockRate = 8000
	o.Duration = func(b []byte) (uint32, error) { return uint32(len(b)), nil }
	o.Redundant = nil
	b := jitter.New(o)
	for i := range 10 {
		b.Put(packet(uint16(i), uint32(i)*160, make([]byte, 160)), time.Duration(i)*frame)
	}
	require.Equal(t, 200*time.Millisecond, b.Held())
	b.Put(packet(10, 1600, make([]byte, 961)), 0)
	require.EqualValues(t, 1, b.Stats().Garbage, "longer than 120 ms")
}
