// Package speech is the audio of the benchmark, encoded beforehand, so that playing it costs the load next to nothing
// and every bridge gets the same packets.
package speech

import (
	"bytes"
	"fmt"
	"slices"
	"time"

	"github.com/livekit-connector/livekit-connector/internal/livekittest"
	"github.com/livekit-connector/livekit-connector/media/opus"
	"github.com/livekit-connector/livekit-connector/media/resample/soxr"
	"github.com/livekit-connector/livekit-connector/pkg/fakemeta/hearing"
	"github.com/livekit-connector/livekit-connector/testdata"
)

// FrameDuration is that of every packet.
const FrameDuration = 20 * time.Millisecond

// Clip is a piece of speech. Nothing of it may be changed.
type Clip struct {
	// PCM is mono, at Rate Hz.
	PCM  []int16
	Rate int
	// Packets are Opus of FrameDuration each, and Levels their RFC 6464 loudness (-dBov).
	Packets [][]byte
	Levels  []uint8
}

// Files under testdata/audio that Caller and Participant take.
const (
	CallerFile = "caller.wav"
	AgentFile  = "agent.wav"
)

// Expected loss in per cent that makes libopus write in-band FEC, as WhatsApp and browsers have it on.
const expectedLoss = 10

// Caller is what a WhatsApp phone sends: 16 kHz, 20 kb/s, in-band FEC, as Meta's offers ask for.
func Caller(file string) (*Clip, error) {
	return load(file, opus.EncoderOptions{
		SampleRate: 16000, Bitrate: 20000, InbandFEC: true, ExpectedLossPercent: expectedLoss,
	})
}

// Participant is what a participant of a room sends: 48 kHz, 32 kb/s, in-band FEC.
func Participant(file string) (*Clip, error) {
	return load(file, opus.EncoderOptions{
		SampleRate: 48000, Bitrate: 32000, InbandFEC: true, ExpectedLossPercent: expectedLoss,
	})
}

func load(file string, o opus.EncoderOptions) (*Clip, error) {
	wav, err := testdata.Audio.ReadFile("audio/" + file)
	if err != nil {
		return nil, fmt.Errorf("read speech: %w", err)
	}
	pcm, rate, err := hearing.ReadWAV(bytes.NewReader(wav))
	if err != nil {
		return nil, fmt.Errorf("read speech: %w", err)
	}
	if pcm, err = soxr.Convert(pcm, rate, o.SampleRate); err != nil {
		return nil, fmt.Errorf("read speech: %w", err)
	}
	frame := opus.FrameSamples(o.SampleRate, FrameDuration)
	pcm = pcm[:len(pcm)/frame*frame]
	encoder, err := opus.NewEncoder(o)
	if err != nil {
		return nil, fmt.Errorf("encode speech: %w", err)
	}
	c := &Clip{PCM: pcm, Rate: o.SampleRate}
	buf := make([]byte, opus.MaxPacketBytes)
	for samples := range slices.Chunk(pcm, frame) {
		n, err := encoder.Encode(samples, buf)
		if err != nil {
			return nil, fmt.Errorf("encode speech: %w", err)
		}
		c.Packets = append(c.Packets, bytes.Clone(buf[:n]))
		c.Levels = append(c.Levels, livekittest.Level(samples))
	}
	return c, nil
}
