package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/livekit/protocol/livekit"
	"github.com/livekit/psrpc"

	"github.com/livekit-connector/livekit-connector/internal/admission"
	"github.com/livekit-connector/livekit-connector/internal/call"
	"github.com/livekit-connector/livekit-connector/internal/panics"
	"github.com/livekit-connector/livekit-connector/pkg/whatsapp"
	"github.com/livekit-connector/livekit-connector/proto/connectorpb"
)

// dial places an outbound call. It answers once Meta took the offer and the room was joined; the phone rings on.
func (n *Node) dial(
	ctx context.Context, req *connectorpb.StartCallRequest, r *livekit.DialWhatsAppCallRequest,
) (*connectorpb.StartCallResponse, error) {
	w, err := n.wishes(r.GetParticipantAttributes(), call.Outbound)
	if err != nil {
		return nil, err
	}
	if err = n.table.admit(); err != nil {
		return nil, err
	}
	placed := false
	var slot *admission.Place
	defer func() {
		if !placed {
			slot.Release()
			n.table.free()
		}
	}()
	if slot, err = n.opts.Gate.Reserve(askOf(req, w.audio)); err != nil {
		return nil, err
	}
	if err = n.reachable(ctx); err != nil {
		return nil, err
	}
	identified := n.table.dial()
	defer identified()
	leg, offer, err := n.opts.Meta.Offer(ctx)
	if err != nil {
		// Nothing of the user's is in it: for want of a UDP port, for instance, this node can begin no call now.
		return nil, psrpc.NewError(psrpc.ResourceExhausted, fmt.Errorf("make an offer: %w", err))
	}
	graphCtx, cancel := until(ctx, req)
	defer cancel()
	e, err := n.offer(graphCtx, req, r, w, metaLeg{leg}, offer)
	if err != nil {
		return nil, err
	}
	e.slot, placed = slot, true
	if err := n.table.reserve(e.call.ID()); err != nil {
		return nil, n.abandon(e, err)
	}
	n.run(e)
	identified()
	select {
	case <-e.call.Joined():
	case <-graphCtx.Done(): // joining takes long; the call itself is placed, and ends by itself if joining fails
	case <-e.call.Ending():
		return nil, &setupError{end: e.call.Err()}
	}
	return &connectorpb.StartCallResponse{CallId: e.call.ID(), RoomName: e.room}, nil
}

// offer has Meta place a call and makes it. After an error the leg is closed, and after a mistake in making a call that Meta has
// placed Meta is told of its end: nobody else would.
func (n *Node) offer(
	ctx context.Context, req *connectorpb.StartCallRequest, r *livekit.DialWhatsAppCallRequest, w wishes, leg metaLeg, offer string,
) (e *entry, err error) {
	var id string
	defer n.opts.Panics.Recover(panics.Bus, n.log, func() {
		broken := &panics.Error{Place: panics.Bus}
		err = &setupError{end: &call.EndError{Reason: call.ReasonInternal, Err: errors.Join(broken, n.unmake(ctx, leg, credentialsOf(r), id))}}
	})
	if id, err = n.place(ctx, r, w, offer); err != nil {
		return nil, errors.Join(err, leg.Close())
	}
	return n.outbound(ctx, req, r, w, leg, id), nil
}

