package media_test

import (
	"encoding/hex"
	"math"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/media"
	"github.com/livekit-connector/livekit-connector/pkg/fakemeta/hearing"
)

func keysOf(t *testing.T, text string) []media.Key {
	t.Helper()
	keys, err := media.ParseKeys(text)
	require.NoError(t, err)
	return keys
}

func TestKeysAreRead(t *testing.T) {
	keys := keysOf(t, "0123456789*#ABCDabcd")
	require.EqualValues(t, 10, keys[10], "*")
	require.EqualValues(t, 11, keys[11], "#")
	require.Equal(t, keys[12:16], keys[16:])
	var text string
	for _, k := range keys {
		text += k.String()
	}
	require.Equal(t, "0123456789*#ABCDABCD", text)
	for _, wrong := range []string{"", "w", "1 2", "1,2", "é", "12x"} {
		_, err := media.ParseKeys(wrong)
		require.ErrorIs(t, err, media.ErrNoKey)
		require.NotContains(t, err.Error(), "12", "what is keyed in may be a secret")
	}
	require.False(t, media.Key(16).Valid())
	require.Equal(t, "?", media.Key(16).String())
}

// requireKeyed checks a stream with events in it: numbers go up by one, and time goes on without a hole, of which an
// event takes 100 ms. It returns the audio and the events' packets.
func requireKeyed(t *testing.T, packets []written, clock uint32) (audio, events []written) {
	t.Helper()
	first := packets[0]
	end := first.Timestamp
	for i, w := range packets {
		require.Equal(t, first.SSRC, w.SSRC)
		require.Equal(t, first.SequenceNumber+uint16(i), w.SequenceNumber, "packet %d", i)
		if w.PayloadType != media.EventPayloadType {
			require.Equal(t, end, w.Timestamp, "packet %d", i)
			end += clock / 50
			audio = append(audio, w)
			continue
		}
		e, rest, ok := media.ParseKeyEvent(w.Payload)
		require.True(t, ok)
		require.Empty(t, rest)
		if w.Marker {
			require.Equal(t, end, w.Timestamp, "an event begins where the audio stops")
			end += clock / 10
		}
		require.LessOrEqual(t, w.Timestamp+uint32(e.Duration)*(clock/media.EventRate), end)
		events = append(events, w)
	}
	return audio, events
}

// The packets of a key as RFC 4733 wants them, in 8 kHz whatever the clock of the audio is.
func TestAKeyAsEvents(t *testing.T) {
	for codec, clock := range map[media.Codec]uint32{media.CodecOpus: 48000, media.CodecPCMU: 8000} {
		t.Run(codec.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &studio{dst: &recorder{}, pacer: media.NewPacer(1)}
				defer s.pacer.Close()
				s.line = media.NewLine(s.dst, media.LineOptions{Pacer: s.pacer, Codecs: &fakeCodecs{}, Codec: codec})
				media.SetNumbers(s.line, 65_530, math.MaxUint32-3*clock/50) // both wrap around in the first key
				s.line.Open()
				s.pass(100 * time.Millisecond)
				require.NoError(t, s.line.SendKeys(keysOf(t, "1#"), media.KeyEvents))
				s.pass(time.Second)
				s.line.Close()
				_, events := requireKeyed(t, s.dst.all(), clock)
				var got []string
				for _, e := range events {
					mark := " "
					if e.Marker {
						mark = "M"
					}
					got = append(got, mark+hex.EncodeToString(e.Payload))
				}
				require.Equal(t, []string{
					"M010a00a0", " 010a0140", " 010a01e0", " 010a0280", " 018a0320", " 018a0320", " 018a0320",
					"M0b0a00a0", " 0b0a0140", " 0b0a01e0", " 0b0a0280", " 0b8a0320", " 0b8a0320", " 0b8a0320",
				}, got)
				require.Equal(t, 160*time.Millisecond, events[7].at.Sub(events[0].at))
				for i := 1; i < 7; i++ {
					require.Equal(t, media.FrameDuration, events[i].at.Sub(events[i-1].at))
				}
				require.EqualValues(t, 2, s.line.Stats().Keys)
				require.EqualValues(t, 14, s.line.Stats().Events)
			})
		})
	}
}

