package media_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/rtp"
	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/media"
)

// studio is a line in a bubble of fake time.
type studio struct {
	dst   *recorder
	pacer *media.Pacer
	line  *media.Line
}

// inStudio runs f with a line and checks the stream that came out of it.
func inStudio(t *testing.T, f func(t *testing.T, s *studio)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := &studio{dst: &recorder{}, pacer: media.NewPacer(1)}
		s.line = media.NewLine(s.dst, media.LineOptions{Pacer: s.pacer})
		f(t, s)
		s.line.Close()
		s.pacer.Close()
		requireContinuous(t, s.dst.all())
	})
}

// pass lets fake time go by.
func (s *studio) pass(d time.Duration) {
	time.Sleep(d) // fake time
	synctest.Wait()
}

// say plays n packets of v into src, one every 20 ms.
func (s *studio) say(t *testing.T, src *media.Source, v *voice, n int) {
	t.Helper()
	for range n {
		require.NoError(t, src.WriteRTP(v.packet()))
		s.pass(media.FrameDuration)
	}
}

// requireOnTime checks that as much media as time was sent, but for slack.
func (s *studio) requireOnTime(t *testing.T, since time.Time, slack time.Duration) {
	t.Helper()
	got := s.dst.all()
	last := got[len(got)-1]
	ticks := last.Timestamp + last.duration - got[0].Timestamp
	sent := time.Duration(ticks) * time.Millisecond / 48
	require.InDelta(t, time.Since(since), sent, float64(slack), "sent %v in %v", sent, time.Since(since))
}

func TestLineIsShutBeforeOpenAndAfterClose(t *testing.T) {
	inStudio(t, func(t *testing.T, s *studio) {
		src := s.line.AddSource("a", media.SourceOptions{})
		v := &voice{ssrc: 1}
		s.say(t, src, v, 10)
		src.SetMuted(true)
		src.SetMuted(false)
		s.pass(time.Second)
		require.Zero(t, s.dst.count())
		s.line.Open()
		s.line.Open()
		require.Equal(t, 1, s.dst.count(), "the first frame leaves with Open")
		s.say(t, src, v, 5)
		s.line.Close()
		s.line.Close()
		n := s.dst.count()
		s.say(t, src, v, 10)
		s.line.AddSource("late", media.SourceOptions{}).Close()
		s.line.Open()
		s.pass(time.Second)
		require.Equal(t, n, s.dst.count())
		require.EqualValues(t, 20, s.line.Stats().Shut)
	})
}

func TestLineSendsSilenceWithoutAPause(t *testing.T) {
	inStudio(t, func(t *testing.T, s *studio) {
		start := time.Now()
		s.line.Open()
		s.pass(10 * time.Second)
		s.requireOnTime(t, start, 2*media.FrameDuration)
		last := start
		for _, w := range s.dst.all() {
			require.True(t, w.isSilence())
			require.LessOrEqual(t, w.at.Sub(last), 40*time.Millisecond)
			last = w.at
		}
	})
}

func TestLineRelaysOneSourceAtOnce(t *testing.T) {
	inStudio(t, func(t *testing.T, s *studio) {
		start := time.Now()
		s.line.Open()
		s.pass(time.Second)
		src := s.line.AddSource("agent", media.SourceOptions{})
		require.Equal(t, "agent", src.ID())
		v := &voice{ssrc: 1, seq: 65500, ts: 0xFFFFF000}
		for range 100 {
			n := s.dst.count()
			require.NoError(t, src.WriteRTP(v.packet()))
			require.Equal(t, n+1, s.dst.count(), "relayed in the call itself")
			s.pass(media.FrameDuration)
		}
		s.requireOnTime(t, start, 2*media.FrameDuration)
		var markers int
		for i, w := range s.dst.all() {
			if w.Marker {
				markers++
				require.False(t, w.isSilence())
				require.True(t, s.dst.all()[i-1].isSilence())
			}
		}
		require.Equal(t, 1, markers, "the first packet after silence, and no other")
		require.Zero(t, s.line.Stats().Underruns)
	})
}

func TestLineKeepsLossesAndReordering(t *testing.T) {
	inStudio(t, func(t *testing.T, s *studio) {
		s.line.Open()
		src := s.line.AddSource("a", media.SourceOptions{})
		v := &voice{ssrc: 1}
		s.say(t, src, v, 5)
		first := v.packet() // comes after the next one
		second := v.packet()
		s.pass(media.FrameDuration)
		require.NoError(t, src.WriteRTP(second))
		require.NoError(t, src.WriteRTP(first))
		require.NoError(t, src.WriteRTP(first))
		s.pass(media.FrameDuration)
		v.packet() // lost
		s.pass(media.FrameDuration)
		s.say(t, src, v, 5)
		var speech []written
		for _, w := range s.dst.all() {
			if !w.isSilence() {
				speech = append(speech, w)
			}
		}
		require.Len(t, speech, 12)
		base := speech[0]
		for k, place := range []uint16{0, 1, 2, 3, 4, 6, 5, 8, 9, 10, 11, 12} {
			require.Equal(t, base.SequenceNumber+place, speech[k].SequenceNumber)
			require.Equal(t, base.Timestamp+uint32(place)*media.FrameSamples, speech[k].Timestamp)
		}
		require.EqualValues(t, 1, s.line.Stats().Late)
	})
}

