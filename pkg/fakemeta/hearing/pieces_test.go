package hearing_test

import (
	"flag"
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/pkg/fakemeta/hearing"
)

// babble is synthetic speech: syllables that all differ, of 100 to 180 ms, three to a word, and 150 ms between words.
func babble(words int) (pcm []int16, bounds [][2]int) {
	at := silence(100)
	for w := range words {
		from := len(at)
		for s := range 3 {
			n := w*3 + s
			at = append(at, syllable(n, 100+n*37%80)...)
		}
		bounds = append(bounds, [2]int{from, len(at)})
		at = append(at, silence(150)...)
	}
	return at, bounds
}

// syllable is a buzz of some pitch through two resonances that glide.
func syllable(n, length int) []int16 {
	pitch := 95 + float64(n*53%60)
	low, high := 300+float64(n*173%600), 1200+float64(n*311%1900)
	glide := 1 + 0.3*math.Sin(float64(n))
	out := make([]int16, ms(length))
	for i := range out {
		t, along := float64(i)/rate, float64(i)/float64(len(out))
		var sum float64
		for k := 1.0; k*pitch < 6000; k++ {
			f := k * pitch
			weight := func(at float64) float64 { d := (f - at*(1+along*(glide-1))) / 150; return 1 / (1 + d*d) }
			sum += (weight(low) + 0.5*weight(high) + 0.01) * math.Sin(2*math.Pi*f*t+k*k)
		}
		out[i] = int16(4000 * sum * math.Sqrt(math.Sin(math.Pi*(0.05+0.9*along))))
	}
	return out
}

// apart is how far the places that TestFaultsInsideWordsAreFound breaks lie from each other.
var apart = flag.Int("apart", 1500, "milliseconds between the faults that are tried")

// voice is speech, and where its words or phrases are.
type voice struct {
	said   []int16
	phrase [][2]int // samples
}

func voices(t *testing.T) map[string]voice {
	t.Helper()
	synthetic, words := babble(5)
	// The phrases of the samples lie between pauses of 130 ms and more.
	at := func(all ...[2]int) [][2]int {
		for i := range all {
			all[i] = [2]int{ms(all[i][0]), ms(all[i][1])}
		}
		return all
	}
	return map[string]voice{
		"synthetic": {synthetic, words},
		"caller":    {speech(t, "caller.wav"), at([2]int{10, 770}, [2]int{1130, 3910}, [2]int{4260, 6930})},
		"agent": {speech(t, "agent.wav"), at([2]int{20, 490}, [2]int{660, 2150}, [2]int{2500, 3130}, [2]int{3340, 4770},
			[2]int{5130, 6220}, [2]int{6340, 7650})},
	}
}

// played joins phrases, with each pause changed by so many ms.
func (v voice) played(change func(i int) int) []int16 {
	var out []int16
	from := 0
	for i, p := range v.phrase {
		if i > 0 {
			middle := (v.phrase[i-1][1] + p[0]) / 2
			out = append(out, v.said[from:middle]...)
			from = middle
			if n := ms(change(i)); n > 0 {
				out = append(out, make([]int16, n)...)
			} else {
				out, from = out[:len(out)+n/2], from-n/2
			}
		}
		out = append(out, v.said[from:p[1]]...)
		from = p[1]
	}
	return append(out, v.said[from:]...)
}

func TestLagMayMoveAtPauses(t *testing.T) {
	t.Parallel()
	for name, v := range voices(t) {
		for _, n := range []int{20, 40, 100, -20, -60, -100} {
			heard := v.played(func(i int) int {
				if i%2 == 1 {
					return n
				}
				return -n
			})
			growing := v.played(func(int) int { return n })
			for what, heard := range map[string][]int16{
				"to and fro": heard, "one way, coded": coded(t, growing, 20000),
			} {
				t.Run(fmt.Sprintf("%s %s %d ms", name, what, n), func(t *testing.T) {
					got := hearing.Compare(v.said, heard, rate)
					require.True(t, got.OK(), "%v\n%+v", got, got.Pieces)
					require.Len(t, got.Pieces, len(v.phrase))
					want := max(n, -n)
					if what != "to and fro" {
						want *= len(v.phrase) - 1
					}
					require.InDelta(t, want, got.Moved.Milliseconds(), 3)
				})
			}
		}
	}
}

