package e2e_test

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/pkg/fakemeta/hearing"
)

// Several at once are told apart by frequency: one speaks with nothing above lowVoice, the others warble above it. Each
// of them is then judged as if nobody else were there.
const lowVoice = 2800.0 // Hz

// warble is a sound that no codec takes for noise: two tones in turn, like a telephone's bell. Both frequencies fit a
// whole number of times into listenFrame, so that one warble is nothing in the frames of another.
type warble struct{ low, high float64 }

// Warbles that lie apart from each other and from low voices.
var (
	robin  = warble{3200, 3400}
	finch  = warble{3800, 4000}
	linnet = warble{4400, 4600}
)

const (
	loudness    = 0.1 // of full scale
	listenFrame = 40 * time.Millisecond
	listenHop   = 20 * time.Millisecond
)

func (w warble) sing(d time.Duration) []int16 {
	const note = 100 * time.Millisecond
	var pcm []int16
	for i := range int(d / note) {
		f := w.low
		if i%2 == 1 {
			f = w.high
		}
		pcm = append(pcm, hearing.Tone(f, loudness, note, speechRate)...)
	}
	return pcm
}

// song is a stretch in which a warble was heard.
type song struct {
	from, length time.Duration
	// hole is the longest time inside in which it was not.
	hole time.Duration
}

// maxRest is how long a warble may be silent without having ended.
const maxRest = 300 * time.Millisecond

// songs finds the warble in what was heard. Edges and holes are good to listenHop.
func (w warble) songs(pcm []int16) []song {
	var (
		all         []song
		frame, hop  = int(listenFrame.Seconds() * speechRate), int(listenHop.Seconds() * speechRate)
		at, lastEnd time.Duration
	)
	for ; len(pcm) >= frame; pcm, at = pcm[hop:], at+listenHop {
		// Half of what was said, so that an edge lies where half a frame is filled.
		if max(strength(pcm[:frame], w.low), strength(pcm[:frame], w.high)) < loudness/2 {
			continue
		}
		from, to := at+listenFrame/4, at+listenFrame*3/4
		if len(all) == 0 || from-lastEnd > maxRest {
			all = append(all, song{from: from, length: to - from})
		} else {
			s := &all[len(all)-1]
			s.hole = max(s.hole, from-lastEnd)
			s.length = to - s.from
		}
		lastEnd = to
	}
	return all
}

// strength is the amplitude of a frequency, 0 to 1 of full scale (Goertzel's algorithm).
func strength(pcm []int16, frequency float64) float64 {
	c := 2 * math.Cos(2*math.Pi*frequency/speechRate)
	var s1, s2 float64
	for _, v := range pcm {
		s1, s2 = float64(v)+c*s1-s2, s1
	}
	power := s1*s1 + s2*s2 - c*s1*s2
	return 2 * math.Sqrt(max(0, power)) / float64(len(pcm)) / math.MaxInt16
}

// judge says what is wrong if a warble was not heard so long each time, and at no other; nothing if it was.
func (w warble) judge(heard []int16, lengths ...time.Duration) (problem string) {
	const off, hole = 200 * time.Millisecond, 60 * time.Millisecond
	all := w.songs(heard)
	wrong := len(all) != len(lengths)
	for i := 0; i < len(all) && !wrong; i++ {
		wrong = (all[i].length-lengths[i]).Abs() > off || all[i].hole > hole
	}
	if wrong {
		return fmt.Sprintf("the warble at %v Hz was heard %v, not for %v; ", w.low, all, lengths)
	}
	return ""
}

// lowPass takes away what is above lowVoice. It delays nothing.
func lowPass(pcm []int16) []int16 {
	const reach = 120
	taps := make([]float64, 2*reach+1)
	for i := range taps {
		x := float64(i - reach)
		window := 0.42 + 0.5*math.Cos(math.Pi*x/reach) + 0.08*math.Cos(2*math.Pi*x/reach) // Blackman's
		taps[i] = 2 * lowVoice / speechRate * window
		if x != 0 {
			taps[i] = math.Sin(2*math.Pi*lowVoice*x/speechRate) / (math.Pi * x) * window
		}
	}
	out := make([]int16, len(pcm))
	for i := range out {
		var sum float64
		for k, tap := range taps {
			if j := i + k - reach; j >= 0 && j < len(pcm) {
				sum += tap * float64(pcm[j])
			}
		}
		out[i] = int16(max(math.MinInt16, min(math.MaxInt16, math.Round(sum))))
	}
	return out
}

// softer is pcm at a part of its amplitude.
func softer(pcm []int16, factor float64) []int16 {
	out := slices.Clone(pcm)
	for i := range out {
		out[i] = int16(factor * float64(out[i]))
	}
	return out
}

func TestWarblesAreToldApart(t *testing.T) {
	t.Parallel()
	pcm := slices.Concat(pause(time.Second), robin.sing(2*time.Second), pause(time.Second), finch.sing(time.Second))
	for i, v := range lowPass(speech(t, "agent")[:len(pcm)]) {
		pcm[i] += v
	}
	require.Empty(t, robin.judge(pcm, 2*time.Second))
	require.InDelta(t, 1, robin.songs(pcm)[0].from.Seconds(), 0.03)
	require.Empty(t, finch.judge(pcm, time.Second))
	require.Empty(t, linnet.judge(pcm))
	require.NotEmpty(t, linnet.judge(pcm, time.Second))
	require.Len(t, robin.songs(slices.Concat(pcm, robin.sing(time.Second))), 2)
	cut := slices.Clone(pcm)
	clear(cut[2*speechRate : 2*speechRate+speechRate/10])
	require.InDelta(t, 0.1, robin.songs(cut)[0].hole.Seconds(), 0.02)
	v := hearing.Compare(lowPass(speech(t, "agent")), lowPass(slices.Concat(pcm, lowPass(speech(t, "agent"))[len(pcm):])), speechRate)
	require.True(t, v.OK(), v.String())
}
