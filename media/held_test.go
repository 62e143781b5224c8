package media_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/media"
	"github.com/livekit-connector/livekit-connector/pkg/fakemeta/hearing"
)

// A track is announced late, and what it sent until then is handed over at once. The
// first word is whole, the wait is no jitter, and its delay is given back.
func TestWhatWasHeldIsHeard(t *testing.T) {
	const held = 16
	said := speechOf(t, "agent.wav")
	for name, alone := range map[string]bool{"relayed": true, "mixed": false} {
		t.Run(name, func(t *testing.T) {
			inHall(t, media.LineOptions{}, func(t *testing.T, h *hall) {
				before := make([]int16, 8*hallFrame) // of silence in what is held
				agent := h.talker(t, "agent", append(before, said...), false)
				other := h.talker(t, "other", beep(3600, 60, 11*time.Second), true)
				agent.jitter = func() time.Duration { return time.Hour }
				for frame := range 11 * 50 {
					if !alone {
						other.say(t)
					}
					if frame >= 50 {
						agent.say(t)
						if frame >= 50+held-1 {
							agent.handOver(t)
						}
					}
					h.pass(media.FrameDuration)
				}
				st := h.line.Stats()
				heard := h.heard(t)[58*hallFrame:]
				v := hearing.Compare(said, heard, hallRate)
				t.Logf("%v; %+v", v, st.Voices)
				require.True(t, v.First && v.Last && v.Coverage > hearing.MinCoverage, "%v", v)
				for _, p := range v.Pieces {
					require.LessOrEqual(t, max(p.Hole, p.LostStart, p.LostEnd), hearing.MaxGap, "%v", v)
					require.Zero(t, p.Repeats)
				}
				require.LessOrEqual(t, v.Lag, 250*time.Millisecond)
				require.LessOrEqual(t, v.Pieces[len(v.Pieces)-1].Lag, 120*time.Millisecond, "%+v", v.Pieces)
				require.Less(t, st.Voices.Jitter, 2*time.Millisecond)
				require.LessOrEqual(t, st.Voices.Target, 20*time.Millisecond)
				require.Zero(t, st.Voices.Discarded)
			})
		})
	}
}
