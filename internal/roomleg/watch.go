package roomleg

import (
	"maps"
	"time"

	"github.com/livekit/protocol/livekit"
	lksdk "github.com/livekit/server-sdk-go/v2"
	"github.com/pion/webrtc/v4"

	"github.com/livekit-connector/livekit-connector/internal/panics"
)

// resubscribeDelay: after a resume the SDK tells of the reconnect before it has sent the server its old state, in which
// it calls our tracks unsubscribed. So we ask for them once more.
const resubscribeDelay = time.Second

// callbacks lets the SDK wake the leg. Some run under the SDK's locks and some after Leave; none of them calls the room.
// Those that do more than that are guarded.
func (l *Leg) callbacks() *lksdk.RoomCallback {
	cb := lksdk.NewRoomCallback()
	cb.OnParticipantConnected = func(*lksdk.RemoteParticipant) { l.changed() }
	cb.OnParticipantDisconnected = func(*lksdk.RemoteParticipant) { l.changed() }
	cb.OnActiveSpeakersChanged = func([]lksdk.Participant) { l.changed() }
	cb.OnTrackPublished = func(*lksdk.RemoteTrackPublication, *lksdk.RemoteParticipant) { l.changed() }
	cb.OnTrackUnpublished = func(*lksdk.RemoteTrackPublication, *lksdk.RemoteParticipant) { l.changed() }
	cb.OnTrackMuted = func(lksdk.TrackPublication, lksdk.Participant) { l.changed() }
	cb.OnTrackUnmuted = func(lksdk.TrackPublication, lksdk.Participant) { l.changed() }
	cb.OnTrackSubscribed = func(t *webrtc.TrackRemote, pub *lksdk.RemoteTrackPublication, _ *lksdk.RemoteParticipant) {
		l.listen(t, pub)
	}
	cb.OnTrackUnsubscribed = func(t *webrtc.TrackRemote, _ *lksdk.RemoteTrackPublication, _ *lksdk.RemoteParticipant) {
		l.unlisten(t)
	}
	cb.OnLocalTrackSubscribed = func(*lksdk.LocalTrackPublication, *lksdk.LocalParticipant) {
		defer l.guard(panics.Call)
		l.voice.subscribed(time.Now())
	}
	cb.OnLocalTrackUnpublished = func(*lksdk.LocalTrackPublication, *lksdk.LocalParticipant) {
		defer l.guard(panics.Call)
		l.voice.holdAgain(time.Now()) // the SDK publishes it again on a new connection
	}
	cb.OnDataPacket = l.onData
	cb.OnReconnecting = func() {
		l.reconnecting.Store(true)
		l.changed()
	}
	cb.OnReconnected = func() {
		l.reconnected.Store(true)
		l.reconnecting.Store(false)
		select {
		case l.online <- struct{}{}:
		default:
		}
		l.changed()
	}
	cb.OnDisconnected = func() {
		defer l.guard(panics.Call)
		l.finish(disconnectError(l.room.DisconnectReason()))
		l.dismissal.Do(func() { close(l.dismissed) })
		l.awaitHangUp()
	}
	return cb
}

// changed wakes watch, unless it is about to wake up anyway.
func (l *Leg) changed() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// watch keeps the leg in step with the room until the leg is done.
func (l *Leg) watch() {
	defer l.guard(panics.Call)
	defer l.unlistenAll()
	asked := make(map[string]bool) // track SIDs that were subscribed or refused since the last reconnect
	lost := newStoppedTimer()
	defer lost.Stop()
	again := newStoppedTimer()
	defer again.Stop()
	offline := false
	for {
		l.observe(asked)
		select {
		case <-l.done:
			return
		case <-lost.C:
			l.finish(disconnectError(livekit.DisconnectReason_SIGNAL_CLOSE))
			return
		case <-again.C:
			clear(asked)
		case <-l.wake:
			if l.reconnected.Swap(false) {
				l.log.Info("room connection is back")
				clear(asked)
				again.Reset(resubscribeDelay)
				l.repeatAttributes()
			}
			if now := l.reconnecting.Load(); now != offline {
				offline = now
				lost.Stop()
				if offline {
					l.log.Warn("room connection lost, reconnecting")
					lost.Reset(l.opts.ReconnectTimeout)
				}
			}
		}
	}
}

func newStoppedTimer() *time.Timer {
	t := time.NewTimer(time.Hour)
	t.Stop()
	return t
}

// observe compares the room with what the leg does about it.
func (l *Leg) observe(asked map[string]bool) {
	others := l.room.GetRemoteParticipants()
	l.voice.listeners.Store(int32(len(others)))
	present := make(map[string]bool)
	company := false
	for _, other := range others {
		company = company || canTalk(other)
		if kind := other.Kind(); kind == lksdk.ParticipantSIP || kind == lksdk.ParticipantConnector {
			l.setReady()
		}
		for _, p := range other.TrackPublications() {
			pub, ok := p.(*lksdk.RemoteTrackPublication)
			if !ok || pub.Kind() != lksdk.TrackKindAudio {
				continue
			}
			l.setReady()
			present[pub.SID()] = true
			l.subscribe(pub, asked)
			l.tellSource(pub, other.IsSpeaking())
		}
	}
	l.look(others)             // before anybody hears that something changed
	if l.reconnecting.Load() { // a room that is being joined anew looks empty
		l.company.lose()
	} else {
		l.company.set(company)
	}
	if l.opts.Line != nil {
		l.tellUnheard(present)
	}
}

func (l *Leg) setReady() {
	select {
	case <-l.ready:
	default:
		close(l.ready) // watch is the only one to do so
	}
}

// subscribe asks the server for a track, once.
func (l *Leg) subscribe(pub *lksdk.RemoteTrackPublication, asked map[string]bool) {
	sid := pub.SID()
	if l.opts.Line == nil || asked[sid] {
		return
	}
	if l.note(pub) != RefusedNot {
		return
	}
	asked[sid] = true
	if err := pub.SetSubscribed(true); err != nil {
		delete(asked, sid) // no connection; the reconnect asks again
	}
}

// tellSource hands on what the room knows about a track that is heard.
func (l *Leg) tellSource(pub *lksdk.RemoteTrackPublication, speaking bool) {
	l.mu.Lock()
	h := l.listeners[pub.SID()]
	l.mu.Unlock()
	if h == nil {
		return
	}
	h.source.SetMuted(pub.IsMuted())
	h.source.SetSpeaking(speaking)
}

// repeatAttributes brings a server that lost its memory up to date.
func (l *Leg) repeatAttributes() {
	l.mu.Lock()
	attributes := maps.Clone(l.attributes)
	l.mu.Unlock()
	if len(attributes) > 0 {
		l.room.LocalParticipant.SetAttributes(attributes)
	}
}
