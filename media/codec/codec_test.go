package codec_test

import (
	"encoding/binary"
	"math"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/pion/rtp"
	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/internal/leaks"
	"github.com/livekit-connector/livekit-connector/media"
	"github.com/livekit-connector/livekit-connector/media/codec"
	"github.com/livekit-connector/livekit-connector/testdata"
)

func TestMain(m *testing.M) { leaks.Main(m) }

var all = []media.Codec{media.CodecOpus, media.CodecPCMU, media.CodecPCMA}

func newCodecs(tb testing.TB, o codec.Options) *codec.Codecs {
	tb.Helper()
	c, err := codec.New(o)
	require.NoError(tb, err)
	return c
}

func newVoice(tb testing.TB, c *codec.Codecs, of media.Codec) media.Voice {
	tb.Helper()
	v, err := c.NewVoice(of)
	require.NoError(tb, err)
	return v
}

func newEncoder(tb testing.TB, c *codec.Codecs, to media.Codec) media.Encoder {
	tb.Helper()
	e, err := c.NewEncoder(to)
	require.NoError(tb, err)
	return e
}

// speech is a voice at 16 kHz.
func speech(tb testing.TB) []int16 {
	tb.Helper()
	const header = 44
	wav, err := testdata.Audio.ReadFile("audio/caller.wav")
	require.NoError(tb, err)
	pcm := make([]int16, 6*16000)
	_, err = binary.Decode(wav[header:], binary.LittleEndian, pcm)
	require.NoError(tb, err)
	return pcm
}

// tone is what every rate and codec can carry.
func tone(samples, rate int) []int16 {
	pcm := make([]int16, samples)
	for i := range pcm {
		pcm[i] = int16(8000 * math.Sin(2*math.Pi*400*float64(i)/float64(rate)))
	}
	return pcm
}

func rms(pcm []int16) float64 {
	var sum float64
	for _, v := range pcm {
		sum += float64(v) * float64(v)
	}
	return math.Sqrt(sum / float64(max(1, len(pcm))))
}

func encode(tb testing.TB, e media.Encoder, pcm []int16, rate int) (payloads [][]byte) {
	tb.Helper()
	dst := make([]byte, 1275)
	for i := 0; i+rate/50 <= len(pcm); i += rate / 50 {
		n, err := e.Encode(pcm[i:i+rate/50], dst)
		require.NoError(tb, err)
		payloads = append(payloads, append([]byte(nil), dst[:n]...))
	}
	return payloads
}

// listen writes the payloads, but for those in lost, as they come and reads what
// is heard.
func listen(tb testing.TB, v media.Voice, of media.Codec, rate int, payloads [][]byte, lost map[int]bool) (heard []int16) {
	tb.Helper()
	pcm := make([]int16, rate/50)
	for i, payload := range payloads {
		at := time.Duration(i) * media.FrameDuration
		if !lost[i] {
			v.Write(&rtp.Packet{Header: rtp.Header{
				Version: 2, SequenceNumber: uint16(i), Timestamp: uint32(i) * of.ClockRate() / 50,
			}, Payload: payload}, at)
		}
		v.Read(pcm, at+5*time.Millisecond)
		heard = append(heard, pcm...)
	}
	return heard
}

func TestEveryCodecAtEveryRate(t *testing.T) {
	for _, rate := range []int{8000, 16000, 24000, 48000} {
		o := codec.ToPhone()
		o.Rate = rate
		c := newCodecs(t, o)
		require.Equal(t, rate, c.Rate())
		for _, kind := range all {
			e, v := newEncoder(t, c, kind), newVoice(t, c, kind)
			payloads := encode(t, e, tone(2*rate, rate), rate)
			if kind != media.CodecOpus {
				require.Len(t, payloads[7], 160)
			}
			heard := listen(t, v, kind, rate, payloads, nil)[rate:]
			require.InEpsilon(t, 8000/math.Sqrt2, rms(heard), 0.2, "%s at %d Hz", kind, rate)
			require.Zero(t, v.Stats().Garbage)
			require.Zero(t, v.Stats().Concealed)
			e.Close()
			v.Close()
		}
	}
}

func TestLossIsHidden(t *testing.T) {
	c := newCodecs(t, codec.ToPhone())
	lost := map[int]bool{60: true, 75: true, 76: true}
	for _, kind := range all {
		e, v := newEncoder(t, c, kind), newVoice(t, c, kind)
		heard := listen(t, v, kind, 16000, encode(t, e, tone(32000, 16000), 16000), lost)
		for i := 16000; i+160 <= len(heard); i += 160 {
			// SILK takes a tone for unvoiced and fades its concealment by 20 dB in two frames.
			require.InEpsilon(t, 8000/math.Sqrt2, rms(heard[i:i+160]), 0.95, "%s at %d ms", kind, i/16)
		}
		require.NotZero(t, v.Stats().Concealed)
		e.Close()
		v.Close()
	}
}

func TestUsedAgainIsAsNew(t *testing.T) {
	c := newCodecs(t, codec.ToPhone())
	pcm := speech(t)
	for _, kind := range all {
		var payloads [][]byte
		var heard []int16
		for range 3 {
			e, v := newEncoder(t, c, kind), newVoice(t, c, kind)
			nextPayloads := encode(t, e, pcm, 16000)
			next := listen(t, v, kind, 16000, nextPayloads, map[int]bool{40: true, 299: true})
			if payloads == nil {
				payloads, heard = nextPayloads, next
			}
			require.Equal(t, payloads, nextPayloads, kind)
			require.Equal(t, heard, next, kind)
			// Left in a state unlike that of the beginning.
			require.NoError(t, e.SetExpectedLoss(30))
			encode(t, e, pcm[:3200], 16000)
			require.NoError(t, v.(interface{ Renew() error }).Renew())
			listen(t, v, kind, 16000, payloads[:31], map[int]bool{30: true})
			e.Close()
			v.Close()
		}
		voices, encoders := c.Idle()
		require.Equal(t, [2]int{int(kind) + 1, int(kind) + 1}, [2]int{voices, encoders})
	}
}

