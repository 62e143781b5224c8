package roomleg

import (
	"sync"

	"github.com/livekit/protocol/livekit"
	lksdk "github.com/livekit/server-sdk-go/v2"
)

// company is whether somebody is in the room with whom the caller could talk.
type company struct {
	mu      sync.Mutex // guards the following fields
	present bool
	met     bool          // somebody was present once
	changed chan struct{} // closed and replaced when present changes
}

func (c *company) set(present bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if present == c.present {
		return
	}
	c.present, c.met = present, true // the first change is somebody's coming
	close(c.changed)
	c.changed = make(chan struct{})
}

// Company says whether somebody is in the room with whom the caller could talk, and whether somebody ever was. changed is
// closed when the former changes. While the leg is without LiveKit nothing changes.
func (l *Leg) Company() (present, met bool, changed <-chan struct{}) {
	l.company.mu.Lock()
	defer l.company.mu.Unlock()
	return l.company.present, l.company.met, l.company.changed
}

// canTalk tells agents, people and telephones from those who are there to record, to listen or to play something.
func canTalk(p *lksdk.RemoteParticipant) bool {
	switch livekit.ParticipantInfo_Kind(p.Kind()) {
	case livekit.ParticipantInfo_EGRESS, livekit.ParticipantInfo_INGRESS:
		return false
	default:
	}
	permission := p.Permissions()
	return permission == nil || permission.GetCanPublish()
}
