package livekittest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/livekit/protocol/auth"
	"github.com/livekit/protocol/livekit"
	lksdk "github.com/livekit/server-sdk-go/v2"
	"github.com/pion/webrtc/v4"
	"google.golang.org/protobuf/proto"

	"github.com/livekit-connector/livekit-connector/internal/roomleg/sdklog"
)

// Bounds for a machine that has other things to do. None of them is waited for in vain, but for settleTimeout.
const (
	joinTimeout    = 10 * time.Second // the SDK goes on for so long with an attempt that is abandoned
	bindTimeout    = 30 * time.Second
	goodbyeTimeout = 10 * time.Second
	closeTimeout   = 30 * time.Second
	settleTimeout  = 2 * time.Second // for a connection that may never come back
)

// ParticipantOptions say who joins which room, and how. Only Room is needed.
type ParticipantOptions struct {
	Room       string
	Identity   string // empty means a random one
	Name       string
	Metadata   string
	Attributes map[string]string
	Kind       livekit.ParticipantInfo_Kind
	// Deaf participants subscribe to no track. They still see the tracks.
	Deaf bool
	// Codecs are the MIME types that the participant negotiates, the one that it publishes in first. Empty means the
	// SDK's, Opus first.
	Codecs []string
	// Token overrides all fields above but Room and Deaf, as an agent's job token does.
	Token string
	// Logger receives the SDK's log. Nil discards it.
	Logger *slog.Logger
}

// Participant is a client in a room. Its methods may be called from any goroutine.
type Participant struct {
	room    *lksdk.Room
	name    string // of the room
	events  *journal[Event]
	hearing sync.WaitGroup // one per subscribed track
	// abandoned are the attempts to join before this one, which the SDK ends only after its connect timeout.
	abandoned []<-chan struct{}

	mu         sync.Mutex
	recordings map[string]*Recording // by identity
	heard      map[*webrtc.TrackRemote]bool
	published  []<-chan struct{} // one per track of ours, closed when it has a connection
	closed     bool
}

// Join puts a participant into a room of the server. Leave it with Leave.
func (s *Server) Join(ctx context.Context, options ParticipantOptions) (*Participant, error) {
	sdklog.SetGlobal(nil)
	token := options.Token
	if token == "" {
		var err error
		if token, err = s.JoinToken(options); err != nil {
			return nil, err
		}
	}
	var abandoned []<-chan struct{}
	for {
		p, ended, err := s.tryJoin(ctx, options, token)
		if errors.Is(err, errDoomed) && ctx.Err() == nil {
			abandoned = append(abandoned, ended)
			continue
		}
		if err != nil {
			return nil, err
		}
		p.abandoned = abandoned
		return p, nil
	}
}

// errDoomed is returned by tryJoin when it met the SDK's race that sdklog.WatchJoin tells of.
var errDoomed = errors.New("livekittest: connection attempt failed at once")

func (s *Server) tryJoin(ctx context.Context, options ParticipantOptions, token string) (p *Participant, ended <-chan struct{}, err error) {
	p = &Participant{
		name: options.Room, events: newJournal[Event](),
		recordings: make(map[string]*Recording), heard: make(map[*webrtc.TrackRemote]bool),
	}
	p.room = lksdk.NewRoom(p.callbacks())
	log, doomed := sdklog.WatchJoin(options.Logger)
	connected, over := make(chan error, 1), make(chan struct{})
	connection := []lksdk.ConnectOption{
		lksdk.WithAutoSubscribe(!options.Deaf),
		lksdk.WithSinglePeerConnection(),
		lksdk.WithConnectTimeout(joinTimeout),
		lksdk.WithDisableRegionDiscovery(),
		lksdk.WithLogger(log),
	}
	if len(options.Codecs) > 0 {
		codecs := []livekit.Codec{{Mime: webrtc.MimeTypeVP8}} // the SDK asks for a video section and needs a codec for it
		for _, mime := range options.Codecs {
			codecs = append(codecs, livekit.Codec{Mime: mime})
		}
		connection = append(connection, lksdk.WithCodecs(codecs))
	}
	go func() {
		defer close(over)
		connected <- p.room.JoinWithContextAndToken(ctx, s.URL(), token, connection...)
	}()
	select {
	case <-doomed:
		p.room.Disconnect()
		return nil, over, errDoomed
	case err = <-connected:
		if err != nil {
			return nil, over, fmt.Errorf("join room: %w", sdklog.Error(err))
		}
	}
	for _, other := range p.room.GetRemoteParticipants() {
		p.events.append(Event{Type: EventJoined, Time: time.Now(), Identity: other.Identity(), Attributes: other.Attributes()})
	}
	return p, over, nil
}

