package node

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/livekit/protocol/connector"
	"github.com/livekit/protocol/livekit"
	"github.com/livekit/psrpc"

	"github.com/livekit-connector/livekit-connector/internal/admission"
	"github.com/livekit-connector/livekit-connector/internal/call"
	"github.com/livekit-connector/livekit-connector/internal/metaleg"
	"github.com/livekit-connector/livekit-connector/pkg/whatsapp"
	"github.com/livekit-connector/livekit-connector/proto/connectorpb"
)

// accept takes an inbound call. It answers once the call is up and Meta was told so, or once it is over.
func (n *Node) accept(
	ctx context.Context, req *connectorpb.StartCallRequest, r *livekit.AcceptWhatsAppCallRequest,
) (*connectorpb.StartCallResponse, error) {
	if err := n.table.admit(); err != nil {
		return nil, err
	}
	id := r.GetWhatsappCallId()
	if err := n.table.reserve(id); err != nil {
		n.table.free()
		if errors.Is(err, errEnded) {
			return nil, psrpc.NewErrorf(psrpc.FailedPrecondition, "%s: this call has already ended", connector.ErrConnectionClosed.Error())
		}
		return nil, err
	}
	made := false
	var slot *admission.Place
	defer func() {
		if !made {
			slot.Release()
			n.table.drop(id) // nothing was said to Meta: the same call may be accepted with a better SDP
		}
	}()
	w, err := n.wishes(r.GetParticipantAttributes(), call.Inbound)
	if err != nil {
		return nil, err
	}
	if slot, err = n.opts.Gate.Reserve(askOf(req, w.audio)); err != nil {
		return nil, err
	}
	leg, answer, err := n.opts.Meta.Answer(ctx, r.GetSdp().GetSdp())
	if err != nil {
		return nil, unanswered(err)
	}
	defer func() {
		if !made {
			_ = leg.Close() // only a mistake leads here, which is told of
		}
	}()
	e := n.inbound(ctx, req, r, w, metaLeg{leg}, answer)
	e.slot, made = slot, true
	n.run(e)
	select {
	case <-e.call.Active():
		return &connectorpb.StartCallResponse{CallId: id, RoomName: e.room}, nil
	case <-e.call.Ending():
		return nil, &setupError{end: e.call.Err()}
	}
}

// unanswered is the error of an offer for which there is no answer. Unless the offer is to blame this node cannot begin a
// call now, for want of a UDP port for instance: that is as if it had no room for one.
func unanswered(err error) error {
	err = fmt.Errorf("answer meta's offer: %w", err)
	if errors.Is(err, metaleg.ErrSDP) {
		return err
	}
	return psrpc.NewError(psrpc.ResourceExhausted, err)
}

// inbound makes the call of an accept request.
func (n *Node) inbound(
	ctx context.Context, req *connectorpb.StartCallRequest, r *livekit.AcceptWhatsAppCallRequest, w wishes, leg metaLeg, answer string,
) *entry {
	id, plan := r.GetWhatsappCallId(), req.GetPlan()
	creds := whatsapp.Credentials{
		PhoneNumberID: r.GetWhatsappPhoneNumberId(), AccessToken: r.GetWhatsappApiKey(), Version: r.GetWhatsappCloudApiVersion(),
	}
	p := participant{
		place: newPlace(r.GetRoomName(), r.GetParticipantIdentity()), name: r.GetParticipantName(),
		metadata: r.GetParticipantMetadata(), agents: r.GetAgents(), roomConfig: plan.GetRoom(),
		attributes: n.attributes(r.GetParticipantAttributes(), own{
			callID: id, direction: call.Inbound, status: call.StatusRinging, phoneNumberID: creds.PhoneNumberID,
			userNumber: plan.GetUserNumber(), userID: plan.GetUserId(), requested: timeOf(req.GetReceivedAt()),
			ctaPayload: plan.GetCtaPayload(), deeplinkPayload: plan.GetDeeplinkPayload(),
		}),
	}
	e := &entry{apiKey: req.GetApiKey(), creds: creds, room: p.room, who: p, rule: plan.GetRule()}
	e.trace = n.trace(ctx, call.Inbound, id)
	name := p.name // the application's: it may be the user's
	if plan != nil {
		name = plan.GetUserName() // the rule's name may be any word
	}
	log := n.callLog(e.trace, leg, call.Inbound, id, p, plan.GetUserNumber(), plan.GetUserId(), name)
	e.call = call.New(e.trace.ctx, call.Options{
		ID: id, Direction: call.Inbound, Meta: leg, Pacer: n.opts.Pacer, Audio: w.audio, Keys: n.opts.Keys, Timeouts: planned(n.opts.Timeouts, plan),
		Graph: graph{
			client: n.opts.Graph, creds: creds, callID: id, answer: answer, opaque: r.GetWhatsappBizOpaqueCallbackData(), orders: w.orders,
		},
		Join: n.join(e.apiKey, p, log.room), WaitForRoom: r.GetWaitUntilAnswered(), AnswerAlone: plan.GetAnswerAlone(),
		StatusesSeen:  n.statusesSeen(creds.PhoneNumberID),
		SetupDeadline: answerBy(ctx, req), RoomDeadline: roomDeadline(r), Started: timeOf(req.GetReceivedAt()),
		Logger: log.call, Panics: n.opts.Panics, Observer: n.observe(e),
	})
	return e
}

// roomDeadline is until when the caller may ring for want of somebody in the room; zero if the request does not say.
func roomDeadline(r *livekit.AcceptWhatsAppCallRequest) time.Time {
	if d := r.GetRingingTimeout(); d != nil && d.AsDuration() > 0 {
		return time.Now().Add(d.AsDuration())
	}
	return time.Time{}
}