func TestLineReplacesDTXBySilence(t *testing.T) {
	inStudio(t, func(t *testing.T, s *studio) {
		start := time.Now()
		s.line.Open()
		src := s.line.AddSource("a", media.SourceOptions{})
		v := &voice{ssrc: 1}
		s.say(t, src, v, 10)
		for range 3 { // libopus refreshes a pause every 400 ms
			require.NoError(t, src.WriteRTP(v.dtx()))
			v.pass(380 * time.Millisecond)
			s.pass(400 * time.Millisecond)
		}
		s.say(t, src, v, 10)
		s.requireOnTime(t, start, 3*media.FrameDuration)
		st := s.line.Stats()
		require.EqualValues(t, 20, st.Relayed)
		require.EqualValues(t, 3, st.Pauses)
		require.InDelta(t, 60, st.Silence, 2)
		require.Zero(t, st.Underruns)
		require.Equal(t, []byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20}, s.dst.speech())
	})
}

func TestLineFillsAfterTheGrace(t *testing.T) {
	inStudio(t, func(t *testing.T, s *studio) {
		s.line.Open()
		src := s.line.AddSource("a", media.SourceOptions{})
		v := &voice{ssrc: 1}
		s.say(t, src, v, 10)
		n := s.dst.count()
		s.pass(39 * time.Millisecond)
		require.Equal(t, n, s.dst.count(), "a late packet is still waited for")
		s.pass(time.Second)
		require.InDelta(t, n+52, s.dst.count(), 3)
		require.EqualValues(t, 1, s.line.Stats().Underruns)
	})
}

func TestLineMakesUpForAnUnannouncedPause(t *testing.T) {
	inStudio(t, func(t *testing.T, s *studio) {
		start := time.Now()
		s.line.Open()
		src := s.line.AddSource("a", media.SourceOptions{})
		v := &voice{ssrc: 1}
		for range 50 {
			s.say(t, src, v, 2)
			v.pass(40 * time.Millisecond)
			s.pass(40 * time.Millisecond)
		}
		s.requireOnTime(t, start, 4*media.FrameDuration)
		require.EqualValues(t, 100, s.line.Stats().Relayed)
	})
}

func TestLineAbsorbsLateBurstsInTheNextPause(t *testing.T) {
	inStudio(t, func(t *testing.T, s *studio) {
		start := time.Now()
		s.line.Open()
		src := s.line.AddSource("a", media.SourceOptions{})
		v := &voice{ssrc: 1}
		s.say(t, src, v, 10)
		s.pass(100 * time.Millisecond)
		for range 6 {
			require.NoError(t, src.WriteRTP(v.packet()))
		}
		s.say(t, src, v, 10)
		require.Len(t, s.dst.speech(), 26, "nothing of it is lost")
		require.NoError(t, src.WriteRTP(v.dtx()))
		s.pass(time.Second)
		s.requireOnTime(t, start, 2*media.FrameDuration)
	})
}

func TestLineNeverRunsFarAhead(t *testing.T) {
	inStudio(t, func(t *testing.T, s *studio) {
		start := time.Now()
		s.line.Open()
		src := s.line.AddSource("a", media.SourceOptions{})
		v := &voice{ssrc: 1}
		for range 100 { // a source that plays a file as fast as it can
			require.NoError(t, src.WriteRTP(v.packet()))
		}
		s.requireOnTime(t, start, 440*time.Millisecond)
		require.InDelta(t, 80, s.line.Stats().Ahead, 2)
	})
}

func TestLineDropsDigitalSilenceBeforeSpeech(t *testing.T) {
	inStudio(t, func(t *testing.T, s *studio) {
		s.line.Open()
		src := s.line.AddSource("a", media.SourceOptions{})
		v := &voice{ssrc: 1}
		for range 6 {
			require.NoError(t, src.WriteRTP(v.packet()))
		}
		for range 4 {
			quiet := v.packet()
			quiet.Payload = media.SilenceFrame
			require.NoError(t, src.WriteRTP(quiet))
		}
		require.EqualValues(t, 4, s.line.Stats().Ahead)
		require.Len(t, s.dst.speech(), 6)
	})
}

