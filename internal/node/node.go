// Package node holds this machine's calls and answers the bus for them: table, admission, reaper, drain.
//
// An API front reaches a node only through the messages of proto/connectorpb, whether the bus is in-process or not. The
// node turns a request into a call (dial.go, accept.go) or passes it to one (control.go), gives every call a goroutine
// that it waits for, sweeps once a second for calls that were left behind (reaper.go), and gives errors their codes, once,
// in errors.go.
package node

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/livekit/protocol/livekit"
	"github.com/livekit/psrpc"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/livekit-connector/livekit-connector/internal/admission"
	"github.com/livekit-connector/livekit-connector/internal/call"
	"github.com/livekit-connector/livekit-connector/internal/metaleg"
	"github.com/livekit-connector/livekit-connector/internal/panics"
	"github.com/livekit-connector/livekit-connector/internal/roomleg"
	"github.com/livekit-connector/livekit-connector/internal/tracing"
	"github.com/livekit-connector/livekit-connector/media"
	"github.com/livekit-connector/livekit-connector/pkg/whatsapp"
	"github.com/livekit-connector/livekit-connector/proto/connectorpb"
)

// Cluster is the topic on which nodes compete for new calls.
const Cluster = "cluster"

// Options are what a node needs. All fields are required but those that say otherwise.
type Options struct {
	// ID is this node's topic on the bus, unique among the nodes, and its name in logs.
	ID  string
	Bus psrpc.MessageBus
	// LiveKitURL is where rooms are (ws, wss, http or https).
	LiveKitURL string
	// Reachable says why no room can be joined now, as far as is known: a user's phone does not ring for a call that has no
	// room to go to. It is asked before every dial, so it answers from what it knows. Nil means that nobody knows.
	Reachable func(context.Context) error
	// Secret returns the secret of an API key, or "" if the key is unknown.
	Secret func(apiKey string) string
	// Meta makes the connections to Meta.
	Meta *metaleg.Stack
	// Graph speaks to Meta's calling API.
	Graph *whatsapp.Client
	// Pacer paces all streams to Meta. The node does not close it.
	Pacer *media.Pacer
	// Audio says how calls treat audio. A call's participant attribute connectorpb.AttributeMedia overrides its mode.
	Audio call.Audio
	// Keys says what becomes of keys that a room presses for its phone.
	Keys     call.KeyMode
	Timeouts call.Timeouts
	// Gate gives every call its place. The node has it measure; nobody else may.
	Gate *admission.Gate
	// NumberAttributes puts phone numbers and user IDs into participant attributes.
	NumberAttributes bool
	// StatusesSeen says whether Meta's webhooks about a phone number's calls come to ReportCall: call.Options.StatusesSeen.
	// Nil means never.
	StatusesSeen func(phoneNumberID string) bool
	// Recording and Transcription are asked of Meta for every call that does not say otherwise; nil means neither.
	Recording, Transcription *whatsapp.Capture
	// PermissionRequest is the text by which a user who has not allowed calls is asked when a dial fails for that; empty
	// means that nobody is asked.
	PermissionRequest string
	// History says how long calls are remembered after their end; its zero value not at all.
	History History
	// Watcher hears of every call's course; may be nil.
	Watcher Watcher
	// Panics counts mistakes that ended a call or a request; may be nil.
	Panics *panics.Counter
	// Tracer follows requests into their calls; nil does not.
	Tracer     *tracing.Tracer
	Registerer prometheus.Registerer
	Logger     *slog.Logger
}

// Node holds calls. Make it with New, end it with Close.
type Node struct {
	opts    Options
	log     *slog.Logger
	metrics *metrics
	table   *table
	dials   *dialMemory
	history *history
	server  connectorpb.ConnectorInternalServer

	// calls is the parent of every call.
	calls   context.Context //nolint:containedctx // calls outlive the requests that make them
	hangUp  context.CancelCauseFunc
	closing chan struct{}  // ends the sweeper
	swept   heartbeat      // of the sweeper
	joins   chan struct{}  // holds one for each room that is being joined
	tasks   sync.WaitGroup // calls and the sweeper; a call takes its slot in the table before it is added
}

