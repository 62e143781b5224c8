package e2e_test

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/pion/rtp"
	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/internal/livekittest"
	"github.com/livekit-connector/livekit-connector/media"
)

// speaker is a participant with a track that the connector listens to. Its RTP clock goes on in pauses, as a browser's.
type speaker struct {
	*livekittest.Participant
	track *livekittest.Track

	seq  uint16
	ts   uint32
	last time.Time
}

// newSpeaker joins the room of a scene, publishes, and is silent at first: the server says that somebody listens
// when the first does, and the connector may be the second.
func newSpeaker(t *testing.T, s *scene, identity string) *speaker {
	t.Helper()
	p, err := s.livekit.Join(wait(t), livekittest.ParticipantOptions{Room: s.room, Identity: identity, Deaf: true})
	require.NoError(t, err)
	t.Cleanup(func() { _ = p.Leave() })
	track, err := p.Publish(livekittest.TrackOptions{Name: identity})
	require.NoError(t, err)
	k := &speaker{Participant: p}
	k.adopt(t, track)
	return k
}

// adopt makes a new track the one that the speaker speaks into.
func (k *speaker) adopt(t *testing.T, track *livekittest.Track) {
	t.Helper()
	require.NoError(t, track.WaitHeard(wait(t)))
	k.track, k.last = track, time.Now()
	k.seq, k.ts = uint16(rand.Uint32()), rand.Uint32()
	k.say(t, silent(20))
}

func silent(n int) []livekittest.Packet {
	return slices.Repeat([]livekittest.Packet{{Payload: media.SilenceFrame, Level: 127}}, n)
}

// hangUp ends the call of a scene and checks that its stream kept Meta's rules.
func hangUp(t *testing.T, s *scene) {
	t.Helper()
	require.NoError(t, s.call.HangUp())
	requireOver(t, s.call)
	requireContinuous(t, s.call)
	s.nothingLeft(s.room)
}

// dtx makes of packets what a browser sends with DTX on: in a pause of more than 200 ms one packet of one byte, then
// nothing but a frame of background noise, and one byte again, every 400 ms. Nil packets are not sent.
func dtx(all []livekittest.Packet, from, to int) []livekittest.Packet {
	out := append([]livekittest.Packet(nil), all...)
	for i := from; i < to; i++ {
		switch (i - from) % 20 {
		case 0:
			out[i] = livekittest.Packet{Payload: out[i].Payload[:1], Level: 127}
		case 19:
			// the refresh
		default:
			out[i] = livekittest.Packet{}
		}
	}
	return out
}

// say sends packets of 20 ms in real time; nil ones are gaps.
func (k *speaker) say(t *testing.T, all []livekittest.Packet) {
	t.Helper()
	require.NoError(t, k.play(wait(t), all))
}

func (k *speaker) play(ctx context.Context, all []livekittest.Packet) error {
	k.ts += uint32(time.Since(k.last)/media.FrameDuration) * media.FrameSamples
	next := beat(media.FrameDuration)
	for _, one := range all {
		if one.Payload != nil {
			if err := k.send(one.Payload); err != nil {
				return err
			}
		}
		k.ts += media.FrameSamples
		if err := next(ctx); err != nil {
			return err
		}
	}
	k.last = time.Now()
	return nil
}

// beat returns what waits for the next multiple of a time since now. On a busy machine a beat comes late, but none is left
// out, as those of a ticker are: a clock that loses time is no participant's.
func beat(every time.Duration) func(context.Context) error {
	next := time.Now()
	return func(ctx context.Context) error {
		next = next.Add(every)
		due := time.NewTimer(time.Until(next))
		defer due.Stop()
		select {
		case <-due.C:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (k *speaker) send(payload []byte) error {
	err := k.track.WriteRTP(&rtp.Packet{
		Header: rtp.Header{Version: 2, SequenceNumber: k.seq, Timestamp: k.ts}, Payload: payload,
	})
	k.seq++
	return err
}

// pcmOf joins pieces of speech with pauses.
func pcmOf(pieces ...[]int16) []int16 {
	var all []int16
	for _, p := range pieces {
		all = append(all, p...)
	}
	return all
}

func pause(d time.Duration) []int16 { return make([]int16, int(d.Seconds()*speechRate)) }

// noise is what an open microphone in a quiet room hears.
func noise(d time.Duration, amplitude float64, seed uint64) []int16 {
	rng := rand.New(rand.NewPCG(seed, 1))
	pcm := pause(d)
	for i := range pcm {
		pcm[i] = int16(amplitude * rng.NormFloat64())
	}
	return pcm
}

// humming lets participants send noise without end until the returned function is called.
func humming(t *testing.T, s *scene, n int, amplitude float64) (hush func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	for i := range n {
		one := newSpeaker(t, s, "open-microphone-"+string(rune('a'+i)))
		// Without its first two seconds, in which the encoder does not yet know what is noise.
		sound := packets(t, noise(6*time.Second, amplitude, uint64(i)))[100:]
		all.Go(func() {
			for one.play(ctx, sound) == nil {
			}
		})
	}
	hush = sync.OnceFunc(func() { cancel(); all.Wait() })
	t.Cleanup(hush)
	return hush
}

// An agent says something, is silent, and says it again, while others have their microphones open. It is heard from the
// first syllable on, both times.
func TestAgentIsHeardAmongOpenMicrophones(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		listeners int
		amplitude float64
	}{
		"one noisy":  {1, 100},
		"ten silent": {10, 30},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t, "audio-noise-"+name[:3], worldOptions{}, nil)
			hush := humming(t, s, tt.listeners, tt.amplitude)
			agent := newSpeaker(t, s, "agent")
			heardAtLeast(t, s.call, 50)
			said := speech(t, "agent")[:3*speechRate]
			for range 2 {
				takes(t, func(int) string {
					begin := len(handsetHeard(t, s.call))
					agent.say(t, packets(t, said))
					heardAtLeast(t, s.call, 50)
					return misheard(t, "handset", said, handsetHeard(t, s.call)[begin:])
				})
			}
			hush()
			hangUp(t, s)
		})
	}
}

