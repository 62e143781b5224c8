package media_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/media"
	"github.com/livekit-connector/livekit-connector/pkg/fakemeta/hearing"
)

// With AGC a soft voice and a loud one are heard about as loud, whole, and decoded for
// it although they could be relayed.
func TestAGCOfALine(t *testing.T) {
	said := speechOf(t, "agent.wav")
	levels := map[string]float64{}
	for name, gain := range map[string]float64{"soft": 0.4, "as it is": 1, "loud": 2.5} {
		inHall(t, media.LineOptions{AGC: true}, func(t *testing.T, h *hall) {
			pcm := make([]int16, 0, 2*len(said))
			for range 2 {
				for _, v := range said {
					pcm = append(pcm, int16(max(-32768, min(32767, gain*float64(v)))))
				}
			}
			k := h.talker(t, "talker", pcm, false)
			for range len(pcm) / hallFrame {
				k.say(t)
				h.pass(media.FrameDuration)
			}
			h.pass(time.Second)
			st := h.line.Stats()
			require.Zero(t, st.Relayed)
			heard := h.heard(t)[len(said):]
			v := hearing.Compare(pcm[len(said):], heard, hallRate)
			require.True(t, v.OK() || gain != 1, "%v", v)
			require.True(t, v.First && v.Last && v.Coverage > hearing.MinCoverage, "%v", v)
			levels[name] = decibels(rms(heard[:len(said)]) / 32768)
		})
	}
	t.Log(levels)
	for _, level := range levels {
		require.InDelta(t, -21.5, level, 3)
	}
}
