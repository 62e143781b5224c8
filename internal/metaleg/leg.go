package metaleg

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"

	"github.com/livekit-connector/livekit-connector/internal/clock"
	"github.com/livekit-connector/livekit-connector/internal/panics"
	"github.com/livekit-connector/livekit-connector/internal/reports"
	"github.com/livekit-connector/livekit-connector/media"
)

const (
	// settled is how long gathering has to be quiet before we stop waiting for
	// more local candidates while a STUN or TURN server is asked. Host candidates
	// follow each other within microseconds.
	settled = 10 * time.Millisecond
	// gatherLimit bounds gathering as soon as there is a candidate, or a server
	// that may never answer. Without a candidate in our SDP the call works too, if
	// only there is a socket: Meta learns our address from our checks.
	gatherLimit = 100 * time.Millisecond
)

// Leg is the connection of one call to Meta. The one who made it closes it.
//
// WriteRTP must not be called by two goroutines at once. Everything else is safe
// for concurrent use.
type Leg struct {
	panics  *panics.Counter
	log     *legLog
	pc      *webrtc.PeerConnection
	ice     *webrtc.ICETransport
	sender  *webrtc.RTPSender
	track   *outgoing
	network *network
	g711    G711
	servers bool // STUN or TURN servers are asked

	gatherLimit time.Duration
	candidate   chan struct{} // holds one: a local candidate came

	connected, firstAudio, done chan struct{}
	endOnce, connectedOnce      sync.Once
	iceUp                       chan struct{} // closed with times.ice

	header   rtp.Header // of the packet being written; owned by WriteRTP's caller
	incoming incoming   // owned by Pion's goroutine that decrypts RTP
	open     atomic.Bool
	sink     atomic.Pointer[sink]
	keys     atomic.Pointer[keySink]
	// payloadTypes holds what Meta sends: audio in the low byte, events above it.
	payloadTypes atomic.Uint32
	path         atomic.Pointer[Path]

	times     times
	counters  counters
	sent      reports.Sent
	reception reports.Received
	feedback  reports.Feedback

	wg sync.WaitGroup // goroutines of this leg; Add only under mu

	mu        sync.Mutex // guards what follows
	closed    bool
	reporting *time.Timer // for the next report
	err       error
	mid       string // of our offer
	answer    string // what SetAnswer applied
}

// sink makes an interface fit an atomic pointer.
type sink struct{ media.Writer }

// newLeg makes a leg for the given audio codecs that gives up on a dead path after
// patience.
func (s *Stack) newLeg(patience time.Duration, own []media.Codec) (*Leg, error) {
	host, err := newNetwork(s.host)
	if err != nil {
		return nil, err
	}
	l := &Leg{
		log: newLegLog(s.log), panics: s.config.Panics, network: host, g711: s.config.G711, track: newOutgoing(), servers: len(s.servers) > 0,
		gatherLimit: s.gatherLimit,
		candidate:   make(chan struct{}, 1),
		connected:   make(chan struct{}),
		firstAudio:  make(chan struct{}),
		done:        make(chan struct{}),
		iceUp:       make(chan struct{}),
	}
	l.times.Watch = clock.Start()
	pc, err := s.newPeerConnection(host, patience, own, l.newInlet, l.log)
	if err != nil {
		return nil, err
	}
	l.pc = pc
	l.times.mark(&l.times.created)
	l.payloadTypes.Store(opusPayloadType | eventPayloadType<<8) // until expect knows better
	pc.OnConnectionStateChange(l.onState)
	pc.OnICECandidate(func(c *webrtc.ICECandidate) {
		if c != nil {
			select {
			case l.candidate <- struct{}{}:
			default:
			}
		}
	})
	pc.OnTrack(func(*webrtc.TrackRemote, *webrtc.RTPReceiver) {}) // its packets come by the inlet
	l.sender, err = pc.AddTrack(l.track)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("add track: %w", err), pc.GracefulClose())
	}
	l.ice = l.sender.Transport().ICETransport()
	l.ice.OnSelectedCandidatePairChange(l.onPair)
	return l, nil
}

// spawn runs f in a goroutine that Close waits for, unless the leg is closed. A panic
// in f ends the leg.
func (l *Leg) spawn(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.closed {
		l.wg.Go(func() {
			defer l.guard()
			f()
		})
	}
}

