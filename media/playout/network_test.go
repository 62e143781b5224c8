package playout_test

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/pion/rtp"
	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/media"
	"github.com/livekit-connector/livekit-connector/media/playout"
)

const (
	rate  = 16000
	frame = rate / 50
)

// Payloads of the fake codec are legal Opus as far as their framing goes, and say
// which 20 ms of the source they are.
const (
	tocSpeech = 9 << 3  // SILK wideband 20 ms
	tocPlain  = 31 << 3 // CELT 20 ms
)

func payloadOf(index int, fec bool) []byte {
	b := []byte{tocPlain, 0, 0, 0, 0, 0}
	if fec {
		b[0], b[1] = tocSpeech, 0xC0
	}
	binary.BigEndian.PutUint32(b[2:], uint32(index))
	return b
}

// The sound of the fake codec tells how far into the source one is: a sawtooth of
// eight seconds.
const whereLen = 8 * rate

func whereAt(pos int) int16 { return int16(pos%whereLen/8 - 8000) }

// posOf inverts whereAt near a position.
func posOf(s int16, near int) int {
	pos := (int(s)+8000)*8 + 4
	return pos + (near-pos+whereLen/2+1000*whereLen)/whereLen*whereLen - 1000*whereLen
}

// markerDecoder is a codec whose sound says where in the source it is from.
type markerDecoder struct {
	decoded  []int // indices, in order
	fec      []int
	conceals int
	last     int // position behind the last sound
}

func (d *markerDecoder) Decode(payload []byte, pcm []int16) (int, error) {
	if len(payload) < 6 {
		return 0, errors.New("no marker")
	}
	i := int(binary.BigEndian.Uint32(payload[2:]))
	d.decoded = append(d.decoded, i)
	d.write(i*frame, pcm[:frame])
	return frame, nil
}

func (d *markerDecoder) write(pos int, pcm []int16) {
	for i := range pcm {
		pcm[i] = whereAt(pos + i)
	}
	d.last = pos + len(pcm)
}

func (d *markerDecoder) DecodeFEC(next []byte, pcm []int16) error {
	i := int(binary.BigEndian.Uint32(next[2:]))
	d.fec = append(d.fec, i-1)
	d.write(i*frame-len(pcm), pcm)
	return nil
}

func (d *markerDecoder) Conceal(pcm []int16) error {
	d.conceals++
	d.write(d.last, pcm)
	return nil
}

func (d *markerDecoder) Reset() error { return nil }

// network says what happens to packets.
type network struct {
	name   string
	jitter time.Duration // exponential of a third of it, cut at 1.5 of it; 1 % spikes to twice
	loss   float64
	burst  float64 // mean length of a burst of losses; zero is random
	reord  bool    // packets may overtake each other
	drift  float64 // of the source's clock, ppm
	twice  float64 // share of packets that come twice
}

type arrival struct {
	at time.Duration
	p  *rtp.Packet
}

// send makes what arrives of n packets; make says what packet i is, nil for a pause.
func (w network) send(seed uint64, n int, packet func(i int) *rtp.Packet) (out []arrival, lost int) {
	rng := rand.New(rand.NewPCG(seed, 7))
	bad := false
	last := time.Duration(0)
	for i := range n {
		at := 100*time.Millisecond + time.Duration(float64(i)*float64(media.FrameDuration)/(1+w.drift*1e-6))
		if w.jitter > 0 {
			d := min(time.Duration(rng.ExpFloat64()*float64(w.jitter)/3), w.jitter*3/2)
			if rng.Float64() < 0.01 {
				d = time.Duration(rng.Float64() * 2 * float64(w.jitter))
			}
			at += d
			if !w.reord {
				at = max(at, last)
			}
			last = at
		}
		if w.burst > 0 {
			if bad {
				bad = rng.Float64() >= 1/w.burst
			} else {
				bad = rng.Float64() < w.loss/(1-w.loss)/w.burst
			}
		} else {
			bad = rng.Float64() < w.loss
		}
		p := packet(i)
		if p == nil {
			continue
		}
		if bad && i > 0 {
			lost++
			continue
		}
		out = append(out, arrival{at, p})
		if rng.Float64() < w.twice {
			out = append(out, arrival{at + time.Duration(rng.Int64N(int64(60*time.Millisecond))), p})
		}
	}
	slices.SortStableFunc(out, func(a, b arrival) int { return int(a.at - b.at) })
	return out, lost
}

func rtpPacket(seq uint16, ts uint32, payload []byte) *rtp.Packet {
	return &rtp.Packet{
		Header:  rtp.Header{Version: 2, PayloadType: 111, SSRC: 5, SequenceNumber: seq, Timestamp: ts},
		Payload: payload,
	}
}

// speech numbers packets of one talk spurt without end.
func speech(fec bool) func(i int) *rtp.Packet {
	return func(i int) *rtp.Packet {
		return rtpPacket(uint16(65500+i), uint32(0xFFFFF000+i*media.FrameSamples), payloadOf(i, fec))
	}
}

// run plays arrivals to a voice and calls heard for each frame.
func run(v *playout.Voice, in []arrival, phase time.Duration, until time.Duration, heard func(now time.Duration, pcm []int16, s media.Sound)) {
	pcm := make([]int16, frame)
	for now := phase; now < until; now += media.FrameDuration {
		for len(in) > 0 && in[0].at <= now {
			v.Write(in[0].p, in[0].at)
			in = in[1:]
		}
		s := v.Read(pcm, now)
		heard(now, pcm, s)
	}
}

