package e2e_test

import (
	"context"
	"slices"
	"testing"
	"time"

	libopus "github.com/hraban/opus" //nolint:depguard // stereo is nothing that the product encodes
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/internal/livekittest"
	"github.com/livekit-connector/livekit-connector/media"
	"github.com/livekit-connector/livekit-connector/media/g711"
	"github.com/livekit-connector/livekit-connector/media/opus"
	"github.com/livekit-connector/livekit-connector/media/resample/soxr"
)

// form is a way to send speech that Meta cannot take as it is.
type form struct {
	length time.Duration // of a packet
	mime   string        // empty: Opus
	rate   int           // Hz, of what the encoder takes
	// encoder returns what makes packets of frames of length.
	encoder func(t *testing.T) func(pcm []int16) []byte
}

// forms are what LiveKit's clients may send beside mono Opus of 20 ms.
var forms = map[string]form{
	"10 ms":          {length: 10 * time.Millisecond, rate: speechRate, encoder: opusEncoder(opus.EncoderOptions{SampleRate: speechRate, Bitrate: 32000})},
	"40 ms":          {length: 40 * time.Millisecond, rate: speechRate, encoder: opusEncoder(opus.EncoderOptions{SampleRate: speechRate, Bitrate: 24000})},
	"60 ms":          {length: 60 * time.Millisecond, rate: speechRate, encoder: opusEncoder(opus.EncoderOptions{SampleRate: speechRate, Bitrate: 24000})},
	"192 kb/s":       {length: media.FrameDuration, rate: media.ClockRate, encoder: stereoEncoder(192000, 1)},
	"stereo":         {length: media.FrameDuration, rate: media.ClockRate, encoder: stereoEncoder(64000, 2)},
	"stereo of 40ms": {length: 40 * time.Millisecond, rate: media.ClockRate, encoder: stereoEncoder(48000, 2)},
	"PCMU":           {length: media.FrameDuration, mime: webrtc.MimeTypePCMU, rate: 8000, encoder: lawEncoder(g711.Mu)},
	"PCMA":           {length: media.FrameDuration, mime: webrtc.MimeTypePCMA, rate: 8000, encoder: lawEncoder(g711.A)},
}

func opusEncoder(o opus.EncoderOptions) func(t *testing.T) func([]int16) []byte {
	return func(t *testing.T) func([]int16) []byte {
		t.Helper()
		enc, err := opus.NewEncoder(o)
		require.NoError(t, err)
		buf := make([]byte, opus.MaxPacketBytes)
		return func(pcm []int16) []byte {
			n, err := enc.Encode(pcm, buf)
			require.NoError(t, err)
			return slices.Clone(buf[:n])
		}
	}
}

// stereoEncoder encodes fullband, as music is sent. In stereo the voice is on the left and soft on the right.
func stereoEncoder(bitrate, channels int) func(t *testing.T) func([]int16) []byte {
	return func(t *testing.T) func([]int16) []byte {
		t.Helper()
		enc, err := libopus.NewEncoder(media.ClockRate, channels, libopus.AppAudio)
		require.NoError(t, err)
		require.NoError(t, enc.SetBitrate(bitrate))
		buf := make([]byte, opus.MaxPacketBytes)
		return func(pcm []int16) []byte {
			var all []int16
			for _, v := range pcm {
				all = append(all, v)
				if channels == 2 {
					all = append(all, v/4)
				}
			}
			n, err := enc.Encode(all, buf)
			require.NoError(t, err)
			return slices.Clone(buf[:n])
		}
	}
}

func lawEncoder(law g711.Law) func(t *testing.T) func([]int16) []byte {
	return func(*testing.T) func([]int16) []byte {
		return func(pcm []int16) []byte {
			payload := make([]byte, len(pcm))
			return payload[:law.Encode(pcm, payload)]
		}
	}
}

func converted(t *testing.T, pcm []int16, in, out int) []int16 {
	t.Helper()
	result, err := soxr.Convert(pcm, in, out)
	require.NoError(t, err)
	return result
}

// packets are the speech in this form, with the ticks that each lasts.
func (f form) packets(t *testing.T, pcm []int16) (all [][]byte, ticks uint32) {
	t.Helper()
	encode := f.encoder(t)
	length := int(f.length / time.Millisecond)
	for frame := range slices.Chunk(converted(t, pcm, speechRate, f.rate), f.rate*length/1000) {
		all = append(all, encode(frame))
	}
	clock := media.ClockRate
	if f.mime != "" {
		clock = f.rate
	}
	return all, uint32(clock * length / 1000)
}

// sendForm sends packets in real time. The clock stands still between two calls.
func (k *speaker) sendForm(ctx context.Context, all [][]byte, ticks uint32, length time.Duration) error {
	next := beat(length)
	for _, payload := range all {
		if err := k.track.WriteRTP(&rtp.Packet{
			Header: rtp.Header{Version: 2, SequenceNumber: k.seq, Timestamp: k.ts}, Payload: payload,
		}); err != nil {
			return err
		}
		k.seq++
		k.ts += ticks
		if err := next(ctx); err != nil {
			return err
		}
	}
	return nil
}

