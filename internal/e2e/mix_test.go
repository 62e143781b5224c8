package e2e_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/internal/livekittest"
	"github.com/livekit-connector/livekit-connector/pkg/fakemeta/hearing"
)

// rest is how long a client goes on sending after the last word, before its DTX sets in.
const rest = 200 * time.Millisecond

// heardSince lets the last words arrive and returns what the phone heard from a place in its recording on.
func heardSince(t *testing.T, s *scene, begin int) []int16 {
	t.Helper()
	heardAtLeast(t, s.call, 40)
	return handsetHeard(t, s.call)[begin:]
}

// Three participants speak in turn, together, muted, leave and come back, one of them with libwebrtc. The phone hears each
// of them when it speaks and only then, from the first word to the last, in one stream.
func TestThreeSpeakers(t *testing.T) {
	t.Parallel()
	s := newScene(t, "mix-three", worldOptions{}, nil)
	agent := newRTCSpeaker(t, s, "agent", nil)
	human, guest := newSpeaker(t, s, "human"), newSpeaker(t, s, "guest")
	voice, other := speech(t, "agent"), speech(t, "caller")
	first, second := voice[:2*speechRate], voice[4*speechRate:6*speechRate]
	now := func() int { return len(handsetHeard(t, s.call)) }

	begin := now()
	agent.say(t, first)
	requireHeard(t, "the agent's turn", first, heardSince(t, s, begin))
	begin = now()
	human.say(t, packets(t, pcmOf(other[:2*speechRate], pause(rest))))
	requireHeard(t, "the human's turn", other[:2*speechRate], heardSince(t, s, begin))
	begin = now()
	agent.say(t, second)
	requireHeard(t, "the agent's second turn", second, heardSince(t, s, begin))

	begin = now()
	low := lowPass(voice[:5*speechRate])
	atOnce(t, agent.uttering(low), human.uttering(t, pcmOf(robin.sing(1500*time.Millisecond), pause(rest))),
		guest.uttering(t, pcmOf(pause(time.Second), finch.sing(1500*time.Millisecond), pause(rest))))
	heard := heardSince(t, s, begin)
	requireMixed(t, "the agent among others", low, lowPass(heard))
	a := robin.requireSongs(t, "the human among others", heard, 1500*time.Millisecond)
	b := finch.requireSongs(t, "the guest among others", heard, 1500*time.Millisecond)
	require.InDelta(t, 1, (b[0].from - a[0].from).Seconds(), 0.15, "they began a second apart")

	begin = now()
	agent.must(t, "mute", nil)
	atOnce(t, agent.uttering(first), human.uttering(t, pcmOf(robin.sing(2*time.Second), pause(rest))))
	agent.must(t, "unmute", nil)
	heard = heardSince(t, s, begin)
	robin.requireSongs(t, "the human while the agent is muted", heard, 2*time.Second)
	require.NotContains(t, loud(lowPass(heard)), true, "the agent is muted")
	begin = now()
	agent.say(t, pcmOf(pause(100*time.Millisecond), second))
	requireHeard(t, "the agent after it was muted", second, heardSince(t, s, begin))

	begin = now()
	atOnce(t, agent.uttering(low), func(ctx context.Context) error {
		if err := guest.play(ctx, packets(t, finch.sing(time.Second))); err != nil {
			return err
		}
		return guest.Leave() // in the middle of a word
	})
	heard = heardSince(t, s, begin)
	requireMixed(t, "the agent while the guest leaves", low, lowPass(heard))
	finch.requireSongs(t, "the guest who leaves", heard, time.Second)

	guest = newSpeaker(t, s, "guest")
	agent.must(t, "leave", nil)
	agent.join(t, nil)
	begin = now()
	guest.say(t, packets(t, pcmOf(other[2*speechRate:4*speechRate], pause(rest))))
	requireHeard(t, "the guest who came back", other[2*speechRate:4*speechRate], heardSince(t, s, begin))
	begin = now()
	agent.say(t, first)
	requireHeard(t, "the agent that came back", first, heardSince(t, s, begin))
	hangUp(t, s)
}

// Time moves in what is mixed, because the delay of a jitter buffer follows the network: inside a word it plays a little
// slower and faster, in a pause it catches up.
const (
	maxScaled     = 150 * time.Millisecond
	maxMovedMixed = 250 * time.Millisecond
)

// requireMixed is requireHeard for what went through a jitter buffer.
func requireMixed(t *testing.T, who string, said, heard []int16) {
	t.Helper()
	v := hearing.Compare(said, heard, speechRate)
	t.Logf("%s: %s", who, v)
	for i := range v.Pieces {
		if v.Pieces[i].Torn <= maxScaled {
			v.Pieces[i].Torn = 0
		}
	}
	require.True(t, v.OK(), "%s: %s", who, v)
	require.LessOrEqual(t, v.Moved, maxMovedMixed, "%s: %+v", who, v.Pieces)
}

// loud says for each 20 ms whether there is more than -50 dB.
func loud(pcm []int16) []bool {
	var all []bool
	for frame := range slices.Chunk(pcm, speechRate/50) {
		all = append(all, livekittest.Level(frame) < 50)
	}
	return all
}
