package mediasdk

import (
	"fmt"

	"github.com/livekit-connector/livekit-connector/media/codec"
	"github.com/livekit-connector/livekit-connector/media/opus"
	msdk "github.com/livekit/media-sdk"
	msdkopus "github.com/livekit/media-sdk/opus"
	"github.com/livekit/protocol/logger"
)

// libopusComplexity is libopus' default, and so media-sdk's.
const libopusComplexity = 9

// metaEncoder encodes as media-sdk's encoder does, but at a bitrate.
type metaEncoder struct {
	encoder *opus.Encoder
	out     *packetizer
	payload [opus.MaxPacketBytes]byte
}

func newMetaEncoder(out *packetizer, _ logger.Logger) (msdk.PCM16Writer, error) {
	e, err := opus.NewEncoder(opus.EncoderOptions{SampleRate: Rate, Bitrate: codec.PhoneBitrate, Complexity: libopusComplexity})
	if err != nil {
		return nil, fmt.Errorf("make encoder: %w", err)
	}
	return &metaEncoder{encoder: e, out: out}, nil
}

func (e *metaEncoder) String() string  { return "encoder" }
func (e *metaEncoder) SampleRate() int { return Rate }
func (e *metaEncoder) Close() error    { return nil }

// WriteSample encodes a frame.
func (e *metaEncoder) WriteSample(pcm msdk.PCM16Sample) error {
	n, err := e.encoder.Encode(pcm, e.payload[:])
	if err != nil {
		return err
	}
	return e.out.WriteSample(msdkopus.Sample(e.payload[:n]))
}