func TestEventsTakeThePlaceOfARelayedVoice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &studio{dst: &recorder{}, pacer: media.NewPacer(1)}
		defer s.pacer.Close()
		s.line = media.NewLine(s.dst, media.LineOptions{Pacer: s.pacer})
		defer s.line.Close()
		s.line.Open()
		src, v := s.line.AddSource("agent", media.SourceOptions{}), &voice{ssrc: 1}
		s.say(t, src, v, 50)
		require.NoError(t, s.line.SendKeys(keysOf(t, "5"), media.KeyEvents))
		s.say(t, src, v, 50)
		audio, events := requireKeyed(t, s.dst.all(), media.ClockRate)
		require.Len(t, events, 7)
		spoken := 0
		for _, w := range audio {
			if !w.isSilence() {
				spoken++
			}
		}
		st := s.line.Stats()
		require.InDelta(t, 8, st.Keyed, 1, "160 ms of the voice are dropped")
		require.EqualValues(t, 100, uint64(spoken)+st.Keyed+st.Ahead)
		require.LessOrEqual(t, st.Ahead, uint64(1))
		last := audio[len(audio)-1]
		require.EqualValues(t, 100, last.Payload[len(last.Payload)-1], "the voice is relayed again")
	})
}

func TestEventsTakeThePlaceOfAMix(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		codecs := &fakeCodecs{}
		s := &studio{dst: &recorder{}, pacer: media.NewPacer(1)}
		defer s.pacer.Close()
		s.line = media.NewLine(s.dst, media.LineOptions{Pacer: s.pacer, Codecs: codecs, Mode: media.ModeTranscode})
		s.line.Open()
		a, b := newSpeaker(s, 1), newSpeaker(s, 2)
		s.together(t, 50, a, b)
		require.NoError(t, s.line.SendKeys(keysOf(t, "5"), media.KeyEvents))
		s.together(t, 50, a, b)
		_, events := requireKeyed(t, s.dst.all(), media.ClockRate)
		require.Len(t, events, 7)
		for id := byte(1); id <= 2; id++ {
			numbers := s.heardOf(id)
			require.InDelta(t, 92, len(numbers), 4, "what was said meanwhile is not heard later: the voices keep their time")
			require.InDelta(t, 100, numbers[len(numbers)-1], 3)
		}
		s.line.Close()
		require.Zero(t, codecs.voices+codecs.encoders)
	})
}

// A line that can mix keeps what came last, to play the beginning of what a source says. What was said during a key is no
// beginning of what is said after it.
func TestWhatIsSaidDuringAKeyIsNotHeardLater(t *testing.T) {
	for name, mode := range map[string]media.Mode{"relayed": media.ModeAuto, "mixed": media.ModeTranscode} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &studio{dst: &recorder{}, pacer: media.NewPacer(1)}
				defer s.pacer.Close()
				s.line = media.NewLine(s.dst, media.LineOptions{Pacer: s.pacer, Codecs: &fakeCodecs{}, Mode: mode})
				s.line.Open()
				s.pass(100 * time.Millisecond)
				require.NoError(t, s.line.SendKeys(keysOf(t, "5"), media.KeyEvents))
				a := newSpeaker(s, 1)
				s.together(t, 30, a)
				s.line.Close()
				st := s.line.Stats()
				require.InDelta(t, 8, st.Keyed, 1)
				require.Zero(t, st.Unheard)
				require.EqualValues(t, 30, offered(&st))
				require.Greater(t, s.heardOf(1)[0], int(st.Keyed))
			})
		})
	}
}

// offered is how many packets of sources were counted.
func offered(st *media.LineStats) uint64 {
	return st.Relayed + st.Voiced + st.Pauses + st.Unheard + st.Muted + st.Shut + st.Garbage + st.Late + st.Ahead + st.Keyed
}

// Tones are heard out of a silent line, in place of a voice that is relayed, and in place of a mix; what follows is the
// voice as before.
func TestKeysAsTones(t *testing.T) {
	const digits = "0123456789*#ABCD11"
	length := len(digits) * 160 * hallRate / 1000
	t.Run("into silence", func(t *testing.T) {
		inHall(t, media.LineOptions{}, func(t *testing.T, h *hall) {
			h.pass(200 * time.Millisecond)
			require.NoError(t, h.line.SendKeys(keysOf(t, digits), media.KeyTones))
			h.pass(time.Duration(length)*time.Second/hallRate + time.Second)
			keys := hearing.Keys(h.heard(t), hallRate)
			require.Equal(t, digits, hearing.Digits(keys))
			for i, k := range keys {
				require.InDelta(t, 100*time.Millisecond, k.Duration, float64(25*time.Millisecond), "key %d", i)
			}
			st := h.line.Stats()
			require.EqualValues(t, 1, st.ToMix)
			require.EqualValues(t, 1, st.ToSilence)
			require.InDelta(t, -20*math.Log10(1/0.445), st.PeakDB, 1)
		})
	})
	for name, o := range map[string]media.LineOptions{
		"into a relay": {}, "into a mix": {Mode: media.ModeTranscode}, "with gain": {GainDB: 12}, "with AGC": {AGC: true},
	} {
		t.Run(name, func(t *testing.T) {
			inHall(t, o, func(t *testing.T, h *hall) {
				agent := h.talker(t, "agent", speechOf(t, "agent.wav"), false)
				for range 100 {
					agent.say(t)
					h.pass(media.FrameDuration)
				}
				require.NoError(t, h.line.SendKeys(keysOf(t, digits), media.KeyTones))
				for range 250 {
					agent.say(t)
					h.pass(media.FrameDuration)
				}
				heard := h.heard(t)
				require.Equal(t, digits, hearing.Digits(hearing.Keys(heard, hallRate)))
				rest := speechOf(t, "agent.wav")[100*hallFrame+length+hallRate/2 : 350*hallFrame]
				v := hearing.Compare(rest, heard[100*hallFrame+length:], hallRate)
				require.Greater(t, v.Similarity, 0.85, v.String())
				require.EqualValues(t, len(digits), h.line.Stats().Keys)
			})
		})
	}
}

