package micro

import (
	"time"

	"github.com/pion/rtp"

	"github.com/livekit-connector/livekit-connector/media"
	"github.com/livekit-connector/livekit-connector/media/codec"
)

// bare is a chain of a line and nothing else.
type bare struct {
	pacer *media.Pacer
	line  *media.Line
}

func (b *bare) Source() (media.Writer, error) {
	return b.line.AddSource("", media.SourceOptions{}), nil
}

func (b *bare) Close() {
	b.line.Close()
	b.pacer.Close()
}

// bareCodecs makes voices that know what they say, and encoders that encode nothing.
type bareCodecs struct{ frames [][]int16 }

func (bareCodecs) Rate() int { return codec.PhoneRate }

func (c bareCodecs) NewVoice(media.Codec) (media.Voice, error) {
	return &bareVoice{frames: c.frames}, nil
}

func (bareCodecs) NewEncoder(media.Codec) (media.Encoder, error) { return bareEncoder{}, nil }

type bareVoice struct {
	frames [][]int16
	n      int
}

func (v *bareVoice) Read(pcm []int16, _ time.Duration) media.Sound {
	copy(pcm, v.frames[v.n%len(v.frames)])
	v.n++
	return media.Sound{Level: 30, Active: true}
}

func (v *bareVoice) Finish(pcm []int16, now time.Duration) media.Sound { return v.Read(pcm, now) }

func (v *bareVoice) Prime([]byte)                     {}
func (v *bareVoice) Write(*rtp.Packet, time.Duration) {}
func (v *bareVoice) Pending(func(*rtp.Packet))        {}
func (v *bareVoice) Recall(pcm []int16)               { clear(pcm) }
func (v *bareVoice) Depth() time.Duration             { return 0 }
func (v *bareVoice) Stats() media.VoiceStats          { return media.VoiceStats{} }
func (v *bareVoice) Close()                           {}

type bareEncoder struct{}

func (bareEncoder) Encode(_ []int16, dst []byte) (int, error) {
	return copy(dst, media.SilenceFrame[:]), nil
}
func (bareEncoder) Imitate([]byte) error      { return nil }
func (bareEncoder) SetExpectedLoss(int) error { return nil }
func (bareEncoder) Close()                    {}
