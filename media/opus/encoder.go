package opus

import (
	"errors"
	"fmt"
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

// entryBitrate is what one frame is coded at when FEC begins. libopus spends bits
// on FEC above a bitrate which is up to 15 % lower once it does so than before it
// does (opus_encoder.c, decide_fec). Wideband and 20 kb/s lie between the two:
// without a push there would be no FEC, or in a narrower band.
const entryBitrate = 48000

// Encoder turns mono PCM16 into Opus packets. Its memory is Go's: there is
// nothing to close.
type Encoder struct {
	state   state
	options EncoderOptions // in force now
	enter   bool           // the next frame is the first with FEC
}

// NewEncoder makes an encoder.
func NewEncoder(o EncoderOptions) (*Encoder, error) {
	if err := checkRate(o.SampleRate); err != nil {
		return nil, err
	}
	if o.Complexity == 0 {
		o.Complexity = DefaultComplexity
	}
	e := &Encoder{state: encoderState(1), options: o}
	application := applicationVoIP
	if o.LowDelay {
		application = applicationLowDelay
	}
	if err := e.state.initEncoder(o.SampleRate, 1, application); err != nil {
		return nil, fmt.Errorf("initialise encoder: %w", err)
	}
	for _, err := range [...]error{
		e.SetComplexity(o.Complexity),
		e.SetBitrate(o.Bitrate),
		e.SetInbandFEC(o.InbandFEC),
		e.SetExpectedLoss(o.ExpectedLossPercent),
	} {
		if err != nil {
			return nil, err
		}
	}
	e.enter = e.fec()
	return e, nil
}

// Reset forgets the audio heard so far, as if the encoder were new. Settings
// stay as they were last set.
func (e *Encoder) Reset() error {
	// Initialising anew instead would ask the processor what it is, which takes 70 us
	// in a virtual machine. What this leaves is ended here, or overruled by entering
	// anew: whether the last frame carried FEC.
	if err := e.state.resetEncoder(); err != nil {
		return fmt.Errorf("reset encoder: %w", err)
	}
	if err := errors.Join(e.ForceCELT(false), e.SetIndependent(false)); err != nil {
		return err
	}
	e.enter = e.fec()
	return nil
}

// SetComplexity takes effect from the next frame on; see EncoderOptions.
func (e *Encoder) SetComplexity(complexity int) error {
	if err := e.state.set(setComplexity, complexity); err != nil {
		return fmt.Errorf("set complexity %d: %w", complexity, err)
	}
	e.options.Complexity = complexity
	return nil
}

// SetBitrate takes effect from the next frame on; see EncoderOptions.
func (e *Encoder) SetBitrate(bitsPerSecond int) error {
	value := bitsPerSecond
	if value == 0 {
		value = bitrateAuto
	}
	if err := e.state.set(setBitrate, value); err != nil {
		return fmt.Errorf("set bitrate %d: %w", bitsPerSecond, err)
	}
	e.options.Bitrate = bitsPerSecond
	return nil
}

// SetInbandFEC takes effect from the next frame on; see EncoderOptions.
func (e *Encoder) SetInbandFEC(on bool) error {
	before, value := e.fec(), 0
	if on {
		value = 1
	}
	if err := e.state.set(setInbandFEC, value); err != nil {
		return fmt.Errorf("set in-band FEC: %w", err)
	}
	e.options.InbandFEC = on
	e.enter = e.fec() && (e.enter || !before)
	return nil
}

// SetExpectedLoss takes effect from the next frame on; see EncoderOptions.
func (e *Encoder) SetExpectedLoss(percent int) error {
	before := e.fec()
	if err := e.state.set(setPacketLoss, percent); err != nil {
		return fmt.Errorf("set expected loss %d: %w", percent, err)
	}
	e.options.ExpectedLossPercent = percent
	e.enter = e.fec() && (e.enter || !before)
	return nil
}

// fec says whether the settings ask for redundancy.
func (e *Encoder) fec() bool {
	return e.options.InbandFEC && e.options.ExpectedLossPercent > 0 && !e.options.LowDelay
}

// ForceCELT makes frames be coded in CELT mode, whatever suits them, until it is
// called with false. The first frame that then is coded otherwise carries what a
// decoder needs to go over from one mode to the other without a hole (RFC 6716
// section 4.5.1), also a decoder that got its CELT frames from elsewhere. Reset
// ends it.
func (e *Encoder) ForceCELT(on bool) error {
	mode := modeAuto
	if on {
		mode = modeCELT
	}
	if err := e.state.set(setForceMode, mode); err != nil {
		return fmt.Errorf("force mode: %w", err)
	}
	return nil
}

// SetIndependent makes frames be coded without regard to those before, as far as
// the format goes: dearer, but a decoder needs to have heard nothing else. Reset
// ends it.
func (e *Encoder) SetIndependent(on bool) error {
	value := 0
	if on {
		value = 1
	}
	if err := e.state.set(setIndependent, value); err != nil {
		return fmt.Errorf("set independent: %w", err)
	}
	return nil
}

// Options are the settings in force.
func (e *Encoder) Options() EncoderOptions {
	return e.options
}

// Encode writes one packet for pcm into dst and returns its length. pcm must
// last 2.5, 5, 10, 20, 40 or 60 ms; MaxPacketBytes of dst always suffice. Only
// dst[:len(dst)] is written; neither slice is kept.
func (e *Encoder) Encode(pcm []int16, dst []byte) (n int, err error) {
	if len(pcm) == 0 || len(dst) == 0 {
		return 0, ErrBuffer
	}
	bitrate := e.options.Bitrate
	push := e.enter && bitrate < entryBitrate
	if push {
		if err = e.SetBitrate(entryBitrate); err != nil {
			return 0, err
		}
	}
	e.enter = false
	n, err = e.state.encode(pcm, len(pcm), dst)
	if push {
		err = errors.Join(err, e.SetBitrate(bitrate))
	}
	if err != nil {
		return 0, fmt.Errorf("encode %d samples: %w", len(pcm), err)
	}
	return n, nil
}