func TestLineFollowsASlowClock(t *testing.T) {
	inStudio(t, func(t *testing.T, s *studio) {
		s.line.Open()
		src := s.line.AddSource("a", media.SourceOptions{})
		v := &voice{ssrc: 1}
		for range 20000 { // 400 s at -500 ppm: 200 ms
			require.NoError(t, src.WriteRTP(v.packet()))
			s.pass(20*time.Millisecond + 10*time.Microsecond)
		}
		st := s.line.Stats()
		require.Zero(t, st.Underruns, "no hole in speech")
		require.LessOrEqual(t, st.Silence, uint64(1))
		require.NotZero(t, st.Slips)
	})
}

func TestLineFollowsAFastClock(t *testing.T) {
	inStudio(t, func(t *testing.T, s *studio) {
		start := time.Now()
		s.line.Open()
		src := s.line.AddSource("a", media.SourceOptions{})
		v := &voice{ssrc: 1}
		for range 30000 { // 600 s at +500 ppm: 300 ms
			require.NoError(t, src.WriteRTP(v.packet()))
			s.pass(20*time.Millisecond - 10*time.Microsecond)
		}
		require.Less(t, s.line.Stats().Ahead, uint64(15))
		s.requireOnTime(t, start, 240*time.Millisecond)
	})
}

func TestLineRelaysOtherPacketTimes(t *testing.T) {
	for name, tt := range map[string]struct {
		toc   byte
		ticks uint32
	}{
		"2.5 ms": {28 << 3, 120}, "10 ms": {30 << 3, 480}, "40 ms": {10 << 3, 1920}, "60 ms": {11 << 3, 2880},
	} {
		t.Run(name, func(t *testing.T) {
			inStudio(t, func(t *testing.T, s *studio) {
				start := time.Now()
				s.line.Open()
				src := s.line.AddSource("a", media.SourceOptions{})
				v := &voice{ssrc: 1}
				for range 200 {
					p := v.packet()
					p.Payload[0] = tt.toc
					v.ts += tt.ticks - media.FrameSamples
					require.NoError(t, src.WriteRTP(p))
					s.pass(time.Duration(tt.ticks) * time.Millisecond / 48)
				}
				require.EqualValues(t, 200, s.line.Stats().Relayed)
				require.LessOrEqual(t, s.line.Stats().Silence, uint64(2))
				s.requireOnTime(t, start, 100*time.Millisecond)
			})
		})
	}
}

func TestLineRefusesGarbage(t *testing.T) {
	inStudio(t, func(t *testing.T, s *studio) {
		s.line.Open()
		src := s.line.AddSource("a", media.SourceOptions{})
		p := (&voice{ssrc: 1}).packet()
		p.Payload = []byte{toc20 | 3, 0, 1, 2}
		require.NoError(t, src.WriteRTP(p))
		require.EqualValues(t, 1, s.line.Stats().Garbage)
		require.Empty(t, s.dst.speech())
	})
}

func TestLineGoesOnWhenTheDestinationRefuses(t *testing.T) {
	inStudio(t, func(t *testing.T, s *studio) {
		s.dst.err = errors.New("refused")
		s.line.Open()
		src := s.line.AddSource("a", media.SourceOptions{})
		require.ErrorIs(t, src.WriteRTP((&voice{ssrc: 1}).packet()), s.dst.err)
		s.pass(time.Second)
		st := s.line.Stats()
		require.Equal(t, st.Relayed+st.Silence, st.WriteErrors)
	})
}

func TestLineFollowsASourceThatStartsAnew(t *testing.T) {
	inStudio(t, func(t *testing.T, s *studio) {
		s.line.Open()
		src := s.line.AddSource("a", media.SourceOptions{})
		s.say(t, src, &voice{ssrc: 1, seq: 1, ts: 1}, 10)
		s.say(t, src, &voice{ssrc: 2, seq: 9000, ts: 1 << 31}, 10)
		same := &voice{ssrc: 2, seq: 40000, ts: 1 << 31}
		s.say(t, src, same, 10)
		require.EqualValues(t, 29, s.line.Stats().Relayed, "a jump is believed after one packet")
	})
}

func TestLineStretchesNoGapBeyondRealTime(t *testing.T) {
	inStudio(t, func(t *testing.T, s *studio) {
		start := time.Now()
		s.line.Open()
		src := s.line.AddSource("a", media.SourceOptions{})
		v := &voice{ssrc: 1}
		s.say(t, src, v, 5)
		v.seq += 1000 // as if 20 s were lost, in no time
		v.ts += 1000 * media.FrameSamples
		s.say(t, src, v, 5)
		s.requireOnTime(t, start, 3*media.FrameDuration)
		require.EqualValues(t, 10, s.line.Stats().Relayed)
	})
}

type writerFunc func(*rtp.Packet) error

func (f writerFunc) WriteRTP(p *rtp.Packet) error { return f(p) }