// JoinToken signs the token that Join joins with, for clients in other processes. Deaf, Codecs and Logger are not in it.
func (s *Server) JoinToken(options ParticipantOptions) (string, error) {
	identity := options.Identity
	if identity == "" {
		identity = "participant-" + rand.Text()[:8]
	}
	yes := true
	token, err := auth.NewAccessToken(s.apiKey, s.apiSecret).
		SetVideoGrant(&auth.VideoGrant{
			RoomJoin: true, Room: options.Room, CanUpdateOwnMetadata: &yes,
			Agent: options.Kind == livekit.ParticipantInfo_AGENT,
		}).
		SetIdentity(identity).SetName(options.Name).SetMetadata(options.Metadata).
		SetAttributes(options.Attributes).SetKind(options.Kind).SetValidFor(apiTokenValidity).ToJWT()
	if err != nil {
		return "", fmt.Errorf("sign join token: %w", err)
	}
	return token, nil
}

// Identity returns the participant's identity.
func (p *Participant) Identity() string { return p.room.LocalParticipant.Identity() }

// SID returns the participant's session ID, which changes when the SDK had to join anew.
func (p *Participant) SID() string { return p.room.LocalParticipant.SID() }

// Room returns the name of the room.
func (p *Participant) Room() string { return p.name }

// SetAttributes changes the given attributes of this participant; an empty value deletes one.
func (p *Participant) SetAttributes(attributes map[string]string) {
	p.room.LocalParticipant.SetAttributes(attributes)
}

// Attributes returns the attributes of another participant as seen from here, nil if it is not there.
func (p *Participant) Attributes(identity string) map[string]string {
	other := p.room.GetParticipantByIdentity(identity)
	if other == nil {
		return nil
	}
	return other.Attributes()
}

// Others returns the identities of the other participants as seen from here.
func (p *Participant) Others() []string {
	var identities []string
	for _, other := range p.room.GetRemoteParticipants() {
		identities = append(identities, other.Identity())
	}
	return identities
}

// SendData sends a user packet on a topic, reliably, to everybody.
func (p *Participant) SendData(topic string, payload []byte) error {
	return p.room.LocalParticipant.PublishDataPacket(lksdk.UserData(payload),
		lksdk.WithDataPublishReliable(true), lksdk.WithDataPublishTopic(topic))
}

// SendDTMF sends a digit as LiveKit's telephony participants do: to everybody, or to those named.
func (p *Participant) SendDTMF(code uint32, digit string, to ...string) error {
	return p.room.LocalParticipant.PublishDataPacket(&livekit.SipDTMF{Code: code, Digit: digit},
		lksdk.WithDataPublishReliable(true), lksdk.WithDataPublishDestination(to))
}

// sayGoodbye tells the server the reason and waits until it has ended the connection. DisconnectWithReason alone closes the
// media connection right after; a server that sees that first tells the others CONNECTION_TIMEOUT, 15 s later.
func (p *Participant) sayGoodbye(reason livekit.DisconnectReason) {
	field := reflect.ValueOf(p.room).Elem().FieldByName("engine")
	if !field.IsValid() || field.Type() != reflect.TypeFor[*lksdk.RTCEngine]() {
		return
	}
	lost := Is(EventReconnecting, "")
	before := p.Count(lost)
	if p.room.ConnectionState() != lksdk.ConnectionStateConnected ||
		(*lksdk.RTCEngine)(field.UnsafePointer()).SendLeaveWithReason(reason) != nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), goodbyeTimeout)
	defer cancel()
	_, _ = p.Wait(ctx, func(e Event) bool { // without an answer, the server hangs
		if lost(e) {
			before--
		}
		return e.Type == EventDisconnected || before < 0
	})
}

// Leave ends the participant with CLIENT_INITIATED and waits until its connection is closed. It is idempotent.
func (p *Participant) Leave() error {
	return p.LeaveWithReason(livekit.DisconnectReason_CLIENT_INITIATED)
}

// LeaveWithReason is Leave with another reason.
func (p *Participant) LeaveWithReason(reason livekit.DisconnectReason) error {
	p.mu.Lock()
	closed := p.closed
	p.closed = true
	p.mu.Unlock()
	if closed {
		return nil
	}
	p.settle()
	p.awaitBound()
	pc := p.room.LocalParticipant.GetPublisherPeerConnection()
	p.sayGoodbye(reason)
	p.room.DisconnectWithReason(reason)
	p.hearNoMore()
	p.hearing.Wait()
	for _, ended := range p.abandoned {
		<-ended // tests count goroutines
	}
	timer := time.NewTimer(closeTimeout)
	defer timer.Stop()
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for pc != nil && pc.ICEConnectionState() != webrtc.ICEConnectionStateClosed {
		select {
		case <-tick.C:
		case <-timer.C:
			return errors.New("livekittest: participant did not close in time")
		}
	}
	return nil
}

// settle waits a little while the SDK reconnects: leaving then would keep it waiting for a connection that never comes.
func (p *Participant) settle() {
	timer := time.NewTimer(settleTimeout)
	defer timer.Stop()
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for p.room.ConnectionState() == lksdk.ConnectionStateReconnecting {
		select {
		case <-tick.C:
		case <-timer.C:
			return
		}
	}
}

