package call

import "fmt"

// Reason is why a call ended: a closed set, fit for a metric label.
type Reason uint8

// The reasons. Each is told what it means for Meta, for the participant and for the statistics by its verdict.
const (
	ReasonUnknown Reason = iota
	// ReasonUserHangup: the WhatsApp user hung up an answered call, or a ringing inbound one.
	ReasonUserHangup
	// ReasonRejected: the WhatsApp user ended an outbound call before answering it.
	ReasonRejected
	// ReasonNoAnswer: nobody picked up an outbound call in time.
	ReasonNoAnswer
	// ReasonNoSDPAnswer: Meta's SDP answer for an outbound call never came.
	ReasonNoSDPAnswer
	// ReasonBusinessHangup: the application asked for the end.
	ReasonBusinessHangup
	// ReasonRoomDeleted: the room was deleted or closed.
	ReasonRoomDeleted
	// ReasonParticipantRemoved: somebody removed the caller's participant from the room.
	ReasonParticipantRemoved
	// ReasonDuplicateIdentity: another participant joined the room under the same identity.
	ReasonDuplicateIdentity
	// ReasonRoomNotReady: nobody in the room was ready to talk in time.
	ReasonRoomNotReady
	// ReasonRoomJoinFailed: the room could not be joined, or the track not published.
	ReasonRoomJoinFailed
	// ReasonRoomLost: the connection to LiveKit was lost for good.
	ReasonRoomLost
	// ReasonMetaRefused: Meta answered one of our requests with an error.
	ReasonMetaRefused
	// ReasonConnectFailed: ICE or DTLS with Meta did not come up in time.
	ReasonConnectFailed
	// ReasonMetaClosed: Meta closed the media connection: the user hung up, and nobody told us yet.
	ReasonMetaClosed
	// ReasonMetaClosedUnanswered: Meta closed the media connection of an outbound call that nobody had answered.
	ReasonMetaClosedUnanswered
	// ReasonMediaLost: the media connection to Meta broke.
	ReasonMediaLost
	// ReasonMediaTimeout: Meta sent nothing for too long; found by the sweeper.
	ReasonMediaTimeout
	// ReasonSetupTimeout: setting up took longer than the requester waits.
	ReasonSetupTimeout
	// ReasonStuck: the call was past a state's last deadline; found by the sweeper.
	ReasonStuck
	// ReasonUnanswered: Meta ended an outbound call that was neither picked up nor declined.
	ReasonUnanswered
	// ReasonMediaNotReceived: Meta ended the call because the user's phone received nothing of ours.
	ReasonMediaNotReceived
	// ReasonClientFailed: Meta ended the call because the user's phone could not set it up, or sent nothing.
	ReasonClientFailed
	// ReasonMetaTimeout: Meta ended the call because we were not ready in time.
	ReasonMetaTimeout
	// ReasonMetaFailed: Meta ended the call for another failure, which its error code tells.
	ReasonMetaFailed
	// ReasonLeftAlone: everybody whom the caller could talk with had left the room for too long.
	ReasonLeftAlone
	// ReasonMaxDuration: the call reached its longest allowed duration.
	ReasonMaxDuration
	// ReasonShutdown: the node is going down.
	ReasonShutdown
	// ReasonInternal: a mistake of the program, of which the log has the stack.
	ReasonInternal
)

// Result is the class of a reason, for service level indicators: only server errors are ours.
type Result string

// The result classes.
const (
	ResultSuccess       Result = "success"
	ResultClientError   Result = "client_error"
	ResultServerError   Result = "server_error"
	ResultUpstreamError Result = "upstream_error"
	ResultIndeterminate Result = "indeterminate"
)

// Departure is what the participant's leaving tells the room. LiveKit's agents end their session on the first two.
type Departure uint8

// The departures.
const (
	// DepartNormal is a hang-up.
	DepartNormal Departure = iota
	// DepartRejected is a callee who declined.
	DepartRejected
	// DepartUnavailable is a callee who did not answer.
	DepartUnavailable
)

// verdict is everything that follows from a reason.
type verdict struct {
	name      string
	result    Result
	departure Departure
	// overAtMeta is set if Meta ended the call, so that nothing has to be said there.
	overAtMeta bool
	// reaped is set if we noticed by ourselves that a call was left behind.
	reaped bool
}

