package roomleg

import (
	"fmt"
	"time"

	"github.com/livekit/protocol/auth"
	"github.com/livekit/protocol/connector"
	"github.com/livekit/protocol/livekit"
	"google.golang.org/protobuf/proto"
)

// roomTokenValidity is how long a participant may join again with the same token, after a lost connection.
const roomTokenValidity = 24 * time.Hour

// roomToken signs the participant's token. It is connector.BuildConnectorToken with a room configuration, which
// livekit-server heeds, agents included, if this join creates the room.
func (o *Options) roomToken(agents []*livekit.RoomAgentDispatch) (string, error) {
	yes := true
	detail := livekit.ParticipantInfo_CONNECTOR_WHATSAPP
	if o.Kind == connector.TWILIO {
		detail = livekit.ParticipantInfo_CONNECTOR_TWILIO
	}
	token, err := auth.NewAccessToken(o.APIKey, o.APISecret).
		SetVideoGrant(&auth.VideoGrant{
			RoomJoin: true, Room: o.Room, CanSubscribe: &yes, CanPublish: &yes, CanPublishData: &yes, CanUpdateOwnMetadata: &yes,
		}).
		SetIdentity(o.Identity).SetName(o.Name).SetMetadata(o.Metadata).SetAttributes(o.Attributes).
		SetKind(livekit.ParticipantInfo_CONNECTOR).SetKindDetail(detail).
		SetRoomConfig(o.roomConfig(agents)).
		SetAllowSensitiveCredentials(true). // an egress' storage; the token goes to livekit-server alone
		SetValidFor(roomTokenValidity).
		ToJWT()
	if err != nil {
		return "", fmt.Errorf("sign room token: %w", err)
	}
	return token, nil
}

// roomConfig is the token's room configuration: the one asked for, with the agents of this join.
func (o *Options) roomConfig(agents []*livekit.RoomAgentDispatch) *livekit.RoomConfiguration {
	config := &livekit.RoomConfiguration{}
	if o.RoomConfig != nil {
		config = proto.CloneOf(o.RoomConfig)
	}
	config.Name, config.Agents = "", agents
	return config
}
