package quality

import (
	"bytes"
	"fmt"
	"slices"
	"time"

	"github.com/livekit-connector/livekit-connector/bench/chain"
	"github.com/livekit-connector/livekit-connector/bench/listen"
	"github.com/livekit-connector/livekit-connector/bench/speech"
	"github.com/livekit-connector/livekit-connector/media"
	"github.com/livekit-connector/livekit-connector/media/opus"
	"github.com/livekit-connector/livekit-connector/media/resample/soxr"
	"github.com/livekit-connector/livekit-connector/pkg/fakemeta/hearing"
	"github.com/livekit-connector/livekit-connector/testdata"
)

// Clip is what is said.
type Clip struct {
	// Said is at listen.Rate.
	Said []float64
	// Packets are how a participant of a room codes it.
	Packets [][]byte
	// Alone is how it sounds after the participant's codec alone, at listen.Rate.
	Alone []float64
	// codecLag is by how many samples that codec delays it.
	codecLag int
}

// How a participant codes: full band at the bitrate that LiveKit's SDKs ask browsers for (AudioPresets.music).
const (
	participantRate    = 48000
	participantBitrate = 48000
)

// NewClip makes a clip of recordings under testdata/audio, one after the other, gain times as loud. lossPercent is
// what RTCP told the participant's encoder of the network: from there on it sends in-band FEC.
func NewClip(gain float64, lossPercent int, files ...string) (*Clip, error) {
	var pcm []int16
	for _, file := range files {
		wav, err := testdata.Audio.ReadFile("audio/" + file)
		if err != nil {
			return nil, fmt.Errorf("read speech: %w", err)
		}
		one, rate, err := hearing.ReadWAV(bytes.NewReader(wav))
		if err != nil {
			return nil, fmt.Errorf("read speech: %w", err)
		}
		if one, err = soxr.Convert(one, rate, listen.Rate); err != nil {
			return nil, fmt.Errorf("read speech: %w", err)
		}
		pcm = append(pcm, one...)
	}
	const frame = listen.Rate / 50
	pcm = pcm[:len(pcm)/frame*frame]
	for i := range pcm {
		pcm[i] = int16(gain * float64(pcm[i]))
	}
	c := &Clip{Said: listen.Floats(pcm)}
	full, err := soxr.Convert(pcm, listen.Rate, participantRate)
	if err != nil {
		return nil, fmt.Errorf("encode speech: %w", err)
	}
	if err = c.encode(full, lossPercent); err != nil {
		return nil, err
	}
	var all []chain.Departure
	for i, p := range c.Packets {
		all = append(all, chain.Departure{Seq: uint16(i), TS: uint32(i * media.FrameSamples), Payload: p})
	}
	sound, err := chain.Hear(all)
	if err != nil {
		return nil, err
	}
	c.Alone = listen.Floats(sound.PCM)
	lags := slices.Clone(listen.Follow(c.Said, c.Alone, 0, 40*time.Millisecond).Lag)
	slices.Sort(lags)
	c.codecLag = lags[len(lags)/2]
	return c, nil
}

func (c *Clip) encode(pcm []int16, lossPercent int) error {
	e, err := opus.NewEncoder(opus.EncoderOptions{
		SampleRate: participantRate, Bitrate: participantBitrate, InbandFEC: true, ExpectedLossPercent: lossPercent,
	})
	if err != nil {
		return fmt.Errorf("encode speech: %w", err)
	}
	buf := make([]byte, opus.MaxPacketBytes)
	for frame := range slices.Chunk(pcm, participantRate/50) {
		if len(frame) < participantRate/50 {
			break
		}
		n, err := e.Encode(frame, buf)
		if err != nil {
			return fmt.Errorf("encode speech: %w", err)
		}
		c.Packets = append(c.Packets, bytes.Clone(buf[:n]))
	}
	return nil
}

// Speech is half a minute of both recordings in turn, or a quarter of one.
func Speech(short bool, lossPercent int) (*Clip, error) {
	files := []string{speech.AgentFile, speech.CallerFile}
	if !short {
		files = append(files, files...)
	}
	return NewClip(1, lossPercent, files...)
}
