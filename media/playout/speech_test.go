package playout_test

import (
	"bytes"
	"math"
	"testing"
	"time"

	"github.com/pion/rtp"
	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/media"
	"github.com/livekit-connector/livekit-connector/media/opus"
	"github.com/livekit-connector/livekit-connector/pkg/fakemeta/hearing"
	"github.com/livekit-connector/livekit-connector/testdata"
)

// spoken is the test's speech, coded.
func spoken(tb testing.TB, o opus.EncoderOptions) (packets [][]byte) {
	tb.Helper()
	raw, err := testdata.Audio.ReadFile("audio/caller.wav")
	require.NoError(tb, err)
	pcm, sampleRate, err := hearing.ReadWAV(bytes.NewReader(raw))
	require.NoError(tb, err)
	require.Equal(tb, rate, sampleRate)
	pcm = append(pcm, pcm...)
	o.SampleRate, o.Bitrate = rate, 24000
	enc, err := opus.NewEncoder(o)
	require.NoError(tb, err)
	buf := make([]byte, 1500)
	for ; len(pcm) >= frame; pcm = pcm[frame:] {
		n, err := enc.Encode(pcm[:frame], buf)
		require.NoError(tb, err)
		packets = append(packets, append([]byte(nil), buf[:n]...))
	}
	return packets
}

// decoded is what a decoder makes of packets all of which arrive.
func decoded(tb testing.TB, packets [][]byte) (pcm []int16) {
	tb.Helper()
	d, err := opus.NewDecoder(rate)
	require.NoError(tb, err)
	buf := make([]int16, frame)
	for _, p := range packets {
		_, err := d.Decode(p, buf)
		require.NoError(tb, err)
		pcm = append(pcm, buf...)
	}
	return pcm
}

func (w network) sendSpoken(packets [][]byte) []arrival {
	in, _ := w.send(17, len(packets), func(i int) *rtp.Packet {
		return rtpPacket(uint16(i), uint32(i*media.FrameSamples), packets[i])
	})
	return in
}

func TestSpeechIsUntouchedWhereNothingHappens(t *testing.T) {
	packets := spoken(t, opus.EncoderOptions{})
	want := decoded(t, packets)
	d, err := opus.NewDecoder(rate)
	require.NoError(t, err)
	v := newVoice(t, d)
	in := network{}.sendSpoken(packets)
	var got []int16
	run(v, in, 114*time.Millisecond, in[len(in)-1].at, func(_ time.Duration, pcm []int16, _ media.Sound) {
		got = append(got, pcm...)
	})
	require.Greater(t, len(got), len(want)-3*frame)
	require.Equal(t, want[:len(got)], got)
}

// likeness is the mean, over pieces of 20 ms that are not silent, of how well heard
// correlates with what was said around the place where it should be: each piece may be
// off by a little more than the one before, since sound is stretched.
func likeness(said, heard []int16, most int) float64 {
	n, lag, count, mean := frame, most/2, 0, 0.0

	for at := 0; at+n+most < len(said) && at+n+most < len(heard); at += 2 * n {
		a := said[at : at+n]
		if energy(a) < 300*300*float64(n) {
			continue
		}
		best, where := -1.0, lag
		for l := max(0, lag-rate/40); l <= min(most, lag+rate/40); l += 2 {
			if c := correlate(a, heard[at+l:at+l+n]); c > best {
				best, where = c, l
			}
		}
		lag = where
		mean += best

		count++
	}
	return mean / float64(count)
}

func energy(a []int16) (e float64) {
	for _, s := range a {
		e += float64(s) * float64(s)
	}
	return e
}

func correlate(a, b []int16) float64 {
	var ab, aa, bb int64
	for i := range a {
		x, y := int64(a[i]), int64(b[i])
		ab, aa, bb = ab+x*y, aa+x*x, bb+y*y
	}
	return float64(ab) / math.Sqrt(float64(aa)*float64(bb)+1)
}

