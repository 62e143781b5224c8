package playout_test

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/media"
	"github.com/livekit-connector/livekit-connector/media/playout"
)

// splatter is the power beside a tone, in dB below it, in the worst stretch of 20 ms:
// what a click sounds like. The tone and what slow fades do around it are taken
// out by a comb of second order.
func splatter(got []int16, freq, amp float64) float64 {
	// 1 - 2 cos(w) z^-1 + z^-2 has its zeros at the tone.
	c := 2 * math.Cos(2*math.Pi*freq/rate)
	worst := 0.0
	var sum float64
	rest := make([]float64, len(got))
	for i := 2; i < len(got); i++ {
		rest[i] = float64(got[i]) - c*float64(got[i-1]) + float64(got[i-2])
		sum += rest[i] * rest[i]
		if i >= frame {
			sum -= rest[i-frame] * rest[i-frame]
		}
		worst = max(worst, sum/frame)
	}
	return 10 * math.Log10(worst/(amp*amp/2))
}

// Whatever the network does, a tone stays a tone: no click where sound is
// recovered, made up, cut or stretched. A step of a quarter of the tone's amplitude
// is -29 dB here, a phase jump by 90 degrees -15 dB.
func TestTonesDoNotClick(t *testing.T) {
	ms := time.Millisecond
	for _, w := range []network{
		{name: "clean"},
		{name: "drift", drift: 500},
		{name: "drift back", drift: -500},
		{name: "loss", loss: 0.1},
		{name: "bursts", loss: 0.15, burst: 3},
		{name: "jitter", jitter: 40 * ms},
		{name: "all of it", loss: 0.1, burst: 2, jitter: 40 * ms, reord: true, drift: 200},
	} {
		for _, freq := range []float64{110, 237, 440, 1000} {
			t.Run(fmt.Sprintf("%s, %v Hz", w.name, freq), func(t *testing.T) {
				const amp = 8000.0
				d := &toneDecoder{freq: freq, amp: amp}
				v := newVoice(t, d)
				in, _ := w.send(3, 60*50, speech(freq < 300))
				var got []int16
				run(v, in, 109*ms, in[len(in)-1].at, func(_ time.Duration, pcm []int16, _ media.Sound) {
					got = append(got, pcm...)
				})
				db := splatter(got[2:], freq, amp)
				t.Logf("%.1f dB, %+v", db, v.Stats())
				if w.name == "clean" {
					require.Less(t, db, -70.0)
					return
				}
				require.Less(t, db, -30.0)
			})
		}
	}
}

// A source of one packet length after the other, at every rate, from a clock of
// 48 kHz or 8 kHz: all is heard.
func TestPacketLengths(t *testing.T) {
	for _, rate := range []int{8000, 16000, 24000, 48000} {
		for _, codec := range []media.Codec{media.CodecOpus, media.CodecPCMU} {
			t.Run(fmt.Sprintf("%v at %d Hz", codec, rate), func(t *testing.T) {
				d := &lengthDecoder{rate: rate, codec: codec}
				v := newVoice(t, d, func(o *playout.Options) { o.Rate, o.Codec = rate, codec })
				var in []arrival
				at, ts, seq := time.Duration(0), uint32(1<<32-5000), uint16(65000)
				total := time.Duration(0)
				for i := range 2000 {
					length := d.lengths()[i/40%len(d.lengths())]
					if i%11 == 3 {
						length = d.lengths()[i%len(d.lengths())]
					}
					at += length // sent when its sound is over
					in = append(in, arrival{at, rtpPacket(seq, ts, d.payload(length))})
					ts += uint32(int64(length) * int64(codec.ClockRate()) / int64(time.Second))
					seq++
					total += length
				}
				pcm := make([]int16, rate/50)
				active := 0
				for now := 3 * time.Millisecond; now < total+time.Second; now += media.FrameDuration {
					for len(in) > 0 && in[0].at <= now {
						v.Write(in[0].p, in[0].at)
						in = in[1:]
					}
					if v.Read(pcm, now).Active {
						active++
					}
				}
				st := v.Stats()
				require.Equal(t, 2000, d.decodes)
				require.Zero(t, st.Garbage+st.Late+st.Concealed+st.Recovered+st.Discarded)
				heard := time.Duration(active) * media.FrameDuration
				require.InDelta(t, total.Seconds(), heard.Seconds(), 0.02*total.Seconds()+0.3)
				require.LessOrEqual(t, st.MaxDepth, 320*time.Millisecond)
			})
		}
	}
}

// lengthDecoder gives noise of the length that the payload has.
type lengthDecoder struct {
	rate    int
	codec   media.Codec
	decodes int
	seed    uint32
}

func (d *lengthDecoder) lengths() []time.Duration {
	u := 2500 * time.Microsecond
	if d.codec == media.CodecOpus {
		return []time.Duration{8 * u, u, 24 * u, 4 * u, 16 * u, 2 * u, 48 * u}
	}
	return []time.Duration{8 * u, 4 * u, 12 * u, 16 * u, 2 * u, 24 * u}
}

func (d *lengthDecoder) payload(l time.Duration) []byte {
	if d.codec != media.CodecOpus {
		return make([]byte, int(l*8/time.Millisecond))
	}
	frames := byte(l / (2500 * time.Microsecond)) // of CELT, 2.5 ms each, of fixed length
	return append([]byte{28<<3 | 3, frames}, make([]byte, frames)...)
}

func (d *lengthDecoder) Decode(payload []byte, pcm []int16) (int, error) {
	d.decodes++
	n := len(payload) * d.rate / 8000
	if d.codec == media.CodecOpus {
		n = int(payload[1]) * d.rate / 400
	}
	return n, d.Conceal(pcm[:n])
}

func (d *lengthDecoder) Conceal(pcm []int16) error {
	for i := range pcm {
		d.seed = d.seed*1664525 + 1013904223
		pcm[i] = int16(d.seed>>20) - 2048
	}
	return nil
}

func (d *lengthDecoder) DecodeFEC(_ []byte, pcm []int16) error { return d.Conceal(pcm) }
func (d *lengthDecoder) Reset() error                          { return nil }
