package livekittest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/livekit/protocol/livekit"
	lksdk "github.com/livekit/server-sdk-go/v2"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
)

const (
	clockRate     = 48000
	frameDuration = 20 * time.Millisecond
	frameTicks    = clockRate / 50
)

// TrackOptions describe an audio track to publish. The zero value is a microphone.
type TrackOptions struct {
	Name   string
	Source livekit.TrackSource // UNKNOWN means MICROPHONE
	// MIME is the codec, one of the participant's; empty means Opus. Say and Send are for Opus.
	MIME string
	// Encryption declares the track as end-to-end encrypted. The payload is sent as it is.
	Encryption livekit.Encryption_Type
	// FreezeClock stops the RTP clock between two Say or Send, so that pauses leave no gap in timestamps. Without it
	// timestamps follow real time, as every browser does.
	FreezeClock bool
}

// Track is a published audio track of a Participant. Say, Send and WriteRTP must not run at the same time.
type Track struct {
	participant *Participant
	publication *lksdk.LocalTrackPublication
	local       *lksdk.LocalTrack
	freeze      bool

	mu        sync.Mutex
	sequence  uint16
	timestamp uint32
	lastSent  time.Time
}

// Publish makes an audio track. Others see it and it has a connection when Publish returns; send audio with Say, Send or
// WriteRTP.
func (p *Participant) Publish(options TrackOptions) (*Track, error) {
	codec := webrtc.RTPCodecCapability{
		MimeType: webrtc.MimeTypeOpus, ClockRate: clockRate, Channels: 2, SDPFmtpLine: "minptime=10;useinbandfec=1",
	}
	if options.MIME != "" && options.MIME != webrtc.MimeTypeOpus {
		codec = webrtc.RTPCodecCapability{MimeType: options.MIME, ClockRate: 8000}
	}
	local, err := lksdk.NewLocalTrack(codec)
	if err != nil {
		return nil, fmt.Errorf("make track: %w", err)
	}
	bound := make(chan struct{})
	local.OnBind(sync.OnceFunc(func() { close(bound) }))
	publication, err := p.room.LocalParticipant.PublishTrack(local, &lksdk.TrackPublicationOptions{
		Name: options.Name, Source: options.Source, Encryption: options.Encryption,
	})
	if err != nil {
		return nil, fmt.Errorf("publish track: %w", err)
	}
	p.mu.Lock()
	p.published = append(p.published, bound)
	p.mu.Unlock()
	// What is sent before is lost without a word.
	if !p.await(bound, lksdk.ConnectionStateConnected, lksdk.ConnectionStateReconnecting) {
		return nil, errors.New("publish track: it got no connection")
	}
	return &Track{
		participant: p, publication: publication, local: local, freeze: options.FreezeClock,
		sequence: uint16(rand.UintN(1 << 16)), timestamp: rand.Uint32(), //nolint:gosec // RTP start values
	}, nil
}

// SID returns the server's ID of the track. It changes when the SDK had to join anew.
func (t *Track) SID() string { return t.publication.SID() }

// SetMuted tells the room that the track is (not) muted. It does not stop Say or Send; a real client stops both.
func (t *Track) SetMuted(muted bool) { t.publication.SetMuted(muted) }

// Unpublish takes the track out of the room.
func (t *Track) Unpublish() error { return t.participant.room.LocalParticipant.UnpublishTrack(t.SID()) }

// WaitHeard returns when the server has somebody to send the track to. That one can hear it only when its own
// EventTrackSubscribed has come, some milliseconds later; packets in between may be lost.
func (t *Track) WaitHeard(ctx context.Context) error {
	_, err := t.participant.Wait(ctx, func(e Event) bool { return e.Type == EventHeard && e.TrackSID == t.SID() })
	return err
}

// Packet is one Opus packet to send, with the loudness that the room is told.
type Packet struct {
	Payload []byte
	Level   uint8 // RFC 6464: -dBov, 0 loudest, 127 silence
}

// Send sends Opus packets of 20 ms, one every 20 ms, and returns when the last has left. On a busy machine packets leave late
// and then all that are due: a ticker would leave time out, and no client's clock does.
func (t *Track) Send(ctx context.Context, packets []Packet) error {
	begin := time.Now()
	due := time.NewTimer(frameDuration)
	defer due.Stop()
	for i, packet := range packets {
		if err := t.send(packet, i == 0); err != nil {
			return err
		}
		due.Reset(time.Until(begin.Add(time.Duration(i+1) * frameDuration)))
		select {
		case <-due.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

func (t *Track) send(packet Packet, first bool) error {
	t.mu.Lock()
	if first && !t.freeze && !t.lastSent.IsZero() {
		pause := time.Since(t.lastSent).Round(frameDuration)
		if pause > frameDuration {
			t.timestamp += uint32((pause - frameDuration) / frameDuration * frameTicks)
		}
	}
	p := &rtp.Packet{
		Header:  rtp.Header{Version: 2, Marker: first, SequenceNumber: t.sequence, Timestamp: t.timestamp},
		Payload: packet.Payload,
	}
	t.sequence++
	t.timestamp += frameTicks
	t.lastSent = time.Now()
	t.mu.Unlock()
	return t.local.WriteRTP(p, &lksdk.SampleWriteOptions{AudioLevel: &packet.Level})
}

// WriteRTP sends one packet as it is, but for SSRC and payload type.
func (t *Track) WriteRTP(p *rtp.Packet) error {
	if !t.local.IsBound() {
		return errors.New("livekittest: track is not connected")
	}
	return t.local.WriteRTP(p, nil)
}

// Level returns the RFC 6464 loudness of a frame.
func Level(pcm []int16) uint8 {
	var sum float64
	for _, s := range pcm {
		sum += float64(s) * float64(s)
	}
	if sum == 0 {
		return 127
	}
	dBov := 20 * math.Log10(math.Sqrt(sum/float64(len(pcm)))/32768)
	return uint8(min(127, max(0, math.Round(-dBov))))
}
