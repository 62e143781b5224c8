package media_test

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/media"
	"github.com/livekit-connector/livekit-connector/pkg/fakemeta/hearing"
)

// An agent that sends nothing between its turns and a human whose microphone stays open take turns, after pauses of any
// length. Every word of both is heard.
func TestAConversation(t *testing.T) {
	inHall(t, media.LineOptions{}, func(t *testing.T, h *hall) {
		h.pass(time.Second)
		rng := rand.New(rand.NewPCG(11, 12))
		agent, human := h.talker(t, "agent", nil, true), h.talker(t, "human", nil, false)
		words := map[*talker][]int16{agent: speechOf(t, "agent.wav"), human: speechOf(t, "caller.wav")}
		room := make([]int16, 60*hallRate) // of the human, who is never quite silent
		for i := range room {
			room[i] = int16(rng.IntN(21) - 10)
		}
		type spoken struct {
			by *talker
			at int // frame
		}
		var turns []spoken
		frame := 0
		step := func(n int) {
			for range n {
				if human.at >= len(human.pcm) {
					human.pcm, human.at = room, 0
				}
				human.say(t)
				agent.say(t)
				h.pass(media.FrameDuration)
				frame++
			}
		}
		for i := range 6 {
			by := []*talker{agent, human}[i%2]
			by.pcm, by.at = append(slices.Clip(words[by]), make([]int16, 3*hallFrame)...), 0
			turns = append(turns, spoken{by, frame})
			step(len(words[by])/hallFrame + rng.IntN(20))
		}
		step(50)
		heard := h.heard(t)[hallRate:]
		for i, turn := range turns {
			said := words[turn.by]
			from := turn.at * hallFrame
			verdict := hearing.Compare(said, heard[from:min(len(heard), from+len(said)+hallRate/5)], hallRate)
			require.True(t, verdict.OK(), "turn %d: %v", i, verdict)
		}
		st := h.line.Stats()
		t.Logf("relay %v, mix %v, silence %v, %d mixes", st.RelayTime, st.MixTime, st.SilenceTime, st.ToMix)
	})
}
