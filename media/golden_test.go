package media_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/media"
	"github.com/livekit-connector/livekit-connector/pkg/fakemeta/hearing"
)

// turn is when somebody speaks.
type turn struct{ from, to time.Duration }

// Tones of different frequency, one per speaker: each is heard when, and only when, it speaks.
func TestEachSpeakerIsHeardWhenItSpeaks(t *testing.T) {
	const ms = time.Millisecond
	tests := map[string][][]turn{
		"interrupted": {{{100 * ms, 5000 * ms}}, {{1000 * ms, 1700 * ms}}},
		"in turn":     {{{100 * ms, 1000 * ms}, {2500 * ms, 3500 * ms}}, {{1100 * ms, 2400 * ms}, {3600 * ms, 4600 * ms}}},
		"overlapping": {{{100 * ms, 1500 * ms}}, {{1300 * ms, 2700 * ms}}, {{2500 * ms, 4000 * ms}}},
		"all at once": {{{100 * ms, 3000 * ms}}, {{100 * ms, 2000 * ms}}, {{120 * ms, 1500 * ms}}, {{600 * ms, 1000 * ms}}},
		"in and out":  {{{100 * ms, 6000 * ms}}, {{1000 * ms, 1300 * ms}, {3200 * ms, 3500 * ms}, {4100 * ms, 4400 * ms}}},
	}
	hz := []float64{450, 1050, 1950, 2850}
	for name, turns := range tests {
		each := func(mode media.Mode) func(t *testing.T) {
			return func(t *testing.T) { inHall(t, media.LineOptions{Mode: mode}, eachInTurn(hz, turns)) }
		}
		t.Run(name, each(media.ModeAuto))
		t.Run(name+", transcoded", each(media.ModeTranscode))
	}
}

// eachInTurn lets speakers sound in their turns and measures who is heard.
func eachInTurn(hz []float64, turns [][]turn) func(t *testing.T, h *hall) {
	const ms = time.Millisecond
	return func(t *testing.T, h *hall) {
		h.pass(time.Second)
		var talkers []*talker
		for i := range turns {
			talkers = append(talkers, h.talker(t, string('a'+rune(i)), nil, true))
		}
		for at := time.Duration(0); at < 7*time.Second; at += media.FrameDuration {
			for i, k := range talkers {
				spoke := false
				for _, turn := range turns[i] {
					if at == turn.from {
						k.pcm, k.at = beep(hz[i], 20, turn.to-turn.from), 0
						k.pcm = append(k.pcm, make([]int16, 5*hallFrame)...) // the breath after it
					}
					spoke = spoke || at >= turn.from && at < turn.to+100*ms
				}
				if spoke {
					k.say(t)
				} else {
					k.skip()
				}
			}
			h.pass(media.FrameDuration)
		}
		heard := h.heard(t)[hallRate:]
		const window = 40 * ms
		for i := range turns {
			for at := time.Duration(0); at < 6800*ms; at += 10 * ms {
				from := int(at * hallRate / time.Second)
				level := decibels(amplitude(heard[from:from+int(window*hallRate/time.Second)], hz[i]) / 32768)
				on, off := false, true
				for _, turn := range turns[i] {
					on = on || at >= turn.from+120*ms && at+window <= turn.to-10*ms
					off = off && (at+window < turn.from || at > turn.to+200*ms)
				}
				if on {
					require.InDelta(t, -20, level, 3, "speaker %d at %v", i, at)
				}
				if off {
					require.Less(t, level, -50.0, "speaker %d at %v", i, at)
				}
			}
		}
	}
}