// Speech stays what it was over bad networks, with and without FEC, as near as loss
// permits.
func TestSpeechSurvives(t *testing.T) {
	ms := time.Millisecond
	for _, tt := range []struct {
		network
		fec  bool
		like float64
	}{
		{network{name: "jitter", jitter: 30 * ms, reord: true}, false, 0.97},
		{network{name: "jitter, in order", jitter: 60 * ms}, true, 0.97},
		{network{name: "drift", drift: 500, jitter: 5 * ms}, false, 0.97},
		{network{name: "5 % loss", loss: 0.05}, true, 0.97},
		{network{name: "5 % loss, no FEC", loss: 0.05}, false, 0.93},
		{network{name: "5 % loss, jitter", loss: 0.05, jitter: 30 * ms, reord: true}, true, 0.95},
		{network{name: "20 % loss, jitter", loss: 0.2, jitter: 30 * ms, reord: true}, true, 0.88},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := opus.EncoderOptions{}
			if tt.fec {
				o.InbandFEC, o.ExpectedLossPercent = true, 15
			}
			packets := spoken(t, o)
			d, err := opus.NewDecoder(rate)
			require.NoError(t, err)
			v := newVoice(t, d)
			in := tt.sendSpoken(packets)
			var got []int16
			run(v, in, 100*ms, in[len(in)-1].at+500*ms, func(_ time.Duration, pcm []int16, _ media.Sound) {
				got = append(got, pcm...)
			})
			like := likeness(decoded(t, packets), got, rate/5)
			st := v.Stats()
			t.Logf("likeness %.3f; %d recovered, %d concealed, %d late, %d stretched, %d shortened", like,
				st.Recovered, st.Concealed, st.Late, st.Stretched, st.Shortened)
			require.GreaterOrEqual(t, like, tt.like)
			require.Zero(t, st.Garbage)
		})
	}
}

// BenchmarkVoice is what a voice costs beside its decoder, per frame.
func BenchmarkVoice(b *testing.B) {
	for _, w := range []network{{name: "clean"}, {name: "jitter and loss", jitter: 30 * time.Millisecond, loss: 0.05, reord: true}} {
		b.Run(w.name, func(b *testing.B) {
			d := &fixedDecoder{pcm: make([]int16, frame)}
			(&toneDecoder{freq: 200, amp: 5000}).write(d.pcm)
			v := newVoice(b, d)
			in, _ := w.send(1, 300000, speech(true))
			pcm := make([]int16, frame)
			now := time.Duration(0)
			b.ReportAllocs()
			b.ResetTimer()
			for b.Loop() {
				for len(in) > 0 && in[0].at <= now {
					v.Write(in[0].p, in[0].at)
					in = in[1:]
				}
				v.Read(pcm, now)
				now += media.FrameDuration
			}
		})
	}
}

// fixedDecoder costs nothing.
type fixedDecoder struct{ pcm []int16 }

func (d *fixedDecoder) Decode(_ []byte, pcm []int16) (int, error) { return copy(pcm, d.pcm), nil }
func (d *fixedDecoder) DecodeFEC(_ []byte, pcm []int16) error     { copy(pcm, d.pcm); return nil }
func (d *fixedDecoder) Conceal(pcm []int16) error                 { copy(pcm, d.pcm); return nil }
func (d *fixedDecoder) Reset() error                              { return nil }

// countedDecoder counts what the real one is asked.
type countedDecoder struct {
	*opus.Decoder
	decodes int
}

func (d *countedDecoder) Decode(payload []byte, pcm []int16) (int, error) {
	d.decodes++
	return d.Decoder.Decode(payload, pcm)
}

// A muted track of the room goes on with digital silence, which is not worth decoding.
func TestDigitalSilenceIsNotDecoded(t *testing.T) {
	packets := spoken(t, opus.EncoderOptions{})[:100]
	for range 200 {
		packets = append(packets, media.SilenceFrame)
	}
	packets = append(packets, packets[:100]...)
	dec, err := opus.NewDecoder(rate)
	require.NoError(t, err)
	d := &countedDecoder{Decoder: dec}
	v := newVoice(t, d)
	in := network{jitter: 10 * time.Millisecond}.sendSpoken(packets)
	active, frames := 0, 0
	run(v, in, 100*time.Millisecond, in[len(in)-1].at+200*time.Millisecond, func(_ time.Duration, pcm []int16, s media.Sound) {
		frames++
		if s.Active {
			active++
		} else if frames > 120 && frames < 300 {
			require.Equal(t, uint8(127), s.Level)
		}
	})
	require.LessOrEqual(t, d.decodes, 210)
	require.GreaterOrEqual(t, d.decodes, 200)
	require.InDelta(t, 200, active, 30)
	require.Zero(t, v.Stats().Concealed+v.Stats().Late)
}
