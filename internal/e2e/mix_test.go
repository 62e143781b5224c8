package e2e_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/livekit-connector/livekit-connector/internal/livekittest"
	"github.com/livekit-connector/livekit-connector/media"
	"github.com/livekit-connector/livekit-connector/pkg/fakemeta"
	"github.com/livekit-connector/livekit-connector/pkg/fakemeta/hearing"
)

// rest is how long a client goes on sending after the last word, before its DTX sets in.
const rest = 200 * time.Millisecond

// heardSoFar is where in the phone's recording of a call what comes now will be, in samples. It tells it by the clock of
// the stream, without decoding it.
func heardSoFar(c *fakemeta.Call) int {
	all := c.Handset().Packets()
	if len(all) == 0 {
		return 0
	}
	const frame = speechRate / 50
	return int(all[len(all)-1].Timestamp-all[0].Timestamp)/(media.ClockRate/speechRate) + frame
}

// heardSince lets the last words arrive and returns what the phone heard from a place in its recording on.
func heardSince(t *testing.T, s *scene, begin int) []int16 {
	t.Helper()
	heardAtLeast(t, s.call, 40)
	heard := handsetHeard(t, s.call)
	return heard[min(begin, len(heard)):]
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

	turn := func(who string, k talker, said []int16) {
		t.Helper()
		takes(t, func(int) string {
			begin := heardSoFar(s.call)
			k.say(t, pcmOf(said, pause(rest)))
			return judgeMixed(t, who, said, heardSince(t, s, begin))
		})
	}
	turn("the agent's turn", agent, first)
	turn("the human's turn", spoken{human}, other[:2*speechRate])
	turn("the agent's second turn", agent, second)

	low := lowPass(voice[:5*speechRate])
	const sung = 1500 * time.Millisecond
	takes(t, func(int) string {
		begin := heardSoFar(s.call)
		atOnce(t, agent.uttering(low), human.uttering(t, pcmOf(robin.sing(sung), pause(rest))),
			guest.uttering(t, pcmOf(pause(time.Second), finch.sing(sung), pause(rest))))
		heard := heardSince(t, s, begin)
		return judgeMixed(t, "the agent among others", low, lowPass(heard)) + robin.judge(heard, sung) + finch.judge(heard, sung)
	})

	agent.must(t, "mute", nil)
	takes(t, func(int) (problem string) {
		begin := heardSoFar(s.call)
		atOnce(t, agent.uttering(first), human.uttering(t, pcmOf(robin.sing(sung), pause(rest))))
		heard := heardSince(t, s, begin)
		if slices.Contains(loud(lowPass(heard)), true) {
			problem = "the agent is heard although it is muted; "
		}
		return problem + robin.judge(heard, sung)
	})
	agent.must(t, "unmute", nil)
	turn("the agent after it was muted", agent, second)

	takes(t, func(n int) string {
		if n > 1 {
			guest = newSpeaker(t, s, "guest")
		}
		begin := heardSoFar(s.call)
		atOnce(t, agent.uttering(low), func(ctx context.Context) error {
			if err := guest.play(ctx, packets(t, finch.sing(time.Second))); err != nil {
				return err
			}
			return guest.Leave() // in the middle of a word
		})
		heard := heardSince(t, s, begin)
		return judgeMixed(t, "the agent while the guest leaves", low, lowPass(heard)) + finch.judge(heard, time.Second)
	})

	guest = newSpeaker(t, s, "guest")
	agent.must(t, "leave", nil)
	agent.join(t, nil)
	turn("the guest who came back", spoken{guest}, other[2*speechRate:4*speechRate])
	turn("the agent that came back", agent, first)
	hangUp(t, s)
}

// talker says something in real time.
type talker interface {
	say(t *testing.T, pcm []int16)
}

// spoken is a speaker who encodes what he says.
type spoken struct{ *speaker }

func (k spoken) say(t *testing.T, pcm []int16) {
	t.Helper()
	k.speaker.say(t, packets(t, pcm))
}

// Time moves in what is mixed, because the delay of a jitter buffer follows the network: inside a word it plays a little
// slower and faster, in a pause it catches up.
const (
	maxScaled     = 150 * time.Millisecond
	maxMovedMixed = 250 * time.Millisecond
)

// judgeMixed is requireHeard for what went through a jitter buffer: it says what is wrong, if anything is.
func judgeMixed(t *testing.T, who string, said, heard []int16) (problem string) {
	t.Helper()
	v := hearing.Compare(said, heard, speechRate)
	t.Logf("%s: %s", who, v)
	for i := range v.Pieces {
		if v.Pieces[i].Torn <= maxScaled {
			v.Pieces[i].Torn = 0
		}
	}
	switch {
	case !v.OK():
		return fmt.Sprintf("%s: %s; ", who, v)
	case v.Moved > maxMovedMixed:
		return fmt.Sprintf("%s: %+v; ", who, v.Pieces)
	}
	return ""
}

// loud says for each 20 ms whether there is more than -50 dB.
func loud(pcm []int16) []bool {
	var all []bool
	for frame := range slices.Chunk(pcm, speechRate/50) {
		all = append(all, livekittest.Level(frame) < 50)
	}
	return all
}
