package codec

import (
	"fmt"

	"github.com/livekit-connector/livekit-connector/media/g711"
	"github.com/livekit-connector/livekit-connector/media/resample"
)

// maxSamples is the longest G.711 payload that is taken: 120 ms, as with Opus.
const maxSamples = g711.SampleRate * 120 / 1000

// g711Decoder decodes G.711 at the rate of the mix, which is a whole multiple of
// 8 kHz. It is a playout.Decoder.
type g711Decoder struct {
	dec   *g711.Decoder
	up    *resample.Resampler
	ratio int
	pcm   [maxSamples]int16
}

func newG711Decoder(law g711.Law, up *resample.Filter) *g711Decoder {
	in, out := up.Rates()
	return &g711Decoder{dec: g711.NewDecoder(law), up: resample.New(up), ratio: out / in}
}

// Decode writes the sound of payload into pcm and returns the number of samples.
// What does not fit is an error and changes nothing.
func (d *g711Decoder) Decode(payload []byte, pcm []int16) (samples int, err error) {
	if len(payload) == 0 || len(payload) > len(d.pcm) || len(payload)*d.ratio > len(pcm) {
		return 0, g711.ErrBuffer
	}
	n, err := d.dec.Decode(payload, d.pcm[:])
	if err != nil {
		return 0, err
	}
	return d.up.Resample(d.pcm[:n], pcm)
}

// DecodeFEC conceals: G.711 carries no redundancy.
func (d *g711Decoder) DecodeFEC(_ []byte, pcm []int16) error {
	return d.Conceal(pcm)
}

// Conceal fills pcm, whole samples of 8 kHz, with what probably was said.
func (d *g711Decoder) Conceal(pcm []int16) error {
	if len(pcm) == 0 || len(pcm)%d.ratio != 0 {
		return g711.ErrBuffer
	}
	for len(pcm) > 0 {
		n := min(len(pcm)/d.ratio, len(d.pcm))
		if err := d.dec.Conceal(d.pcm[:n]); err != nil {
			return err
		}
		m, err := d.up.Resample(d.pcm[:n], pcm)
		if err != nil {
			return err
		}
		pcm = pcm[m:]
	}
	return nil
}

// Samples is how many samples Decode gives for payload.
func (d *g711Decoder) Samples(payload []byte) (int, error) {
	n, err := d.dec.Samples(payload)
	return n * d.ratio, err
}

// Reset forgets everything heard.
func (d *g711Decoder) Reset() error {
	d.up.Reset()
	return d.dec.Reset()
}

// g711Encoder encodes G.711 from the rate of the mix.
type g711Encoder struct {
	law    g711.Law
	down   *resample.Resampler
	pcm    [maxSamples]int16
	closed bool
	put    func(encoder)
}

func newG711Encoder(law g711.Law, down *resample.Filter, put func(encoder)) *g711Encoder {
	return &g711Encoder{law: law, down: resample.New(down), put: put}
}

// Encode writes an octet per sample of 8 kHz: 160 for a frame.
func (e *g711Encoder) Encode(pcm []int16, dst []byte) (n int, err error) {
	n = e.down.Len(len(pcm))
	if n == 0 || n > len(dst) {
		return 0, g711.ErrBuffer
	}
	if n, err = e.down.Resample(pcm, e.pcm[:]); err != nil {
		return 0, fmt.Errorf("resample to G.711: %w", err)
	}
	return e.law.Encode(e.pcm[:n], dst), nil
}

// Imitate does nothing: G.711 has one mode.
func (e *g711Encoder) Imitate([]byte) error { return nil }

// SetExpectedLoss does nothing: G.711 has no redundancy.
func (e *g711Encoder) SetExpectedLoss(int) error { return nil }

// Close puts the encoder away.
func (e *g711Encoder) Close() {
	if !e.closed {
		e.closed = true
		e.put(e)
	}
}

func (e *g711Encoder) renew() error {
	e.closed = false
	e.down.Reset()
	return nil
}
