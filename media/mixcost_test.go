package media_test

import (
	"fmt"
	"testing"
	"testing/synctest"

	"github.com/pion/rtp"
	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/media"
	"github.com/livekit-connector/livekit-connector/media/codec"
	"github.com/livekit-connector/livekit-connector/media/opus"
)

type nowhere struct{}

func (nowhere) WriteRTP(*rtp.Packet) error { return nil }

// chorus is a line with so many sources that say the same, by hand.
type chorus struct {
	pacer   *media.Pacer
	line    *media.Line
	sources []*media.Source
	packets []*rtp.Packet
	said    [][]byte
	n       int
}

func newChorus(tb testing.TB, sources int, o media.LineOptions) *chorus {
	tb.Helper()
	codecs, err := codec.New(codec.ToPhone())
	require.NoError(tb, err)
	c := &chorus{pacer: media.HandPacer()}
	o.Pacer, o.Codecs, o.MaxVoices = c.pacer, codecs, sources
	c.line = media.NewLine(nowhere{}, o)
	c.line.Open()
	for i := range sources {
		c.sources = append(c.sources, c.line.AddSource("", media.SourceOptions{}))
		c.packets = append(c.packets, &rtp.Packet{Header: rtp.Header{Version: 2, SSRC: uint32(i)}})
	}
	enc, err := opus.NewEncoder(opus.EncoderOptions{SampleRate: hallRate, Bitrate: 32000, LowDelay: true})
	require.NoError(tb, err)
	pcm := speechOf(tb, "agent.wav")
	for i := 0; i+hallFrame <= len(pcm); i += hallFrame {
		buf := make([]byte, 1275)
		n, err := enc.Encode(pcm[i:i+hallFrame], buf)
		require.NoError(tb, err)
		c.said = append(c.said, buf[:n])
	}
	return c
}

// frame is 20 ms of the line's life.
func (c *chorus) frame() {
	c.pacer.Move(media.FrameDuration)
	for i, s := range c.sources {
		p := c.packets[i]
		p.Payload = c.said[c.n%len(c.said)]
		_ = s.WriteRTP(p)
		p.SequenceNumber++
		p.Timestamp += media.FrameSamples
	}
	c.n++
	c.line.Tick()
}

func TestMixDoesNotAllocate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, o := range map[string]media.LineOptions{"Opus": {}, "PCMU": {Codec: media.CodecPCMU}} {
			c := newChorus(t, 3, o)
			for range 100 {
				c.frame()
			}
			before := c.line.Stats().Mixed
			require.Zero(t, testing.AllocsPerRun(500, c.frame), name)
			require.Greater(t, c.line.Stats().Mixed, before+300, name)
			require.Positive(t, c.line.Delays().Mix.Sum, name)
			require.True(t, c.line.Mixing(), name)
			c.line.Close()
		}
	})
}

func TestRelayOfALineThatCanMixDoesNotAllocate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newChorus(t, 1, media.LineOptions{})
		c.frame()
		require.Zero(t, testing.AllocsPerRun(500, c.frame))
		require.EqualValues(t, 502, c.line.Stats().Relayed)
		c.line.Close()
	})
}

func TestSwitchesDoNotAllocate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newChorus(t, 2, media.LineOptions{})
		cycle := func() {
			for range 20 {
				c.frame()
			}
			both := c.sources
			c.sources = both[:1]
			for range 100 {
				c.frame()
			}
			c.sources = both
		}
		cycle()
		require.LessOrEqual(t, testing.AllocsPerRun(5, cycle), 2.0, "codecs are used again")
		require.GreaterOrEqual(t, c.line.Stats().ToRelay, uint64(5))
		c.line.Close()
	})
}

func BenchmarkLine(b *testing.B) {
	for _, n := range []int{1, 2, 5, 20, 100} {
		b.Run(fmt.Sprintf("%d sources", n), func(b *testing.B) {
			c := newChorus(b, n, media.LineOptions{})
			for range 100 {
				c.frame()
			}
			b.ReportAllocs()
			for b.Loop() {
				c.frame()
			}
			c.line.Close()
		})
	}
}
