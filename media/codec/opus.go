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
	// PhoneBitrate gives 19 kb/s on average while somebody speaks without end, 19.9
	// with FEC: libopus stays below what it is told. It is also the least at which
	// libopus 1.3 keeps FEC in wideband.
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
	// fecFrom is the loss in percent from which FEC pays: it takes a third of the
	// bits, heard as 0.008 of STOI and 0.5 of PESQ's points without loss.
	fecFrom = 2
	// maxExpectedLoss is the most that libopus is told: from there on it spends on
	// redundancy what speech needs more, at 20 % of loss too.
	maxExpectedLoss = 5
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
	least  int // loss in percent that is expected always
	told   int // what libopus was told
	frame  int // in samples
	closed bool
	put    func(encoder)

	unheard [1275]byte // for Warm
}

func newOpusEncoder(o Options, put func(encoder)) (*opusEncoder, error) {
	e := &opusEncoder{least: o.Opus.ExpectedLoss, frame: o.Rate / 50, put: put}
	if o.Opus.ExpectedLoss < 0 || o.Opus.ExpectedLoss > 100 {
		return nil, fmt.Errorf("make Opus encoder: expected loss of %d %%", o.Opus.ExpectedLoss)
	}
	e.told = e.tell(0)
	enc, err := opus.NewEncoder(opus.EncoderOptions{
		SampleRate: o.Rate, Bitrate: o.Opus.Bitrate, Complexity: o.Opus.Complexity,
		LowDelay: o.Opus.LowDelay, InbandFEC: o.Opus.FEC, ExpectedLossPercent: e.told,
	})
	if err != nil {
		return nil, fmt.Errorf("make Opus encoder: %w", err)
	}
	e.enc = enc
	return e, nil
}

// tell is what libopus is told of a loss in percent.
func (e *opusEncoder) tell(percent int) int {
	percent = max(percent, e.least)
	if percent < fecFrom {
		return 0
	}
	return min(percent, maxExpectedLoss)
}

// Encode writes the packet of one frame into dst and returns its length.
func (e *opusEncoder) Encode(pcm []int16, dst []byte) (n int, err error) {
	return e.enc.Encode(pcm, dst)
}

// Warm encodes pcm for nothing. After a packet in CELT mode it does so in that
// mode: the phone's decoder would else begin the mode for speech with a hole of 10
// ms (docs/audio.md).
func (e *opusEncoder) Warm(pcm []int16, after []byte) error {
	if celt := len(after) > 0 && after[0]>>3 >= firstCELT; celt {
		if err := e.enc.ForceCELT(true); err != nil {
			return err
		}
		defer func() { _ = e.enc.ForceCELT(false) }() // as possible as before
	}
	for ; len(pcm) >= e.frame; pcm = pcm[e.frame:] {
		if _, err := e.enc.Encode(pcm[:e.frame], e.unheard[:]); err != nil {
			return err
		}
	}
	return nil
}

// firstCELT is the first configuration without SILK (RFC 6716 table 2).
const firstCELT = 16

// SetExpectedLoss lets FEC be sent against a loss in percent, from the next frame
// on.
func (e *opusEncoder) SetExpectedLoss(percent int) error {
	tell := e.tell(percent)
	if tell == e.told {
		return nil
	}
	if err := e.enc.SetExpectedLoss(tell); err != nil {
		return err
	}
	e.told = tell
	return nil
}

// Close puts the encoder away.
func (e *opusEncoder) Close() {
	if !e.closed {
		e.closed = true
		e.put(e)
	}
}

func (e *opusEncoder) renew() error {
	e.closed = false
	if err := e.SetExpectedLoss(0); err != nil {
		return err
	}
	return e.enc.Reset()
}