var verdicts = [...]verdict{
	ReasonUnknown:              {name: "unknown", result: ResultIndeterminate},
	ReasonUserHangup:           {name: "user_hangup", result: ResultSuccess, overAtMeta: true},
	ReasonRejected:             {name: "rejected", result: ResultClientError, departure: DepartRejected, overAtMeta: true},
	ReasonNoAnswer:             {name: "no_answer", result: ResultClientError, departure: DepartUnavailable},
	ReasonNoSDPAnswer:          {name: "no_sdp_answer", result: ResultClientError, departure: DepartUnavailable},
	ReasonBusinessHangup:       {name: "business_hangup", result: ResultSuccess},
	ReasonRoomDeleted:          {name: "room_deleted", result: ResultSuccess},
	ReasonParticipantRemoved:   {name: "participant_removed", result: ResultSuccess},
	ReasonDuplicateIdentity:    {name: "duplicate_identity", result: ResultClientError},
	ReasonRoomNotReady:         {name: "room_not_ready", result: ResultClientError},
	ReasonRoomJoinFailed:       {name: "room_join_failed", result: ResultServerError},
	ReasonRoomLost:             {name: "room_lost", result: ResultServerError, reaped: true},
	ReasonMetaRefused:          {name: "meta_refused", result: ResultUpstreamError},
	ReasonConnectFailed:        {name: "connect_failed", result: ResultIndeterminate},
	ReasonMetaClosed:           {name: "meta_closed", result: ResultSuccess},
	ReasonMetaClosedUnanswered: {name: "meta_closed_unanswered", result: ResultClientError, departure: DepartRejected},
	ReasonMediaLost:            {name: "media_lost", result: ResultIndeterminate, reaped: true},
	ReasonMediaTimeout:         {name: "media_timeout", result: ResultIndeterminate, reaped: true},
	ReasonSetupTimeout:         {name: "setup_timeout", result: ResultIndeterminate},
	ReasonStuck:                {name: "stuck", result: ResultServerError, reaped: true},
	ReasonUnanswered:           {name: "unanswered", result: ResultClientError, departure: DepartUnavailable, overAtMeta: true},
	ReasonMediaNotReceived:     {name: "media_not_received", result: ResultIndeterminate, overAtMeta: true},
	ReasonClientFailed:         {name: "client_failed", result: ResultClientError, overAtMeta: true},
	ReasonMetaTimeout:          {name: "meta_timeout", result: ResultIndeterminate, overAtMeta: true},
	ReasonMetaFailed:           {name: "meta_failed", result: ResultUpstreamError, overAtMeta: true},
	ReasonLeftAlone:            {name: "left_alone", result: ResultSuccess},
	ReasonMaxDuration:          {name: "max_duration", result: ResultSuccess},
	ReasonShutdown:             {name: "shutdown", result: ResultSuccess},
	ReasonInternal:             {name: "internal_error", result: ResultServerError},
}

// Reasons are all the values that a reason takes, for label sets.
func Reasons() []Reason {
	all := make([]Reason, len(verdicts))
	for i := range verdicts {
		all[i] = Reason(i)
	}
	return all
}

func (r Reason) verdict() verdict {
	if int(r) < len(verdicts) {
		return verdicts[r]
	}
	return verdicts[ReasonUnknown]
}

func (r Reason) String() string { return r.verdict().name }

// Result is the class that the reason counts in.
func (r Reason) Result() Result { return r.verdict().result }

// Departure is how the participant leaves the room.
func (r Reason) Departure() Departure { return r.verdict().departure }

// Reaped says whether the call was found left behind rather than ended by somebody.
func (r Reason) Reaped() bool { return r.verdict().reaped }

// EndError is why a call ended. Err may be nil.
type EndError struct {
	Reason Reason
	Err    error
}

func (e *EndError) Error() string {
	if e.Err == nil {
		return fmt.Sprintf("call ended: %s", e.Reason)
	}
	return fmt.Sprintf("call ended: %s: %v", e.Reason, e.Err)
}

// Unwrap returns the cause behind the reason.
func (e *EndError) Unwrap() error { return e.Err }
