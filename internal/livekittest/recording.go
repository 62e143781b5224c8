package livekittest

import (
	"bytes"
	"context"
	"slices"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
)

// HeardPacket is one RTP packet that a Participant received.
type HeardPacket struct {
	TrackSID  string
	SSRC      uint32
	Sequence  uint16
	Timestamp uint32 // 48 kHz ticks
	Marker    bool
	// Silence marks packets without audio: padding, and the Opus silence that the server puts in when a track pauses
	// (F8 FF FE, filled up with zeros to 80 bytes).
	Silence bool
	Payload []byte
	Arrived time.Time
}

// Recording is everything that a Participant heard from one other participant, in order of arrival, over all of its
// tracks and reconnects.
type Recording struct {
	packets *journal[HeardPacket]
}

// Heard returns the recording of what came from identity. It is empty, not nil, while nothing came.
func (p *Participant) Heard(identity string) *Recording {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := p.recordings[identity]
	if r == nil {
		r = &Recording{packets: newJournal[HeardPacket]()}
		p.recordings[identity] = r
	}
	return r
}

// Packets returns what came so far.
func (r *Recording) Packets() []HeardPacket {
	packets, _ := r.packets.snapshot(0)
	return packets
}

// Audio returns the packets that came so far, without silence.
func (r *Recording) Audio() []HeardPacket {
	return slices.DeleteFunc(r.Packets(), func(p HeardPacket) bool { return p.Silence })
}

// Wait returns the first packet, past or to come, that match accepts.
func (r *Recording) Wait(ctx context.Context, match func(HeardPacket) bool) (HeardPacket, error) {
	return r.packets.wait(ctx, match)
}

// WaitCount returns when n packets with audio have come.
func (r *Recording) WaitCount(ctx context.Context, n int) error {
	_, err := r.packets.wait(ctx, func(p HeardPacket) bool {
		if !p.Silence {
			n--
		}
		return n <= 0
	})
	return err
}

// hear starts the goroutine that records a track until the track ends. Leave waits for it.
func (p *Participant) hear(track *webrtc.TrackRemote, identity, trackSID string) {
	recording := p.Heard(identity)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || track.Kind() != webrtc.RTPCodecTypeAudio {
		return
	}
	p.heard[track] = true
	p.hearing.Go(func() {
		defer func() {
			// Pion may still probe the same stream for whose it is (PeerConnection.handleIncomingSSRC). Closing a stream
			// wakes only one of its readers, a deadline wakes all.
			_ = track.SetReadDeadline(time.Unix(1, 0))
			p.mu.Lock()
			defer p.mu.Unlock()
			delete(p.heard, track)
		}()
		for {
			packet, _, err := track.ReadRTP()
			if err != nil {
				return
			}
			recording.packets.append(heardPacket(packet, trackSID))
		}
	})
}

// hearNoMore ends all recording.
func (p *Participant) hearNoMore() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for track := range p.heard {
		_ = track.SetReadDeadline(time.Unix(1, 0))
	}
}

func heardPacket(packet *rtp.Packet, trackSID string) HeardPacket {
	return HeardPacket{
		TrackSID: trackSID, SSRC: packet.SSRC, Sequence: packet.SequenceNumber, Timestamp: packet.Timestamp,
		Marker: packet.Marker, Silence: silent(packet.Payload), Payload: packet.Payload, Arrived: time.Now(),
	}
}

func silent(payload []byte) bool {
	return len(payload) == 0 || bytes.HasPrefix(payload, []byte{0xf8, 0xff, 0xfe})
}