// unmake takes back a call that has no goroutine to do so; id is empty if Meta gave it none.
func (n *Node) unmake(ctx context.Context, leg metaLeg, creds whatsapp.Credentials, id string) error {
	closed := leg.Close()
	if id == "" {
		return closed
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
	defer cancel()
	err := n.opts.Graph.Terminate(ctx, creds, id)
	if err != nil {
		n.log.Error("meta not told of the end", "callID", id, "reason", call.ReasonInternal.String(), "error", err)
	}
	return errors.Join(closed, err)
}

// reachable fails if a call that is placed now could not join its room.
func (n *Node) reachable(ctx context.Context) error {
	if n.opts.Reachable == nil {
		return nil
	}
	if err := n.opts.Reachable(ctx); err != nil {
		return psrpc.NewErrorf(psrpc.Unavailable, "no call was begun, because there is no room for it: %v", err)
	}
	return nil
}

// credentialsOf are those of a dial request.
func credentialsOf(r *livekit.DialWhatsAppCallRequest) whatsapp.Credentials {
	return whatsapp.Credentials{
		PhoneNumberID: r.GetWhatsappPhoneNumberId(), AccessToken: r.GetWhatsappApiKey(), Version: r.GetWhatsappCloudApiVersion(),
	}
}

// place has Meta place a call and returns its ID.
func (n *Node) place(ctx context.Context, r *livekit.DialWhatsAppCallRequest, w wishes, offer string) (id string, err error) {
	creds := credentialsOf(r)
	id, err = n.opts.Graph.Connect(ctx, creds, whatsapp.ConnectRequest{
		To: r.GetWhatsappToPhoneNumber(), Recipient: w.recipient, Offer: offer,
		BizOpaqueCallbackData: r.GetWhatsappBizOpaqueCallbackData(), Recording: w.recording, Transcription: w.transcription,
	})
	if err != nil {
		user := cmp.Or(r.GetWhatsappToPhoneNumber(), w.recipient)
		return "", &dialError{err: err, advice: n.advise(ctx, creds, user, err)}
	}
	return id, nil
}

// outbound makes the call that Meta placed for a dial request.
func (n *Node) outbound(
	ctx context.Context, req *connectorpb.StartCallRequest, r *livekit.DialWhatsAppCallRequest, w wishes, leg metaLeg, id string,
) *entry {
	creds, plan := credentialsOf(r), req.GetPlan()
	p := participant{
		place: newPlace(r.GetRoomName(), r.GetParticipantIdentity()), name: r.GetParticipantName(),
		metadata: r.GetParticipantMetadata(), agents: r.GetAgents(), roomConfig: plan.GetRoom(),
		attributes: n.attributes(r.GetParticipantAttributes(), own{
			callID: id, direction: call.Outbound, status: call.StatusDialing, phoneNumberID: creds.PhoneNumberID,
			userNumber: r.GetWhatsappToPhoneNumber(), userID: w.recipient,
		}),
	}
	timeouts := planned(n.opts.Timeouts, plan)
	if d := r.GetRingingTimeout(); d != nil && d.AsDuration() > 0 {
		timeouts.Ringing = d.AsDuration()
	}
	e := &entry{apiKey: req.GetApiKey(), creds: creds, room: p.room, who: p, rule: plan.GetRule()}
	e.trace = n.trace(ctx, call.Outbound, id)
	log := n.callLog(e.trace, leg, call.Outbound, id, p, r.GetWhatsappToPhoneNumber(), w.recipient, p.name)
	e.call = call.New(e.trace.ctx, call.Options{
		ID: id, Direction: call.Outbound, Meta: leg, Pacer: n.opts.Pacer, Audio: w.audio, Keys: n.opts.Keys, Timeouts: timeouts,
		Graph: graph{client: n.opts.Graph, creds: creds, callID: id}, StatusesSeen: n.statusesSeen(creds.PhoneNumberID),
		Join: n.join(e.apiKey, p, log.room), Started: timeOf(req.GetReceivedAt()), Logger: log.call, Panics: n.opts.Panics, Observer: n.observe(e),
	})
	return e
}

// dialMemory keeps the answers to dial requests that carried a request ID, so that an SDK that repeats one does not place
// a second call. The ID is the SDK's, the same for all its tries (X-Livekit-Request-Id).
type dialMemory struct {
	mu      sync.Mutex // guards the following field
	answers map[dialKey]*dialAnswer
}

type dialKey struct{ apiKey, requestID string }

// dialAnswer is written before done is closed.
type dialAnswer struct {
	done chan struct{}
	at   time.Time
	res  *connectorpb.StartCallResponse
	err  error
}

// dialMemoryTTL is longer than any SDK keeps trying.
const dialMemoryTTL = 5 * time.Minute

func newDialMemory() *dialMemory { return &dialMemory{answers: make(map[dialKey]*dialAnswer)} }

// claim returns the answer under a key, and whether the caller is the one to write it.
func (m *dialMemory) claim(k dialKey, now time.Time) (a *dialAnswer, first bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for key, old := range m.answers {
		if now.Sub(old.at) > dialMemoryTTL {
			delete(m.answers, key)
		}
	}
	if known, ok := m.answers[k]; ok {
		return known, false
	}
	a = &dialAnswer{done: make(chan struct{}), at: now}
	m.answers[k] = a
	return a, true
}

// forget drops an answer: nothing reached Meta, so that another try is safe.
func (m *dialMemory) forget(k dialKey) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.answers, k)
}

// dialOnce is dial for a request that may be a repetition.
func (n *Node) dialOnce(
	ctx context.Context, req *connectorpb.StartCallRequest, r *livekit.DialWhatsAppCallRequest,
) (*connectorpb.StartCallResponse, error) {
	if req.GetRequestId() == "" {
		return n.dial(ctx, req, r)
	}
	k := dialKey{apiKey: req.GetApiKey(), requestID: req.GetRequestId()}
	a, first := n.dials.claim(k, time.Now())
	if !first {
		select {
		case <-a.done:
			return a.res, a.err
		case <-ctx.Done():
			return nil, &setupError{end: context.Cause(ctx)}
		}
	}
	defer close(a.done)
	a.err = &setupError{end: errors.New("the first request broke off")} // stays if dial panics
	a.res, a.err = n.dial(ctx, req, r)
	if notSent(a.err) {
		n.dials.forget(k)
	}
	return a.res, a.err
}
