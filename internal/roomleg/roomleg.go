// Package roomleg is the participant in the LiveKit room: the WhatsApp user as agents and humans in the room see it.
//
// [Join] makes the participant visible, sends for the agents and starts to listen; it has no track yet. [Leg.Publish]
// adds the microphone track, which agents take as "answered". What the phone says goes in by [Leg.WriteRTP], what the
// room says goes to Options.Line, one media.Source per subscribed track. [Leg.Leave] ends it.
//
// The room's state is not tracked by its events: LiveKit's SDK calls back under locks, in goroutines of nobody's, and not
// at all for some changes after a reconnect. So every callback only wakes the leg's one goroutine, which compares what
// the room holds with what the leg does about it (see watch). Whatever is missed once is repaired by the next event.
//
// Goroutines of a leg: watch, and one reader for each track it hears. Leave waits for them. The SDK's own, about 29, are
// gone when Leave returns or a moment later; only if the leg leaves while the SDK tries to reconnect do some of them live
// on until that attempt has failed, which cannot be cancelled.
package roomleg

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/livekit/protocol/connector"
	"github.com/livekit/protocol/livekit"
	"github.com/livekit/protocol/logger"
	lksdk "github.com/livekit/server-sdk-go/v2"
	"github.com/pion/interceptor"
	"github.com/pion/webrtc/v4"

	"github.com/livekit-connector/livekit-connector/internal/panics"
	"github.com/livekit-connector/livekit-connector/internal/roomleg/sdklog"
	"github.com/livekit-connector/livekit-connector/media"
)

const (
	defaultConnectTimeout   = 5 * time.Second
	defaultReconnectTimeout = 30 * time.Second // as long as a call may stand still on its other leg
	leaveTimeout            = 5 * time.Second
	joinTries               = 5 // for what is seen in one of 200 attempts
)

// Options say who joins which room. URL, APIKey, APISecret, Room and Identity are required.
type Options struct {
	// URL is LiveKit's, with scheme ws, wss, http or https.
	URL               string
	APIKey, APISecret string

	Room     string
	Identity string
	Name     string
	Metadata string
	// Attributes are the participant's first ones. Later ones come by SetAttributes.
	Attributes map[string]string
	// Agents are dispatched once each, whether the room exists already or not.
	Agents []*livekit.RoomAgentDispatch
	// RoomConfig is for the room if the join creates it; an existing room stays as it is. Its name and agents do not
	// count. May be nil.
	RoomConfig *livekit.RoomConfiguration
	// Kind is the connector that the participant stands for, its kind detail. The zero value is WhatsApp.
	Kind connector.Kind

	// Line receives what the room says. The leg closes the sources that it adds, not the line. Nil means the leg
	// subscribes to nothing.
	Line *media.Line

	// OnRefused hears of every track that is not heard, once. It must not block and may be nil.
	OnRefused func(Refusal)

	// ConnectTimeout bounds one attempt to connect. Zero means 5 s.
	ConnectTimeout time.Duration
	// ReconnectTimeout is how long the leg may be without LiveKit before it is over. Zero means 30 s.
	ReconnectTimeout time.Duration
	// HTTPClient calls LiveKit's API for agents. Nil means http.DefaultClient.
	HTTPClient *http.Client
	// Panics counts mistakes that ended a leg; may be nil.
	Panics *panics.Counter
	// Logger receives the leg's log. Nil discards it.
	Logger *slog.Logger
}

// Leg is a participant in a room. Its methods may be called from any goroutine, WriteRTP from one at a time.
type Leg struct {
	// Constant after Join.
	opts    Options
	log     *slog.Logger
	room    *lksdk.Room
	voice   *voice
	taps    *taps
	network *network
	joined  time.Time
	limits  limits

	company company
	unheard unheard // owned by watch
	counts  counts
	seen    seen

	ready, done chan struct{}
	wake        chan struct{} // holds one: something in the room changed
	online      chan struct{} // holds one: the connection is back
	dismissed   chan struct{} // closed when the server has ended the participant
	tasks       sync.WaitGroup

	// Set by the SDK's callbacks, read by watch.
	reconnecting atomic.Bool
	reconnected  atomic.Bool
	dismissal    sync.Once
	keyEar       atomic.Pointer[keyEar]

	publishing sync.Mutex // held during Publish
	leaving    sync.Once
	leaveErr   error // written inside leaving

	mu         sync.Mutex // guards what follows; held for nothing that blocks
	attributes map[string]string
	listeners  map[string]*listener // by track SID
	closing    bool                 // no new goroutines
	keys       []keyPress           // for the room, oldest first
	keying     bool                 // sendKeys runs
	finished   bool                 // done is closed
	ended      time.Time            // when it was closed
	heardAtEnd map[string]uint64    // packets by track SID, when it was closed

	dropped map[string]lastHeard // by track SID: those that were listeners
	err     error                // why, nil if we left
}