func TestSwitchingMakesNoGarbage(t *testing.T) {
	c := newCodecs(t, codec.ToPhone())
	pcm, dst := make([]int16, 320), make([]byte, 1275)
	change := func() {
		for _, kind := range all {
			v, _ := c.NewVoice(kind)
			e, _ := c.NewEncoder(kind)
			_, _ = e.Encode(pcm, dst)
			v.Read(pcm, 0)
			v.Close()
			e.Close()
		}
	}
	change()
	require.Zero(t, testing.AllocsPerRun(100, change))
}

func TestNothingIsAllocatedPerFrame(t *testing.T) {
	c := newCodecs(t, codec.ToPhone())
	for _, kind := range all {
		e, v := newEncoder(t, c, kind), newVoice(t, c, kind)
		payloads := encode(t, e, tone(6400, 16000), 16000)
		pcm, dst := make([]int16, 320), make([]byte, 1275)
		p := rtp.Packet{Header: rtp.Header{Version: 2}}
		i := 0
		frame := func() {
			at := time.Duration(i) * media.FrameDuration
			i++
			p.SequenceNumber++
			p.Timestamp += kind.ClockRate() / 50
			p.Payload = payloads[i%len(payloads)]
			if i%7 != 0 {
				v.Write(&p, at)
			}
			v.Read(pcm, at)
			_, _ = e.Encode(pcm, dst)
		}
		for range 100 {
			frame()
		}
		require.Zero(t, testing.AllocsPerRun(500, frame), kind)
		e.Close()
		v.Close()
	}
}

func TestIdleIsBounded(t *testing.T) {
	for most, want := range map[int]int{5: 5, -1: 0} {
		o := codec.ToPhone()
		o.MaxIdle = most
		c := newCodecs(t, o)
		var open []interface{ Close() }
		for range 20 {
			open = append(open, newVoice(t, c, media.CodecOpus), newEncoder(t, c, media.CodecOpus))
		}
		for range 2 { // closing twice puts away once
			for _, x := range open {
				x.Close()
			}
		}
		voices, encoders := c.Idle()
		require.Equal(t, [2]int{want, want}, [2]int{voices, encoders})
	}
}

func TestManyAtOnce(t *testing.T) {
	c := newCodecs(t, codec.ToPhone())
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			pcm, dst := make([]int16, 320), make([]byte, 1275)
			for i := range 40 {
				kind := all[(g+i)%len(all)]
				v, err := c.NewVoice(kind)
				e, err2 := c.NewEncoder(kind)
				if err != nil || err2 != nil {
					t.Error(err, err2)
					return
				}
				v.Read(pcm, 0)
				_, _ = e.Encode(pcm, dst)
				v.Close()
				e.Close()
			}
		})
	}
	wg.Wait()
	voices, encoders := c.Idle()
	require.LessOrEqual(t, voices, 24)
	require.LessOrEqual(t, encoders, 24)
}

func TestMemory(t *testing.T) {
	c := newCodecs(t, codec.ToPhone())
	const many = 100
	measure := func(open func() interface{ Close() }) int {
		var before, after runtime.MemStats
		kept := make([]interface{ Close() }, many)
		runtime.GC()
		runtime.ReadMemStats(&before)
		for i := range kept {
			kept[i] = open()
		}
		runtime.ReadMemStats(&after)
		runtime.KeepAlive(kept)
		return int(after.TotalAlloc-before.TotalAlloc) / many
	}
	// libopus 1.3.1: a decoder takes 18 KB, an encoder 43 KB; builds of 1.5 and later
	// with neural concealment take 190 KB for a decoder.
	for _, kind := range all {
		voice := measure(func() interface{ Close() } { return newVoice(t, c, kind) })
		encoder := measure(func() interface{ Close() } { return newEncoder(t, c, kind) })
		t.Logf("%s: voice %d bytes, encoder %d bytes", kind, voice, encoder)
		require.Less(t, voice, 400_000)
		require.Less(t, encoder, 64_000)
	}
}

func TestOptionsThatCannotBe(t *testing.T) {
	for name, change := range map[string]func(*codec.Options){
		"rate":          func(o *codec.Options) { o.Rate = 44100 },
		"12 kHz":        func(o *codec.Options) { o.Rate = 12000 },
		"complexity":    func(o *codec.Options) { o.Opus.Complexity = 11 },
		"bitrate":       func(o *codec.Options) { o.Opus.Bitrate = -5 },
		"expected loss": func(o *codec.Options) { o.Opus.ExpectedLoss = 101 },
		"gain of loss":  func(o *codec.Options) { o.Opus.ExpectedLoss = -1 },
	} {
		o := codec.ToPhone()
		change(&o)
		_, err := codec.New(o)
		require.Error(t, err, name)
	}
	c := newCodecs(t, codec.ToRoom())
	_, err := c.NewVoice(99)
	require.ErrorIs(t, err, codec.ErrCodec)
	_, err = c.NewEncoder(99)
	require.ErrorIs(t, err, codec.ErrCodec)
}
