package node

import (
	"fmt"

	"github.com/livekit/protocol/connector"
	"github.com/livekit/psrpc"

	"github.com/livekit-connector/livekit-connector/internal/admission"
	"github.com/livekit-connector/livekit-connector/internal/call"
	"github.com/livekit-connector/livekit-connector/media"
	"github.com/livekit-connector/livekit-connector/proto/connectorpb"
)

// askOf is what a request asks of the gate, for a call that treats audio so.
func askOf(req *connectorpb.StartCallRequest, a call.Audio) admission.Ask {
	ask := admission.Ask{Key: req.GetApiKey(), PhoneNumberID: req.GetAccept().GetWhatsappPhoneNumberId(), Mode: expectedMode(a)}
	if dial := req.GetDial(); dial != nil {
		ask.PhoneNumberID = dial.GetWhatsappPhoneNumberId()
	}
	return ask
}

// expectedMode is how most of a call with that audio will pass. Whatever comes otherwise is seen by the sweeper.
func expectedMode(a call.Audio) admission.Mode {
	if a.Mode == media.ModeTranscode || a.ToPhone.GainDB != 0 || a.ToPhone.AGC || a.ToRoom.GainDB != 0 || a.ToRoom.AGC {
		return admission.Mix
	}
	return admission.Relay
}

// modeNow is how a call's audio passes at the moment.
func modeNow(c *call.Call) admission.Mode {
	if c.Mixing() {
		return admission.Mix
	}
	return admission.Relay
}

// limitCode is for a call that no place was found for: nothing was begun, so whoever asked may ask again later.
func limitCode(e *admission.LimitError) error {
	return psrpc.NewError(psrpc.ResourceExhausted, fmt.Errorf("%s: %w", connector.ErrServerBusy.Error(), e),
		&connectorpb.ErrorMeta{Meta: map[string]string{"limit": string(e.Limit)}})
}
