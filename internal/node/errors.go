package node

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strconv"

	"github.com/livekit/protocol/connector"
	"github.com/livekit/psrpc"

	"github.com/livekit-connector/livekit-connector/internal/admission"
	"github.com/livekit-connector/livekit-connector/internal/call"
	"github.com/livekit-connector/livekit-connector/internal/metaleg"
	"github.com/livekit-connector/livekit-connector/pkg/whatsapp"
	"github.com/livekit-connector/livekit-connector/proto/connectorpb"
)

// errDraining refuses new calls while the node goes down.
var errDraining = psrpc.NewError(psrpc.ResourceExhausted, errors.New("connector is draining and takes no new calls: none was begun"),
	&connectorpb.ErrorMeta{Meta: map[string]string{"limit": "draining"}})

// dialError is what Meta, or the way to it, made of a dial request.
type dialError struct {
	err    error
	advice advice
}

func (e *dialError) Error() string { return fmt.Sprintf("dial: %v", e.err) }
func (e *dialError) Unwrap() error { return e.err }

// setupError is a call that Meta knows of, or may know of, and that ended before the request for it could be answered
// with success: a repetition of the request would make a second one.
type setupError struct{ end error }

func (e *setupError) Error() string { return fmt.Sprintf("set up the call: %v", e.end) }
func (e *setupError) Unwrap() error { return e.end }

// terminateError is a call that ended here while Meta could not be told.
type terminateError struct{ err error }

func (e *terminateError) Error() string {
	return fmt.Sprintf("the call ended here, but meta could not be told and drops it only when it hears no audio: %v", e.err)
}
func (e *terminateError) Unwrap() error { return e.err }

// notSent says that a failed dial certainly did not reach Meta, or was refused by it: trying again is safe.
func notSent(err error) bool {
	return err != nil && !errors.Is(err, whatsapp.ErrOutcomeUnknown) && !errors.As(err, new(*setupError))
}

// rpcError gives an error its code: the only place where that happens. Before Meta took an offer, errors may invite a
// retry; afterwards they must not, because the SDK's retry would place a second call.
func rpcError(err error) error {
	var (
		coded  psrpc.Error
		state  *call.StateError
		dial   *dialError
		setup  *setupError
		atEnd  *terminateError
		endErr *call.EndError
		full   *admission.LimitError
	)
	switch {
	case errors.As(err, &setup):
		return setupCode(setup)
	case errors.As(err, &dial):
		return dialCode(dial.err, &dial.advice)
	case errors.As(err, &atEnd):
		return withMeta(psrpc.FailedPrecondition, atEnd, atEnd.err)
	case errors.As(err, &coded):
		return coded
	case errors.Is(err, errExists):
		return psrpc.NewErrorf(psrpc.AlreadyExists, "this call is already being handled")
	case errors.Is(err, errUnknown), errors.Is(err, errEnded):
		return connector.ErrWhatsAppCallNotFound
	case errors.As(err, &full):
		return limitCode(full)
	case errors.Is(err, metaleg.ErrSDP):
		return psrpc.NewErrorf(psrpc.InvalidArgument, "sdp: %v", err)
	case errors.As(err, &state):
		return stateCode(state)
	case errors.As(err, &endErr):
		return connector.ErrConnectionClosed
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled), errors.Is(err, errAnswerBy):
		return psrpc.NewErrorf(psrpc.DeadlineExceeded, "the request was not answered in time")
	default:
		return psrpc.NewErrorf(psrpc.Internal, "%v", err)
	}
}

// stateCode: an answer that comes twice is a repeated webhook; any other move is out of order.
func stateCode(e *call.StateError) error {
	switch e.State {
	case call.StateRinging, call.StateActive:
		return psrpc.NewErrorf(psrpc.AlreadyExists, "this call already has its sdp answer")
	case call.StateEnding, call.StateEnded:
		return connector.ErrConnectionClosed
	default:
		return psrpc.NewErrorf(psrpc.FailedPrecondition, "%v", e)
	}
}

// dialCode is for what Graph said to "connect". Only what certainly did not reach Meta may be retried.
func dialCode(err error, a *advice) error {
	var api *whatsapp.APIError
	said := err
	if a.text != "" {
		said = fmt.Errorf("%w: %s", err, a.text)
	}
	switch {
	case errors.Is(err, whatsapp.ErrOutcomeUnknown):
		return withMeta(psrpc.FailedPrecondition, fmt.Errorf(
			"meta may have placed the call, do not dial again before its webhooks say so: %w", err), err)
	case errors.Is(err, whatsapp.ErrInvalidRequest), errors.Is(err, whatsapp.ErrVersion):
		return psrpc.NewErrorf(psrpc.InvalidArgument, "%v", err)
	case errors.As(err, &api) && api.HTTPStatus == 429:
		return withMeta(psrpc.ResourceExhausted, said, err, a.meta)
	case errors.As(err, &api) && api.HTTPStatus < 500:
		return withMeta(psrpc.UpstreamClientError, said, err, a.meta)
	case errors.As(err, &api):
		return withMeta(psrpc.UpstreamServerError, said, err, a.meta)
	default:
		return psrpc.NewErrorf(psrpc.Unavailable, "meta cannot be reached: %v", err)
	}
}

// setupCode is for a call that ended while the requester waited.
func setupCode(e *setupError) error {
	var (
		end *call.EndError
		api *whatsapp.APIError
	)
	if !errors.As(e.end, &end) {
		return psrpc.NewErrorf(psrpc.FailedPrecondition, "the outcome is not known yet: %v", e.end)
	}
	switch end.Reason {
	case call.ReasonRoomNotReady:
		return connector.ErrRoomNotReady
	case call.ReasonSetupTimeout:
		return connector.ErrAcceptTimeout
	case call.ReasonNoSDPAnswer:
		return connector.ErrSDPAnswerTimeout
	case call.ReasonUserHangup, call.ReasonRejected, call.ReasonBusinessHangup, call.ReasonNoAnswer:
		return psrpc.NewErrorf(psrpc.FailedPrecondition, "%s: %s", connector.ErrConnectionClosed.Error(), end.Reason)
	case call.ReasonMetaRefused:
		if errors.As(end.Err, &api) && api.HTTPStatus < 500 && !errors.Is(end.Err, whatsapp.ErrOutcomeUnknown) {
			return withMeta(psrpc.UpstreamClientError, end.Err, end.Err)
		}
		return withMeta(psrpc.FailedPrecondition, end.Err, end.Err)
	case call.ReasonConnectFailed:
		return psrpc.NewErrorf(psrpc.FailedPrecondition,
			"the media connection to meta did not come up: check that this host may send udp to the addresses in meta's sdp")
	default:
		return psrpc.NewErrorf(psrpc.FailedPrecondition, "%v", end)
	}
}

// withMeta is a psrpc error that carries what Meta said as details, and what else there is to say.
func withMeta(code psrpc.ErrorCode, err, cause error, more ...map[string]string) error {
	var api *whatsapp.APIError
	if !errors.As(cause, &api) {
		return psrpc.NewError(code, err)
	}
	m := map[string]string{"whatsapp_error_code": strconv.Itoa(api.Code), "whatsapp_http_status": strconv.Itoa(api.HTTPStatus)}
	if api.Subcode != 0 {
		m["whatsapp_error_subcode"] = strconv.Itoa(api.Subcode)
	}
	if api.TraceID != "" {
		m["fbtrace_id"] = api.TraceID
	}
	for _, further := range more {
		maps.Copy(m, further)
	}
	return psrpc.NewError(code, err, &connectorpb.ErrorMeta{Meta: m})
}
