package opus

import (
	"fmt"
	"slices"

	libopus "github.com/hraban/opus"
)

// DefaultComplexity is what EncoderOptions.Complexity zero means. Above it
// libopus 1.3 needs up to twice the time for a gain nobody hears on a phone.
const DefaultComplexity = 5

// EncoderOptions says how a mono Encoder encodes.
type EncoderOptions struct {
	// SampleRate of the PCM in Hz. It bounds the audio bandwidth: 16000 gives
	// wideband.
	SampleRate int
	// Bitrate in bits per second; zero leaves the choice to libopus.
	Bitrate int
	// Complexity from 1 to 10; zero means DefaultComplexity.
	Complexity int
	// LowDelay forces the CELT mode: 2.5 ms of lookahead instead of 6.5 ms and a
	// third of the time per frame, but no in-band FEC.
	LowDelay bool
	// InbandFEC adds to packets a coarse copy of the packet before. It needs
	// ExpectedLossPercent above zero and bits to spare.
	InbandFEC bool
	// ExpectedLossPercent, 0 to 100, is how much loss to guard against.
	ExpectedLossPercent int
}

// Encoder turns mono PCM16 into Opus packets. Its memory is Go's: there is
// nothing to close.
type Encoder struct {
	enc *libopus.Encoder
}

// NewEncoder makes an encoder.
func NewEncoder(o EncoderOptions) (*Encoder, error) {
	if err := checkRate(o.SampleRate); err != nil {
		return nil, err
	}
	app := libopus.AppVoIP
	if o.LowDelay {
		app = libopus.AppRestrictedLowdelay
	}
	enc, err := libopus.NewEncoder(o.SampleRate, 1, app)
	if err != nil {
		return nil, fmt.Errorf("create encoder: %w", err)
	}
	complexity := o.Complexity
	if complexity == 0 {
		complexity = DefaultComplexity
	}
	if err = enc.SetComplexity(complexity); err != nil {
		return nil, fmt.Errorf("set complexity %d: %w", complexity, err)
	}
	if o.Bitrate != 0 {
		if err = enc.SetBitrate(o.Bitrate); err != nil {
			return nil, fmt.Errorf("set bitrate %d: %w", o.Bitrate, err)
		}
	}
	if err = enc.SetInBandFEC(o.InbandFEC); err != nil {
		return nil, fmt.Errorf("set in-band FEC: %w", err)
	}
	if err = enc.SetPacketLossPerc(o.ExpectedLossPercent); err != nil {
		return nil, fmt.Errorf("set expected loss %d: %w", o.ExpectedLossPercent, err)
	}
	return &Encoder{enc: enc}, nil
}

// Encode writes one packet for pcm into dst and returns its length. pcm must
// last 2.5, 5, 10, 20, 40 or 60 ms; MaxPacketBytes of dst always suffice. Only
// dst[:len(dst)] is written; neither slice is kept.
func (e *Encoder) Encode(pcm []int16, dst []byte) (n int, err error) {
	if len(pcm) == 0 || len(dst) == 0 {
		return 0, ErrBuffer
	}
	// The binding hands libopus cap(dst) as the room there is.
	n, err = e.enc.Encode(pcm, slices.Clip(dst))
	if err != nil {
		return 0, fmt.Errorf("encode %d samples: %w", len(pcm), err)
	}
	return n, nil
}

// Reset forgets the audio heard so far, as if the encoder were new.
func (e *Encoder) Reset() error {
	if err := e.enc.Reset(); err != nil {
		return fmt.Errorf("reset encoder: %w", err)
	}
	return nil
}