// limits bound what Leave waits for: the end of a negotiation, the server's answer, and all of it.
type limits struct{ negotiation, goodbye, leave time.Duration }

// Join makes the participant and waits until it is connected and its agents are sent for. If ctx ends first Join returns
// at once, and a connection that comes about all the same is taken down behind it.
func Join(ctx context.Context, opts Options) (*Leg, error) {
	if err := opts.complete(); err != nil {
		return nil, err
	}
	sdklog.SetGlobal(nil)
	api := newServices(opts.URL, opts.APIKey, opts.APISecret, opts.HTTPClient)
	plan, err := api.planAgents(ctx, opts.Room, opts.Agents)
	if err != nil {
		return nil, err
	}
	var l *Leg
	for try := 1; ; try++ {
		if l, err = newLeg(opts); err != nil {
			return nil, err
		}
		if err = l.connect(ctx, plan.token); err == nil {
			break
		}
		if !errors.Is(err, errDoomed) || try == joinTries {
			return nil, err
		}
	}
	l.joined = time.Now()
	l.tasks.Go(l.watch)
	if err = api.dispatchAgents(ctx, opts.Room, plan); err != nil {
		return nil, errors.Join(err, l.Leave(livekit.DisconnectReason_CLIENT_INITIATED))
	}
	return l, nil
}

// newLeg makes a leg that is in no room yet.
func newLeg(opts Options) (*Leg, error) {
	track, err := lksdk.NewLocalTrack(webrtc.RTPCodecCapability{
		MimeType: webrtc.MimeTypeOpus, ClockRate: media.ClockRate, Channels: 2, SDPFmtpLine: "minptime=10;useinbandfec=1",
	})
	if err != nil {
		return nil, fmt.Errorf("make microphone track: %w", err)
	}
	l := &Leg{
		opts: opts, log: opts.Logger, voice: newVoice(track), taps: newTaps(), network: newNetwork(),
		ready: make(chan struct{}), done: make(chan struct{}),
		wake: make(chan struct{}, 1), online: make(chan struct{}, 1), dismissed: make(chan struct{}),
		attributes: make(map[string]string), listeners: make(map[string]*listener), dropped: make(map[string]lastHeard),
		unheard: unheard{reasons: make(map[string]Refusal)},
		company: company{changed: make(chan struct{})},
		limits:  limits{negotiation: negotiationLimit, goodbye: goodbyeTimeout, leave: leaveTimeout},
	}
	maps.Copy(l.attributes, opts.Attributes)
	l.taps.broken = l.brokenAudio
	l.room = lksdk.NewRoom(l.callbacks())
	track.OnBind(l.trackBound)
	return l, nil
}

