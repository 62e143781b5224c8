package media_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/media"
	"github.com/livekit-connector/livekit-connector/media/opus"
	"github.com/livekit-connector/livekit-connector/pkg/fakemeta/hearing"
)

// hum is what an open microphone in a quiet room hears.
func hum(rng *rand.Rand, d time.Duration, amplitude float64) []int16 {
	pcm := make([]int16, int(d.Seconds()*hallRate)/hallFrame*hallFrame)
	for i := range pcm {
		pcm[i] = int16(amplitude * rng.NormFloat64())
	}
	return pcm
}

// wander is the delay of packets between machines that are busy: a few ms, and now and
// then more.
func wander(rng *rand.Rand) func() time.Duration {
	return func() time.Duration {
		d := time.Duration(rng.Int64N(int64(3 * time.Millisecond)))
		if rng.IntN(40) == 0 {
			d += time.Duration(rng.Int64N(int64(10 * time.Millisecond)))
		}
		return d
	}
}

// Somebody's microphone is open while another one, who is silent between words,
// speaks: what is said is heard from the first syllable on, and in its time.
func TestWordsBesideAnOpenMicrophone(t *testing.T) {
	said := speechOf(t, "agent.wav")[:3*hallRate]
	for _, amplitude := range []float64{30, 100, 300} {
		for seed := range uint64(8) {
			t.Run(fmt.Sprintf("%v, %d", amplitude, seed), func(t *testing.T) {
				inHall(t, media.LineOptions{}, func(t *testing.T, h *hall) {
					rng := rand.New(rand.NewPCG(seed, uint64(amplitude)))
					microphone := h.talker(t, "microphone", hum(rng, 14*time.Second, amplitude), false)
					agent := h.talker(t, "agent", nil, false)
					var err error
					agent.enc, err = opus.NewEncoder(opus.EncoderOptions{SampleRate: hallRate, Bitrate: 32000, Complexity: 5})
					require.NoError(t, err)
					microphone.jitter, agent.jitter = wander(rng), wander(rng)
					offset := time.Duration(rng.IntN(20)) * time.Millisecond
					h.pass(100 * time.Millisecond)
					for frame := range 14 * 50 {
						if frame == 100 || frame == 350 {
							agent.pcm, agent.at = said, 0
						}
						microphone.say(t)
						for ms := range 20 {
							if time.Duration(ms)*time.Millisecond == offset {
								agent.say(t)
							}
							microphone.arrive(t)
							agent.arrive(t)
							h.pass(time.Millisecond)
						}
					}
					heard := h.heard(t)
					for _, from := range []int{2, 7} {
						part := heard[from*hallRate : (from+4)*hallRate]
						v := hearing.Compare(said, part, hallRate)
						require.True(t, v.OK(), "%v", v)
						require.LessOrEqual(t, v.Moved, 100*time.Millisecond)
					}
				})
			})
		}
	}
}

// Two begin to speak at once, one of whom is hardly heard: the other's first syllable is
// whole, and so is what follows.
func TestTwoBeginAtOnce(t *testing.T) {
	said := speechOf(t, "agent.wav")[:3*hallRate]
	for _, lowDelay := range []bool{false, true} {
		for seed := range uint64(6) {
			t.Run(fmt.Sprintf("%v, %d", lowDelay, seed), func(t *testing.T) {
				inHall(t, media.LineOptions{}, func(t *testing.T, h *hall) {
					rng := rand.New(rand.NewPCG(seed, 0))
					agent, other := h.talker(t, "agent", nil, lowDelay), h.talker(t, "other", nil, true)
					agent.jitter, other.jitter = wander(rng), wander(rng)
					offset := rng.IntN(20)
					h.pass(100 * time.Millisecond)
					const first, second = 10, 250
					for frame := range 450 {
						switch frame {
						case first, second:
							agent.pcm, agent.at = said, 0
							other.pcm, other.at = beep(3600, 60, 2500*time.Millisecond), 0
							if frame == second {
								other.at = -rng.IntN(3) * hallFrame
							}
						}
						agent.say(t)
						for ms := range 20 {
							if ms == offset {
								other.say(t)
							}
							agent.arrive(t)
							other.arrive(t)
							h.pass(time.Millisecond)
						}
					}
					heard := h.heard(t)
					for _, frame := range []int{first, second} {
						part := heard[frame*hallFrame : frame*hallFrame+4*hallRate]
						v := hearing.Compare(said, part, hallRate)
						require.True(t, v.OK(), "%v", v)
						require.LessOrEqual(t, v.Moved, 100*time.Millisecond)
						require.LessOrEqual(t, v.Lag, 250*time.Millisecond)
					}
				})
			})
		}
	}
}

// One that began to speak a moment ago, and is not believed to talk yet, does not lose the
// line to another who begins as well: the two are mixed, and no word is broken up.
func TestWhoBeginsKeepsTheLine(t *testing.T) {
	inMixingStudio(t, media.LineOptions{}, func(t *testing.T, s *studio, _ *fakeCodecs) {
		agent, other := newSpeaker(s, 0), newSpeaker(s, 1)
		other.silk(true)
		s.pass(time.Second)
		for packet := range 10 {
			agent.silk(packet != 2) // an encoder misses some of a word
			s.together(t, 1, agent, other)
		}
		s.pass(200 * time.Millisecond)
		st := s.line.Stats()
		require.Zero(t, st.Switches)
		require.EqualValues(t, 1, st.ToMix)
		require.Equal(t, agent.sent, s.heardOf(0))
		require.Equal(t, other.sent, s.heardOf(1))
	})
}