// Somebody who is hardly heard interrupts a speaker at random moments: 80 splices in all. No word of the speaker's is
// lost, cut, or heard twice.
func TestNoWordIsLostOverManySplices(t *testing.T) {
	tests := map[string]struct {
		lowDelay bool
		loops    int
		jitter   time.Duration
	}{
		"speech coder": {false, 6, 0},
		"low delay":    {true, 6, 0},
		"jitter":       {true, 6, 40 * time.Millisecond},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			inHall(t, media.LineOptions{}, func(t *testing.T, h *hall) {
				rng := rand.New(rand.NewPCG(7, 7))
				once := append(speechOf(t, "agent.wav"), make([]int16, hallRate)...)
				said := slices.Repeat(once, tt.loops)
				agent, other := h.talker(t, "agent", said, tt.lowDelay), h.talker(t, "other", nil, true)
				if tt.jitter > 0 {
					agent.jitter = func() time.Duration { return time.Duration(rng.Int64N(int64(tt.jitter))) }
				}
				next := 30
				for frame := 0; agent.at < len(said); frame++ {
					if frame == next {
						other.pcm, other.at = beep(3600, 60, time.Duration(10+rng.IntN(20))*media.FrameDuration), 0
						next += 130 + rng.IntN(60)
					}
					agent.say(t)
					other.say(t)
					for range 4 {
						agent.arrive(t)
						h.pass(media.FrameDuration / 4)
					}
				}
				h.pass(time.Second)
				st := h.line.Stats()
				require.GreaterOrEqual(t, st.ToMix+st.ToRelay, uint64(9*tt.loops/2))
				heard := h.heard(t)
				for i := range tt.loops {
					from, to := max(0, i*len(once)-hallRate/4), min(len(heard), (i+1)*len(once))
					verdict := hearing.Compare(once, heard[from:to], hallRate)
					if tt.jitter == 0 {
						require.True(t, verdict.OK(), "loop %d: %v", i, verdict)
						continue
					}
					// A buffer is built up and given up each time, so time is stretched. Nothing else may happen.
					require.True(t, verdict.First && verdict.Last && verdict.Coverage > hearing.MinCoverage, "loop %d: %v", i, verdict)
					for _, p := range verdict.Pieces {
						require.LessOrEqual(t, max(p.Hole, p.LostStart, p.LostEnd), 40*time.Millisecond, "loop %d: %v", i, verdict)
						require.LessOrEqual(t, p.Torn, 2*tt.jitter, "loop %d: %v", i, verdict)
						require.False(t, p.Repeats > 0 || p.Elsewhere, "loop %d: %v", i, verdict)
					}
				}
			})
		})
	}
}

// A steady tone, interrupted by somebody who is hardly heard: no splice is louder or softer than the rest, and none
// spreads over the spectrum.
func TestSplicesNeitherDipNorClick(t *testing.T) {
	for name, lowDelay := range map[string]bool{"speech coder": false, "low delay": true} {
		t.Run(name, func(t *testing.T) {
			inHall(t, media.LineOptions{}, func(t *testing.T, h *hall) {
				const hz, length = 420, 40 * time.Second
				rng := rand.New(rand.NewPCG(3, 4))
				steady, other := h.talker(t, "steady", beep(hz, 20, length), lowDelay), h.talker(t, "other", nil, true)
				steady.SetSpeaking(true) // an encoder finds no voice in a tone
				next := 50
				for frame := 0; steady.at < len(steady.pcm); frame++ {
					if frame == next {
						other.pcm, other.at = beep(3600, 60, 200*time.Millisecond), 0
						next += 120 + rng.IntN(40)
					}
					steady.say(t)
					other.say(t)
					h.pass(media.FrameDuration)
				}
				st := h.line.Stats()
				require.GreaterOrEqual(t, st.ToMix, uint64(12))
				require.GreaterOrEqual(t, st.ToRelay+1, st.ToMix)
				require.Greater(t, st.RelayTime, 10*time.Second)
				heard := h.heard(t)
				const ten = hallRate / 100
				high := highPass(heard, 1500)
				least, most, splatter := 0.0, -99.0, -99.0
				for i := hallRate * 13 / 10; i < hallRate*int(length/time.Second); i += ten / 2 {
					level := decibels(rms(heard[i:i+ten])*math.Sqrt2/32768) + 20
					least, most = min(least, level), max(most, level)
					splatter = max(splatter, decibels(rms(high[i:i+ten])*math.Sqrt2/32768)+20)
				}
				t.Logf("level %.1f to %.1f dB, splatter %.1f dB", least, most, splatter)
				require.Greater(t, least, -7.0)
				require.Less(t, most, 6.0)
				require.Less(t, splatter, -20.0)
			})
		})
	}
}
