package media

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

const agcFrame = 320

// agcInput makes a frame of what sounds like noise of so many dB.
func agcInput(rng *rand.Rand, db float64, sum []int32) {
	for i := range sum {
		sum[i] = int32(rng.NormFloat64() * math.Pow(10, db/20) * 32768)
	}
}

// agcTalk lets somebody speak for a second and be silent for half of one, again and
// again, and returns the level of both at the end.
func agcTalk(a *agc, speech, noise float64, seconds int) (said, paused float64) {
	rng := rand.New(rand.NewPCG(5, 6))
	sum := make([]int32, agcFrame)
	for frame := range seconds * 50 {
		speaks := frame%75 >= 25
		db := noise
		if speaks {
			db = speech + 6*math.Sin(float64(frame)) // syllables
		}
		agcInput(rng, db, sum)
		a.apply(sum)
		if p := meanPower(sum); speaks {
			said += 0.02 * (p - said)
		} else {
			paused += 0.1 * (p - paused)
		}
	}
	return 10 * math.Log10(said), 10 * math.Log10(paused)
}

func TestAGCBringsSpeechToOneLevel(t *testing.T) {
	for name, tt := range map[string]struct{ speech, noise, said, paused float64 }{
		"right":               {-22, -70, -20, -70},
		"quiet":               {-32, -75, -20, -65},
		"loud":                {-12, -60, -20, -70},
		"too quiet":           {-45, -80, -32, -67},
		"far too loud":        {-4, -60, -14.5, -71},
		"quiet among noise":   {-32, -48, -30.5, -47},
		"quiet and some hiss": {-32, -57, -23.5, -49},
	} {
		t.Run(name, func(t *testing.T) {
			said, paused := agcTalk(&agc{}, tt.speech, tt.noise, 20)
			require.InDelta(t, tt.said, said, 2.5)
			require.InDelta(t, tt.paused, paused, 2.5)
		})
	}
}

// Noise alone is never amplified, whether it is there from the beginning, comes, or
// goes; and in a pause the gain stands still.
func TestAGCLeavesNoiseAlone(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	sum := make([]int32, agcFrame)
	for _, db := range []float64{-75, -58, -45, -30} {
		a := &agc{}
		for range 30 * 50 {
			agcInput(rng, db, sum)
			a.apply(sum)
			require.LessOrEqual(t, a.gain, 0.0, "noise of %v dB", db)
		}
	}
	a := &agc{}
	for frame := range 60 * 50 {
		agcInput(rng, []float64{-100, -45}[frame/250%2], sum)
		a.apply(sum)
		require.LessOrEqual(t, a.gain, 2.5, "noise that comes and goes")
	}
	a = &agc{}
	agcTalk(a, -30, -70, 10)
	gain := a.gain
	require.Greater(t, gain, 5.0)
	for range 60 * 50 {
		agcInput(rng, -70, sum)
		a.apply(sum)
	}
	require.InDelta(t, gain, a.gain, 0)
}

// The gain moves slowly, also within a frame.
func TestAGCDoesNotJump(t *testing.T) {
	a, rng := &agc{}, rand.New(rand.NewPCG(1, 2))
	sum := make([]int32, agcFrame)
	agcTalk(a, -35, -70, 10)
	for frame := range 500 {
		before := a.gain
		agcInput(rng, []float64{-70, -10, -35, -20}[frame/7%4], sum)
		a.apply(sum)
		require.LessOrEqual(t, a.gain-before, agcUp/50+1e-9)
		require.GreaterOrEqual(t, a.gain-before, -agcDown/50-1e-9)
		require.LessOrEqual(t, math.Abs(a.gain), agcRange)
	}
	for i := range sum {
		sum[i] = 10000
	}
	a.apply(sum)
	for i := 1; i < len(sum); i++ {
		require.InDelta(t, sum[i-1], sum[i], 4)
	}
}

func TestAGCAllocatesNothing(t *testing.T) {
	a, sum := &agc{}, make([]int32, agcFrame)
	agcInput(rand.New(rand.NewPCG(1, 2)), -30, sum)
	require.Zero(t, testing.AllocsPerRun(100, func() { a.apply(sum) }))
}
