package media_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/rtp"
	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/media"
	"github.com/livekit-connector/livekit-connector/media/codec"
	"github.com/livekit-connector/livekit-connector/media/g711"
)

// redundant wraps p so that it carries a copy of the packet before.
func redundant(p, before *rtp.Packet) *rtp.Packet {
	wrapped := p.Clone()
	wrapped.Payload = nil
	if before != nil {
		n, offset := len(before.Payload), p.Timestamp-before.Timestamp
		wrapped.Payload = append(wrapped.Payload, 0x80|111, byte(offset>>6), byte(offset<<2)|byte(n>>8), byte(n))
	}
	wrapped.Payload = append(wrapped.Payload, 111)
	if before != nil {
		wrapped.Payload = append(wrapped.Payload, before.Payload...)
	}
	wrapped.Payload = append(wrapped.Payload, p.Payload...)
	return wrapped
}

// What is lost on the way from the room is taken from the redundancy of the packet after it, relayed or mixed.
func TestRedundancyFillsLosses(t *testing.T) {
	for name, mixed := range map[string]bool{"relay": false, "mix": true} {
		t.Run(name, func(t *testing.T) {
			inMixingStudio(t, media.LineOptions{}, func(t *testing.T, s *studio, _ *fakeCodecs) {
				a, b := newSpeaker(s, 0), newSpeaker(s, 1)
				a.Close()
				a.Source = s.line.AddSource("red", media.SourceOptions{RED: true})
				var before *rtp.Packet
				for i := range 61 {
					p := a.next()
					a.sent = append(a.sent, int(p.Payload[5]))
					wrapped := redundant(p, before)
					before = p
					if mixed {
						b.say(t)
					}
					if i%7 != 3 {
						require.NoError(t, a.WriteRTP(wrapped))
					}
					s.pass(media.FrameDuration)
				}
				s.pass(100 * time.Millisecond)
				require.Equal(t, a.sent, s.heardOf(0))
				require.EqualValues(t, 9, s.line.Stats().Recovered)
				require.Equal(t, mixed, s.line.Stats().Mixed > 0)
				require.NoError(t, a.WriteRTP(&rtp.Packet{Payload: []byte{0xFF}}))
				require.EqualValues(t, 1, s.line.Stats().Garbage)
			})
		})
	}
}

// The level that a client measured tells noise from speech where no encoder does.
func TestAudioLevelTellsNoiseFromSpeech(t *testing.T) {
	inMixingStudio(t, media.LineOptions{}, func(t *testing.T, s *studio, _ *fakeCodecs) {
		agent, mic := newSpeaker(s, 0), newSpeaker(s, 1)
		s.pass(time.Second)
		mic.Close()
		mic.Source = s.line.AddSource("mic", media.SourceOptions{AudioLevelID: 3})
		say := func(n int, level byte) {
			for range n {
				p := mic.next()
				p.Extension, p.ExtensionProfile, p.Extensions = false, 0, nil
				require.NoError(t, p.SetExtension(3, []byte{0x80 | level}))
				if level < 50 {
					mic.sent = append(mic.sent, int(p.Payload[5]))
				}
				require.NoError(t, mic.WriteRTP(p))
				agent.say(t)
				s.pass(media.FrameDuration)
			}
		}
		say(50, 70)
		require.Zero(t, s.line.Stats().Mixed)
		say(50, 30)
		require.NotZero(t, s.line.Stats().Mixed)
		say(50, 127)
		say(50, 70)
		require.EqualValues(t, 1, s.line.Stats().ToRelay)
		require.Equal(t, agent.sent, s.heardOf(0))
		heard := s.heardOf(1)
		require.GreaterOrEqual(t, len(heard), len(mic.sent))
		for _, n := range mic.sent {
			require.Contains(t, heard, n)
		}
	})
}

// The room's hint lets through what an encoder takes for noise.
func TestWhomTheRoomHearsIsHeard(t *testing.T) {
	inMixingStudio(t, media.LineOptions{}, func(t *testing.T, s *studio, _ *fakeCodecs) {
		agent, singer := newSpeaker(s, 0), newSpeaker(s, 1)
		singer.silk(false)
		s.together(t, 50, agent, singer)
		require.Empty(t, s.heardOf(1))
		singer.SetSpeaking(true)
		s.together(t, 50, agent, singer)
		s.pass(60 * time.Millisecond)
		require.GreaterOrEqual(t, len(s.heardOf(1)), 46)
		require.Equal(t, agent.sent, s.heardOf(0))
	})
}