// Whatever a participant sends, the phone hears it as Meta wants it: mono Opus of 20 ms, at a modest bitrate.
func TestEveryFormIsHeard(t *testing.T) {
	t.Parallel()
	for name, f := range forms {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t, "mix-form-"+name, worldOptions{}, nil)
			o := livekittest.ParticipantOptions{Room: s.room, Identity: "agent", Deaf: true}
			if f.mime != "" {
				o.Codecs = []string{f.mime, webrtc.MimeTypeOpus}
			}
			p, err := s.livekit.Join(wait(t), o)
			require.NoError(t, err)
			t.Cleanup(func() { _ = p.Leave() })
			track, err := p.Publish(livekittest.TrackOptions{Name: "agent", MIME: f.mime})
			require.NoError(t, err)
			require.NoError(t, track.WaitHeard(wait(t)))
			agent := &speaker{Participant: p, track: track}

			said := speech(t, "agent")[:3*speechRate]
			all, ticks := f.packets(t, pcmOf(pause(600*time.Millisecond), said, pause(rest)))
			if name == "192 kb/s" {
				require.Greater(t, len(slices.Concat(all...))*8/4, 100_000, "bits per second")
			}
			takes(t, func(int) string {
				begin := heardSoFar(s.call)
				require.NoError(t, agent.sendForm(wait(t), all, ticks, f.length))
				heard := heardSince(t, s, begin)
				if f.mime != "" { // a telephone's band
					return judgeNarrow(t, name, said, heard)
				}
				return judgeMixed(t, name, said, heard)
			})
			require.Zero(t, s.call.Heard().Stereo)
			heavy := 0
			for _, p := range s.call.Handset().Packets() {
				if len(p.Payload) > media.DefaultMaxRelayBitrate/8/50 {
					heavy++
				}
			}
			require.LessOrEqual(t, heavy, 75, "a second of packets above the limit tells that a source is")
			hangUp(t, s)
		})
	}
}

// judgeNarrow is judgeMixed for what was sampled at 8 kHz in between.
func judgeNarrow(t *testing.T, who string, said, heard []int16) (problem string) {
	t.Helper()
	narrow := func(pcm []int16) []int16 {
		return converted(t, converted(t, pcm, speechRate, 8000), 8000, speechRate)
	}
	return judgeMixed(t, who, narrow(said), narrow(heard))
}

// A track with end-to-end encryption is not heard, and everybody who looks is told why: the log, the metrics, the room.
// Other tracks are heard as ever.
func TestEncryptedTrackIsRefusedByName(t *testing.T) {
	t.Parallel()
	s := newScene(t, "mix-encrypted", worldOptions{}, nil)
	agent := newSpeaker(t, s, "agent")
	secret := newRTCSpeaker(t, s, "secret", options{"encrypted": true})
	told, err := s.listener.Wait(wait(t), func(e livekittest.Event) bool {
		return e.Type == livekittest.EventAttributes && e.Identity == "caller" && e.Attributes["lk.connector.unheardTracks"] != ""
	})
	require.NoError(t, err)
	require.Regexp(t, `^TR_\w+:encrypted$`, told.Attributes["lk.connector.unheardTracks"])
	require.Contains(t, s.log.String(), "room track not heard: it is end-to-end encrypted, and a phone call cannot be")
	require.Regexp(t, `(?m)^livekit_connector_room_tracks_refused_total\{[^}]*reason="encrypted"[^}]*\} 1$`, s.metrics())

	said := speech(t, "agent")[:3*speechRate]
	takes(t, func(int) string {
		begin := heardSoFar(s.call)
		atOnce(t, secret.uttering(speech(t, "caller")[:3*speechRate]), agent.uttering(t, pcmOf(said, pause(rest))))
		return judgeMixed(t, "the open track", said, heardSince(t, s, begin))
	})

	secret.must(t, "unpublish", nil)
	_, err = s.listener.Wait(wait(t), func(e livekittest.Event) bool {
		value, changed := e.Attributes["lk.connector.unheardTracks"]
		return e.Type == livekittest.EventAttributes && e.Identity == "caller" && changed && value == ""
	})
	require.NoError(t, err)
	hangUp(t, s)
}

// LiveKit's agents publish background audio: a second track that never pauses. Both it and the agent are heard.
func TestBackgroundMusicUnderAVoice(t *testing.T) {
	t.Parallel()
	s := newScene(t, "mix-music", worldOptions{}, nil)
	agent := newRTCSpeaker(t, s, "agent", nil)
	background := newSpeaker(t, s, "background")
	const plays = 6 * time.Second
	music := form{length: media.FrameDuration, rate: media.ClockRate, encoder: stereoEncoder(96000, 1)}
	all, ticks := music.packets(t, robin.sing(plays))
	for _, p := range all[10:] {
		require.GreaterOrEqual(t, p[0]>>3, byte(16), "CELT (RFC 6716 section 3.1)")
	}
	low := lowPass(speech(t, "agent")[:3*speechRate])
	takes(t, func(int) string {
		begin := heardSoFar(s.call)
		atOnce(t,
			func(ctx context.Context) error { return background.sendForm(ctx, all, ticks, music.length) },
			agent.uttering(pcmOf(pause(1500*time.Millisecond), low)))
		heard := heardSince(t, s, begin)
		return judgeMixed(t, "the agent", low, lowPass(heard)) + robin.judge(heard, plays)
	})
	hangUp(t, s)
}

// Ten microphones are open in quiet rooms. The agent begins softly, and not a syllable is lost.
func TestSoftFirstWordAmongTenOpenMicrophones(t *testing.T) {
	t.Parallel()
	s := newScene(t, "mix-soft", worldOptions{}, nil)
	hush := humming(t, s, 10, 10)
	agent := newRTCSpeaker(t, s, "agent", nil)
	heardAtLeast(t, s.call, 50)
	said := softer(speech(t, "agent")[:3*speechRate], 0.1)
	takes(t, func(int) string {
		begin := heardSoFar(s.call)
		agent.say(t, said)
		return judgeMixed(t, "the soft agent", said, heardSince(t, s, begin))
	})
	hush()
	hangUp(t, s)
}
