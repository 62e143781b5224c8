package roomleg

import (
	"errors"
	"fmt"

	"github.com/livekit/protocol/livekit"
)

// Why a leg is out of its room without having left. Leg.Err wraps one of them, with LiveKit's reason in the text.
var (
	// ErrRoomDeleted is returned when somebody deleted the room.
	ErrRoomDeleted = errors.New("roomleg: room deleted")
	// ErrRoomClosed is returned when the server closed the room because it counted it as empty.
	ErrRoomClosed = errors.New("roomleg: room closed")
	// ErrRemoved is returned when somebody removed the participant, or it was moved elsewhere.
	ErrRemoved = errors.New("roomleg: participant removed")
	// ErrDuplicateIdentity is returned when another participant joined with the same identity.
	ErrDuplicateIdentity = errors.New("roomleg: identity taken by another participant")
	// ErrServerShutdown is returned when the server went down and said so.
	ErrServerShutdown = errors.New("roomleg: server shut down")
	// ErrConnectionLost is returned when the connection broke and did not come back in time.
	ErrConnectionLost = errors.New("roomleg: connection lost")
	// ErrNotInRoom is returned by methods of a leg that has ended.
	ErrNotInRoom = errors.New("roomleg: not in the room")
)

// errDoomed is returned by connect when the attempt met the SDK's race (sdklog.WatchJoin). Another may succeed.
var errDoomed = errors.New("roomleg: connection attempt failed at once")

// Errors of VerifyAccess, and of Join when it asks LiveKit's API about agents. Their texts say what to do.
var (
	// ErrUnreachable is returned when nothing that speaks LiveKit's API answers at the URL.
	ErrUnreachable = errors.New("no LiveKit server answers: check the URL, that the server runs, and the way to it")
	// ErrUnknownAPIKey is returned when the server does not know the API key.
	ErrUnknownAPIKey = errors.New("the LiveKit server does not know this API key: check the key against the server's keys")
	// ErrWrongSecret is returned when the API secret is not the one of the API key.
	ErrWrongSecret = errors.New("the API secret does not belong to this API key: check the secret against the server's keys")
	// ErrClockSkew is returned when the server takes our tokens for expired or for not yet valid.
	ErrClockSkew = errors.New("the LiveKit server's clock and ours differ: synchronize both (NTP)")
	// ErrRefused is returned when the server refuses for a reason that is none of the others.
	ErrRefused = errors.New("the LiveKit server refused the request")
)

// disconnectError turns LiveKit's reason into the leg's error.
func disconnectError(reason livekit.DisconnectReason) error {
	var err error
	switch reason {
	case livekit.DisconnectReason_ROOM_DELETED:
		err = ErrRoomDeleted
	case livekit.DisconnectReason_ROOM_CLOSED:
		err = ErrRoomClosed
	case livekit.DisconnectReason_PARTICIPANT_REMOVED, livekit.DisconnectReason_MIGRATION:
		err = ErrRemoved
	case livekit.DisconnectReason_DUPLICATE_IDENTITY:
		err = ErrDuplicateIdentity
	case livekit.DisconnectReason_SERVER_SHUTDOWN:
		err = ErrServerShutdown
	case livekit.DisconnectReason_CLIENT_INITIATED, livekit.DisconnectReason_USER_UNAVAILABLE,
		livekit.DisconnectReason_USER_REJECTED, livekit.DisconnectReason_SIP_TRUNK_FAILURE,
		livekit.DisconnectReason_MEDIA_FAILURE, livekit.DisconnectReason_AGENT_ERROR:
		// Reasons that a participant gives for itself. From the server they say that it took the session for left.
		err = ErrRemoved
	case livekit.DisconnectReason_STATE_MISMATCH, livekit.DisconnectReason_JOIN_FAILURE,
		livekit.DisconnectReason_SIGNAL_CLOSE, livekit.DisconnectReason_CONNECTION_TIMEOUT,
		livekit.DisconnectReason_UNKNOWN_REASON:
		err = ErrConnectionLost
	default: // of a newer server
		err = ErrConnectionLost
	}
	return fmt.Errorf("%w (%s)", err, reason)
}
