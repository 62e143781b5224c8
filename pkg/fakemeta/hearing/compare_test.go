package hearing_test

import (
	"cmp"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/media/opus"
	"github.com/livekit-connector/livekit-connector/media/resample/soxr"
	"github.com/livekit-connector/livekit-connector/pkg/fakemeta/hearing"
)

const rate = 16000

func speech(tb testing.TB, name string) []int16 {
	tb.Helper()
	f, err := os.Open("../../../testdata/audio/" + name)
	require.NoError(tb, err)
	defer f.Close()
	pcm, r, err := hearing.ReadWAV(f)
	require.NoError(tb, err)
	require.Equal(tb, rate, r)
	return pcm
}

// coded sends pcm through Opus as a WhatsApp phone codes it.
func coded(t *testing.T, pcm []int16, bitrate int) []int16 {
	t.Helper()
	enc, err := opus.NewEncoder(opus.EncoderOptions{SampleRate: rate, Bitrate: bitrate})
	require.NoError(t, err)
	dec, err := opus.NewDecoder(rate)
	require.NoError(t, err)
	packet := make([]byte, opus.MaxPacketBytes)
	frame := make([]int16, 1920)
	var out []int16
	for len(pcm) >= 320 {
		n, err := enc.Encode(pcm[:320], packet)
		require.NoError(t, err)
		n, err = dec.Decode(packet[:n], frame)
		require.NoError(t, err)
		out = append(out, frame[:n]...)
		pcm = pcm[320:]
	}
	return out
}

func converted(t *testing.T, pcm []int16, in, out int) []int16 {
	t.Helper()
	result, err := soxr.Convert(pcm, in, out)
	require.NoError(t, err)
	return result
}

func ms(n int) int { return n * rate / 1000 }

func silence(n int) []int16 { return make([]int16, ms(n)) }

func gain(pcm []int16, factor float64) []int16 {
	out := make([]int16, len(pcm))
	for i, v := range pcm {
		out[i] = int16(max(-32768, min(32767, factor*float64(v))))
	}
	return out
}

func mixed(a, b []int16) []int16 {
	out := make([]int16, max(len(a), len(b)))
	for i := range out {
		var sum int
		if i < len(a) {
			sum += int(a[i])
		}
		if i < len(b) {
			sum += int(b[i])
		}
		out[i] = int16(max(-32768, min(32767, sum)))
	}
	return out
}

func noise(n int, amplitude float64) []int16 {
	r := rand.New(rand.NewPCG(1, 2))
	out := make([]int16, n)
	for i := range out {
		out[i] = int16(amplitude * 32767 * (2*r.Float64() - 1))
	}
	return out
}

// bounds gives the first and the last sample that is clearly speech.
func bounds(pcm []int16) (first, last int) {
	loud := func(v int16) bool { return v > 800 || v < -800 }
	first = slices.IndexFunc(pcm, loud)
	for i, v := range pcm {
		if loud(v) {
			last = i
		}
	}
	return first, last
}

// blanked replaces length ms of pcm, in its loudest neighbourhood, by silence.
func blanked(pcm []int16, length int) []int16 {
	from := loudest(pcm, ms(length))
	out := slices.Clone(pcm)
	clear(out[from : from+ms(length)])
	return out
}

func loudest(pcm []int16, n int) (at int) {
	var most, sum float64
	for i, v := range pcm {
		sum += float64(v) * float64(v)
		if i >= n {
			sum -= float64(pcm[i-n]) * float64(pcm[i-n])
		}
		if sum > most && i >= n {
			most, at = sum, i-n+1
		}
	}
	return at
}

func TestIntactSpeechPasses(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"caller.wav", "agent.wav"} {
		said := speech(t, name)
		other := speech(t, "agent.wav")
		cases := map[string][]int16{
			"as it is":             said,
			"half a second later":  slices.Concat(silence(500), said, silence(500)),
			"Opus once":            coded(t, said, 20000),
			"Opus twice":           coded(t, coded(t, said, 20000), 20000),
			"Opus twice, 32 kb/s":  coded(t, coded(t, said, 32000), 32000),
			"6 dB softer":          gain(said, 0.5),
			"10 dB softer, coded":  coded(t, gain(said, 0.316), 20000),
			"upside down":          gain(said, -1),
			"with a little noise":  mixed(said, noise(len(said), 0.003)),
			"one frame lost":       blanked(said, 20),
			"down to 8 kHz and up": converted(t, converted(t, said, rate, 8000), 8000, rate),
		}
		if name == "caller.wav" {
			cases["after other speech"] = slices.Concat(other, silence(300), said)
			cases["said twice in a row"] = slices.Concat(said, silence(200), said)
		}
		for what, heard := range cases {
			t.Run(name+" "+what, func(t *testing.T) {
				v := hearing.Compare(said, heard, rate)
				t.Log(v)
				t.Logf("echo %.2f at %v, noise %.0f, extra %v", v.Echo, v.EchoLag, v.NoiseDB, v.Extra)
				require.True(t, v.OK(), "%v", v)
			})
		}
	}
}

