package media_test

import (
	"math/rand/v2"
	"reflect"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/media"
)

func TestTwoWhoSpeakAtOnceAreBothHeard(t *testing.T) {
	for name, silk := range map[string]bool{"CELT": false, "SILK": true} {
		t.Run(name, func(t *testing.T) {
			inMixingStudio(t, media.LineOptions{}, func(t *testing.T, s *studio, codecs *fakeCodecs) {
				a, b := newSpeaker(s, 0), newSpeaker(s, 1)
				if silk {
					a.silk(true)
					b.silk(true)
				}
				s.together(t, 30, a)
				require.Zero(t, s.line.Stats().Mixed)
				s.together(t, 30, a, b)
				require.EqualValues(t, 1, s.line.Stats().ToMix)
				require.Equal(t, 2, codecs.voices)
				b.pause(t)
				s.together(t, 100, a)
				st := s.line.Stats()
				require.EqualValues(t, 1, st.ToRelay, "back to relay")
				require.Zero(t, codecs.voices)
				require.Zero(t, codecs.encoders)
				mixed := st.Mixed
				s.together(t, 20, a)
				require.Equal(t, mixed, s.line.Stats().Mixed)
				require.Equal(t, a.sent, s.heardOf(0), "each of the first one's packets, once")
				require.Equal(t, b.sent, s.heardOf(1), "each of the second one's packets, from the first syllable on")
				require.InDelta(t, float64(30*media.FrameDuration+1200*time.Millisecond), float64(st.MixTime), 4e8)
			})
		})
	}
}

func TestHandOver(t *testing.T) {
	t.Run("overlapping", func(t *testing.T) {
		inMixingStudio(t, media.LineOptions{}, func(t *testing.T, s *studio, _ *fakeCodecs) {
			a, b := newSpeaker(s, 0), newSpeaker(s, 1)
			s.together(t, 40, a)
			s.together(t, 10, a, b)
			a.Close()
			s.together(t, 100, b)
			require.Equal(t, b.sent, s.heardOf(1))
			heard := s.heardOf(0)
			require.GreaterOrEqual(t, len(heard), len(a.sent)-3)
			require.EqualValues(t, 1, s.line.Stats().ToRelay)
		})
	})
	t.Run("after a pause", func(t *testing.T) {
		inMixingStudio(t, media.LineOptions{}, func(t *testing.T, s *studio, _ *fakeCodecs) {
			a, b := newSpeaker(s, 0), newSpeaker(s, 1)
			for range 5 {
				s.together(t, 40, a)
				a.pause(t)
				a.quiet(980 * time.Millisecond)
				s.pass(140 * time.Millisecond)
				s.together(t, 40, b)
				s.pass(220 * time.Millisecond) // just stops
			}
			require.Equal(t, a.sent, s.heardOf(0))
			require.Equal(t, b.sent, s.heardOf(1))
			require.Zero(t, s.line.Stats().Mixed, "no mix is needed for that")
		})
	})
	t.Run("at once", func(t *testing.T) {
		inMixingStudio(t, media.LineOptions{}, func(t *testing.T, s *studio, _ *fakeCodecs) {
			a, b := newSpeaker(s, 0), newSpeaker(s, 1)
			s.together(t, 40, a)
			s.together(t, 100, b)
			require.Equal(t, a.sent, s.heardOf(0))
			require.Equal(t, b.sent, s.heardOf(1))
		})
	})
}

func TestMusicUnderAnAgent(t *testing.T) {
	inMixingStudio(t, media.LineOptions{}, func(t *testing.T, s *studio, _ *fakeCodecs) {
		music, agent := newSpeaker(s, 0), newSpeaker(s, 1)
		agent.silk(true)
		s.together(t, 30, music)
		for range 4 {
			s.together(t, 25, music, agent)
			agent.pause(t)
			agent.quiet(2980 * time.Millisecond)
			s.together(t, 150, music)
		}
		require.Equal(t, music.sent, s.heardOf(0))
		require.Equal(t, agent.sent, s.heardOf(1))
		require.EqualValues(t, 4, s.line.Stats().ToMix)
		require.EqualValues(t, 4, s.line.Stats().ToRelay)
	})
}

