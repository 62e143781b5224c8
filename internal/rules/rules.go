// Package rules says what becomes of a user's call: a YAML file of rules, the first of which that matches the call names its
// room, its participant and the agents to send for, or rejects it.
//
// A file is read strictly ([Parse]): an unknown key, a wrong value and a rule that no call can reach are errors, all of them
// told at once with their line. What was read does not change; [File] holds the newest that was good.
//
// # Personal data
//
// A template that names a phone number is the operator's decision: what is left out of a rule is made of random letters
// alone. Callers write some of what templates are made of (their name, a link's payload). It is cut to
// 1024 bytes, loses control characters, is escaped where the template is JSON, and in names of rooms and participants
// becomes letters, digits and few signs.
package rules

import (
	"fmt"
	"time"

	"github.com/livekit/protocol/livekit"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/livekit-connector/livekit-connector/proto/connectorpb"
)

// Call is what is known of a user's call when it comes in. Every field may be empty.
type Call struct {
	// CallID is Meta's ID of the call.
	CallID string
	// PhoneNumberID is Meta's ID of the business number that is called.
	PhoneNumberID string
	// From is the caller's number, digits only; empty if he hides it.
	From string
	// FromUserID is the caller's business-scoped user ID.
	FromUserID string
	// Name is what the caller calls himself.
	Name string
	// CTAPayload and DeeplinkPayload came with the call button or the link that he pressed.
	CTAPayload, DeeplinkPayload string
	// At is when the call came; zero means now.
	At time.Time
}

// Outcome is what to do with a call.
type Outcome struct {
	// Rule names the rule that matched; empty if none did.
	Rule string
	// Reject says not to take the call; Reason, why, in words for a log.
	Reject bool
	Reason string
	// Accept is the request to take the call, without what comes from Meta: call ID, SDP, credentials. Nil if the call is
	// not to be taken. It and Plan belong to the caller.
	Accept *livekit.AcceptWhatsAppCallRequest
	// Plan is what such a request cannot say. Nil if the call is not to be taken.
	Plan *connectorpb.CallPlan
}

// Set is the content of one rules file. It never changes.
type Set struct {
	rules []rule
}

// Len is how many rules there are.
func (s *Set) Len() int { return len(s.rules) }

// Step is what one rule says to a call.
type Step struct {
	// Rule is its name.
	Rule string
	// Miss says which condition does not hold, in words that may quote the call; empty if the rule matches.
	Miss string
}

// Explain tells of every rule up to the first that matches.
func (s *Set) Explain(c Call) []Step {
	c = c.complete()
	var steps []Step
	for i := range s.rules {
		step := Step{Rule: s.rules[i].name, Miss: s.rules[i].match.miss(&c)}
		steps = append(steps, step)
		if step.Miss == "" {
			break
		}
	}
	return steps
}

// Decide returns what the first rule that matches says. Without one the outcome has no rule, and nothing to accept.
func (s *Set) Decide(c Call) Outcome {
	c = c.complete()
	for i := range s.rules {
		if s.rules[i].match.miss(&c) == "" {
			return s.rules[i].outcome(&c)
		}
	}
	return Outcome{Reason: "no rule matches"}
}

func (c Call) complete() Call {
	if c.At.IsZero() {
		c.At = time.Now()
	}
	return c
}

// rule is one rule, checked and ready.
type rule struct {
	name   string
	match  condition
	reject bool
	reason string
	zone   *time.Location // of {date} and {time}

	room        template
	identity    template
	participant template // its name
	metadata    template
	attributes  map[string]template
	agents      []agent

	roomConfig   *livekit.RoomConfiguration // nil if the rule says nothing of it
	roomMetadata template

	wait        bool
	answerAlone bool
	ringing     *time.Duration
	maxDuration *time.Duration
	alone       *time.Duration
	country     string
}

type agent struct {
	name     string
	metadata template
}

func (r *rule) outcome(c *Call) Outcome {
	if r.reject {
		reason := r.reason
		if reason == "" {
			reason = fmt.Sprintf("rule %q rejects", r.name)
		}
		return Outcome{Rule: r.name, Reject: true, Reason: reason}
	}
	v := newValues(c, r.zone)
	accept := &livekit.AcceptWhatsAppCallRequest{
		RoomName:            r.room.render(v),
		ParticipantIdentity: r.identity.render(v),
		ParticipantName:     r.participant.render(v),
		ParticipantMetadata: r.metadata.render(v),
		DestinationCountry:  r.country,
		RingingTimeout:      protoDuration(r.ringing),
		WaitUntilAnswered:   r.wait,
	}
	if len(r.attributes) > 0 {
		accept.ParticipantAttributes = make(map[string]string, len(r.attributes))
		for key, t := range r.attributes {
			accept.ParticipantAttributes[key] = t.render(v)
		}
	}
	for _, a := range r.agents {
		accept.Agents = append(accept.Agents, &livekit.RoomAgentDispatch{AgentName: a.name, Metadata: a.metadata.render(v)})
	}
	plan := &connectorpb.CallPlan{
		Rule: r.name, MaxDuration: protoDuration(r.maxDuration), AloneTimeout: protoDuration(r.alone),
		AnswerAlone: r.answerAlone, CtaPayload: clean(c.CTAPayload, maxValue, plain), DeeplinkPayload: clean(c.DeeplinkPayload, maxValue, plain),
	}
	if r.roomConfig != nil {
		plan.Room = proto.CloneOf(r.roomConfig)
		plan.Room.Metadata = r.roomMetadata.render(v)
	}
	return Outcome{Rule: r.name, Accept: accept, Plan: plan}
}

func protoDuration(d *time.Duration) *durationpb.Duration {
	if d == nil {
		return nil
	}
	return durationpb.New(*d)
}
