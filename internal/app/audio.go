package app

import (
	"fmt"

	"github.com/livekit-connector/livekit-connector/internal/call"
	"github.com/livekit-connector/livekit-connector/internal/metaleg"
	"github.com/livekit-connector/livekit-connector/media"
	"github.com/livekit-connector/livekit-connector/media/codec"
)

// mediaModes are the values of media.mode.
var mediaModes = []string{media.ModeAuto.String(), media.ModeTranscode.String()}

// The values of media.g711.
const (
	g711Off      = "off"
	g711Fallback = "fallback"
	g711Prefer   = "prefer"
)

var g711Policies = []string{g711Off, g711Fallback, g711Prefer}

// g711 is the policy as the connection to Meta understands it. It has been validated.
func (c *MediaConfig) g711() metaleg.G711 {
	switch c.G711 {
	case g711Fallback:
		return metaleg.G711Fallback
	case g711Prefer:
		return metaleg.G711Prefer
	default:
		return metaleg.G711Off
	}
}

// defaultOpus is what the codec's own measurements suggest.
func defaultOpus() OpusConfig {
	o := codec.ToPhone().Opus
	return OpusConfig{Bitrate: o.Bitrate, Complexity: o.Complexity, ExpectedLoss: o.ExpectedLoss, FEC: o.FEC}
}

// audio is the media section as calls understand it. The codecs in it are for the whole process: their pools are what
// makes a change from relay to mix cheap. They hold nothing that would have to be closed.
func (c *MediaConfig) audio() (call.Audio, error) {
	toPhone, toRoom := codec.ToPhone(), codec.ToRoom()
	toPhone.Opus.Bitrate, toPhone.Opus.Complexity = c.Opus.Bitrate, c.Opus.Complexity
	toPhone.Opus.ExpectedLoss, toPhone.Opus.FEC = c.Opus.ExpectedLoss, c.Opus.FEC
	for _, o := range []*codec.Options{&toPhone, &toRoom} {
		o.MinDelay, o.MaxDelay = c.Jitter.MinDelay, c.Jitter.MaxDelay
	}
	phone, err := codec.New(toPhone)
	if err != nil {
		return call.Audio{}, fmt.Errorf("set up codecs towards phones: %w", err)
	}
	room, err := codec.New(toRoom)
	if err != nil {
		return call.Audio{}, fmt.Errorf("set up codecs towards rooms: %w", err)
	}
	limit := c.MaxRelayBitrate
	if limit == 0 {
		limit = -1
	}
	a := call.Audio{
		ToPhone: media.LineOptions{
			Codecs: phone, MaxRelayBitrate: limit, MaxVoices: c.MaxVoices,
			GainDB: float64(c.GainToPhone), AGC: c.AGCToPhone, ExpectedLoss: c.Opus.ExpectedLoss,
		},
		ToRoom: media.LineOptions{Codecs: room, GainDB: float64(c.GainToRoom), AGC: c.AGCToRoom},
	}
	if c.Mode == media.ModeTranscode.String() {
		a.Mode = media.ModeTranscode
	}
	return a, nil
}
