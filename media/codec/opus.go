package codec

import (
	"fmt"

	"github.com/livekit-connector/livekit-connector/media/opus"
)

// The settings towards Meta. Its offers ask for maxaveragebitrate=20000,
// maxplaybackrate=16000, useinbandfec=1 and 20 ms (RFC 7587, section 6.1).
// docs/audio.md, "Encoder settings", holds the measurements.
const (
	// PhoneRate is all that the phone plays.
	PhoneRate = 16_000
	// PhoneBitrate gives 20 kb/s on average while somebody speaks without end, with
	// FEC or without: libopus stays below what it is told. It is also the least at
	// which libopus 1.3 keeps FEC in wideband.
	PhoneBitrate = 22_000
	// PhoneComplexity is the knee: 4 is the same in wideband, 3 loses 0.4 of PESQ's
	// points, 6 gains 0.07 for 30 % more time, 9 gains as much for twice the time.
	PhoneComplexity = 5
)

// The settings of a voice that is transcoded into the room.
const (
	// RoomRate takes all of what the phone sends (sprop-maxcapturerate in Meta's SDP
	// is 16000 where it is given).
	RoomRate = 16_000
	// RoomBitrate in CELT mode does the voice less harm than 32 kb/s in the mode for
	// speech, in a third of the time.
	RoomBitrate = 48_000
	// RoomComplexity is where CELT's search for pitch is complete.
	RoomComplexity = 5
)

const (
	// fecFrom is the loss in percent from which FEC pays: without loss the bits that
	// it takes from speech are heard, as 0.010 of STOI and 0.5 of PESQ's points.
	fecFrom = 3
	// lossHint is what libopus is told of loss in percent, always. It predicts less
	// from packet to packet then, which costs next to nothing without loss, and with
	// it is half as good as FEC. More than this makes FEC's copy finer at the expense
	// of speech, and is worse even at 20 % of loss.
	lossHint = 5
	// lowDelayHint is the same for CELT, where more costs quality.
	lowDelayHint = 2
)

// ToPhone are the options for a mix that is sent to Meta.
func ToPhone() Options {
	return Options{
		Rate: PhoneRate,
		Opus: Opus{Bitrate: PhoneBitrate, Complexity: PhoneComplexity, FEC: true},
	}
}

// ToRoom are the options for a phone's voice that is decoded and encoded on its
// way into the room.
func ToRoom() Options {
	return Options{
		Rate: RoomRate,
		Opus: Opus{Bitrate: RoomBitrate, Complexity: RoomComplexity, LowDelay: true},
	}
}

// opusEncoder encodes Opus at the rate of the mix.
type opusEncoder struct {
	enc    *opus.Encoder
	fec    bool // allowed
	least  int  // loss in percent that is expected always
	closed bool
	put    func(encoder)

	imitates bool // another stream's mode
	joins    bool // frames are independent
}

func newOpusEncoder(o Options, put func(encoder)) (*opusEncoder, error) {
	if o.Opus.ExpectedLoss < 0 || o.Opus.ExpectedLoss > 100 {
		return nil, fmt.Errorf("make Opus encoder: expected loss of %d %%", o.Opus.ExpectedLoss)
	}
	e := &opusEncoder{fec: o.Opus.FEC && !o.Opus.LowDelay, least: o.Opus.ExpectedLoss, put: put}
	hint := lossHint
	if o.Opus.LowDelay {
		hint = lowDelayHint
	}
	enc, err := opus.NewEncoder(opus.EncoderOptions{
		SampleRate: o.Rate, Bitrate: o.Opus.Bitrate, Complexity: o.Opus.Complexity,
		LowDelay: o.Opus.LowDelay, InbandFEC: e.fec && e.least >= fecFrom, ExpectedLossPercent: hint,
	})
	if err != nil {
		return nil, fmt.Errorf("make Opus encoder: %w", err)
	}
	e.enc = enc
	return e, nil
}

// Encode writes the packet of one frame into dst and returns its length.
func (e *opusEncoder) Encode(pcm []int16, dst []byte) (n int, err error) {
	n, err = e.enc.Encode(pcm, dst)
	if e.joins && !e.imitates {
		e.joins = false
		if err == nil {
			err = e.enc.SetIndependent(false)
		}
	}
	return n, err
}

// Imitate codes in CELT mode if the payload is. Else it is enough that frames, the
// first one after Imitate(nil) too, rely on nothing that a decoder heard before.
func (e *opusEncoder) Imitate(payload []byte) error {
	e.imitates = payload != nil
	celt := len(payload) > 0 && payload[0]>>3 >= firstCELT
	if e.imitates && !celt {
		e.joins = true
		if err := e.enc.SetIndependent(true); err != nil {
			return err
		}
	}
	return e.enc.ForceCELT(celt)
}

// firstCELT is the first configuration without SILK (RFC 6716 table 2).
const firstCELT = 16

// SetExpectedLoss turns FEC on or off by the loss in percent, from the next frame
// on.
func (e *opusEncoder) SetExpectedLoss(percent int) error {
	on := e.fec && max(percent, e.least) >= fecFrom
	if on == e.enc.Options().InbandFEC {
		return nil
	}
	return e.enc.SetInbandFEC(on)
}

// Close puts the encoder away.
func (e *opusEncoder) Close() {
	if !e.closed {
		e.closed = true
		e.put(e)
	}
}

func (e *opusEncoder) renew() error {
	e.closed, e.imitates, e.joins = false, false, false
	if err := e.SetExpectedLoss(0); err != nil {
		return err
	}
	return e.enc.Reset()
}
