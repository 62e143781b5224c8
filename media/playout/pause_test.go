package playout_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/pion/rtp"
	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/media"
)

// talk is a source that pauses: spurts of 1 s, pauses of 1 s.
func talk(pause func(i int) *rtp.Packet) func(int) *rtp.Packet {
	seq := uint16(100)
	return func(i int) *rtp.Packet {
		var p *rtp.Packet
		if i/50%2 == 1 {
			p = pause(i)
		} else {
			p = rtpPacket(0, uint32(i*media.FrameSamples), payloadOf(i, false))
		}
		if p != nil {
			p.SequenceNumber = seq
			seq++
		}
		return p
	}
}

func TestPausesAreNoLoss(t *testing.T) {
	tests := map[string]func(i int) *rtp.Packet{
		"nothing is sent": func(int) *rtp.Packet { return nil },
		"DTX": func(i int) *rtp.Packet {
			if i%20 != 0 {
				return nil
			}
			return rtpPacket(0, uint32(i*media.FrameSamples), []byte{tocSpeech})
		},
		"frames of DTX": func(i int) *rtp.Packet {
			return rtpPacket(0, uint32(i*media.FrameSamples), []byte{tocSpeech})
		},
	}
	for name, pause := range tests {
		for _, w := range []network{
			{name: "clean"},
			{name: "jitter", jitter: 30 * time.Millisecond},
			{name: "drift", drift: 500},
			{name: "loss", loss: 0.05},
			{name: "loss, jitter", loss: 0.05, jitter: 30 * time.Millisecond},
		} {
			t.Run(name+", "+w.name, func(t *testing.T) {
				d := &markerDecoder{}
				v := newVoice(t, d)
				const n = 60 * 50
				in, lost := w.send(5, n, talk(pause))
				active, silent := 0, 0
				run(v, in, 111*time.Millisecond, in[len(in)-1].at+200*time.Millisecond, func(_ time.Duration, _ []int16, s media.Sound) {
					if s.Active {
						active++
						silent = 0
					} else {
						silent++
					}
				})
				st := v.Stats()
				require.InDelta(t, n/2, active, 30*7, "as long as it talks, and a fade")
				require.Zero(t, st.Late+st.Discarded)
				if w.loss > 0 {
					require.InDelta(t, n/2, len(d.decoded), float64(lost))
					require.LessOrEqual(t, st.Concealed, uint64(lost))
					require.LessOrEqual(t, d.conceals, lost+30*6, "no more than a fade")
					return
				}
				require.Len(t, d.decoded, n/2, "each packet is decoded once, nothing else")
				require.Zero(t, d.conceals, "the decoder has nothing to do in a pause")
				require.Zero(t, st.Concealed+st.Recovered)
			})
		}
	}
}

// After a pause the first syllable is whole and keeps its distance, also from a
// source whose timestamps stood still meanwhile.
func TestSpurtBeginsWhole(t *testing.T) {
	for name, stand := range map[string]bool{"clock runs on": false, "clock stood still": true} {
		t.Run(name, func(t *testing.T) {
			d := &markerDecoder{}
			v := newVoice(t, d)
			var in []arrival
			at := 5 * time.Millisecond
			rng := rand.New(rand.NewPCG(1, 1))
			ts := 0
			spurts := map[int]time.Duration{} // first index: arrival
			const each, count = 60, 30
			for i := range each * count {
				if i%each == 0 {
					at += 700 * time.Millisecond
					if !stand {
						ts += 35 * media.FrameSamples
					}
					spurts[i] = at
				}
				jitter := time.Duration(rng.Float64() * float64(30*time.Millisecond))
				if i%each == 0 {
					spurts[i] += jitter
				}
				in = append(in, arrival{at + jitter, rtpPacket(uint16(i), uint32(ts), payloadOf(i, false))})
				at += media.FrameDuration
				ts += media.FrameSamples
			}
			for i := 1; i < len(in); i++ {
				in[i].at = max(in[i].at, in[i-1].at)
			}
			heard := map[int]time.Duration{}
			was := false
			run(v, in, 0, at+100*time.Millisecond, func(now time.Duration, pcm []int16, s media.Sound) {
				if s.Active && !was {
					pos := posOf(pcm[len(pcm)-1], d.last)
					heard[(pos-frame/2)/frame] = now
				}
				was = s.Active
			})
			require.Len(t, d.decoded, each*count, "nothing is lost")
			for i, arrived := range spurts {
				begun, ok := heard[i]
				require.True(t, ok, "spurt %d begins with its first packet", i/each)
				require.GreaterOrEqual(t, begun, arrived)
				if i > 10*each {
					require.LessOrEqual(t, begun-arrived, 85*time.Millisecond)
				}
			}
			st := v.Stats()
			require.Less(t, st.Underruns, uint64(2*count))
		})
	}
}