// Between Opus and G.711 there is always a codec; within G.711 there is none as long as one source speaks.
func TestG711(t *testing.T) {
	ulaw := func(hz float64, n int) []byte {
		pcm := beep(hz, 10, time.Second)
		low := make([]int16, g711FrameSamples)
		for i := range low {
			low[i] = pcm[(n*g711FrameSamples+i)*2%len(pcm)]
		}
		out := make([]byte, g711FrameSamples)
		g711.Mu.Encode(low, out)
		return out
	}
	tests := map[string]struct {
		to, from     media.Codec
		mixed        bool
		payloadBytes int
	}{
		"PCMU to PCMU": {media.CodecPCMU, media.CodecPCMU, false, 160},
		"PCMU to PCMA": {media.CodecPCMA, media.CodecPCMU, true, 160},
		"PCMU to Opus": {media.CodecOpus, media.CodecPCMU, true, 0},
		"Opus to PCMU": {media.CodecPCMU, media.CodecOpus, true, 160},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				codecs, err := codec.New(codec.ToPhone())
				require.NoError(t, err)
				pacer, dst := media.HandPacer(), &recorder{}
				line := media.NewLine(dst, media.LineOptions{Pacer: pacer, Codecs: codecs, Codec: tt.to})
				line.Open()
				src := line.AddSource("a", media.SourceOptions{Codec: tt.from})
				v := &voice{ssrc: 1, ts: 1<<32 - 3000}
				for i := range 100 {
					p := v.packet()
					if tt.from != media.CodecOpus {
						p.Payload = ulaw(440, i)
						v.ts -= media.FrameSamples - g711FrameSamples
					} else {
						p.Payload[0] = toc20 | 4 // garbage to the decoder or not, it is sound
					}
					require.NoError(t, src.WriteRTP(p))
					pacer.Move(media.FrameDuration)
					line.Tick()
				}
				for range 30 {
					pacer.Move(media.FrameDuration)
					line.Tick()
				}
				st := line.Stats()
				line.Close()
				require.Equal(t, tt.mixed, st.Mixed > 0)
				require.Equal(t, !tt.mixed, st.Relayed > 0)
				step := uint32(media.FrameSamples)
				if tt.to != media.CodecOpus {
					step = g711FrameSamples
				}
				packets := dst.all()
				require.InDelta(t, 130, len(packets), 12)
				for i, w := range packets {
					require.Equal(t, packets[0].Timestamp+uint32(i)*step, w.Timestamp)
					require.Equal(t, packets[0].SequenceNumber+uint16(i), w.SequenceNumber)
					if tt.payloadBytes > 0 {
						require.Len(t, w.Payload, tt.payloadBytes)
					}
				}
				require.Equal(t, map[media.Codec]uint8{media.CodecOpus: 111, media.CodecPCMU: 0, media.CodecPCMA: 8}[tt.to], packets[0].PayloadType)
			})
		})
	}
}

const g711FrameSamples = 160

// An agent begins to speak while a noisy microphone, in which the encoder believes to hear a voice now and then, has the
// line. Its words come at once: no mix has to be got rid of, no delay made up for.
func TestNoiseDelaysNobody(t *testing.T) {
	inMixingStudio(t, media.LineOptions{}, func(t *testing.T, s *studio, codecs *fakeCodecs) {
		noisy, agent := newSpeaker(s, 0), newSpeaker(s, 1)
		s.pass(time.Second)
		for round := range 8 {
			for i := range 40 {
				noisy.silk(i%8 == round)
				noisy.say(t)
				s.pass(media.FrameDuration)
			}
			for i := range 40 {
				noisy.silk(i%8 == round)
				agent.silk(true)
				noisy.say(t)
				agent.say(t)
				s.pass(media.FrameDuration)
			}
			agent.pause(t)
			agent.quiet(780 * time.Millisecond)
		}
		require.Equal(t, agent.sent, s.heardOf(1))
		require.Zero(t, codecs.made)
	})
}
