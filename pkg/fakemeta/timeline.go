package fakemeta

import (
	"fmt"
	"time"
)

// Names of moments in a call's timeline, beside "state: …" for each state reached.
const (
	MomentPlaced       = "placed"                   // the user dialled, or the business' request was taken
	MomentWebhook      = "webhook"                  // an update was handed to delivery
	MomentPreAccept    = "pre_accept"               // the business pre-accepted
	MomentAccept       = "accept"                   // the business accepted
	MomentReject       = "reject"                   // the business rejected
	MomentTerminate    = "terminate"                // the business terminated
	MomentPickUp       = "user picks up"            //
	MomentDecline      = "user declines"            //
	MomentHangUp       = "user hangs up"            //
	MomentExpired      = "nobody answered"          // accept window or ringing ran out
	MomentFailed       = "failed"                   // the client or the relay gave up
	MomentMedia        = "media"                    // the media path reached a state
	MomentFirstRTP     = "first RTP from business"  //
	MomentEarly        = "answered early by media"  // RTP before accept: the caller's timer started
	MomentSpeaking     = "handset speaks"           //
	MomentBye          = "RTCP BYE"                 //
	MomentVanished     = "phone and relay vanished" //
	MomentClosed       = "media closed"             // nothing of the call is left
	MomentSDPRemark    = "SDP remark"               // accepted, but nobody has seen Meta take it
	MomentSDPRefused   = "sdp refused"              //
	MomentMediaProblem = "media problem"            //
)

// Moment is one thing that happened to a call.
type Moment struct {
	At     time.Time
	Since  time.Duration // since the call was placed
	Name   string
	Detail string
}

// String returns the moment as a line of a log.
func (m Moment) String() string {
	line := fmt.Sprintf("%8d ms  %s", m.Since.Milliseconds(), m.Name)
	if m.Detail != "" {
		line += ": " + m.Detail
	}
	return line
}

func stateMoment(s State) string { return "state: " + s.String() }

// Timeline returns what happened so far, in order.
func (c *Call) Timeline() []Moment {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]Moment(nil), c.timeline...)
}

// Moment returns the first moment of that name.
func (c *Call) Moment(name string) (Moment, bool) {
	for _, m := range c.Timeline() {
		if m.Name == name {
			return m, true
		}
	}
	return Moment{}, false
}

// note adds to the timeline and to the log.
func (c *Call) note(name, detail string) {
	c.mu.Lock()
	c.noteLocked(name, detail)
	c.mu.Unlock()
	c.logMoment(name, detail)
}

func (c *Call) noteLocked(name, detail string) {
	now := time.Now()
	c.timeline = append(c.timeline, Moment{At: now, Since: now.Sub(c.created), Name: name, Detail: detail})
}

func (c *Call) logMoment(name, detail string) {
	if detail == "" {
		c.log.Info("call", "moment", name)
		return
	}
	c.log.Info("call", "moment", name, "detail", detail)
}

// problem records what the business did wrong without being refused for it.
func (c *Call) problem(text string) {
	c.mu.Lock()
	c.problems = append(c.problems, text)
	c.mu.Unlock()
	c.note(MomentMediaProblem, text)
}
