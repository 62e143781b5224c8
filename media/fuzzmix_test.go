package media_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/pion/rtp"
	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/media"
	"github.com/livekit-connector/livekit-connector/media/codec"
)

// counted is a media.Codecs that knows what is in use.
type counted struct {
	*codec.Codecs
	open int
}

type countedVoice struct {
	media.Voice
	in *counted
}

func (c *counted) NewVoice(of media.Codec) (media.Voice, error) {
	v, err := c.Codecs.NewVoice(of)
	if err == nil {
		c.open++
		v = &countedVoice{v, c}
	}
	return v, err
}

func (v *countedVoice) Close() {
	v.in.open--
	v.Voice.Close()
}

// FuzzMix plays whatever the fuzzer says into four sources of all kinds, with real codecs, and checks what comes out
// against what the far end relies on.
func FuzzMix(f *testing.F) {
	for seed := range uint64(12) {
		rng := rand.New(rand.NewPCG(seed, 9))
		script := make([]byte, 400)
		for i := range script {
			if script[i] = byte(rng.UintN(256)); rng.IntN(3) > 0 {
				script[i] &= 0xC0 // mostly well-behaved
			}
		}
		f.Add(script)
	}
	codecs, err := codec.New(codec.ToPhone())
	require.NoError(f, err)
	f.Fuzz(func(t *testing.T, script []byte) {
		script = script[:min(len(script), 500)]
		uses := &counted{Codecs: codecs}
		pacer, dst := media.HandPacer(), &recorder{}
		line := media.NewLine(dst, media.LineOptions{Pacer: pacer, Codecs: uses, MaxVoices: 3})
		line.Open()
		players := []*player{
			{Source: line.AddSource("a", media.SourceOptions{})},
			{Source: line.AddSource("b", media.SourceOptions{AudioLevelID: 1})},
			{Source: line.AddSource("c", media.SourceOptions{RED: true}), red: true},
			{Source: line.AddSource("d", media.SourceOptions{Codec: media.CodecPCMU}), ulaw: true},
		}
		for i, op := range script {
			players[op>>6].play(t, line, pacer, op&0x3F, i)
			if i%3 == 0 {
				pacer.Move(media.FrameDuration)
				line.Tick()
			}
		}
		line.Close()
		require.Zero(t, uses.open)
		requireContinuous(t, dst.all())
	})
}

type player struct {
	*media.Source
	voice
	red, ulaw bool
	held      *rtp.Packet
}

func (pl *player) next(i int) *rtp.Packet {
	p := pl.packet()
	p.Payload = append(p.Payload, byte(i), byte(i>>8), byte(i*7))
	switch {
	case pl.ulaw:
		p.Payload = append(make([]byte, 150), p.Payload[:10]...)
		pl.ts -= media.FrameSamples - 160
	case pl.red:
		p.Payload = append([]byte{111}, p.Payload...)
	case i%5 == 0:
		p.Payload[0], p.Payload[1] = tocSILK, byte(i)<<2
	}
	return p
}

func (pl *player) play(t *testing.T, line *media.Line, pacer *media.Pacer, op byte, i int) {
	t.Helper()
	next := pl.next(i)
	switch op & 0x0F {
	case 1:
		next = nil
	case 2:
		next, pl.held = pl.held, next
	case 3:
		require.NoError(t, pl.WriteRTP(next))
	case 4:
		next.Payload = next.Payload[:1]
	case 5:
		next.Payload = media.SilenceFrame
	case 6:
		pl.seq += uint16(op) << 8
	case 7:
		pl.ts += uint32(op) << 20
	case 8:
		pl.ssrc++
	case 9:
		pl.SetMuted(op&0x10 != 0)
	case 10:
		pl.SetSpeaking(op&0x10 != 0)
	case 11:
		pacer.Move(time.Duration(op) * 3 * time.Millisecond)
		line.Tick()
	case 12:
		for range op & 0x30 {
			require.NoError(t, pl.WriteRTP(next))
			next = pl.next(i)
		}
	case 13:
		next.Payload = nil
	case 14:
		line.SetMode(media.Mode(op >> 5 & 1))
	case 15:
		next.Payload = append([]byte{11<<3 | 4}, next.Payload[1:]...)
		pl.ts += 2 * media.FrameSamples
	}
	if next != nil {
		require.NoError(t, pl.WriteRTP(next))
	}
}
