package roomleg

import (
	"context"
	"fmt"
	"time"

	"github.com/livekit/protocol/livekit"
	lksdk "github.com/livekit/server-sdk-go/v2"

	"github.com/livekit-connector/livekit-connector/internal/panics"
	"github.com/livekit-connector/livekit-connector/internal/roomleg/sdklog"
)

// negotiationLimit is some round trips to a busy server.
const negotiationLimit = 500 * time.Millisecond

// Publish adds the microphone track, which tells agents that the call is answered: they accept audio of source MICROPHONE
// only, and returns when the room has it. What WriteRTP gets from now on is sent. Publishing again does nothing. If ctx
// ends first the track may still appear; leave then.
func (l *Leg) Publish(ctx context.Context) error {
	l.publishing.Lock()
	defer l.publishing.Unlock()
	if g := l.voice.gate.Load(); g == gateHeld || g == gateOpen {
		return nil
	}
	published := make(chan error, 1)
	l.mu.Lock()
	if l.closing || l.finished {
		l.mu.Unlock()
		return fmt.Errorf("publish microphone: %w", ErrNotInRoom)
	}
	l.voice.hold(time.Now()) // before the track is there: what came and comes meanwhile are the first words
	l.tasks.Go(func() { published <- l.publishTrack() })
	l.mu.Unlock()

	var err error
	select {
	case err = <-published:
		err = sdklog.Error(err)
		if err == nil {
			err = l.awaitBound(ctx)
		}
	case <-ctx.Done():
		err = context.Cause(ctx)
	case <-l.done:
		err = ErrNotInRoom
	}
	if err != nil {
		l.voice.shut()
		return fmt.Errorf("publish microphone: %w", err)
	}
	return nil
}

// publishTrack waits up to 10 s, as the SDK does, which heeds no context.
func (l *Leg) publishTrack() (err error) {
	defer l.guardError(&err)
	_, err = l.room.LocalParticipant.PublishTrack(l.voice.track, &lksdk.TrackPublicationOptions{
		Name: l.opts.Identity, Source: livekit.TrackSource_MICROPHONE,
	})
	return err
}

// awaitBound waits for the end of the negotiation that the SDK has begun: leaving in the middle of it meets what trackBound
// mends.
func (l *Leg) awaitBound(ctx context.Context) error {
	select {
	case <-l.voice.bound:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-l.done:
		return ErrNotInRoom
	}
}

// settleNegotiation is awaitBound for a leg that leaves while, or after, Publish was given up. Most have nothing to wait for.
func (l *Leg) settleNegotiation() {
	if !l.voice.heldSince.IsSet() {
		return // Publish was never called
	}
	timer := time.NewTimer(l.limits.negotiation)
	defer timer.Stop()
	select {
	case <-l.voice.bound:
	case <-timer.C:
	}
}

// releaseTries bounds how often trackBound tries. Each fails with a chance of one half: Pion chooses by lot between "stopped"
// and "connected", which both hold.
const releaseTries = 20

// trackBound is called when the track gets a connection, for the first time or after a reconnect. If the leg leaves at that
// moment, Pion's RTPSender.Send comes after RTPSender.Stop (pion/webrtc v4.2.26): nobody closes the stream of reports that it
// opens, and a goroutine would read from it for ever. A deadline ends that one.
func (l *Leg) trackBound() {
	defer l.guard(panics.Call)
	l.voice.bind()
	l.mu.Lock()
	closing := l.closing
	l.mu.Unlock()
	connection := l.room.LocalParticipant.GetPublisherPeerConnection()
	if !closing || connection == nil {
		return
	}
	for _, sender := range connection.GetSenders() {
		for range releaseTries {
			if sender.SetReadDeadline(time.Unix(1, 0)) == nil {
				break
			}
		}
	}
}