func TestDriftIsNoFault(t *testing.T) {
	t.Parallel()
	for name, v := range voices(t) {
		for _, ppm := range []int{500, -500} {
			t.Run(fmt.Sprintf("%s %d", name, ppm), func(t *testing.T) {
				heard := drifted(v.said, ppm)
				got := hearing.Compare(v.said, coded(t, heard, 24000), rate)
				require.True(t, got.OK(), "%v\n%+v", got, got.Pieces)
				require.Less(t, got.Moved, 6*time.Millisecond)
			})
		}
	}
}

// drifted is pcm by a clock that is wrong by ppm.
func drifted(pcm []int16, ppm int) []int16 {
	out := make([]int16, len(pcm)-len(pcm)*max(0, ppm)/1_000_000-1)
	for i := range out {
		at := float64(i) * (1 + float64(ppm)/1e6)
		k := min(int(at), len(pcm)-2)
		f := at - float64(k)
		out[i] = int16((1-f)*float64(pcm[k]) + f*float64(pcm[k+1]))
	}
	return out
}

// loud is a phrase without what fades in and out.
func (v voice) loud(p [2]int) [2]int {
	first, last := bounds(v.said[p[0]:p[1]])
	return [2]int{p[0] + first, p[0] + last}
}

// places are where in a voice something breaks: all over it, but not in its soft moments.
func (v voice) places(length int) (all []int) {
	next := 0
	for _, p := range v.phrase {
		for at := max(next, p[0]+ms(60)); at+ms(length+60) < p[1]; at += ms(20) {
			loud := true
			for k := at; k < at+ms(length); k += ms(10) {
				loud = loud && (power(v.said[k:k+ms(10)]) > 0.03*power(v.said) || length > 100)
			}
			if loud && power(v.said[at:at+ms(length)]) > 0.3*power(v.said) {
				all = append(all, at)
				at += ms(*apart)
				next = at
			}
		}
	}
	return all
}

func power(pcm []int16) (sum float64) {
	for _, v := range pcm {
		sum += float64(v) * float64(v) / float64(len(pcm))
	}
	return sum
}

// Whatever breaks inside a word is found, wherever it is, and after pauses that moved.
func TestFaultsInsideWordsAreFound(t *testing.T) {
	t.Parallel()
	for name, v := range voices(t) {
		faults := map[string]struct {
			length int
			do     func(pcm []int16, at, n int) []int16
		}{
			"hole":     {40, func(pcm []int16, at, n int) []int16 { clear(pcm[at : at+n]); return pcm }},
			"syllable": {120, func(pcm []int16, at, n int) []int16 { clear(pcm[at : at+n]); return pcm }},
			"put in":   {60, func(pcm []int16, at, n int) []int16 { return slices.Insert(pcm, at, make([]int16, n)...) }},
			"stutter": {200, func(pcm []int16, at, n int) []int16 {
				return slices.Insert(pcm, at+n, slices.Clone(pcm[at:at+n])...)
			}},
			"cut out": {150, func(pcm []int16, at, n int) []int16 { return slices.Delete(pcm, at, at+n) }},
		}
		for what, f := range faults {
			t.Run(name+" "+what, func(t *testing.T) {
				places := v.places(f.length)
				require.NotEmpty(t, places)
				var deaf []int
				for _, at := range places {
					heard := f.do(slices.Clone(v.said), at, ms(f.length))
					if got := hearing.Compare(v.said, coded(t, heard, 32000), rate); got.OK() {
						deaf = append(deaf, at*1000/rate)
						t.Logf("%d: %v %+v", at*1000/rate, got, got.Pieces)
					}
				}
				require.Empty(t, deaf, "of %d", len(places))
			})
		}
	}
}