// Ten listeners whose microphones are open cost nothing, and hide nobody's word.
func TestOpenMicrophones(t *testing.T) {
	inMixingStudio(t, media.LineOptions{}, func(t *testing.T, s *studio, codecs *fakeCodecs) {
		agent := newSpeaker(s, 0)
		var all []*speaker
		for i := range byte(10) {
			m := newSpeaker(s, i+1)
			m.silk(false)
			all = append(all, m)
		}
		s.together(t, 50, all...)
		agent.silk(false)
		s.together(t, 1, append(all, agent)...) // softly
		agent.silk(true)
		agent.sent = nil
		s.together(t, 50, append(all, agent)...)
		require.Equal(t, agent.sent, s.heardOf(0))
		require.Zero(t, codecs.made, "noise is not worth a decoder")
	})
}

// With encoders that believe to find voice in noise now and then, a mix comes about; it stays small.
func TestLoudMicrophonesStayWithinTheLimit(t *testing.T) {
	const backlog = 4
	inMixingStudio(t, media.LineOptions{MaxVoices: 4}, func(t *testing.T, s *studio, codecs *fakeCodecs) {
		agent := newSpeaker(s, 0)
		var all []*speaker
		for i := range byte(20) { // no encoder judges these
			m := newSpeaker(s, i+1)
			m.level = 60
			all = append(all, m)
		}
		s.together(t, 100, all...)
		require.Equal(t, 4, s.line.Stats().VoicesMax)
		agent.silk(true)
		s.together(t, 50, append(all, agent)...)
		heard := s.heardOf(0)
		require.GreaterOrEqual(t, len(heard), len(agent.sent)-backlog, "the beginning waited for the line's belief")
		require.Equal(t, agent.sent[:len(heard)], heard)
		require.Equal(t, 4, s.line.Stats().VoicesMax)
		require.Less(t, codecs.made, 40)
	})
}

func TestManySources(t *testing.T) {
	for _, n := range []int{2, 3, 10, 100} {
		inMixingStudio(t, media.LineOptions{MaxVoices: 100}, func(t *testing.T, s *studio, _ *fakeCodecs) {
			var all []*speaker
			for i := range byte(n) {
				all = append(all, newSpeaker(s, i))
			}
			s.together(t, 25, all...)
			s.pass(100 * time.Millisecond)
			require.Equal(t, n, s.line.Stats().VoicesMax)
			for i, sp := range all {
				require.Equal(t, sp.sent, s.heardOf(byte(i)), "speaker %d of %d", i, n)
			}
		})
	}
}

func TestWhatCannotBeRelayedIsMixed(t *testing.T) {
	for name, tt := range map[string]struct {
		o     media.LineOptions
		toc   byte
		ticks uint32
		heavy int
	}{
		"stereo":    {toc: toc20 | 4, ticks: 960},
		"10 ms":     {toc: 30 << 3, ticks: 480},
		"60 ms":     {toc: 11 << 3, ticks: 2880},
		"transcode": {o: media.LineOptions{Mode: media.ModeTranscode}, toc: toc20, ticks: 960},
		"louder":    {o: media.LineOptions{GainDB: 3}, toc: toc20, ticks: 960},
	} {
		t.Run(name, func(t *testing.T) {
			inMixingStudio(t, tt.o, func(t *testing.T, s *studio, _ *fakeCodecs) {
				a := newSpeaker(s, 0)
				a.toc = tt.toc
				for range 60 {
					a.say(t)
					a.ts += tt.ticks - media.FrameSamples
					s.pass(time.Duration(tt.ticks) * time.Millisecond / 48)
				}
				st := s.line.Stats()
				require.Zero(t, st.Relayed)
				require.NotZero(t, st.Mixed)
				require.EqualValues(t, 60, st.Voiced)
				a.toc, a.ts = toc20, a.ts+tt.ticks-media.FrameSamples
				s.together(t, 200, a)
				if reflect.ValueOf(tt.o).IsZero() {
					require.EqualValues(t, 1, s.line.Stats().ToRelay, "relayed once it can be")
				} else {
					require.Zero(t, s.line.Stats().Relayed)
				}
			})
		})
	}
}

