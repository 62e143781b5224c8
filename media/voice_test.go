package media_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/pion/rtp"
	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/media"
)

// tocSILK is SILK wideband mono 20 ms, one frame: its first bit says whether there is a voice in it.
const tocSILK = 9 << 3

// spoken is the next packet of v from an encoder that found a voice, or none.
func (v *voice) spoken(found bool) *rtp.Packet {
	p := v.packet()
	p.Payload[0], p.Payload[1] = tocSILK, 0x00
	if found {
		p.Payload[1] = 0x80
	}
	return p
}

func TestOpusVoice(t *testing.T) {
	tests := map[string]struct {
		payload      []byte
		voice, known bool
	}{
		"nothing":                {nil, false, false},
		"DTX":                    {[]byte{tocSILK}, false, false},
		"SILK 20 ms, voice":      {[]byte{tocSILK, 0x80}, true, true},
		"SILK 20 ms, none":       {[]byte{tocSILK, 0x7F}, false, true},
		"SILK 10 ms, voice":      {[]byte{8 << 3, 0x80}, true, true},
		"SILK 40 ms, second":     {[]byte{10 << 3, 0x40}, true, true},
		"SILK 40 ms, none":       {[]byte{10 << 3, 0x3F}, false, true},
		"SILK 60 ms, third":      {[]byte{11 << 3, 0x20}, true, true},
		"hybrid 20 ms, voice":    {[]byte{15 << 3, 0x80}, true, true},
		"stereo, side only":      {[]byte{tocSILK | 4, 0x20}, true, true},
		"stereo, none":           {[]byte{tocSILK | 4, 0x5F}, false, true},
		"stereo 60 ms, side":     {[]byte{11<<3 | 4, 0x02}, true, true},
		"stereo 60 ms, none":     {[]byte{11<<3 | 4, 0x11}, false, true},
		"CELT":                   {[]byte{toc20, 0x80}, false, false},
		"silence":                {media.SilenceFrame, false, false},
		"several frames, unread": {[]byte{tocSILK | 1, 0x80, 0x80}, false, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			voice, known := media.OpusVoice(tt.payload)
			require.Equal(t, tt.voice, voice)
			require.Equal(t, tt.known, known)
		})
	}
}

// An open microphone sends noise all the time, in which the encoder believes to hear a voice now and then. Whoever
// speaks must be heard from the first syllable on, again after each pause.
func TestNoiseCostsNobodyTheLine(t *testing.T) {
	for name, share := range map[string]float64{"quiet": 0, "some": 0.1, "loud": 0.3} {
		t.Run(name, func(t *testing.T) {
			inStudio(t, func(t *testing.T, s *studio) {
				s.line.Open()
				rng := rand.New(rand.NewPCG(1, 2))
				noisy, agent := s.line.AddSource("noisy", media.SourceOptions{}), s.line.AddSource("agent", media.SourceOptions{})
				vn, va := &voice{ssrc: 1}, &voice{ssrc: 2, n: 100}
				play := func(n int, talks bool) {
					for range n {
						require.NoError(t, noisy.WriteRTP(vn.spoken(rng.Float64() < share)))
						vn.n = 1
						if talks {
							require.NoError(t, agent.WriteRTP(va.spoken(true)))
						}
						s.pass(media.FrameDuration)
					}
				}
				play(50, false)
				require.NotEmpty(t, s.dst.speech(), "noise is heard when there is nothing else")
				for range 5 {
					before, sent := heardB(s.dst.speech()), 30
					va.n = 100
					play(sent, true)
					require.GreaterOrEqual(t, heardB(s.dst.speech())-before, sent-int(share*15), "words of the agent")
					require.NoError(t, agent.WriteRTP(va.dtx()))
					va.pass(980 * time.Millisecond)
					play(50, false)
				}
			})
		})
	}
}

func TestTheSoftBeginningOfAWordIsHeard(t *testing.T) {
	inStudio(t, func(t *testing.T, s *studio) {
		s.line.Open()
		a, b, va, vb := twoVoices(s)
		s.talk(t, 20, []*media.Source{a}, []*voice{va})
		require.NoError(t, a.WriteRTP(va.dtx()))
		s.pass(time.Second)
		for i := range 20 {
			require.NoError(t, b.WriteRTP(vb.spoken(i > 2)))
			s.pass(media.FrameDuration)
		}
		require.Equal(t, 20, heardB(s.dst.speech()))
	})
}

func TestLateBurstsSplitNoWord(t *testing.T) {
	inStudio(t, func(t *testing.T, s *studio) {
		start := time.Now()
		s.line.Open()
		src := s.line.AddSource("a", media.SourceOptions{})
		v := &voice{ssrc: 1}
		for range 20 {
			s.say(t, src, v, 40)
			s.pass(100 * time.Millisecond) // something stalls
			for range 5 {
				require.NoError(t, src.WriteRTP(v.packet()))
			}
		}
		st := s.line.Stats()
		require.Zero(t, st.Underruns, "no silence within words")
		require.EqualValues(t, 20*45, st.Relayed, "no word lost")
		s.requireOnTime(t, start, 3*media.FrameDuration)
	})
}

func TestAPauseBetweenWordsMakesUpForAStall(t *testing.T) {
	inStudio(t, func(t *testing.T, s *studio) {
		start := time.Now()
		s.line.Open()
		src := s.line.AddSource("a", media.SourceOptions{})
		v := &voice{ssrc: 1}
		speak := func(n int, found bool) {
			for range n {
				require.NoError(t, src.WriteRTP(v.spoken(found)))
				s.pass(media.FrameDuration)
			}
		}
		speak(20, true)
		s.pass(340 * time.Millisecond)
		for range 17 {
			require.NoError(t, src.WriteRTP(v.spoken(true)))
		}
		speak(20, true)
		require.EqualValues(t, 57, s.line.Stats().Relayed, "every word")
		s.requireOnTime(t, start, 400*time.Millisecond)
		speak(20, false)
		speak(20, true)
		s.requireOnTime(t, start, 130*time.Millisecond)
	})
}

// One hour with a source whose clock is off by 500 ppm: 1.8 s.
func TestLineKeepsUpWithDriftForAnHour(t *testing.T) {
	for name, off := range map[string]time.Duration{"slow": 10 * time.Microsecond, "fast": -10 * time.Microsecond} {
		t.Run(name, func(t *testing.T) {
			inStudio(t, func(t *testing.T, s *studio) {
				start := time.Now()
				s.line.Open()
				src := s.line.AddSource("a", media.SourceOptions{})
				v := &voice{ssrc: 1}
				words := 0
				for i := range 180_000 {
					found := i%200 < 150
					if found {
						words++
					}
					require.NoError(t, src.WriteRTP(v.spoken(found)))
					time.Sleep(media.FrameDuration + off) // fake time
				}
				st := s.line.Stats()
				require.Zero(t, st.Underruns, "no hole in speech")
				require.LessOrEqual(t, st.Silence, uint64(1))
				heard := 0
				for _, w := range s.dst.all() {
					if w.Payload[1] == 0x80 {
						heard++
					}
				}
				require.Equal(t, words, heard, "every word")
				if off < 0 {
					s.requireOnTime(t, start, 130*time.Millisecond)
				}
			})
		})
	}
}