func newVoice(tb testing.TB, d playout.Decoder, change ...func(*playout.Options)) *playout.Voice {
	tb.Helper()
	o := playout.Options{Decoder: d, Rate: rate, Codec: media.CodecOpus}
	for _, c := range change {
		c(&o)
	}
	v, err := playout.New(o)
	require.NoError(tb, err)
	tb.Cleanup(v.Close)
	return v
}

type result struct {
	mean, p95 time.Duration
	silent    float64 // % of frames without sound although the source speaks
	plc, fec  float64 // % of packets
	late      float64
	extended  float64 // % of frames with made-up sound
	ops       float64 // per minute
}

// measure plays minutes of speech over a network, at all phases of the reader
// against the sender.
func measure(tb testing.TB, w network, fec bool, minutes int) result {
	tb.Helper()
	var r result
	var delays []time.Duration
	var frames, packets, silent, made float64
	const phases = 10
	n := minutes * 60 * 50 / phases
	for ph := range phases {
		d := &markerDecoder{}
		v := newVoice(tb, d)
		in, _ := w.send(uint64(ph), n, speech(fec))
		end := in[len(in)-1].at
		near := 0
		phase := time.Duration(ph) * media.FrameDuration / phases
		run(v, in, phase+time.Millisecond/2, end, func(now time.Duration, pcm []int16, s media.Sound) {
			if now < 200*time.Millisecond || !s.Active && now < 300*time.Millisecond {
				return
			}
			frames++
			near += frame
			if !s.Concealed && s.Active {
				near = posOf(pcm[frame/2], near)
			}
			said := time.Duration(float64(near-frame/2) / rate / (1 + w.drift*1e-6) * float64(time.Second))
			if !s.Active {
				silent++
			}
			if s.Concealed || !s.Active {
				made++
			} else if now > 2*time.Second {
				delays = append(delays, now-100*time.Millisecond-said)
			}
		})
		st := v.Stats()
		packets += float64(n)
		r.plc += float64(st.Concealed)
		r.fec += float64(st.Recovered)
		r.late += float64(st.Late)
		r.ops += float64(st.Stretched + st.Shortened)
	}
	slices.Sort(delays)
	for _, d := range delays {
		r.mean += d
	}
	r.mean /= time.Duration(len(delays))
	r.p95 = delays[len(delays)*95/100]
	r.plc, r.fec, r.late = 100*r.plc/packets, 100*r.fec/packets, 100*r.late/packets
	r.silent, r.extended = 100*silent/frames, 100*made/frames
	r.ops /= float64(minutes)
	return r
}

func TestDelayAndConcealment(t *testing.T) {
	ms := time.Millisecond
	// The delay is that of sound behind the fastest packet, averaged over all phases
	// of the reader against the sender. A reader of whole frames costs 10 ms of it.
	tests := []struct {
		network
		mean, p95 time.Duration
		plc       float64
		silent    float64 // bursts longer than a tenth of a second
	}{
		{network{name: "clean"}, 12 * ms, 21 * ms, 0, 0},
		{network{name: "0 ms, 5 %", loss: 0.05}, 32 * ms, 41 * ms, 0.4, 0},
		{network{name: "0 ms, 20 % bursty", loss: 0.2, burst: 3}, 32 * ms, 41 * ms, 14.5, 4},
		{network{name: "30 ms, 0 %", jitter: 30 * ms, reord: true}, 51 * ms, 66 * ms, 0.1, 0},
		{network{name: "30 ms, 5 %", jitter: 30 * ms, loss: 0.05, reord: true}, 54 * ms, 66 * ms, 0.7, 0},
		{network{name: "30 ms, 5 %, in order", jitter: 30 * ms, loss: 0.05}, 60 * ms, 75 * ms, 0.7, 0},
		{network{name: "30 ms, 20 % bursty", jitter: 30 * ms, loss: 0.2, burst: 3, reord: true}, 56 * ms, 70 * ms, 14.5, 4},
		{network{name: "100 ms, 0 %", jitter: 100 * ms, reord: true}, 122 * ms, 145 * ms, 0.5, 0},
		{network{name: "100 ms, 5 %", jitter: 100 * ms, loss: 0.05, reord: true}, 124 * ms, 148 * ms, 1.2, 0},
		{network{name: "30 ms, 5 %, +100 ppm", jitter: 30 * ms, loss: 0.05, reord: true, drift: 100}, 54 * ms, 66 * ms, 0.7, 0},
		{network{name: "30 ms, 5 %, -100 ppm", jitter: 30 * ms, loss: 0.05, reord: true, drift: -100}, 54 * ms, 66 * ms, 0.7, 0},
		{network{name: "clean, +500 ppm", drift: 500}, 15 * ms, 25 * ms, 0, 0},
		{network{name: "clean, -500 ppm", drift: -500}, 15 * ms, 25 * ms, 0, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := measure(t, tt.network, true, 10)
			t.Logf("delay mean %v p95 %v; unconcealed %.2f %%, PLC %.2f %%, FEC %.2f %%, late %.2f %%, frames with made-up sound %.2f %%, %.0f changes a minute",
				r.mean.Round(ms/10), r.p95.Round(ms/10), r.silent, r.plc, r.fec, r.late, r.extended, r.ops)
			require.LessOrEqual(t, r.mean, tt.mean)
			require.LessOrEqual(t, r.p95, tt.p95)
			require.LessOrEqual(t, r.plc, tt.plc)
			require.LessOrEqual(t, r.silent, tt.silent, "unconcealed")
		})
	}
}
