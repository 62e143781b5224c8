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
	away    bool          // nobody can tell: there is no connection
	changed chan struct{} // closed and replaced when present or away changes
}

// Company is whether somebody is in the room with whom the caller could talk.
type Company struct {
	// Present says that somebody is there, Met that somebody ever was.
	Present, Met bool
	// Away says that the leg is without LiveKit: the others are as it saw them last.
	Away bool
}

// set tells who is there as the connection has it.
func (c *company) set(present bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.changeLocked(present, false)
}

// lose tells that the connection is away.
func (c *company) lose() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.changeLocked(c.present, true)
}

func (c *company) changeLocked(present, away bool) {
	if present == c.present && away == c.away {
		return
	}
	c.present, c.met, c.away = present, c.met || present, away
	close(c.changed)
	c.changed = make(chan struct{})
}

// Company says who is there. changed is closed when that changes.
func (l *Leg) Company() (now Company, changed <-chan struct{}) {
	c := &l.company
	c.mu.Lock()
	defer c.mu.Unlock()
	return Company{Present: c.present, Met: c.met, Away: c.away}, c.changed
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
