package density

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/livekit/protocol/auth"
	"github.com/livekit/protocol/livekit"
	lksdk "github.com/livekit/server-sdk-go/v2"
	"github.com/pion/interceptor"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"

	"github.com/livekit-connector/livekit-connector/bench/speech"
	"github.com/livekit-connector/livekit-connector/internal/livekittest"
	"github.com/livekit-connector/livekit-connector/internal/roomleg/sdklog"
)

// callerIdentity is the participant of every room that stands for the phone.
const callerIdentity = "caller"

const (
	joinTimeout  = 15 * time.Second
	tokenLife    = 10 * time.Minute
	packetTicks  = 960 // RTP clock ticks of 20 ms
	receiveBytes = 1500
)

// participant is somebody in a room who plays a clip over and over and notes what the phone says. It is made to be cheap:
// hundreds of them share a CPU.
type participant struct {
	clip *speech.Clip
	// position in the clip where the next packet is; touched by the pacer alone, as all of the following three.
	position int
	header   rtp.Header
	packet   rtp.Packet
	options  lksdk.SampleWriteOptions

	room    *lksdk.Room
	track   *lksdk.LocalTrack
	hearing sync.WaitGroup // one for each track that is heard
	heard   arrivals
}

// participantOptions say who joins.
type participantOptions struct {
	room, identity string
	clip           *speech.Clip
	// skip is where in the clip the participant begins, in packets.
	skip int
	// listens to the caller; else to nobody.
	listens bool
}

// join puts a participant into a room and publishes its track.
func join(ctx context.Context, server *livekittest.Server, o participantOptions) (*participant, error) {
	ctx, cancel := context.WithTimeout(ctx, joinTimeout)
	defer cancel()
	token, err := auth.NewAccessToken(server.APIKey(), server.APISecret()).
		SetVideoGrant(&auth.VideoGrant{RoomJoin: true, Room: o.room}).
		SetIdentity(o.identity).SetKind(livekit.ParticipantInfo_AGENT).SetValidFor(tokenLife).ToJWT()
	if err != nil {
		return nil, fmt.Errorf("sign token: %w", err)
	}
	for {
		p, err := tryJoin(ctx, server.URL(), token, o)
		if errors.Is(err, errDoomed) && ctx.Err() == nil {
			continue
		}
		return p, err
	}
}

var errDoomed = errors.New("connection attempt failed at once")

func tryJoin(ctx context.Context, url, token string, o participantOptions) (*participant, error) {
	p := &participant{clip: o.clip, position: o.skip}
	cb := lksdk.NewRoomCallback()
	if o.listens {
		cb.OnTrackPublished = func(pub *lksdk.RemoteTrackPublication, rp *lksdk.RemoteParticipant) {
			if rp.Identity() == callerIdentity {
				_ = pub.SetSubscribed(true) // what is not heard is counted as lost
			}
		}
		cb.OnTrackSubscribed = func(t *webrtc.TrackRemote, _ *lksdk.RemoteTrackPublication, _ *lksdk.RemoteParticipant) {
			p.hearing.Go(func() { p.hear(t) })
		}
	}
	p.room = lksdk.NewRoom(cb)
	// Of the SDK's race at joining, and why somebody watches, see sdklog.WatchJoin.
	log, doomed := sdklog.WatchJoin(nil)
	connected := make(chan error, 1)
	go func() {
		connected <- p.room.JoinWithContextAndToken(ctx, url, token,
			lksdk.WithAutoSubscribe(false), lksdk.WithSinglePeerConnection(), lksdk.WithDisableRegionDiscovery(),
			// No repair and no feedback on loopback: the load shall cost little.
			lksdk.WithInterceptors([]interceptor.Factory{}),
			lksdk.WithConnectTimeout(joinTimeout), lksdk.WithLogger(log),
		)
	}()
	select {
	case <-doomed:
		p.room.Disconnect()
		return nil, errDoomed
	case err := <-connected:
		if err != nil {
			return nil, fmt.Errorf("join room: %w", err)
		}
	}
	var err error
	p.track, err = lksdk.NewLocalTrack(webrtc.RTPCodecCapability{
		MimeType: webrtc.MimeTypeOpus, ClockRate: 48000, Channels: 2, SDPFmtpLine: "minptime=10;useinbandfec=1",
	})
	if err != nil {
		return nil, fmt.Errorf("make track: %w", err)
	}
	_, err = p.room.LocalParticipant.PublishTrack(p.track, &lksdk.TrackPublicationOptions{
		Name: o.identity, Source: livekit.TrackSource_MICROPHONE,
	})
	if err != nil {
		return nil, fmt.Errorf("publish track: %w", err)
	}
	return p, nil
}

// speak sends the next packet. Before the track is connected it is lost.
func (p *participant) speak() {
	at := p.position % len(p.clip.Packets)
	p.header = rtp.Header{
		Version: 2, SequenceNumber: uint16(p.position), Timestamp: uint32(p.position) * packetTicks, Marker: p.position == 0,
	}
	p.packet = rtp.Packet{Header: p.header, Payload: p.clip.Packets[at]}
	level := p.clip.Levels[at]
	p.options.AudioLevel = &level
	p.position++
	_ = p.track.WriteRTP(&p.packet, &p.options) // what does not arrive is counted where it should
}

// hear notes the packets of a track until it ends.
func (p *participant) hear(t *webrtc.TrackRemote) {
	buf := make([]byte, receiveBytes)
	var packet rtp.Packet
	for {
		n, _, err := t.Read(buf)
		if err != nil {
			return
		}
		now := time.Now()
		if packet.Unmarshal(buf[:n]) == nil && len(packet.Payload) > 0 {
			p.heard.add(arrival{
				at: now, source: packet.SSRC, sequence: packet.SequenceNumber, timestamp: packet.Timestamp,
				payload: append([]byte(nil), packet.Payload...),
			})
		}
	}
}

func (p *participant) leave() {
	p.room.Disconnect()
	p.hearing.Wait()
}
