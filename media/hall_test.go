package media_test

import (
	"bytes"
	"math"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/rtp"
	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/media"
	"github.com/livekit-connector/livekit-connector/media/codec"
	"github.com/livekit-connector/livekit-connector/media/opus"
	"github.com/livekit-connector/livekit-connector/pkg/fakemeta/hearing"
	"github.com/livekit-connector/livekit-connector/testdata"
)

const (
	hallRate  = 16000
	hallFrame = hallRate / 50
)

// hall is a studio with real codecs: what is said goes in as PCM, what the phone
// hears comes out as PCM.
type hall struct {
	*studio
	codecs *codec.Codecs
	start  time.Time
}

// inHall runs f with an open line that mixes with the codecs of a call.
func inHall(t *testing.T, o media.LineOptions, f func(t *testing.T, h *hall)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		codecs, err := codec.New(codec.ToPhone())
		require.NoError(t, err)
		h := &hall{studio: &studio{dst: &recorder{}, pacer: media.NewPacer(1)}, codecs: codecs, start: time.Now()}
		defer h.pacer.Close()
		o.Pacer, o.Codecs = h.pacer, codecs
		h.line = media.NewLine(h.dst, o)
		defer h.line.Close()
		h.line.Open()
		f(t, h)
		h.line.Close()
		requireContinuous(t, h.dst.all())
	})
}

// talker says PCM of 16 kHz into a source, frame by frame.
type talker struct {
	*media.Source
	enc  *opus.Encoder
	pcm  []int16
	at   int // next sample
	seq  uint16
	ts   uint32
	ssrc uint32

	jitter func() time.Duration // nil: packets come at once
	way    []onTheWay
}

type onTheWay struct {
	packet    *rtp.Packet
	sent, due time.Time
}

// handOver delivers, with its age, all that was held on the way.
func (k *talker) handOver(t *testing.T) {
	t.Helper()
	for _, w := range k.way {
		require.NoError(t, k.WriteRTPAt(w.packet, time.Since(w.sent)))
	}
	k.way = nil
}

// arrive delivers what is due.
func (k *talker) arrive(t *testing.T) {
	t.Helper()
	k.way = slices.DeleteFunc(k.way, func(w onTheWay) bool {
		if w.due.After(time.Now()) {
			return false
		}
		require.NoError(t, k.WriteRTP(w.packet))
		return true
	})
}

// talker adds a source. A modern encoder's mode for speech says for each packet
// whether there is a voice in it; the one with low delay says nothing.
func (h *hall) talker(t *testing.T, name string, pcm []int16, lowDelay bool) *talker {
	t.Helper()
	enc, err := opus.NewEncoder(opus.EncoderOptions{SampleRate: hallRate, Bitrate: 40000, LowDelay: lowDelay})
	require.NoError(t, err)
	return &talker{
		Source: h.line.AddSource(name, media.SourceOptions{}), enc: enc, pcm: pcm,
		ssrc: uint32(len(name)) + uint32(name[0]), seq: 65000, ts: math.MaxUint32 - 5000,
	}
}

// say sends the next frame; nothing once all is said.
func (k *talker) say(t *testing.T) {
	t.Helper()
	if k.at < 0 || k.at+hallFrame > len(k.pcm) {
		k.skip()
		return
	}
	var buf [1275]byte
	n, err := k.enc.Encode(k.pcm[k.at:k.at+hallFrame], buf[:])
	require.NoError(t, err)
	p := &rtp.Packet{
		Header:  rtp.Header{Version: 2, PayloadType: 96, SSRC: k.ssrc, SequenceNumber: k.seq, Timestamp: k.ts},
		Payload: buf[:n],
	}
	if k.jitter == nil {
		require.NoError(t, k.WriteRTP(p))
	} else {
		k.way = append(k.way, onTheWay{p, time.Now(), time.Now().Add(k.jitter())})
	}
	k.seq++
	k.skip()
}

// skip lets a frame of the talker's time pass unsaid.
func (k *talker) skip() { k.at, k.ts = k.at+hallFrame, k.ts+media.FrameSamples }

// heard is what the phone plays, from its first packet on.
func (h *hall) heard(t *testing.T) []int16 {
	t.Helper()
	dec, err := opus.NewDecoder(hallRate)
	require.NoError(t, err)
	packets := h.dst.all()
	first := packets[0].Packet
	slices.SortStableFunc(packets, func(a, b written) int {
		return int(int32((a.Timestamp - first.Timestamp) - (b.Timestamp - first.Timestamp)))
	})
	var out []int16
	pcm := make([]int16, 5760)
	for _, w := range packets {
		at := int(w.Timestamp-first.Timestamp) / 3
		for len(out) < at {
			require.NoError(t, dec.Conceal(pcm[:hallFrame]))
			out = append(out, pcm[:hallFrame]...)
		}
		n, err := dec.Decode(w.Payload, pcm)
		require.NoError(t, err)
		out = append(out, pcm[:n]...)
	}
	return out
}

// speechOf is a recording of testdata, in whole frames.
func speechOf(tb testing.TB, name string) []int16 {
	tb.Helper()
	wav, err := testdata.Audio.ReadFile("audio/" + name)
	require.NoError(tb, err)
	pcm, rate, err := hearing.ReadWAV(bytes.NewReader(wav))
	require.NoError(tb, err)
	require.Equal(tb, hallRate, rate)
	return pcm[:len(pcm)/hallFrame*hallFrame]
}

// beep is a tone of so many dB below full scale that begins and ends softly.
func beep(hz, db float64, length time.Duration) []int16 {
	pcm := hearing.Tone(hz, math.Pow(10, -db/20), length, hallRate)
	const ramp = 320
	for i := range min(ramp, len(pcm)/2) {
		g := 0.5 - 0.5*math.Cos(math.Pi*float64(i)/ramp)
		pcm[i] = int16(float64(pcm[i]) * g)
		pcm[len(pcm)-1-i] = int16(float64(pcm[len(pcm)-1-i]) * g)
	}
	return pcm
}

// amplitude is that of one frequency in a window, by Goertzel's algorithm with a
// Hann window.
func amplitude(pcm []int16, hz float64) float64 {
	var re, im, weight float64
	for i, v := range pcm {
		w := 0.5 - 0.5*math.Cos(2*math.Pi*float64(i)/float64(len(pcm)))
		phase := 2 * math.Pi * hz * float64(i) / hallRate
		re += w * float64(v) * math.Cos(phase)
		im += w * float64(v) * math.Sin(phase)
		weight += w
	}
	return 2 * math.Hypot(re, im) / weight
}

func decibels(ratio float64) float64 { return 20 * math.Log10(max(ratio, 1e-9)) }

func rms(pcm []int16) float64 {
	var e float64
	for _, v := range pcm {
		e += float64(v) * float64(v)
	}
	return math.Sqrt(e / float64(len(pcm)))
}

// highPass takes away what is below a frequency: two filters of second order.
func highPass(pcm []int16, hz float64) []int16 {
	w := 2 * math.Pi * hz / hallRate
	alpha, cos := math.Sin(w)/math.Sqrt2, math.Cos(w)
	b, a1, a2 := (1+cos)/2/(1+alpha), -2*cos/(1+alpha), (1-alpha)/(1+alpha)
	out := slices.Clone(pcm)
	for range 2 {
		var x1, x2, y1, y2 float64
		for i, v := range out {
			x := float64(v)
			y := b*(x-2*x1+x2) - a1*y1 - a2*y2
			x2, x1, y2, y1 = x1, x, y1, y
			out[i] = int16(max(-32768, min(32767, y)))
		}
	}
	return out
}