func TestBrokenSpeechFails(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"caller.wav", "agent.wav"} {
		said := speech(t, name)
		other := speech(t, map[string]string{"caller.wav": "agent.wav", "agent.wav": "caller.wav"}[name])
		first, last := bounds(said)
		at := loudest(said, ms(200))
		cases := map[string][]int16{
			"nothing":                   nil,
			"silence":                   silence(5000),
			"noise":                     noise(len(said), 0.1),
			"a tone":                    hearing.Tone(440, 0.3, 5*time.Second, rate),
			"another voice":             other,
			"another voice on top":      mixed(said, other),
			"200 ms missing":            blanked(said, 200),
			"100 ms missing":            blanked(said, 100),
			"200 ms cut out":            slices.Concat(said[:at], said[at+ms(200):]),
			"200 ms put in":             slices.Concat(said[:at], silence(200), said[at:]),
			"200 ms of noise instead":   slices.Concat(said[:at], noise(ms(200), 0.2), said[at+ms(200):]),
			"first syllable clipped":    slices.Concat(make([]int16, first+ms(150)), said[first+ms(150):]),
			"recording starts too late": said[first+ms(300):],
			"last syllable missing":     said[:last-ms(120)],
			"ends halfway":              said[:len(said)/2],
			"echo after 100 ms":         mixed(gain(said, 0.6), slices.Concat(silence(100), gain(said, 0.6))),
			"echo after 400 ms":         mixed(gain(said, 0.6), slices.Concat(silence(400), gain(said, 0.4))),
			"every frame twice":         stuttered(said, 2),
			"every other frame lost":    stuttered(said, 0),
			"backwards":                 backwards(said),
			"at double speed":           converted(t, said, 2*rate, rate),
			"samples swapped":           byteSwapped(said),
			"20 dB too soft":            gain(said, 0.1),
			"noisy":                     mixed(said, noise(len(said), 0.15)),
		}
		for what, heard := range cases {
			t.Run(name+" "+what, func(t *testing.T) {
				v := hearing.Compare(said, heard, rate)
				t.Log(v)
				require.False(t, v.OK(), "%v", v)
			})
		}
	}
}

// stuttered plays every second frame of 20 ms as often as told.
func stuttered(pcm []int16, times int) []int16 {
	var out []int16
	for i := 0; i+640 <= len(pcm); i += 640 {
		out = append(out, pcm[i:i+320]...)
		for range times {
			out = append(out, pcm[i+320:i+640]...)
		}
		if times == 0 {
			out = append(out, make([]int16, 320)...)
		}
	}
	return out
}

func backwards(pcm []int16) []int16 {
	out := slices.Clone(pcm)
	slices.Reverse(out)
	return out
}

func byteSwapped(pcm []int16) []int16 {
	out := make([]int16, len(pcm))
	for i, v := range pcm {
		out[i] = int16(uint16(v)<<8 | uint16(v)>>8)
	}
	return out
}

func TestVerdictMeasures(t *testing.T) {
	t.Parallel()
	said := speech(t, "caller.wav")
	first, _ := bounds(said)

	t.Run("lag to the sample", func(t *testing.T) {
		v := hearing.Compare(said, slices.Concat(make([]int16, 12345), said), rate)
		require.Equal(t, time.Duration(12345)*time.Second/rate, v.Lag)
	})
	t.Run("negative lag", func(t *testing.T) {
		v := hearing.Compare(said, said[first+4000:], rate)
		require.Equal(t, -time.Duration(first+4000)*time.Second/rate, v.Lag)
		require.False(t, v.First)
		require.True(t, v.Last)
	})
	t.Run("gain", func(t *testing.T) {
		v := hearing.Compare(said, gain(said, 0.5), rate)
		require.InDelta(t, 20*math.Log10(0.5), v.GainDB, 0.3)
	})
	t.Run("hole", func(t *testing.T) {
		v := hearing.Compare(said, blanked(said, 200), rate)
		require.Equal(t, 1, v.Gaps)
		require.InDelta(t, 200, v.LongestGap.Milliseconds(), 40)
	})
	t.Run("echo", func(t *testing.T) {
		v := hearing.Compare(said, mixed(gain(said, 0.6), slices.Concat(silence(250), gain(said, 0.4))), rate)
		require.InDelta(t, 250, v.EchoLag.Milliseconds(), 2)
		require.InDelta(t, 0.67, v.Echo, 0.15)
	})
	t.Run("extra", func(t *testing.T) {
		v := hearing.Compare(said, slices.Concat(said, silence(500), said), rate)
		require.Greater(t, v.Extra, 2*time.Second)
		require.Zero(t, hearing.Compare(said, said, rate).Extra)
	})
	t.Run("at 48 kHz", func(t *testing.T) {
		wide := converted(t, said, rate, 48000)
		v := hearing.Compare(wide, slices.Concat(make([]int16, 4800), wide), 48000)
		require.True(t, v.OK(), "%v", v)
		require.Equal(t, 100*time.Millisecond, v.Lag)
	})
	t.Run("nothing said", func(t *testing.T) {
		require.False(t, hearing.Compare(nil, said, rate).Found)
		require.False(t, hearing.Compare(silence(1000), said, rate).Found)
	})
}

// The limit for one segment must not be near what a codec does to it.
func TestCodecLeavesRoomToTheLimits(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"caller.wav", "agent.wav"} {
		said := speech(t, name)
		v := hearing.Compare(said, coded(t, coded(t, said, 20000), 20000), rate)
		worst := slices.MinFunc(v.Segments, func(a, b hearing.Segment) int {
			return cmp.Compare(a.Similarity, b.Similarity)
		})
		require.Greater(t, worst.Similarity, 0.6, "%+v", worst)
		require.Greater(t, v.Similarity, 0.9)
		require.Less(t, v.Echo, hearing.MaxEcho/2)
		require.LessOrEqual(t, v.LongestGap, hearing.MaxGap/2)
	}
}

func BenchmarkCompare10Seconds(b *testing.B) {
	said := speech(b, "caller.wav")
	for len(said) < 10*rate {
		said = append(said, said...)
	}
	said = said[:10*rate]
	heard := slices.Concat(silence(300), said)
	b.ReportAllocs()
	for b.Loop() {
		hearing.Compare(said, heard, rate)
	}
}
