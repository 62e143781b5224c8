package node

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"strconv"
	"time"

	"github.com/livekit/protocol/livekit"

	"github.com/livekit-connector/livekit-connector/internal/call"
	"github.com/livekit-connector/livekit-connector/internal/metaleg"
	"github.com/livekit-connector/livekit-connector/internal/panics"
	"github.com/livekit-connector/livekit-connector/internal/roomleg"
	"github.com/livekit-connector/livekit-connector/pkg/whatsapp"
)

// graph is Meta's calling API for one call.
type graph struct {
	client *whatsapp.Client
	creds  whatsapp.Credentials
	callID string
	// answer is our SDP: pre_accept and accept must carry the same (Meta: accept call).
	answer, opaque string
	orders         orders
}

func (g graph) PreAccept(ctx context.Context) error {
	return g.client.PreAccept(ctx, g.creds, g.callID, g.answer)
}

func (g graph) Accept(ctx context.Context) error {
	return g.client.Accept(ctx, g.creds, whatsapp.AcceptRequest{
		CallID: g.callID, Answer: g.answer, BizOpaqueCallbackData: g.opaque,
		Recording: g.orders.recording, Transcription: g.orders.transcription,
	})
}

func (g graph) Reject(ctx context.Context) error { return g.client.Reject(ctx, g.creds, g.callID) }

func (g graph) Terminate(ctx context.Context) error {
	return g.client.Terminate(ctx, g.creds, g.callID)
}

// metaLeg speaks the call's language for a Meta leg.
type metaLeg struct{ *metaleg.Leg }

func (l metaLeg) ClosedByMeta() bool { return errors.Is(l.Err(), metaleg.ErrClosedByMeta) }

func (l metaLeg) ICEConnected() time.Time { return l.Times().ICEConnected }

func (l metaLeg) Network() call.Network {
	f, r := l.Feedback(), l.Reception()
	return call.Network{
		Reports: f.Reports, Loss: f.Loss, Lost: f.Lost, Jitter: f.Jitter, RTT: f.MeanRTT, Sent: l.Stats().SentPackets,
		Expected: r.Expected, Missed: r.Lost, Gaps: r.Gaps, ReceivedJitter: r.Jitter,
	}
}

func (l metaLeg) LogAttrs() []any {
	s := l.Stats()
	attrs := []any{slog.Group("meta",
		"sent", s.SentPackets, "received", s.ReceivedPackets, "beforeAnswer", s.Gated, "events", s.Events,
		"unknownPayload", s.UnknownPayload, "writeErrors", s.WriteErrors, "sinkErrors", s.SinkErrors)}
	if p, ok := l.Path(); ok {
		attrs = append(attrs, slog.Group("path", "local", p.LocalType, "remote", p.RemoteType, "relay", p.RemoteAddr))
	}
	return attrs
}

// roomLeg speaks the call's language for a room leg.
type roomLeg struct{ *roomleg.Leg }

func (l roomLeg) Network() call.Network {
	n := l.Leg.Network()
	return call.Network{
		Reports: n.Reports, Lost: n.Missed, Jitter: n.Jitter, RTT: n.RTT, Sent: l.Stats().Sent,
		Expected: n.Expected, Missed: n.Lost, ReceivedJitter: n.ReceivedJitter,
	}
}

func (l roomLeg) Leave(d call.Departure) error {
	switch d {
	case call.DepartRejected:
		return l.Leg.Leave(livekit.DisconnectReason_USER_REJECTED)
	case call.DepartUnavailable:
		return l.Leg.Leave(livekit.DisconnectReason_USER_UNAVAILABLE)
	default:
		return l.Leg.Leave(livekit.DisconnectReason_CLIENT_INITIATED)
	}
}

func (l roomLeg) Company() (call.Company, <-chan struct{}) {
	company, changed := l.Leg.Company()
	return companyOf(company), changed
}

func companyOf(c roomleg.Company) call.Company {
	switch {
	case c.Away:
		return call.CompanyUnknown
	case c.Present:
		return call.CompanyPresent
	case c.Met:
		return call.CompanyLeft
	default:
		return call.CompanyNone
	}
}

func (l roomLeg) Reason() call.Reason { return reasonOf(l.Err()) }

// reasonOf names the end of a room leg in the call's words.
func reasonOf(err error) call.Reason {
	var broken *panics.Error
	switch {
	case errors.As(err, &broken):
		return call.ReasonInternal
	case errors.Is(err, roomleg.ErrRoomDeleted), errors.Is(err, roomleg.ErrRoomClosed):
		return call.ReasonRoomDeleted
	case errors.Is(err, roomleg.ErrRemoved):
		return call.ReasonParticipantRemoved
	case errors.Is(err, roomleg.ErrDuplicateIdentity):
		return call.ReasonDuplicateIdentity
	default:
		return call.ReasonRoomLost
	}
}

// own is what the connector itself says about a call in the participant's attributes.
type own struct {
	callID        string
	direction     call.Direction
	status        string
	phoneNumberID string
	// userNumber and userID are the user's, empty where unknown.
	userNumber, userID string
	// requested is when the request for an inbound call arrived; zero leaves the attribute out.
	requested time.Time
	// ctaPayload and deeplinkPayload came with the user's call button or link; empty where there was none.
	ctaPayload, deeplinkPayload string
}

// The attributes that are set once. Those that change are the call's (call.AttributeStatus).
const (
	attributeCallID        = "whatsapp.callID"
	attributeDirection     = "whatsapp.direction"
	attributePhoneNumberID = "whatsapp.phoneNumberID"
	attributePhoneNumber   = "whatsapp.phoneNumber"
	attributeUserID        = "whatsapp.userID"
	// What the user's call button or link said.
	attributeCTAPayload      = "whatsapp.ctaPayload"
	attributeDeeplinkPayload = "whatsapp.deeplinkPayload"
	// attributeRequestTime is when the request for an inbound call arrived, in Unix ms (protocol livekit/attrs.go).
	attributeRequestTime = "lk.connector.requestTime"
)

// attributes adds ours to those of the request, of which ours win, and takes out the reserved ones.
func (n *Node) attributes(requested map[string]string, o own) map[string]string {
	a := map[string]string{}
	maps.Copy(a, requested)
	for _, name := range reserved {
		delete(a, name)
	}
	a[attributeCallID] = o.callID
	a[attributeDirection] = o.direction.String()
	a[call.AttributeStatus] = o.status
	if !o.requested.IsZero() {
		a[attributeRequestTime] = strconv.FormatInt(o.requested.UnixMilli(), 10)
	}
	optional := map[string]string{attributeCTAPayload: o.ctaPayload, attributeDeeplinkPayload: o.deeplinkPayload}
	if n.opts.NumberAttributes {
		a[attributePhoneNumberID] = o.phoneNumberID
		optional[attributePhoneNumber], optional[attributeUserID] = o.userNumber, o.userID
	}
	for name, value := range optional {
		if value != "" {
			a[name] = value
		}
	}
	return a
}
