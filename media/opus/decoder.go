package opus

import "fmt"

// Decoder turns Opus packets, mono or stereo, into mono PCM16. Its memory is
// Go's: there is nothing to close. An error leaves it fit for what comes next.
type Decoder struct {
	state state
	rate  int
	step  int // 2.5 ms in samples: what libopus conceals in multiples of
}

// NewDecoder makes a decoder that gives PCM at sampleRate Hz.
func NewDecoder(sampleRate int) (*Decoder, error) {
	if err := checkRate(sampleRate); err != nil {
		return nil, err
	}
	// One channel: libopus mixes stereo packets down itself.
	d := &Decoder{state: decoderState(1), rate: sampleRate, step: sampleRate / 400}
	if err := d.state.initDecoder(sampleRate, 1); err != nil {
		return nil, fmt.Errorf("initialise decoder: %w", err)
	}
	return d, nil
}

// Reset forgets everything heard, as if the decoder were new.
func (d *Decoder) Reset() error {
	if err := d.state.resetDecoder(); err != nil {
		return fmt.Errorf("reset decoder: %w", err)
	}
	return nil
}

// Samples is how many samples Decode would give for packet, by its header. It
// does not touch the decoder's state.
func (d *Decoder) Samples(packet []byte) (int, error) {
	if len(packet) == 0 {
		return 0, ErrBuffer
	}
	n, err := packetSamples(packet, d.rate)
	if err != nil {
		return 0, fmt.Errorf("read duration of %d bytes: %w", len(packet), err)
	}
	return n, nil
}

// Decode writes the audio of one packet into pcm[:len(pcm)] and returns the
// number of samples. MaxPacketDuration of pcm takes any packet; a packet longer
// than pcm is an error. Neither slice is kept.
func (d *Decoder) Decode(packet []byte, pcm []int16) (samples int, err error) {
	if len(packet) == 0 || len(pcm) == 0 {
		return 0, ErrBuffer
	}
	samples, err = d.state.decode(packet, pcm, false)
	if err != nil {
		return 0, fmt.Errorf("decode %d bytes: %w", len(packet), d.recover(err))
	}
	return samples, nil
}

// DecodeFEC writes into pcm the audio of the packet lost just before packet,
// from packet's in-band copy, or conceals it when there is none.
// len(pcm) is how much was lost, in samples: a multiple of 2.5 ms. What packet
// has no copy of, because more than one was lost, is concealed. Decode the packet
// itself afterwards.
func (d *Decoder) DecodeFEC(packet []byte, pcm []int16) error {
	if len(packet) == 0 || len(pcm) == 0 || len(pcm)%d.step != 0 {
		return ErrBuffer
	}
	if _, err := d.state.decode(packet, pcm, true); err != nil {
		return fmt.Errorf("decode FEC of %d bytes: %w", len(packet), d.recover(err))
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
	if _, err := d.state.decode(nil, pcm, false); err != nil {
		return fmt.Errorf("conceal %d samples: %w", len(pcm), d.recover(err))
	}
	return nil
}

// recover makes the decoder usable after err. A packet that cannot be parsed is
// refused before libopus touches its state; any other failure may have left it
// half changed.
func (d *Decoder) recover(err error) error {
	if refused(err) {
		return err
	}
	if e := d.Reset(); e != nil {
		return fmt.Errorf("%w; %w", err, e)
	}
	return err
}
