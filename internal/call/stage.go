package call

import "time"

// Stage is a step in a call's life: the entries of its timeline.
type Stage uint8

// The stages, in the order in which they usually come.
const (
	StageUnknown Stage = iota
	// StageRequested: the request that made the call arrived.
	StageRequested
	// StageDescribed: our SDP is ready.
	StageDescribed
	// StageDialed: Meta took our offer (outbound).
	StageDialed
	// StageJoining: joining the room began.
	StageJoining
	// StageRoomJoined: the participant is in the room.
	StageRoomJoined
	// StagePreAccepted: Meta has our answer.
	StagePreAccepted
	// StageAnswer: we have Meta's answer (outbound).
	StageAnswer
	// StageRinging: the phone rings, as far as we know (outbound).
	StageRinging
	// StageICE: ICE has a path to Meta.
	StageICE
	// StageConnected: ICE and DTLS with Meta are up.
	StageConnected
	// StageRoomReady: somebody in the room can talk with the caller.
	StageRoomReady
	// StageAnswered: Meta took our accept, or the user picked up; the gate for audio is open from here on.
	StageAnswered
	// StagePublished: the caller's track is in the room.
	StagePublished
	// StageHeard: somebody in the room subscribed to the caller's track.
	StageHeard
	// StageFirstAudio: the first audio packet came from Meta.
	StageFirstAudio
	// StageFirstToRoom: the first of them went into the room.
	StageFirstToRoom
	// StageFirstRoomAudio: the first packet of a track of the room came.
	StageFirstRoomAudio
	// StageFirstToMeta: the first packet went to Meta, be it silence.
	StageFirstToMeta
	// StageLastAudio: the last audio packet came from Meta. Known when the call is over.
	StageLastAudio
	// StageLastRoomAudio: the last packet of a track of the room came. Known when the call is over.
	StageLastRoomAudio
	// StageEnded: the call had a reason to end, and was silent from here on.
	StageEnded
	// StageRoomLeft: the participant is out of the room.
	StageRoomLeft
	// StageTold: Meta knows of the end, or will not hear of it from us.
	StageTold
)

// stageFacts say what there is to know of a stage.
var stageFacts = [...]struct {
	name string
	// setup is set for what brings a call about: those stages are measured.
	setup bool
}{
	StageUnknown:        {name: "unknown"},
	StageRequested:      {name: "requested"},
	StageDescribed:      {name: "sdp_made"},
	StageDialed:         {name: "dialed"},
	StageJoining:        {name: "room_joining"},
	StageRoomJoined:     {name: "room_joined", setup: true},
	StagePreAccepted:    {name: "pre_accepted", setup: true},
	StageAnswer:         {name: "sdp_answer", setup: true},
	StageRinging:        {name: "ringing", setup: true},
	StageICE:            {name: "ice", setup: true},
	StageConnected:      {name: "connected", setup: true},
	StageRoomReady:      {name: "room_ready", setup: true},
	StageAnswered:       {name: "answered", setup: true},
	StagePublished:      {name: "published", setup: true},
	StageHeard:          {name: "subscribed"},
	StageFirstAudio:     {name: "first_audio", setup: true},
	StageFirstToRoom:    {name: "first_to_room"},
	StageFirstRoomAudio: {name: "first_room_audio"},
	StageFirstToMeta:    {name: "first_to_meta"},
	StageLastAudio:      {name: "last_audio"},
	StageLastRoomAudio:  {name: "last_room_audio"},
	StageEnded:          {name: "ended"},
	StageRoomLeft:       {name: "room_left"},
	StageTold:           {name: "told_meta"},
}

func (s Stage) String() string {
	if int(s) < len(stageFacts) {
		return stageFacts[s].name
	}
	return "unknown"
}

// Stages are those that an Observer hears of, for label sets.
func Stages() []Stage {
	var all []Stage
	for s, f := range stageFacts {
		if f.setup {
			all = append(all, Stage(s))
		}
	}
	return all
}

// AllStages are all that a timeline may hold.
func AllStages() []Stage {
	all := make([]Stage, 0, len(stageFacts)-1)
	for s := StageRequested; int(s) < len(stageFacts); s++ {
		all = append(all, s)
	}
	return all
}

// Mark is when a stage was reached.
type Mark struct {
	Stage Stage
	At    time.Time
}
