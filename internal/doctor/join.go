package doctor

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/livekit/protocol/auth"
	"github.com/livekit/protocol/livekit"
	"github.com/pion/rtp"
	"github.com/twitchtv/twirp"

	"github.com/livekit-connector/livekit-connector/internal/roomleg"
	"github.com/livekit-connector/livekit-connector/media"
)

// join lets one participant speak and another one hear, as calls do: the whole way of media through LiveKit. The room is
// deleted afterwards. Agents that LiveKit sends into every room come into this one, too, which is why it happens only when
// it is asked for.
func (e *examination) join(ctx context.Context) []Line {
	if !e.o.Join {
		return one(skipped("only with --join"))
	}
	if !e.isLiveKit() || e.access()[0] != nil {
		return one(skipped("see livekit"))
	}
	ctx, cancel := context.WithTimeoutCause(ctx, e.o.bounds.join, errors.New("not done in time"))
	defer cancel()
	began := time.Now()
	joined, heard, err := e.converse(ctx, "livekit-connector-doctor-"+rand.Text())
	switch {
	case err == nil:
		return one(good("joined in %s, audio came through LiveKit %s later", joined.Sub(began).Round(time.Millisecond), heard.Sub(joined).Round(time.Millisecond)))
	case joined.IsZero():
		return one(failed(fmt.Sprintf("cannot join a room: %s", err),
			"open the way to livekit-server's UDP and TCP ports (rtc.udp_port or rtc.port_range_start, rtc.tcp_port) and check rtc.node_ip and rtc.use_external_ip there"))
	default:
		return one(failed(fmt.Sprintf("joined a room, but no audio came through: %s", err),
			"open the way to livekit-server's UDP ports and check rtc.node_ip and rtc.use_external_ip there"))
	}
}

// converse returns when both had joined and when the first packet was heard.
func (e *examination) converse(ctx context.Context, room string) (joined, heard time.Time, err error) {
	pacer := media.NewPacer(1)
	defer pacer.Close()
	line := media.NewLine(nowhere{}, media.LineOptions{Pacer: pacer})
	defer line.Close()
	key := e.o.LiveKit.Keys[0]
	options := roomleg.Options{
		URL: e.o.LiveKit.URL, APIKey: key.Key, APISecret: key.Secret, Room: room, HTTPClient: e.client, ConnectTimeout: e.o.bounds.join,
	}
	listening, speaking := options, options
	listening.Identity, listening.Line = "doctor-ear", line
	speaking.Identity = "doctor-mouth"

	defer func() { err = errors.Join(err, e.deleteRoom(room)) }()
	listener, err := roomleg.Join(ctx, listening)
	if err != nil {
		return joined, heard, err
	}
	defer leave(listener)
	speaker, err := roomleg.Join(ctx, speaking)
	if err != nil {
		return joined, heard, err
	}
	defer leave(speaker)
	joined = time.Now()
	if err = speaker.Publish(ctx); err != nil {
		return joined, heard, err
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for p := (&rtp.Packet{Header: rtp.Header{Version: 2}, Payload: media.SilenceFrame}); ; {
		select {
		case <-ctx.Done():
			return joined, heard, context.Cause(ctx)
		case <-tick.C:
		}
		if listener.View().Received > 0 {
			return joined, time.Now(), nil
		}
		p.SequenceNumber++
		p.Timestamp += media.FrameSamples
		if err = speaker.WriteRTP(p); err != nil {
			return joined, heard, fmt.Errorf("speak: %w", err)
		}
	}
}

// nowhere is where the listener's line leads: what came is counted before it.
type nowhere struct{}

func (nowhere) WriteRTP(*rtp.Packet) error { return nil }

func leave(l *roomleg.Leg) { _ = l.Leave(livekit.DisconnectReason_CLIENT_INITIATED) }

// deleteRoom takes away what a check left; LiveKit itself does so some seconds later.
func (e *examination) deleteRoom(name string) error {
	ctx, cancel := context.WithTimeout(context.Background(), e.o.bounds.remove)
	defer cancel()
	key := e.o.LiveKit.Keys[0]
	token, err := auth.NewAccessToken(key.Key, key.Secret).SetVideoGrant(&auth.VideoGrant{RoomCreate: true}).SetValidFor(time.Minute).ToJWT()
	if err != nil {
		return fmt.Errorf("sign a token: %w", err)
	}
	if ctx, err = twirp.WithHTTPRequestHeaders(ctx, http.Header{"Authorization": {"Bearer " + token}}); err != nil {
		return fmt.Errorf("prepare a request to LiveKit: %w", err)
	}
	rooms := livekit.NewRoomServiceProtobufClient(httpURL(e.o.LiveKit.URL), e.client)
	_, err = rooms.DeleteRoom(ctx, &livekit.DeleteRoomRequest{Room: name})
	if refused, ok := errors.AsType[twirp.Error](err); ok && refused.Code() == twirp.NotFound {
		return nil // nobody came in
	}
	return err
}
