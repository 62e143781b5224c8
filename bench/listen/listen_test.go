package listen_test

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/bench/chain"
	"github.com/livekit-connector/livekit-connector/bench/listen"
	"github.com/livekit-connector/livekit-connector/bench/speech"
	"github.com/livekit-connector/livekit-connector/bench/stoi"
)

const ms = listen.Rate / 1000

// coded gives speech and what an Opus codec makes of it.
func coded(t *testing.T) (said, heard []float64) {
	t.Helper()
	clip, err := speech.Caller(speech.CallerFile)
	require.NoError(t, err)
	var all []chain.Departure
	for i, p := range clip.Packets {
		all = append(all, chain.Departure{Seq: uint16(i), TS: uint32(960 * i), Payload: p})
	}
	sound, err := chain.Hear(all)
	require.NoError(t, err)
	return listen.Floats(clip.PCM), listen.Floats(sound.PCM)
}

func follow(said, heard []float64) *listen.Match {
	return listen.Follow(said, heard, -20*time.Millisecond, 400*time.Millisecond)
}

// word is the middle of a word of the caller, in samples: loud on both sides.
func word(t *testing.T, said []float64) int {
	t.Helper()
	best, at := 0.0, 0
	for i := 3000; i+1600 < len(said); i += 160 {
		least := 1.0
		for j := i - 800; j < i+800; j += 160 {
			var sum float64
			for _, v := range said[j : j+160] {
				sum += v * v
			}
			least = min(least, sum)
		}
		if least > best {
			best, at = least, i
		}
	}
	require.NotZero(t, at)
	return at
}

func TestCodecHasNoFaults(t *testing.T) {
	t.Parallel()
	said, heard := coded(t)
	m := follow(said, heard)
	require.Greater(t, m.Similarity, 0.85)
	require.Empty(t, m.Gaps(nil))
	require.Zero(t, m.Clicks())
	off, speech := 0, 0
	for f, lag := range m.Lag {
		if m.Speech[f] {
			speech++
			if lag < 5*ms || lag > 9*ms { // libopus looks 6.5 ms ahead
				off++
			}
		}
	}
	require.Less(t, off, speech/10)
}

func TestLagIsFollowed(t *testing.T) {
	t.Parallel()
	said, heard := coded(t)
	at := word(t, said)
	moved := slices.Concat(make([]float64, 50*ms), heard[:at], heard[at-30*ms:]) // 30 ms twice, then later
	m := follow(said, moved)
	require.InDelta(t, 57*ms, m.Lag[(at-200*ms)/(10*ms)], 2*ms)
	require.InDelta(t, 87*ms, m.Lag[(at+200*ms)/(10*ms)], 2*ms)
	require.InDelta(t, stoi.Compare(said, follow(said, heard).Heard, listen.Rate).STOI,
		stoi.Compare(m.Said, m.Heard, listen.Rate).STOI, 0.01)
	require.Empty(t, m.Gaps(nil))
}

func TestGapsAreFound(t *testing.T) {
	t.Parallel()
	said, heard := coded(t)
	at := word(t, said)
	silent := slices.Clone(heard)
	clear(silent[at : at+80*ms])
	inserted := slices.Concat(heard[:at], make([]float64, 80*ms), heard[at:])
	for name, sound := range map[string][]float64{"missing": silent, "put in": inserted} {
		gaps := follow(said, sound).Gaps(nil)
		require.Len(t, gaps, 1, name)
		require.InDelta(t, 75, gaps[0].Length.Milliseconds(), 20, name)
		require.False(t, gaps[0].Network, name)
	}
	lost := make([]bool, len(said)/(20*ms))
	for i := at / (20 * ms); i <= (at+80*ms)/(20*ms); i++ {
		lost[i] = true
	}
	gaps := follow(said, silent).Gaps(lost)
	require.Len(t, gaps, 1)
	require.True(t, gaps[0].Network)
	short := slices.Clone(heard)
	clear(short[at : at+30*ms])
	require.Empty(t, follow(said, short).Gaps(nil))
}

func TestClicksAreCounted(t *testing.T) {
	t.Parallel()
	said, heard := coded(t)
	at := word(t, said)
	clicks := slices.Clone(heard)
	clicks[at] += 0.7
	clicks[at+500*ms] -= 0.7
	require.Equal(t, 2, follow(said, clicks).Clicks())
}

func TestNothingSaidNothingFound(t *testing.T) {
	t.Parallel()
	m := follow(make([]float64, 16000), make([]float64, 16000))
	require.Zero(t, m.Similarity)
	require.Empty(t, m.Gaps(nil))
	require.Zero(t, m.Clicks())
	require.Empty(t, follow(nil, nil).Lag)
}