func TestASourceAboveTheBitrateIsMixed(t *testing.T) {
	inMixingStudio(t, media.LineOptions{MaxRelayBitrate: 32000}, func(t *testing.T, s *studio, _ *fakeCodecs) {
		a := newSpeaker(s, 0)
		say := func(n, bytes int) {
			for range n {
				p := a.next()
				mark := p.Payload[5]
				a.sent = append(a.sent, int(mark))
				p.Payload = append(p.Payload[:5], make([]byte, bytes-5)...)
				p.Payload[bytes-1] = mark
				require.NoError(t, a.WriteRTP(p))
				s.pass(media.FrameDuration)
			}
		}
		say(100, 79)
		require.Zero(t, s.line.Stats().Mixed)
		say(100, 90)
		require.EqualValues(t, 1, s.line.Stats().ToMix)
		say(400, 76)
		require.EqualValues(t, 0, s.line.Stats().ToRelay, "not while it is near the limit")
		say(400, 60)
		require.EqualValues(t, 1, s.line.Stats().ToRelay)
		require.EqualValues(t, 1, s.line.Stats().ToMix)
		require.Equal(t, a.sent, s.heardOf(0))
	})
}

func TestNothingIsEncodedInSilence(t *testing.T) {
	inMixingStudio(t, media.LineOptions{Mode: media.ModeTranscode}, func(t *testing.T, s *studio, codecs *fakeCodecs) {
		a := newSpeaker(s, 0)
		s.together(t, 50, a)
		a.pause(t)
		s.pass(150 * time.Millisecond)
		n := codecs.encoded
		s.pass(500 * time.Millisecond)
		require.Equal(t, n, codecs.encoded)
		require.Equal(t, 1, codecs.voices, "the source may go on at any time")
		a.quiet(650 * time.Millisecond)
		s.together(t, 10, a)
		require.Equal(t, n+12, codecs.encoded, "two frames warm the encoder")
		a.pause(t)
		s.pass(3 * time.Second)
		require.Zero(t, codecs.voices)
		require.Equal(t, a.sent, s.heardOf(0))
		require.EqualValues(t, 1, s.line.Stats().ToSilence)
	})
}

func TestLeavingAMix(t *testing.T) {
	for name, leave := range map[string]func(sp *speaker){
		"muted":  func(sp *speaker) { sp.SetMuted(true) },
		"closed": func(sp *speaker) { sp.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			inMixingStudio(t, media.LineOptions{}, func(t *testing.T, s *studio, codecs *fakeCodecs) {
				a, b := newSpeaker(s, 0), newSpeaker(s, 1)
				s.together(t, 20, a, b)
				leave(b)
				n := len(s.heardOf(1))
				s.together(t, 20, a, b)
				require.LessOrEqual(t, len(s.heardOf(1)), n+1)
				require.LessOrEqual(t, codecs.voices, 1)
				leave(a)
				s.pass(time.Second)
				require.Zero(t, codecs.voices)
				if name == "muted" {
					b.SetMuted(false)
					b.sent = nil
					n = len(s.heardOf(1))
					s.together(t, 20, b)
					require.Equal(t, b.sent, s.heardOf(1)[n:])
				}
			})
		})
	}
}

func TestAStreamThatStartsAnewInAMix(t *testing.T) {
	inMixingStudio(t, media.LineOptions{}, func(t *testing.T, s *studio, codecs *fakeCodecs) {
		a, b := newSpeaker(s, 0), newSpeaker(s, 1)
		s.together(t, 20, a, b)
		b.ssrc, b.seq, b.ts = 7777, 1, 1
		s.together(t, 20, a, b)
		s.pass(60 * time.Millisecond)
		require.Equal(t, 2, codecs.voices)
		require.Equal(t, a.sent, s.heardOf(0))
		require.Equal(t, b.sent, s.heardOf(1))
	})
}

