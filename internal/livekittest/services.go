package livekittest

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/livekit/protocol/auth"
	"github.com/livekit/protocol/livekit"
	"github.com/twitchtv/twirp"
)

const apiTokenValidity = 10 * time.Minute

// authorize returns ctx with a token of the server's own key that carries grant.
func (s *Server) authorize(ctx context.Context, grant *auth.VideoGrant) (context.Context, error) {
	token, err := auth.NewAccessToken(s.apiKey, s.apiSecret).SetVideoGrant(grant).SetValidFor(apiTokenValidity).ToJWT()
	if err != nil {
		return nil, fmt.Errorf("sign API token: %w", err)
	}
	return twirp.WithHTTPRequestHeaders(ctx, http.Header{"Authorization": []string{"Bearer " + token}})
}

func (s *Server) rooms() livekit.RoomService {
	return livekit.NewRoomServiceProtobufClient(s.HTTPURL(), s.client)
}

func (s *Server) dispatches() livekit.AgentDispatchService {
	return livekit.NewAgentDispatchServiceProtobufClient(s.HTTPURL(), s.client)
}

// CreateRoom makes an empty room, or returns the one of that name.
func (s *Server) CreateRoom(ctx context.Context, req *livekit.CreateRoomRequest) (*livekit.Room, error) {
	ctx, err := s.authorize(ctx, &auth.VideoGrant{RoomCreate: true})
	if err != nil {
		return nil, err
	}
	return s.rooms().CreateRoom(ctx, req)
}

// Rooms lists the rooms of the given names, or all.
func (s *Server) Rooms(ctx context.Context, names ...string) ([]*livekit.Room, error) {
	ctx, err := s.authorize(ctx, &auth.VideoGrant{RoomList: true})
	if err != nil {
		return nil, err
	}
	res, err := s.rooms().ListRooms(ctx, &livekit.ListRoomsRequest{Names: names})
	if err != nil {
		return nil, fmt.Errorf("list rooms: %w", err)
	}
	return res.Rooms, nil
}

// DeleteRoom disconnects everybody in the room and ends it.
func (s *Server) DeleteRoom(ctx context.Context, room string) error {
	ctx, err := s.authorize(ctx, &auth.VideoGrant{RoomCreate: true})
	if err != nil {
		return err
	}
	_, err = s.rooms().DeleteRoom(ctx, &livekit.DeleteRoomRequest{Room: room})
	return err
}

// Participants lists who is in the room as the server sees it, with kinds, kind details, attributes and tracks.
func (s *Server) Participants(ctx context.Context, room string) ([]*livekit.ParticipantInfo, error) {
	ctx, err := s.authorize(ctx, &auth.VideoGrant{RoomAdmin: true, Room: room})
	if err != nil {
		return nil, err
	}
	res, err := s.rooms().ListParticipants(ctx, &livekit.ListParticipantsRequest{Room: room})
	if err != nil {
		return nil, fmt.Errorf("list participants: %w", err)
	}
	return res.Participants, nil
}

// Participant returns one participant as the server sees it, nil if nobody has that identity.
func (s *Server) Participant(ctx context.Context, room, identity string) (*livekit.ParticipantInfo, error) {
	all, err := s.Participants(ctx, room)
	if err != nil {
		return nil, err
	}
	for _, p := range all {
		if p.Identity == identity {
			return p, nil
		}
	}
	return nil, nil
}

// RemoveParticipant throws one participant out.
func (s *Server) RemoveParticipant(ctx context.Context, room, identity string) error {
	ctx, err := s.authorize(ctx, &auth.VideoGrant{RoomAdmin: true, Room: room})
	if err != nil {
		return err
	}
	_, err = s.rooms().RemoveParticipant(ctx, &livekit.RoomParticipantIdentity{Room: room, Identity: identity})
	return err
}

// CreateDispatch asks for an agent in a room.
func (s *Server) CreateDispatch(ctx context.Context, req *livekit.CreateAgentDispatchRequest) (*livekit.AgentDispatch, error) {
	ctx, err := s.authorize(ctx, &auth.VideoGrant{RoomAdmin: true, Room: req.Room})
	if err != nil {
		return nil, err
	}
	return s.dispatches().CreateDispatch(ctx, req)
}

// Dispatches lists the agents that a room was told to have.
func (s *Server) Dispatches(ctx context.Context, room string) ([]*livekit.AgentDispatch, error) {
	ctx, err := s.authorize(ctx, &auth.VideoGrant{RoomAdmin: true, Room: room})
	if err != nil {
		return nil, err
	}
	res, err := s.dispatches().ListDispatch(ctx, &livekit.ListAgentDispatchRequest{Room: room})
	if err != nil {
		return nil, fmt.Errorf("list dispatches: %w", err)
	}
	return res.AgentDispatches, nil
}