func TestKeysThatCannotBeSaid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &studio{dst: &recorder{}, pacer: media.NewPacer(1)}
		defer s.pacer.Close()
		s.line = media.NewLine(s.dst, media.LineOptions{Pacer: s.pacer})
		one := keysOf(t, "1")
		require.ErrorIs(t, s.line.SendKeys(one, media.KeyEvents), media.ErrLineShut)
		s.line.Open()
		require.ErrorIs(t, s.line.SendKeys(one, media.KeyTones), media.ErrNoEncoder)
		require.NoError(t, s.line.SendKeys(make([]media.Key, 64), media.KeyEvents))
		require.ErrorIs(t, s.line.SendKeys(one, media.KeyEvents), media.ErrManyKeys)
		s.pass(200 * time.Millisecond)
		require.NoError(t, s.line.SendKeys(one, media.KeyEvents), "one was said")
		s.line.Close()
		require.EqualValues(t, 64, s.line.Stats().KeysCut)
		require.EqualValues(t, 1, s.line.Stats().Keys)
		require.ErrorIs(t, s.line.SendKeys(one, media.KeyEvents), media.ErrLineShut)

		s.line = media.NewLine(s.dst, media.LineOptions{Pacer: s.pacer, Codecs: &fakeCodecs{failEncoders: true}})
		defer s.line.Close()
		s.line.Open()
		require.ErrorIs(t, s.line.SendKeys(one, media.KeyTones), media.ErrNoEncoder)
	})
}

func TestKeysDoNotAllocatePerFrame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := media.HandPacer()
		l := media.NewLine(nowhere{}, media.LineOptions{Pacer: p, Codecs: &fakeCodecs{}})
		l.Open()
		for _, form := range []media.KeyForm{media.KeyEvents, media.KeyTones} {
			require.NoError(t, l.SendKeys(make([]media.Key, 60), form))
			require.Zero(t, testing.AllocsPerRun(400, func() {
				p.Move(media.FrameDuration)
				l.Tick()
			}))
			for range 100 {
				p.Move(media.FrameDuration)
				l.Tick()
			}
		}
		require.EqualValues(t, 120, l.Stats().Keys)
	})
}

// Whatever sources do meanwhile, every key is said, and the stream stays one.
func TestKeysAmongVoices(t *testing.T) {
	for seed := range uint64(60) {
		synctest.Test(t, func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 7))
			codecs := &fakeCodecs{}
			s := &studio{dst: &recorder{}, pacer: media.NewPacer(1)}
			defer s.pacer.Close()
			s.line = media.NewLine(s.dst, media.LineOptions{Pacer: s.pacer, Codecs: codecs, Mode: media.Mode(seed % 2)})
			s.line.Open()
			speakers := []*speaker{newSpeaker(s, 1), newSpeaker(s, 2)}
			said, sent := 0, 0
			for range 400 {
				for i, k := range speakers {
					sent++
					switch random.IntN(60) {
					case 0:
						k.pause(t)
					case 1:
						sent--
						k.quiet(media.FrameDuration)
					case 2:
						sent--
						k.SetMuted(i == 0)
						k.SetMuted(false)
					default:
						k.say(t)
					}
				}
				if random.IntN(40) == 0 && said < 40 {
					keys := make([]media.Key, 1+random.IntN(3))
					require.NoError(t, s.line.SendKeys(keys, media.KeyForm(random.IntN(2))))
					said += len(keys)
				}
				s.pass(media.FrameDuration)
			}
			s.pass(10 * time.Second)
			s.line.Close()
			st := s.line.Stats()
			require.EqualValues(t, said, st.Keys, "seed %d", seed)
			require.Zero(t, st.KeysCut)
			require.EqualValues(t, sent, offered(&st), "seed %d", seed)
			require.LessOrEqual(t, st.Unheard, uint64(sent))
			_, events := requireKeyed(t, s.dst.all(), media.ClockRate)
			require.Len(t, events, int(st.Events))
			require.Zero(t, st.Events%7)
			require.Zero(t, codecs.voices+codecs.encoders)
		})
	}
}
