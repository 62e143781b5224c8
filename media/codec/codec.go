// Package codec makes what a mix is made of, for the codec that a leg negotiated
// and at the rate of the mix: voices, which are playout buffers with an Opus or
// G.711 decoder, and encoders. It implements media.Codecs.
//
// Opus is decoded and encoded by libopus straight at the rate of the mix. G.711
// works at 8 kHz: it alone goes through a resampler, which adds 2 ms each way.
//
// Voices and encoders are used again: Close puts one away, the next call resets it
// as if it were new. So calls that change between relay and mix make no garbage.
// Options.MaxIdle bounds what lies unused.
package codec

import (
	"errors"
	"fmt"
	"time"

	"github.com/livekit-connector/livekit-connector/media"
	"github.com/livekit-connector/livekit-connector/media/g711"
	"github.com/livekit-connector/livekit-connector/media/opus"
	"github.com/livekit-connector/livekit-connector/media/playout"
	"github.com/livekit-connector/livekit-connector/media/resample"
)

// ErrRate is returned for a rate that not every codec can be mixed at.
var ErrRate = errors.New("codec: rate of the mix must be 8000, 16000, 24000 or 48000 Hz")

// ErrCodec is returned for a codec that there is no voice or encoder for.
var ErrCodec = errors.New("codec: unknown")

// Opus says how to encode Opus.
type Opus struct {
	// Bitrate in bits per second.
	Bitrate int
	// Complexity from 1 to 10.
	Complexity int
	// FEC sends redundancy once the receiver loses packets.
	FEC bool
	// ExpectedLoss is the loss in percent to guard against even when the receiver
	// reports less.
	ExpectedLoss int
	// LowDelay encodes without the part of Opus that models speech: in a third of
	// the time, 4 ms sooner, at a higher bitrate, without FEC.
	LowDelay bool
}

// Options say how to work. Start from ToPhone or ToRoom.
type Options struct {
	// Rate of the mix in Hz.
	Rate int
	// Opus is how NewEncoder encodes Opus.
	Opus Opus
	// MinDelay, MaxDelay and TargetLoss are those of playout.Options; zero takes
	// its defaults.
	MinDelay, MaxDelay time.Duration
	TargetLoss         float64
	// MaxIdle is how many unused voices, and how many unused encoders, are kept for
	// each codec. Zero means DefaultMaxIdle; below zero none are kept.
	MaxIdle int
}

// DefaultMaxIdle keeps what a few hundred calls need that change between relay and
// mix: 12 MB of Opus voices and 6 MB of encoders, at 96 and 49 KB each with libopus
// 1.3 (TestMemory).
const DefaultMaxIdle = 128

// Codecs makes voices and encoders. It starts nothing and need not be closed.
type Codecs struct {
	options  Options
	up, down *resample.Filter // 8 kHz to Rate and back
	voices   [codecs]pool[*playout.Voice]
	encoders [codecs]pool[encoder]
}

var _ media.Codecs = (*Codecs)(nil)

// codecs is how many there are: CodecPCMA is the last.
const codecs = int(media.CodecPCMA) + 1

// New checks the options and makes a Codecs.
func New(o Options) (*Codecs, error) {
	switch o.Rate {
	case 8000, 16000, 24000, 48000: // whole multiples of G.711's
	default:
		return nil, fmt.Errorf("check rate %d: %w", o.Rate, ErrRate)
	}
	if o.MaxIdle == 0 {
		o.MaxIdle = DefaultMaxIdle
	}
	c := &Codecs{options: o}
	for i := range codecs {
		c.voices[i].most, c.encoders[i].most = o.MaxIdle, o.MaxIdle
	}
	var err error
	if c.up, err = resample.NewFilter(g711.SampleRate, o.Rate); err != nil {
		return nil, fmt.Errorf("resample G.711: %w", err)
	}
	if c.down, err = resample.NewFilter(o.Rate, g711.SampleRate); err != nil {
		return nil, fmt.Errorf("resample to G.711: %w", err)
	}
	// What libopus refuses is to be known now, not in a call.
	e, err := c.NewEncoder(media.CodecOpus)
	if err != nil {
		return nil, err
	}
	e.Close()
	return c, nil
}

// Rate is the sample rate of the mix in Hz.
func (c *Codecs) Rate() int {
	return c.options.Rate
}

// NewVoice returns a voice for a source of codec. The caller closes it.
func (c *Codecs) NewVoice(codec media.Codec) (media.Voice, error) {
	if int(codec) >= codecs {
		return nil, fmt.Errorf("make voice for codec %d: %w", codec, ErrCodec)
	}
	idle := &c.voices[codec]
	if v, ok := idle.take(); ok {
		if err := v.Renew(); err != nil {
			return nil, fmt.Errorf("use %s voice again: %w", codec, err)
		}
		return v, nil
	}
	dec, err := c.newDecoder(codec)
	if err != nil {
		return nil, fmt.Errorf("make %s decoder: %w", codec, err)
	}
	v, err := playout.New(playout.Options{
		Decoder: dec, Rate: c.options.Rate, Codec: codec,
		MinDelay: c.options.MinDelay, MaxDelay: c.options.MaxDelay, TargetLoss: c.options.TargetLoss,
		Closed: idle.put,
	})
	if err != nil {
		return nil, fmt.Errorf("make %s voice: %w", codec, err)
	}
	return v, nil
}

func (c *Codecs) newDecoder(codec media.Codec) (playout.Decoder, error) {
	if codec == media.CodecOpus {
		return opus.NewDecoder(c.options.Rate)
	}
	return newG711Decoder(law(codec), c.up), nil
}

// NewEncoder returns an encoder to codec. The caller closes it.
func (c *Codecs) NewEncoder(codec media.Codec) (media.Encoder, error) {
	if int(codec) >= codecs {
		return nil, fmt.Errorf("make encoder for codec %d: %w", codec, ErrCodec)
	}
	idle := &c.encoders[codec]
	if e, ok := idle.take(); ok {
		if err := e.renew(); err != nil {
			return nil, fmt.Errorf("use %s encoder again: %w", codec, err)
		}
		return e, nil
	}
	if codec != media.CodecOpus {
		return newG711Encoder(law(codec), c.down, idle.put), nil
	}
	return newOpusEncoder(c.options, idle.put)
}

// encoder is one that may be used again after Close.
type encoder interface {
	media.Encoder
	renew() error
}

// Idle is how many voices and encoders lie unused.
func (c *Codecs) Idle() (voices, encoders int) {
	for i := range codecs {
		voices += c.voices[i].len()
		encoders += c.encoders[i].len()
	}
	return voices, encoders
}

func law(codec media.Codec) g711.Law {
	if codec == media.CodecPCMA {
		return g711.A
	}
	return g711.Mu
}
