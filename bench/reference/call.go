package main

import (
	"fmt"
	"sync"

	"github.com/livekit/media-sdk"
	"github.com/livekit/media-sdk/mixer"
	"github.com/livekit/media-sdk/opus"
	msdkrtp "github.com/livekit/media-sdk/rtp"
	"github.com/livekit/protocol/livekit"
	"github.com/livekit/protocol/logger"
	lksdk "github.com/livekit/server-sdk-go/v2"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"

	"github.com/livekit-connector/livekit-connector/pkg/whatsapp"
)

// sampleRate of the room, as in livekit-sip.
const sampleRate = 48000

// call is one caller in one room.
type call struct {
	log         logger.Logger
	credentials whatsapp.Credentials
	connected   chan struct{} // closed when Meta's relay can be heard

	pc     *webrtc.PeerConnection
	toMeta *webrtc.TrackLocalStaticSample

	room   *lksdk.Room
	toRoom *webrtc.TrackLocalStaticSample

	mu     sync.Mutex // guards all below
	closed bool
	mixer  *mixer.Mixer
	early  []*webrtc.TrackRemote // of the room, before there is a mixer
}

// connectMeta makes the peer connection to Meta and returns the answer to its offer.
func (c *call) connectMeta(offer string) (answer string, err error) {
	if c.pc, err = newPeerConnection(); err != nil {
		return "", err
	}
	var once sync.Once
	c.pc.OnConnectionStateChange(func(s webrtc.PeerConnectionState) {
		if s == webrtc.PeerConnectionStateConnected {
			once.Do(func() { close(c.connected) })
		}
	})
	c.pc.OnTrack(func(t *webrtc.TrackRemote, _ *webrtc.RTPReceiver) { go c.hearMeta(t) })
	if c.toMeta, err = newTrack("meta"); err != nil {
		return "", err
	}
	if c.toRoom, err = newTrack("caller"); err != nil {
		return "", err
	}
	sender, err := c.pc.AddTrack(c.toMeta)
	if err != nil {
		return "", fmt.Errorf("add track: %w", err)
	}
	go func() { // reports must be read for the interceptors to see them
		buf := make([]byte, 1500)
		for {
			if _, _, readErr := sender.Read(buf); readErr != nil {
				return
			}
		}
	}()
	if err = c.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: offer}); err != nil {
		return "", fmt.Errorf("apply offer: %w", err)
	}
	description, err := c.pc.CreateAnswer(nil)
	if err != nil {
		return "", fmt.Errorf("create answer: %w", err)
	}
	gathered := webrtc.GatheringCompletePromise(c.pc)
	if err = c.pc.SetLocalDescription(description); err != nil {
		return "", fmt.Errorf("apply answer: %w", err)
	}
	<-gathered
	return c.pc.LocalDescription().SDP, nil
}

func newTrack(id string) (*webrtc.TrackLocalStaticSample, error) {
	t, err := webrtc.NewTrackLocalStaticSample(webrtc.RTPCodecCapability{
		MimeType: webrtc.MimeTypeOpus, ClockRate: sampleRate, Channels: 2,
	}, id, id)
	if err != nil {
		return nil, fmt.Errorf("make track: %w", err)
	}
	return t, nil
}

// joinRoom joins with the SDK's default options and publishes the caller's track.
func (c *call) joinRoom(url, key, secret, room, identity string) (err error) {
	cb := lksdk.NewRoomCallback()
	cb.OnTrackSubscribed = func(t *webrtc.TrackRemote, _ *lksdk.RemoteTrackPublication, _ *lksdk.RemoteParticipant) {
		c.hearRoom(t)
	}
	c.room = lksdk.NewRoom(cb)
	err = c.room.Join(url, lksdk.ConnectInfo{
		APIKey: key, APISecret: secret, RoomName: room, ParticipantIdentity: identity,
		ParticipantKind: lksdk.ParticipantConnector,
	}, lksdk.WithLogger(c.log))
	if err != nil {
		c.room = nil
		return fmt.Errorf("join room: %w", err)
	}
	_, err = c.room.LocalParticipant.PublishTrack(c.toRoom, &lksdk.TrackPublicationOptions{
		Name: identity, Source: livekit.TrackSource_MICROPHONE,
	})
	if err != nil {
		return fmt.Errorf("publish track: %w", err)
	}
	return nil
}

// hearMeta decodes what the caller says and encodes it for the room, until the call ends.
func (c *call) hearMeta(t *webrtc.TrackRemote) {
	encoder, err := opus.Encode(media.FromSampleWriter[opus.Sample](c.toRoom, sampleRate, msdkrtp.DefFrameDur), 1, c.log)
	if err != nil {
		return
	}
	h, err := newDecoding(encoder, c.log)
	if err != nil {
		return
	}
	_ = msdkrtp.HandleLoop(t, h) // ends with the track
}

// startAudio opens the way to Meta. The caller hears whoever is and comes into the room.
func (c *call) startAudio() error {
	w := media.FromSampleWriter[opus.Sample](c.toMeta, sampleRate, msdkrtp.DefFrameDur)
	encoder, err := opus.Encode(w, 1, c.log)
	if err != nil {
		return fmt.Errorf("make encoder: %w", err)
	}
	m, err := mixer.NewMixer(encoder, msdkrtp.DefFrameDur, 1, mixer.WithOutputChannel())
	if err != nil {
		return fmt.Errorf("make mixer: %w", err)
	}
	c.mu.Lock()
	c.mixer = m
	early := c.early
	c.early = nil
	c.mu.Unlock()
	for _, t := range early {
		c.hearRoom(t)
	}
	return nil
}

// hearRoom feeds a track of the room to the mixer until it ends.
func (c *call) hearRoom(t *webrtc.TrackRemote) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || t.Kind() != webrtc.RTPCodecTypeAudio {
		return
	}
	if c.mixer == nil {
		c.early = append(c.early, t)
		return
	}
	input := c.mixer.NewInput()
	h, err := newDecoding(input, c.log)
	if err != nil {
		return
	}
	go func() { _ = msdkrtp.HandleLoop(t, h) }() // ends with the track
}

func (c *call) close() {
	c.mu.Lock()
	closed := c.closed
	c.closed = true
	m := c.mixer
	c.mu.Unlock()
	if closed {
		return
	}
	if m != nil {
		m.Stop()
	}
	if c.room != nil {
		c.room.Disconnect()
	}
	if c.pc != nil {
		_ = c.pc.Close()
	}
}

// decoding hands the payload of each RTP packet to media-sdk's Opus decoder.
type decoding struct{ w opus.Writer }

func newDecoding(w media.PCM16Writer, log logger.Logger) (*decoding, error) {
	decoder, err := opus.Decode(w, 1, log)
	if err != nil {
		return nil, fmt.Errorf("make decoder: %w", err)
	}
	return &decoding{decoder}, nil
}

func (d *decoding) String() string { return d.w.String() }

func (d *decoding) HandleRTP(_ *rtp.Header, payload []byte) error {
	return d.w.WriteSample(opus.Sample(payload))
}

func (d *decoding) Close() { _ = d.w.Close() }
