package roomleg

import (
	"context"
	"fmt"
	"time"

	"github.com/livekit/protocol/livekit"
	lksdk "github.com/livekit/server-sdk-go/v2"

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
	l.tasks.Go(func() {      // the SDK waits up to 10 s and heeds no context
		_, err := l.room.LocalParticipant.PublishTrack(l.voice.track, &lksdk.TrackPublicationOptions{
			Name: l.opts.Identity, Source: livekit.TrackSource_MICROPHONE,
		})
		published <- err
	})
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

// awaitBound waits for the end of the negotiation that the SDK has begun. Leaving in the middle of it would leak a goroutine
// of Pion's: RTPSender.Send then comes after RTPSender.Stop, and nobody closes the stream that it opens.
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
	timer := time.NewTimer(negotiationLimit)
	defer timer.Stop()
	select {
	case <-l.voice.bound:
	case <-timer.C:
	}
}
