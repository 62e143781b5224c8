package media_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/media"
)

// talk plays n packets of each voice side by side, one of each every 20 ms. A
// negative mark in the result's place would be hard to read, so voices number
// from 1 and from 101.
func (s *studio) talk(t *testing.T, n int, sources []*media.Source, voices []*voice) {
	t.Helper()
	for range n {
		for i, src := range sources {
			require.NoError(t, src.WriteRTP(voices[i].packet()))
		}
		s.pass(media.FrameDuration)
	}
}

func twoVoices(s *studio) (a, b *media.Source, va, vb *voice) {
	return s.line.AddSource("a", media.SourceOptions{}), s.line.AddSource("b", media.SourceOptions{}), &voice{ssrc: 1}, &voice{ssrc: 2, seq: 7000, ts: 1 << 30, n: 100}
}

func heardB(marks []byte) (n int) {
	for _, m := range marks {
		if m > 100 {
			n++
		}
	}
	return n
}

func TestABackgroundSourceDoesNotSteal(t *testing.T) {
	inStudio(t, func(t *testing.T, s *studio) {
		s.line.Open()
		a, b, va, vb := twoVoices(s)
		s.talk(t, 60, []*media.Source{a, b}, []*voice{va, vb})
		require.Len(t, s.dst.speech(), 60)
		require.Zero(t, heardB(s.dst.speech()))
		require.EqualValues(t, 60, s.line.Stats().Unheard)
	})
}

func TestAWordPauseKeepsTheLine(t *testing.T) {
	inStudio(t, func(t *testing.T, s *studio) {
		s.line.Open()
		a, b, va, vb := twoVoices(s)
		s.talk(t, 20, []*media.Source{a, b}, []*voice{va, vb})
		require.NoError(t, a.WriteRTP(va.dtx()))
		va.pass(160 * time.Millisecond)
		s.talk(t, 8, []*media.Source{b}, []*voice{vb})
		s.talk(t, 20, []*media.Source{a, b}, []*voice{va, vb})
		require.Zero(t, heardB(s.dst.speech()))
		require.Len(t, s.dst.speech(), 40)
	})
}

func TestTheNextSourceIsTakenWhenTheFirstStops(t *testing.T) {
	tests := map[string]struct {
		stop  func(t *testing.T, a *media.Source, v *voice)
		after int // packets of b that are not heard, at most
	}{
		"leaves":      {func(_ *testing.T, a *media.Source, _ *voice) { a.Close(); a.Close() }, 0},
		"is muted":    {func(_ *testing.T, a *media.Source, _ *voice) { a.SetMuted(true) }, 0},
		"just stops":  {func(*testing.T, *media.Source, *voice) {}, 20},
		"sends DTX":   {func(t *testing.T, a *media.Source, v *voice) { t.Helper(); require.NoError(t, a.WriteRTP(v.dtx())) }, 10},
		"by the room": {func(_ *testing.T, a *media.Source, _ *voice) { a.SetSpeaking(false) }, 20},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			inStudio(t, func(t *testing.T, s *studio) {
				s.line.Open()
				a, b, va, vb := twoVoices(s)
				a.SetSpeaking(true)
				s.talk(t, 50, []*media.Source{a, b}, []*voice{va, vb})
				vb.n = 100
				tt.stop(t, a, va)
				s.talk(t, 50, []*media.Source{b}, []*voice{vb})
				require.GreaterOrEqual(t, heardB(s.dst.speech()), 50-tt.after)
				require.Equal(t, byte(150), s.dst.speech()[len(s.dst.speech())-1])
			})
		})
	}
}

func TestANewSpeakerIsTakenWithinOnePacketOfSilence(t *testing.T) {
	inStudio(t, func(t *testing.T, s *studio) {
		s.line.Open()
		a, b, va, vb := twoVoices(s)
		s.talk(t, 10, []*media.Source{a}, []*voice{va})
		require.NoError(t, a.WriteRTP(va.dtx()))
		s.pass(time.Second)
		s.talk(t, 5, []*media.Source{b}, []*voice{vb})
		require.Equal(t, 5, heardB(s.dst.speech()))
	})
}

func TestTheRoomsHintDecidesBetweenTwoThatSend(t *testing.T) {
	inStudio(t, func(t *testing.T, s *studio) {
		s.line.Open()
		a, b, va, vb := twoVoices(s)
		both, voices := []*media.Source{a, b}, []*voice{va, vb}
		s.talk(t, 10, both, voices)
		b.SetSpeaking(true)
		s.talk(t, 5, both, voices)
		require.Zero(t, heardB(s.dst.speech()), "a hint may be older than the switch")
		s.talk(t, 30, both, voices)
		require.NotZero(t, heardB(s.dst.speech()))
		n := heardB(s.dst.speech())
		a.SetSpeaking(true)
		vb.n = 100
		s.talk(t, 40, both, voices)
		require.Equal(t, n+40, heardB(s.dst.speech()), "who speaks keeps the line")
	})
}

func TestDigitalSilenceIsNotSpeech(t *testing.T) {
	inStudio(t, func(t *testing.T, s *studio) {
		s.line.Open()
		a, b, va, vb := twoVoices(s)
		for range 20 {
			p := va.packet()
			p.Payload = media.SilenceFrame
			require.NoError(t, a.WriteRTP(p))
			require.NoError(t, b.WriteRTP(vb.packet()))
			s.pass(media.FrameDuration)
		}
		require.Equal(t, 20, heardB(s.dst.speech()), "a source of silence does not take the line")
		require.NoError(t, b.WriteRTP(vb.dtx()))
		s.pass(500 * time.Millisecond)
		require.NoError(t, a.WriteRTP(va.packet()))
		synctest.Wait()
		require.Less(t, s.dst.speech()[len(s.dst.speech())-1], byte(100))
	})
}

func TestStragglersOfAFormerSourceAreDropped(t *testing.T) {
	inStudio(t, func(t *testing.T, s *studio) {
		s.line.Open()
		a, b, va, vb := twoVoices(s)
		s.talk(t, 5, []*media.Source{a}, []*voice{va})
		straggler := va.packet()
		s.talk(t, 1, []*media.Source{a}, []*voice{va})
		a.SetMuted(true)
		s.talk(t, 5, []*media.Source{b}, []*voice{vb})
		a.SetMuted(false)
		require.NoError(t, a.WriteRTP(straggler))
		b.Close()
		s.talk(t, 3, []*media.Source{a}, []*voice{va})
		require.NoError(t, a.WriteRTP(straggler))
		s.talk(t, 3, []*media.Source{a}, []*voice{va})
		require.NotContains(t, s.dst.speech(), byte(6))
	})
}
