package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
)

// An agent talks without end, and a human puts in a word three times: each time the relay becomes a mix and, a second or
// two later, a relay again. Nothing of the agent is lost, nothing is heard twice, and the human is heard when he speaks.
func TestInterjectionsCutNothing(t *testing.T) {
	t.Parallel()
	takes(t, func(n int) string {
		s := newScene(t, fmt.Sprint("mix-switch-", n), worldOptions{}, nil)
		problem := interjections(t, s)
		hangUp(t, s)
		counts := s.toMeta(t)
		if counts["mixes"] != 3 || counts["relayed"] <= 200 {
			problem += fmt.Sprintf("%v mixes, and %v packets of the agent that nobody talked into; ", counts["mixes"], counts["relayed"])
		}
		return problem
	})
}

func interjections(t *testing.T, s *scene) (problem string) {
	t.Helper()
	agent, human := newSpeaker(t, s, "agent"), newSpeaker(t, s, "human")
	const length = 700 * time.Millisecond
	said := lowPass(pcmOf(speech(t, "agent"), speech(t, "caller")))
	word := packets(t, pcmOf(finch.sing(length), pause(rest)))
	begin := heardSoFar(s.call)
	atOnce(t, agent.uttering(t, pcmOf(said, pause(rest))), func(ctx context.Context) error {
		next := beat(3500 * time.Millisecond)
		for range 3 {
			if err := next(ctx); err != nil {
				return err
			}
			if err := human.play(ctx, word); err != nil {
				return err
			}
		}
		return nil
	})
	heard := heardSince(t, s, begin)
	return judgeMixed(t, "the agent", said, lowPass(heard)) + finch.judge(heard, length, length, length)
}

// toMeta is what the log says at the end of a call of the audio for the phone.
func (s *scene) toMeta(t *testing.T) map[string]float64 {
	t.Helper()
	for line := range strings.Lines(s.log.String()) {
		var ended struct {
			Msg    string         `json:"msg"`
			ToMeta map[string]any `json:"toMeta"`
		}
		if json.Unmarshal([]byte(line), &ended) == nil && ended.Msg == "call ended" {
			counts := make(map[string]float64)
			for key, value := range ended.ToMeta {
				if n, ok := value.(float64); ok { // the mode is a word
					counts[key] = n
				}
			}
			return counts
		}
	}
	t.Fatal("no call ended")
	return nil
}
