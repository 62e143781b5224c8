package roomleg

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/livekit/protocol/auth"
	"github.com/livekit/protocol/livekit"
	"github.com/livekit/server-sdk-go/v2/signalling"
	"github.com/twitchtv/twirp"

	"github.com/livekit-connector/livekit-connector/internal/roomleg/sdklog"
)

// fromIntermediary is the metadata by which Twirp's client marks answers that are no Twirp errors.
const fromIntermediary = "http_error_from_intermediary"

// tokenValidity is enough for one request and a clock that is a little off.
const tokenValidity = 5 * time.Minute

// services calls LiveKit's APIs with our key. It holds no connection of its own.
type services struct {
	apiKey, apiSecret string
	rooms             livekit.RoomService
	dispatch          livekit.AgentDispatchService
}

func newServices(url, apiKey, apiSecret string, client *http.Client) services {
	url = signalling.ToHttpURL(url)
	return services{
		apiKey: apiKey, apiSecret: apiSecret,
		rooms:    livekit.NewRoomServiceProtobufClient(url, client),
		dispatch: livekit.NewAgentDispatchServiceProtobufClient(url, client),
	}
}

func (s services) authorize(ctx context.Context, grant *auth.VideoGrant) (context.Context, error) {
	token, err := auth.NewAccessToken(s.apiKey, s.apiSecret).SetVideoGrant(grant).SetValidFor(tokenValidity).ToJWT()
	if err != nil {
		return nil, fmt.Errorf("sign API token: %w", err)
	}
	return withToken(ctx, token)
}

func withToken(ctx context.Context, token string) (context.Context, error) {
	return twirp.WithHTTPRequestHeaders(ctx, http.Header{"Authorization": []string{"Bearer " + token}})
}

// findRoom returns the room, nil if there is none of that name.
func (s services) findRoom(ctx context.Context, name string) (*livekit.Room, error) {
	ctx, err := s.authorize(ctx, &auth.VideoGrant{RoomList: true})
	if err != nil {
		return nil, err
	}
	res, err := s.rooms.ListRooms(ctx, &livekit.ListRoomsRequest{Names: []string{name}})
	if err != nil {
		return nil, fmt.Errorf("look up room: %w", explain(ctx, err))
	}
	if len(res.Rooms) == 0 {
		return nil, nil
	}
	return res.Rooms[0], nil
}

// VerifyAccess finds out, by one request that changes nothing, whether LiveKit can be reached at url and accepts the key
// and secret. The error is one of ErrUnreachable, ErrUnknownAPIKey, ErrWrongSecret, ErrClockSkew and ErrRefused, wrapped
// with details. A nil client means http.DefaultClient.
func VerifyAccess(ctx context.Context, client *http.Client, url, apiKey, apiSecret string) error {
	if client == nil {
		client = http.DefaultClient
	}
	s := newServices(url, apiKey, apiSecret, client)
	ctx, err := s.authorize(ctx, &auth.VideoGrant{RoomList: true})
	if err != nil {
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	return s.verify(ctx)
}

// verify asks for a room that nobody has, which is the cheapest signed request.
func (s services) verify(ctx context.Context) error {
	_, err := s.rooms.ListRooms(ctx, &livekit.ListRoomsRequest{Names: []string{"livekit-connector-access-check"}})
	return explain(ctx, err)
}

// explain sorts what an API call came back with: nothing there, refused and why, or the server's own error, scrubbed.
func explain(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return fmt.Errorf("%w: %w", ErrUnreachable, context.Cause(ctx))
	}
	var answer twirp.Error
	if !errors.As(err, &answer) || answer.Code() == twirp.Internal && answer.Meta(fromIntermediary) == "" {
		return fmt.Errorf("%w: %w", ErrUnreachable, sdklog.Error(err)) // Twirp's client wraps transport errors as internal
	}
	if answer.Meta(fromIntermediary) == "" {
		return fmt.Errorf("%w: %w", ErrRefused, sdklog.Error(err))
	}
	// The server's authentication answers in plain text, not as Twirp does, and repeats the whole token in it
	// (livekit-server, APIKeyAuthMiddleware; the reasons are golang-jwt's).
	text := strings.ToLower(answer.Meta("body"))
	switch {
	case strings.Contains(text, "invalid api key"):
		return ErrUnknownAPIKey
	case strings.Contains(text, "expired"), strings.Contains(text, "not valid yet"), strings.Contains(text, "before issued"):
		return ErrClockSkew
	case strings.Contains(text, "signature is invalid"), strings.Contains(text, "cryptographic primitive"):
		return ErrWrongSecret
	case answer.Code() == twirp.BadRoute, answer.Code() == twirp.NotFound, answer.Code() == twirp.Unavailable:
		return fmt.Errorf("%w: %w", ErrUnreachable, sdklog.Error(err))
	}
	return fmt.Errorf("%w: %w", ErrRefused, sdklog.Error(err))
}