func TestEveryPhraseIsHeldToItsEdges(t *testing.T) {
	t.Parallel()
	for name, v := range voices(t) {
		for i, p := range v.phrase {
			p = v.loud(p)
			faults := map[string][2]int{
				"start":   {p[0] - ms(100), p[0] + ms(60)},
				"end":     {p[1] - ms(60), p[1] + ms(100)},
				"missing": {p[0] - ms(100), p[1] + ms(100)},
			}
			for what, f := range faults {
				t.Run(fmt.Sprintf("%s %d %s", name, i, what), func(t *testing.T) {
					broken := v
					broken.said = slices.Clone(v.said)
					clear(broken.said[max(0, f[0]):f[1]])
					got := hearing.Compare(v.said, broken.played(func(i int) int { return 40 - 20*i%60 }), rate)
					require.False(t, got.OK(), "%v\n%+v", got, got.Pieces)
					one := got.Pieces[i]
					switch what {
					case "start":
						require.Greater(t, one.LostStart, hearing.MaxGap)
					case "end":
						require.Greater(t, one.LostEnd, hearing.MaxGap)
					default:
						require.False(t, one.Heard)
					}
					for k, other := range got.Pieces {
						if k != i {
							require.LessOrEqual(t, max(other.LostStart, other.LostEnd, other.Hole), hearing.MaxGap, "%d: %v", k, got)
						}
					}
				})
			}
		}
	}
}

func TestOrderAndRepetition(t *testing.T) {
	t.Parallel()
	for name, v := range voices(t) {
		for i := range len(v.phrase) - 1 {
			p, q := v.phrase[i], v.phrase[i+1]
			t.Run(fmt.Sprintf("%s %d twice", name, i), func(t *testing.T) {
				heard := slices.Concat(v.said[:p[1]], silence(100), v.said[p[0]:])
				got := hearing.Compare(v.said, heard, rate)
				require.False(t, got.OK(), "%v\n%+v", got, got.Pieces)
				require.Positive(t, got.Pieces[i].Repeats, "%v\n%+v", got, got.Pieces)
			})
			t.Run(fmt.Sprintf("%s %d and the next swapped", name, i), func(t *testing.T) {
				heard := slices.Concat(v.said[:p[0]], v.said[q[0]:q[1]], v.said[p[1]:q[0]], v.said[p[0]:p[1]], v.said[q[1]:])
				got := hearing.Compare(v.said, heard, rate)
				require.False(t, got.OK(), "%v\n%+v", got, got.Pieces)
				require.True(t, got.Pieces[i].Elsewhere || got.Pieces[i+1].Elsewhere, "%v\n%+v", got, got.Pieces)
			})
		}
		t.Run(name+" the last one twice", func(t *testing.T) {
			p := v.phrase[len(v.phrase)-1]
			heard := slices.Concat(v.said[:p[1]], silence(150), v.said[p[0]:])
			got := hearing.Compare(v.said, heard, rate)
			require.False(t, got.OK(), "%v\n%+v", got, got.Pieces)
			require.Equal(t, 1, got.Pieces[len(v.phrase)-1].Repeats)
		})
		t.Run(name+" all of it in a loop", func(t *testing.T) {
			heard := slices.Concat(v.said[len(v.said)/2:], v.said, v.said)
			got := hearing.Compare(v.said, heard, rate)
			require.True(t, got.OK(), "%v\n%+v", got, got.Pieces)
		})
	}
}

func TestSoundInPausesIsFound(t *testing.T) {
	t.Parallel()
	v := voices(t)["caller"]
	heard := slices.Clone(v.said)
	copy(heard[ms(4020):], hearing.Tone(700, 0.3, 100*time.Millisecond, rate))
	got := hearing.Compare(v.said, heard, rate)
	require.False(t, got.OK(), "%v", got)
	require.InDelta(t, 100, got.Between.Milliseconds(), 30)
	require.Zero(t, hearing.Compare(v.said, v.said, rate).Between)
}

// A slice of speech begins and ends in the middle of words, and has less to go by.
func TestSlicesOfSpeechPass(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"caller", "agent"} {
		v := voices(t)[name]
		for at := 0; at+ms(2000) < len(v.said); at += ms(930) {
			said := v.said[at : at+ms(1300)]
			heard := coded(t, coded(t, slices.Concat(silence(170), said, silence(300)), 18000), 18000)
			got := hearing.Compare(said, heard, rate)
			require.True(t, got.OK(), "%s from %d ms: %v\n%+v", name, at*1000/rate, got, got.Pieces)
		}
	}
}