// awaitBound waits for the end of the negotiations that Publish began. Leaving in the middle of one leaks a goroutine of
// Pion's: RTPSender.Send then comes after RTPSender.Stop, and nobody closes the stream that it opens.
func (p *Participant) awaitBound() {
	p.mu.Lock()
	published := p.published
	p.mu.Unlock()
	for _, bound := range published {
		if !p.await(bound, lksdk.ConnectionStateConnected) {
			return
		}
	}
}

// await waits until a track has a connection, as long as the room's is in one of these states. It reports whether it has.
func (p *Participant) await(bound <-chan struct{}, while ...lksdk.ConnectionState) bool {
	timer := time.NewTimer(bindTimeout)
	defer timer.Stop()
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for slices.Contains(while, p.room.ConnectionState()) {
		select {
		case <-bound:
			return true
		case <-tick.C:
		case <-timer.C:
			return false
		}
	}
	return false
}

func (p *Participant) callbacks() *lksdk.RoomCallback {
	report := func(e Event) {
		e.Time = time.Now()
		p.events.append(e)
	}
	track := func(t EventType, pub lksdk.TrackPublication, identity string) {
		report(Event{Type: t, Identity: identity, TrackSID: pub.SID(), TrackName: pub.Name(), Source: pub.Source()})
	}
	cb := lksdk.NewRoomCallback()
	cb.OnParticipantConnected = func(rp *lksdk.RemoteParticipant) {
		report(Event{Type: EventJoined, Identity: rp.Identity(), Attributes: rp.Attributes()})
	}
	cb.OnParticipantDisconnected = func(rp *lksdk.RemoteParticipant) {
		report(Event{Type: EventLeft, Identity: rp.Identity(), Reason: rp.DisconnectReason()})
	}
	cb.OnTrackPublished = func(pub *lksdk.RemoteTrackPublication, rp *lksdk.RemoteParticipant) {
		track(EventTrackPublished, pub, rp.Identity())
	}
	cb.OnTrackUnpublished = func(pub *lksdk.RemoteTrackPublication, rp *lksdk.RemoteParticipant) {
		track(EventTrackUnpublished, pub, rp.Identity())
	}
	cb.OnTrackSubscribed = func(t *webrtc.TrackRemote, pub *lksdk.RemoteTrackPublication, rp *lksdk.RemoteParticipant) {
		p.hear(t, rp.Identity(), pub.SID())
		track(EventTrackSubscribed, pub, rp.Identity())
	}
	cb.OnTrackUnsubscribed = func(t *webrtc.TrackRemote, pub *lksdk.RemoteTrackPublication, rp *lksdk.RemoteParticipant) {
		_ = t.SetReadDeadline(time.Unix(1, 0)) // ends the recording's reader
		track(EventTrackUnsubscribed, pub, rp.Identity())
	}
	cb.OnTrackMuted = func(pub lksdk.TrackPublication, who lksdk.Participant) {
		track(EventTrackMuted, pub, who.Identity())
	}
	cb.OnTrackUnmuted = func(pub lksdk.TrackPublication, who lksdk.Participant) {
		track(EventTrackUnmuted, pub, who.Identity())
	}
	cb.OnLocalTrackSubscribed = func(pub *lksdk.LocalTrackPublication, _ *lksdk.LocalParticipant) {
		track(EventHeard, pub, "")
	}
	cb.OnAttributesChanged = func(changed map[string]string, who lksdk.Participant) {
		report(Event{Type: EventAttributes, Identity: who.Identity(), Attributes: changed})
	}
	cb.OnIsSpeakingChanged = func(who lksdk.Participant) {
		report(Event{Type: EventSpeaking, Identity: who.Identity(), Speaking: who.IsSpeaking()})
	}
	p.connectionCallbacks(cb, report)
	return cb
}

func (p *Participant) connectionCallbacks(cb *lksdk.RoomCallback, report func(Event)) {
	cb.OnDataPacket = func(packet lksdk.DataPacket, params lksdk.DataReceiveParams) {
		report(Event{Type: EventData, Identity: params.SenderIdentity, Data: packetData(packet)})
	}
	cb.OnReconnecting = func() { report(Event{Type: EventReconnecting}) }
	cb.OnReconnected = func() { report(Event{Type: EventReconnected}) }
	cb.OnDisconnected = func() { report(Event{Type: EventDisconnected, Reason: p.room.DisconnectReason()}) }
}

// packetData returns the message inside a data packet of the SDK.
func packetData(packet lksdk.DataPacket) any {
	switch value := packet.ToProto().Value.(type) {
	case *livekit.DataPacket_User:
		return proto.Clone(value.User)
	case *livekit.DataPacket_SipDtmf:
		return proto.Clone(value.SipDtmf)
	default:
		return value
	}
}