func (l *Leg) answerOffer(ctx context.Context, offer string, remote *remoteSDP) (string, error) {
	l.expect(remote)
	if err := l.applyRemote(webrtc.SDPTypeOffer, offer); err != nil {
		return "", err
	}
	d, err := l.pc.CreateAnswer(nil)
	if err != nil {
		return "", fmt.Errorf("create answer: %w", err)
	}
	answer, err := l.describe(ctx, d)
	if err != nil {
		return "", err
	}
	l.spawn(l.hurry)
	return answer, nil
}

func (l *Leg) offer(ctx context.Context) (string, error) {
	d, err := l.pc.CreateOffer(nil)
	if err != nil {
		return "", fmt.Errorf("create offer: %w", err)
	}
	offer, err := l.describe(ctx, d)
	if err != nil {
		return "", err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mid = l.pc.GetTransceivers()[0].Mid()
	return offer, nil
}

// describe applies our description, waits until the host's addresses are known,
// and returns the form of it that Meta gets.
func (l *Leg) describe(ctx context.Context, d webrtc.SessionDescription) (string, error) {
	gathered := webrtc.GatheringCompletePromise(l.pc)
	if err := l.pc.SetLocalDescription(d); err != nil {
		return "", fmt.Errorf("apply own description: %w", err)
	}
	if err := l.gather(ctx, gathered); err != nil {
		return "", err
	}
	text, err := localSDP(l.pc.LocalDescription().SDP)
	if err != nil {
		return "", err
	}
	l.times.mark(&l.times.described)
	return text, nil
}

// gather waits for the local candidates of the host, and not for those that
// servers yield: these are checked when they come, and need not be in our SDP.
func (l *Leg) gather(ctx context.Context, gathered <-chan struct{}) error {
	limit := time.NewTimer(l.gatherLimit)
	defer limit.Stop()
	var quiet <-chan time.Time
	some := false
	for {
		select {
		case <-l.candidate:
			some = true
			if l.servers {
				quiet = time.After(settled)
			}
		case <-quiet:
			return nil
		case <-gathered:
			if !some && len(l.candidate) == 0 {
				return ErrNoAddress
			}
			return nil
		case <-limit.C:
			if some || l.servers {
				return nil
			}
			// A busy machine; without servers gathering ends by itself.
		case <-ctx.Done():
			return fmt.Errorf("gather candidates: %w", context.Cause(ctx))
		}
	}
}

// SetAnswer applies Meta's answer to our offer; the leg connects from then on.
// The same answer may come again, another one is ErrAnswered.
func (l *Leg) SetAnswer(text string) error {
	remote, err := parseRemote(text, l.g711.accept)
	if err != nil {
		return err
	}
	l.mu.Lock()
	known, first, mid := l.answer, l.answer == "", l.mid
	if first && mid != "" && mid == remote.mid {
		l.answer = text
	}
	l.mu.Unlock()
	switch {
	case mid == "":
		return errors.New("apply answer: the leg made no offer")
	case mid != remote.mid:
		return sdpErrorf("the answer's mid is not the offer's")
	case !first && known == text:
		return nil
	case !first:
		return ErrAnswered
	}
	l.expect(remote)
	if err := l.applyRemote(webrtc.SDPTypeAnswer, text); err != nil {
		l.mu.Lock()
		l.answer = "" // the same text is no repetition of an answer that was applied
		l.mu.Unlock()
		return err
	}
	l.times.mark(&l.times.answered)
	l.spawn(l.hurry)
	return nil
}

// expect notes the codec of the call and the payload types of what Meta will send.
func (l *Leg) expect(r *remoteSDP) {
	l.track.codec.Store(uint32(r.audio.codec))
	types := uint32(r.audio.typ)
	if r.hasEvent {
		l.track.event.Store(uint32(r.event))
		types |= uint32(r.event) << 8
	} else {
		types |= eventPayloadType << 8 // Meta sends them as 126 even if we did not ask
	}
	l.payloadTypes.Store(types)
}

// applyRemote gives Meta's description to Pion. Pion's errors may quote it, so
// they stay inside.
func (l *Leg) applyRemote(typ webrtc.SDPType, text string) error {
	if err := l.pc.SetRemoteDescription(webrtc.SessionDescription{Type: typ, SDP: text}); err != nil {
		return sdpErrorf("the WebRTC stack does not take it (%T)", err)
	}
	return nil
}

// onPair notes the chosen path. Pion calls it before it starts DTLS.
func (l *Leg) onPair(pair *webrtc.ICECandidatePair) {
	defer l.guard()
	l.path.Store(&Path{
		LocalType: pair.Local.Typ.String(), RemoteType: pair.Remote.Typ.String(),
		LocalAddr: address(pair.Local), RemoteAddr: address(pair.Remote),
	})
	if l.times.mark(&l.times.ice) {
		close(l.iceUp)
	}
}

// onState follows the peer connection. Pion runs it in goroutines of its own, so
// states may come out of order; only final ones and the first connection count.
func (l *Leg) onState(state webrtc.PeerConnectionState) {
	defer l.guard()
	l.log.leg().Debug("meta leg changed state", "state", state.String())
	switch state {
	case webrtc.PeerConnectionStateConnected:
		l.connectedOnce.Do(func() {
			l.times.mark(&l.times.connected)
			l.startReports()
			close(l.connected)
		})
	case webrtc.PeerConnectionStateFailed:
		if l.ice.State() == webrtc.ICETransportStateFailed {
			l.end(ErrUnreachable)
		} else {
			l.end(ErrHandshake)
		}
	case webrtc.PeerConnectionStateClosed:
		if !l.times.connected.IsSet() { // a fatal alert closes too
			l.end(ErrHandshake)
		} else {
			l.end(ErrClosedByMeta)
		}
	case webrtc.PeerConnectionStateUnknown, webrtc.PeerConnectionStateNew,
		webrtc.PeerConnectionStateConnecting, webrtc.PeerConnectionStateDisconnected:
	}
}

// end notes why the leg is over; the first reason counts.
func (l *Leg) end(err error) {
	l.endOnce.Do(func() {
		l.mu.Lock()
		l.err = err
		l.mu.Unlock()
		close(l.done)
	})
}

// Codec is what both sides send. Before SetAnswer an outbound leg says Opus, which
// need not be what Meta then answers with.
func (l *Leg) Codec() media.Codec { return media.Codec(l.track.codec.Load()) }

// Connected is closed once ICE and DTLS are up.
func (l *Leg) Connected() <-chan struct{} { return l.connected }

// FirstAudio is closed when the first audio packet came from Meta.
func (l *Leg) FirstAudio() <-chan struct{} { return l.firstAudio }

// Done is closed when the connection is over, whoever ended it.
func (l *Leg) Done() <-chan struct{} { return l.done }

// Err is why the leg is over, after Done: ErrUnreachable, ErrHandshake,
// ErrClosedByMeta, a *panics.Error after a mistake of the program, or nil if Close
// ended it.
func (l *Leg) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// Path is the candidate pair in use; ok is false before ICE chose one.
func (l *Leg) Path() (p Path, ok bool) {
	if path := l.path.Load(); path != nil {
		return *path, true
	}
	return Path{}, false
}

// SetSink says where audio from Meta goes, from the next packet on; nil drops it.
// The sink is called by one goroutine and must not block.
func (l *Leg) SetSink(w media.Writer) {
	if w == nil {
		l.sink.Store(nil)
		return
	}
	l.sink.Store(&sink{w})
}

// Open lets packets out to Meta. Call it when Meta took our accept, or when the
// user picked up. Idempotent.
func (l *Leg) Open() {
	l.times.mark(&l.times.opened)
	if l.open.CompareAndSwap(false, true) {
		l.reportSoon() // we are a sender now, and Meta's answer tells the round trip
	}
}

// Close ends the leg with close_notify, frees its sockets and waits for all that
// it started, for closeLimit at most. It must not be called by the sink. Idempotent.
func (l *Leg) Close() error {
	l.end(nil)
	l.open.Store(false)
	l.mu.Lock()
	l.closed = true
	l.stopReportsLocked()
	l.mu.Unlock()
	err := closeBounded(func() (err error) {
		defer l.panics.Recover(panics.Call, l.log.leg(), func() { err = &panics.Error{Place: panics.Call} })
		err = l.pc.GracefulClose()
		l.wg.Wait()
		return err
	})
	if err != nil {
		return fmt.Errorf("close peer connection: %w", err)
	}
	return nil
}