// New registers a node on the bus and starts its sweeper. Close takes both down.
func New(opts Options) (*Node, error) {
	n := &Node{
		opts:    opts,
		log:     opts.Logger.With("nodeID", opts.ID),
		metrics: newMetrics(&opts),
		table:   newTable(),
		dials:   newDialMemory(),
		history: newHistory(opts.History),
		closing: make(chan struct{}),
		joins:   make(chan struct{}, joinsPerCPU*runtime.GOMAXPROCS(0)),
	}
	n.calls, n.hangUp = context.WithCancelCause(context.Background())
	server, err := connectorpb.NewConnectorInternalServer(n, opts.Bus,
		psrpc.WithServerRPCInterceptors(append(opts.Tracer.ServerInterceptors(), n.recoverRequest)...)) // one request must not end everybody's call
	if err != nil {
		return nil, fmt.Errorf("serve the bus: %w", err)
	}
	n.server = server
	if err := errors.Join(server.RegisterStartCallTopic(Cluster), server.RegisterAllNodeTopics(opts.ID)); err != nil {
		server.Kill()
		return nil, fmt.Errorf("register on the bus: %w", err)
	}
	n.metrics.available.Set(1)
	n.swept.start()
	n.tasks.Go(n.sweep)
	return n, nil
}

// Calls is how many calls the node holds, those that are ending included.
func (n *Node) Calls() int { return n.table.size() }

// Full returns an *admission.LimitError while the node has no place for another call, whoever asks; else nil.
func (n *Node) Full() error { return n.opts.Gate.Full() }

// StartCall places or takes a call.
func (n *Node) StartCall(ctx context.Context, req *connectorpb.StartCallRequest) (*connectorpb.StartCallResponse, error) {
	var (
		res *connectorpb.StartCallResponse
		err error
	)
	switch r := req.GetCall().(type) {
	case *connectorpb.StartCallRequest_Dial:
		res, err = n.dialOnce(ctx, req, r.Dial)
	case *connectorpb.StartCallRequest_Accept:
		res, err = n.accept(ctx, req, r.Accept)
	default:
		err = psrpc.NewErrorf(psrpc.MalformedRequest, "neither a dial nor an accept request")
	}
	if err != nil {
		return nil, rpcError(err)
	}
	return res, nil
}

// StartCallAffinity bids for a new call: more for more room, next to nothing if there is none, and zero to take none.
// So of full nodes one is asked, whose refusal says why. Zero is an answer too, unlike a negative bid, so that a cluster
// that takes no calls can be told from a dead one.
func (n *Node) StartCallAffinity(_ context.Context, req *connectorpb.StartCallRequest) float32 {
	if n.table.closed() {
		return 0
	}
	return n.opts.Gate.Room(askOf(req, n.opts.Audio))
}

// place is the call's room and participant, with what was left empty filled in.
type place struct {
	room, identity string
}

func newPlace(room, identity string) place {
	if room == "" {
		room = "whatsapp-" + randomID()
	}
	if identity == "" {
		identity = "whatsapp-" + randomID()
	}
	return place{room: room, identity: identity}
}

// randomID is unique per call and says nothing about anybody.
func randomID() string {
	var b [10]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand)
	return strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(b[:]))
}

// participant is who the caller is in the room.
type participant struct {
	place
	name, metadata string
	attributes     map[string]string
	agents         []*livekit.RoomAgentDispatch
	// roomConfig is for a room that does not exist yet; nil means as LiveKit has it.
	roomConfig *livekit.RoomConfiguration
}

// joinsPerCPU bounds how many rooms are joined at once. The SDK gives a join up after five seconds, so that of a burst of
// joins on a busy machine many would fail at once which can follow each other.
const joinsPerCPU = 8