// What browsers and agents send in pauses: nothing.
func TestPausesByDTXCutNoWord(t *testing.T) {
	t.Parallel()
	s := newScene(t, "audio-dtx", worldOptions{}, nil)
	agent := newSpeaker(t, s, "agent")
	voice := speech(t, "agent")
	first, second := voice[:2*speechRate], voice[4*speechRate:6*speechRate]
	said := pcmOf(first, pause(900*time.Millisecond), second)
	takes(t, func(int) string {
		begin := len(handsetHeard(t, s.call))
		agent.say(t, dtx(packets(t, said), 110, 143))
		heardAtLeast(t, s.call, 10)
		return misheard(t, "handset", said, handsetHeard(t, s.call)[begin:])
	})
	hangUp(t, s)
}

// An agent and a human take turns, and each is heard from the first syllable to the last.
func TestTurnsOfTwoAreHeardWhole(t *testing.T) {
	t.Parallel()
	s := newScene(t, "audio-turns", worldOptions{}, nil)
	agent, human := newSpeaker(t, s, "agent"), newSpeaker(t, s, "human")
	voice, other := speech(t, "agent"), speech(t, "caller")
	for i, turn := range []struct {
		who  *speaker
		says []int16
	}{{agent, voice[:2*speechRate]}, {human, other[:2*speechRate]}, {agent, voice[4*speechRate : 6*speechRate]}, {human, other[2*speechRate : 4*speechRate]}} {
		said := packets(t, turn.says)
		said = append(said, livekittest.Packet{Payload: said[0].Payload[:1], Level: 127})
		takes(t, func(int) string {
			begin := len(handsetHeard(t, s.call))
			turn.who.say(t, said)
			heardAtLeast(t, s.call, 20)
			return misheard(t, "turn "+string(rune('1'+i)), turn.says, handsetHeard(t, s.call)[begin:])
		})
	}
	hangUp(t, s)
}

// Muting cuts what is said while it lasts, and not a syllable of what is said afterwards.
func TestNothingIsLostAfterUnmute(t *testing.T) {
	t.Parallel()
	s := newScene(t, "audio-mute", worldOptions{}, nil)
	agent := newSpeaker(t, s, "agent")
	voice := speech(t, "agent")
	first, second := voice[:2*speechRate], voice[4*speechRate:6*speechRate]
	takes(t, func(int) string {
		begin := len(handsetHeard(t, s.call))
		agent.say(t, packets(t, first))
		agent.track.SetMuted(true)
		heardAtLeast(t, s.call, 30)
		before := misheard(t, "before", first, handsetHeard(t, s.call)[begin:])
		begin = len(handsetHeard(t, s.call))
		agent.track.SetMuted(false)
		agent.say(t, packets(t, pcmOf(pause(100*time.Millisecond), second)))
		heardAtLeast(t, s.call, 20)
		return before + misheard(t, "after", second, handsetHeard(t, s.call)[begin:])
	})
	hangUp(t, s)
}

// A source that starts anew goes on as the same voice.
func TestASourceThatStartsAnewIsHeard(t *testing.T) {
	t.Parallel()
	s := newScene(t, "audio-restart", worldOptions{}, nil)
	agent := newSpeaker(t, s, "agent")
	voice := speech(t, "agent")
	parts := [][]int16{voice[:2*speechRate], voice[4*speechRate : 6*speechRate], voice[6*speechRate:]}
	for i, part := range parts {
		takes(t, func(int) string {
			begin := len(handsetHeard(t, s.call))
			if i == 1 { // a new track
				require.NoError(t, agent.track.Unpublish())
				track, err := agent.Publish(livekittest.TrackOptions{Name: "agent"})
				require.NoError(t, err)
				agent.adopt(t, track)
			}
			agent.say(t, packets(t, part))
			heardAtLeast(t, s.call, 20)
			return misheard(t, "part "+string(rune('1'+i)), part, handsetHeard(t, s.call)[begin:])
		})
	}
	hangUp(t, s)
}

// The way to the connector stalls: five packets come late, all at once.
func TestLateBurstsSplitNoWord(t *testing.T) {
	t.Parallel()
	s := newScene(t, "audio-burst", worldOptions{}, nil)
	agent := newSpeaker(t, s, "agent")
	said := speech(t, "agent")
	all := packets(t, said)
	takes(t, func(int) string {
		begin := len(handsetHeard(t, s.call))
		next := beat(media.FrameDuration)
		due := 0
		for i := range all {
			require.NoError(t, next(t.Context()))
			if i%50 >= 45 && i%50 < 49 {
				continue // these come with the next one
			}
			for ; due <= i; due++ {
				require.NoError(t, agent.send(all[due].Payload))
				agent.ts += media.FrameSamples
			}
		}
		heardAtLeast(t, s.call, 20)
		return misheard(t, "handset", said, handsetHeard(t, s.call)[begin:])
	})
	hangUp(t, s)
}
