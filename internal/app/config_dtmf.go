package app

import "github.com/livekit-connector/livekit-connector/internal/call"

// DTMFConfig is about the keys of the telephone. Those pressed on the phone always reach the room.
type DTMFConfig struct {
	ToPhone string `yaml:"to_phone" group:"DTMF" help:"What becomes of keys that agents and others in the room press for the phone (SipDTMF): off drops them, events sends RTP events (RFC 4733), tones sends tones in the audio. Meta documents neither."`
}

// The values of dtmf.to_phone.
const (
	dtmfOff    = "off"
	dtmfEvents = "events"
	dtmfTones  = "tones"
)

var dtmfModes = []string{dtmfOff, dtmfEvents, dtmfTones}

func defaultDTMF() DTMFConfig { return DTMFConfig{ToPhone: dtmfOff} }

func (v *validation) dtmf(c *DTMFConfig) { v.oneOf("dtmf.to_phone", c.ToPhone, dtmfModes) }

// mode is the section as calls understand it. It has been validated.
func (c *DTMFConfig) mode() call.KeyMode {
	switch c.ToPhone {
	case dtmfEvents:
		return call.KeysEvents
	case dtmfTones:
		return call.KeysTones
	default:
		return call.KeysOff
	}
}