func (o *Options) complete() error {
	for _, required := range []struct{ name, value string }{
		{"URL", o.URL}, {"API key", o.APIKey}, {"API secret", o.APISecret}, {"room", o.Room}, {"identity", o.Identity},
	} {
		if required.value == "" {
			return fmt.Errorf("join room: no %s given", required.name)
		}
	}
	if o.ConnectTimeout <= 0 {
		o.ConnectTimeout = defaultConnectTimeout
	}
	if o.ReconnectTimeout <= 0 {
		o.ReconnectTimeout = defaultReconnectTimeout
	}
	if o.HTTPClient == nil {
		o.HTTPClient = http.DefaultClient
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return nil
}

// connect joins by the SDK, which heeds ctx only while it dials; hence the goroutine.
func (l *Leg) connect(ctx context.Context, agents []*livekit.RoomAgentDispatch) error {
	token, err := l.opts.roomToken(agents)
	if err != nil {
		return err
	}
	log, doomed := sdklog.WatchJoin(l.log)
	connected := make(chan error, 1)
	go func() { connected <- l.enter(ctx, token, log) }()
	select {
	case err = <-connected:
		if err != nil {
			l.room.Disconnect() // frees what a failed attempt left behind
			return fmt.Errorf("join room: %w", sdklog.Error(err))
		}
		return nil
	case <-doomed:
		l.room.Disconnect() // the SDK's attempt goes on until its timeout, without a connection
		return fmt.Errorf("join room: %w", errDoomed)
	case <-ctx.Done():
		go func() {
			defer l.guard(panics.Call)
			if lateErr := <-connected; lateErr != nil {
				l.log.Debug("abandoned attempt to join failed", "error", sdklog.Error(lateErr))
			}
			l.room.Disconnect()
		}()
		return fmt.Errorf("join room: %w", context.Cause(ctx))
	}
}

// enter lets the SDK join.
func (l *Leg) enter(ctx context.Context, token string, log logger.Logger) (err error) {
	defer l.guardError(&err)
	return l.room.JoinWithContextAndToken(ctx, l.opts.URL, token,
		lksdk.WithAutoSubscribe(false),
		lksdk.WithSinglePeerConnection(),
		lksdk.WithInterceptors([]interceptor.Factory{l.taps, reporters{network: l.network, broken: l.brokenAudio}}),
		lksdk.WithConnectTimeout(l.opts.ConnectTimeout),
		lksdk.WithDisableRegionDiscovery(),
		lksdk.WithLogger(log),
	)
}

// SID returns the participant's session ID. It changes when the SDK had to join anew.
func (l *Leg) SID() string { return l.room.LocalParticipant.SID() }

// Joined is when Join had the participant in the room.
func (l *Leg) Joined() time.Time { return l.joined }

// Ready is closed once somebody is there whom the caller can talk with: another participant has published audio, or is
// itself a telephone (kind SIP or CONNECTOR), because two telephones would wait for each other for ever.
func (l *Leg) Ready() <-chan struct{} { return l.ready }

// Done is closed when the participant is no longer in the room: the leg left, was thrown out, or lost the connection.
func (l *Leg) Done() <-chan struct{} { return l.done }

// Err returns why Done was closed: nil if we left, a *panics.Error after a mistake of the program, else one of the errors
// of this package. Before, it returns nil.
func (l *Leg) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// SetAttributes adds to or changes the participant's attributes; an empty value deletes one. They are sent again after a
// reconnect, so none is lost on the way.
func (l *Leg) SetAttributes(attributes map[string]string) error {
	l.mu.Lock()
	finished := l.finished
	maps.Copy(l.attributes, attributes)
	l.mu.Unlock()
	if finished {
		return fmt.Errorf("set attributes: %w", ErrNotInRoom)
	}
	l.room.LocalParticipant.SetAttributes(attributes)
	return nil
}

// Leave takes the participant out of the room and waits until all that the leg started has ended, at most 5 s. The
// server hands only CLIENT_INITIATED, USER_UNAVAILABLE, USER_REJECTED and AGENT_ERROR on to others; any other reason
// becomes CLIENT_INITIATED. Leaving again waits for the first and returns what it did.
func (l *Leg) Leave(reason livekit.DisconnectReason) error {
	l.leaving.Do(func() { l.leaveErr = l.leave(reason) })
	return l.leaveErr
}

func (l *Leg) leave(reason livekit.DisconnectReason) error {
	l.voice.shut()
	l.mu.Lock()
	l.closing = true
	l.mu.Unlock()
	l.finish(nil)
	timer := time.NewTimer(l.limits.leave)
	defer timer.Stop()

	connection := l.room.LocalParticipant.GetPublisherPeerConnection()
	connected := l.room.ConnectionState() == lksdk.ConnectionStateConnected
	if connected {
		l.settleNegotiation()
		l.sayGoodbye(reason)
	}
	l.room.DisconnectWithReason(reason)

	ended := make(chan struct{})
	go func() {
		defer close(ended)
		l.tasks.Wait()
	}()
	select {
	case <-ended:
	case <-timer.C:
		return fmt.Errorf("leave room: not ended after %v", l.limits.leave)
	}
	if connected && !awaitClosed(connection, 0, timer.C) {
		return fmt.Errorf("leave room: media connection still open after %v", l.limits.leave)
	}
	return nil
}

// finish closes done, once, and keeps why.
func (l *Leg) finish(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.finished {
		return
	}
	l.finished, l.err, l.ended = true, err, time.Now()
	close(l.done)
	l.heardAtEnd = l.heardAtEndLocked(l.ended)
}