// join returns the function by which a call enters its room.
func (n *Node) join(apiKey string, p participant, log *slog.Logger) func(context.Context, *media.Line) (call.RoomLeg, error) {
	return func(ctx context.Context, line *media.Line) (call.RoomLeg, error) {
		select {
		case n.joins <- struct{}{}:
			defer func() { <-n.joins }()
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
		leg, err := roomleg.Join(ctx, roomleg.Options{
			URL: n.opts.LiveKitURL, APIKey: apiKey, APISecret: n.opts.Secret(apiKey),
			Room: p.room, Identity: p.identity, Name: p.name, Metadata: p.metadata,
			Attributes: p.attributes, Agents: p.agents, RoomConfig: p.roomConfig, Line: line, Logger: log,
			OnRefused: n.metrics.audio.onRefused, Panics: n.opts.Panics,
		})
		if err != nil {
			return nil, err
		}
		return roomLeg{leg}, nil
	}
}

// run makes a call known and gives it its goroutine, which takes it out of the table when it is over. All that a mistake could
// be made in happens there: then the call's place is given back.
func (n *Node) run(e *entry) {
	id := e.call.ID()
	n.table.put(id, e)
	n.tasks.Go(func() {
		n.guarded(func() { n.metrics.started(e.call) })
		n.guarded(func() { n.created(e) })
		n.live(e)
		e.slot.Release()
		if e.untold() && !e.call.PreAccepted() {
			n.table.drop(id) // Meta heard nothing from us: the offer may be accepted with a better token
			return
		}
		n.table.end(id)
	})
}

// live is a call's life and the account of it. The call's place in the table is given back whatever happens.
func (n *Node) live(e *entry) {
	n.guarded(func() { _ = e.call.Run() }) // the reason is reported by the call
	n.guarded(func() { n.over(e) })
	n.guarded(func() { n.metrics.audio.ended(e.call) })
	n.guarded(func() { n.endTrace(e) })
}

// guarded takes one step of a call's life or of the account of it. A mistake in it costs nothing but that step.
func (n *Node) guarded(step func()) {
	defer n.opts.Panics.Recover(panics.Call, n.log, nil)
	step()
}

// recoverRequest answers for a handler that panics. Nothing of the panic goes over the bus.
func (n *Node) recoverRequest(
	ctx context.Context, req proto.Message, _ psrpc.RPCInfo, handle psrpc.ServerRPCHandler,
) (resp proto.Message, err error) {
	defer n.opts.Panics.Recover(panics.Bus, n.log, func() { resp, err = nil, psrpc.NewError(psrpc.Internal, &panics.Error{Place: panics.Bus}) })
	return handle(ctx, req)
}

// abandon ends a call that Meta took under an ID that the table cannot hold for it.
func (n *Node) abandon(e *entry, err error) error {
	e.call.End(call.ReasonShutdown, err)
	n.table.abandon(e)
	n.tasks.Go(func() {
		n.guarded(func() { n.metrics.started(e.call) })
		n.guarded(func() { _ = e.call.Run() })
		n.guarded(func() { n.metrics.audio.ended(e.call) })
		n.guarded(func() { n.endTrace(e) })
		e.slot.Release()
		n.table.forget(e)
	})
	return &setupError{end: err}
}

// answerMargin is kept of a request's time on the bus for the answer's way back, if the request does not say how much.
const answerMargin = 500 * time.Millisecond

// answerBy is when a request has to be answered; zero if nobody says.
func answerBy(ctx context.Context, req interface{ GetAnswerBy() *timestamppb.Timestamp }) time.Time {
	if req != nil && req.GetAnswerBy() != nil {
		return ours(req.GetAnswerBy().AsTime())
	}
	if expiry, ok := ctx.Deadline(); ok {
		return expiry.Add(-answerMargin)
	}
	return time.Time{}
}

// until returns a context that ends when the request has to be answered, which is before the requester stops listening.
func until(ctx context.Context, req interface{ GetAnswerBy() *timestamppb.Timestamp }) (context.Context, context.CancelFunc) {
	by := answerBy(ctx, req)
	ctx = context.WithoutCancel(ctx)
	if by.IsZero() {
		return context.WithCancel(ctx)
	}
	return context.WithDeadlineCause(ctx, by, errAnswerBy)
}

// errAnswerBy is the cause of a context whose requester has to be answered now.
var errAnswerBy = errors.New("node: time to answer the request")

// ours is a moment that came in a message, by this process's monotonic clock: what is reckoned from it stays right when the
// machine's clock is set.
func ours(at time.Time) time.Time {
	if at.IsZero() {
		return at
	}
	return time.Now().Add(time.Until(at))
}

// timeOf is zero for a time that a message does not hold; AsTime makes 1970 of it.
func timeOf(t *timestamppb.Timestamp) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.AsTime()
}
