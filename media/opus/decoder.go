package opus

import (
	"fmt"
	"slices"

	libopus "github.com/hraban/opus"
)

// Decoder turns Opus packets, mono or stereo, into mono PCM16. Its memory is
// Go's: there is nothing to close.
type Decoder struct {
	dec  *libopus.Decoder
	step int // 2.5 ms in samples: what libopus conceals in multiples of
}

// NewDecoder makes a decoder that gives PCM at sampleRate Hz.
func NewDecoder(sampleRate int) (*Decoder, error) {
	if err := checkRate(sampleRate); err != nil {
		return nil, err
	}
	// One channel: libopus mixes stereo packets down itself.
	dec, err := libopus.NewDecoder(sampleRate, 1)
	if err != nil {
		return nil, fmt.Errorf("create decoder: %w", err)
	}
	return &Decoder{dec: dec, step: sampleRate / 400}, nil
}

// Decode writes the audio of one packet into pcm[:len(pcm)] and returns the
// number of samples. MaxPacketDuration of pcm takes any packet; a packet longer
// than pcm is an error. Neither slice is kept.
func (d *Decoder) Decode(packet []byte, pcm []int16) (samples int, err error) {
	if len(packet) == 0 || len(pcm) == 0 {
		return 0, ErrBuffer
	}
	// The binding hands libopus cap(pcm), not len(pcm), as the room there is.
	samples, err = d.dec.Decode(packet, slices.Clip(pcm))
	if err != nil {
		return 0, fmt.Errorf("decode %d bytes: %w", len(packet), err)
	}
	return samples, nil
}

// DecodeFEC writes into pcm the audio of the packet lost just before packet,
// from packet's in-band copy, or conceals it when there is none. len(pcm) is how
// much was lost, in samples: a multiple of 2.5 ms. Decode the packet itself
// afterwards.
func (d *Decoder) DecodeFEC(packet []byte, pcm []int16) error {
	if len(packet) == 0 || len(pcm) == 0 || len(pcm)%d.step != 0 {
		return ErrBuffer
	}
	if err := d.dec.DecodeFEC(packet, slices.Clip(pcm)); err != nil {
		return fmt.Errorf("decode FEC of %d bytes: %w", len(packet), err)
	}
	return nil
}

// Conceal writes into pcm what probably was said in audio that got lost,
// fading over some frames. len(pcm) is how much was lost, in samples: a multiple
// of 2.5 ms.
func (d *Decoder) Conceal(pcm []int16) error {
	if len(pcm) == 0 || len(pcm)%d.step != 0 {
		return ErrBuffer
	}
	// With more capacity than length libopus would conceal up to the capacity
	// and spoil the decoder's state.
	if err := d.dec.DecodePLC(slices.Clip(pcm)); err != nil {
		return fmt.Errorf("conceal %d samples: %w", len(pcm), err)
	}
	return nil
}