func TestWithoutCodecsToBeHadTheLineRelays(t *testing.T) {
	for name, o := range map[string]media.LineOptions{"auto": {}, "transcode": {Mode: media.ModeTranscode}} {
		t.Run(name, func(t *testing.T) {
			inMixingStudio(t, o, func(t *testing.T, s *studio, codecs *fakeCodecs) {
				codecs.failVoices = true
				a, b := newSpeaker(s, 0), newSpeaker(s, 1)
				s.together(t, 50, a, b)
				require.Equal(t, a.sent, s.heardOf(0))
				require.NotZero(t, s.line.Stats().CodecErrors)
				codecs.failVoices, codecs.failEncoders = false, true
				s.together(t, 100, a, b)
				require.Equal(t, a.sent, s.heardOf(0))
				codecs.failEncoders = false
				s.together(t, 100, a, b)
				require.NotZero(t, s.line.Stats().Mixed)
			})
		})
	}
}

func TestExpectedLossReachesTheEncoder(t *testing.T) {
	inMixingStudio(t, media.LineOptions{ExpectedLoss: 3}, func(t *testing.T, s *studio, codecs *fakeCodecs) {
		a, b := newSpeaker(s, 0), newSpeaker(s, 1)
		s.together(t, 20, a, b)
		require.Equal(t, 3, codecs.loss)
		s.line.SetExpectedLoss(12)
		require.Equal(t, 12, codecs.loss)
	})
}

func TestModeChangesDuringACall(t *testing.T) {
	inMixingStudio(t, media.LineOptions{}, func(t *testing.T, s *studio, _ *fakeCodecs) {
		a := newSpeaker(s, 0)
		s.together(t, 30, a)
		s.line.SetMode(media.ModeTranscode)
		s.together(t, 100, a)
		require.EqualValues(t, 30, s.line.Stats().Relayed)
		s.line.SetMode(media.ModeAuto)
		s.together(t, 100, a)
		require.EqualValues(t, 1, s.line.Stats().ToRelay)
		require.Equal(t, a.sent, s.heardOf(0))
	})
}

// Sources come, speak, are muted and go, each by itself, while others look at the line and change it, until it closes
// under them.
func TestMixUnderConcurrentUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		codecs := &fakeCodecs{}
		s := &studio{dst: &recorder{}, pacer: media.NewPacer(2)}
		defer s.pacer.Close()
		s.line = media.NewLine(s.dst, media.LineOptions{Pacer: s.pacer, Codecs: codecs, MaxVoices: 3})
		s.line.Open()
		var wg sync.WaitGroup
		for i := range byte(6) {
			sp := newSpeaker(s, i)
			wg.Go(func() {
				rng := rand.New(rand.NewPCG(uint64(i), 5))
				for n := range 400 {
					_ = sp.WriteRTP(sp.next())
					time.Sleep(time.Duration(rng.IntN(40)) * time.Millisecond) // fake time
					switch rng.IntN(50) {
					case 0:
						sp.SetMuted(n%2 == 0)
					case 1:
						sp.SetSpeaking(n%2 == 0)
					case 2:
						s.line.SetMode(media.Mode(n % 2))
					case 3:
						_ = s.line.Stats()
					case 4:
						sp.Close()
						sp.Source = s.line.AddSource("again", media.SourceOptions{})
					}
				}
			})
		}
		s.pass(6 * time.Second)
		s.line.Close()
		n := s.dst.count()
		wg.Wait()
		require.Equal(t, n, s.dst.count(), "written after Close")
		require.Zero(t, codecs.voices)
		require.Zero(t, codecs.encoders)
		st := s.line.Stats()
		require.EqualValues(t, n, st.Relayed+st.Silence+st.Mixed)
		require.InDelta(t, 6, (st.RelayTime + st.MixTime + st.SilenceTime).Seconds(), 0.1)
		requireContinuous(t, s.dst.all())
	})
}
