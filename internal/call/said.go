package call

import "time"

// Word is one thing that Meta's webhooks say of a call.
type Word uint8

// The words. Only WordTerminated is said of inbound calls.
const (
	WordUnknown Word = iota
	// WordConnected: Meta's connect webhook came, with the SDP answer that is SetAnswer's. It tells no more than that Meta's
	// webhooks about this call reach us.
	WordConnected
	// WordRinging: the user's phone rings.
	WordRinging
	// WordAccepted: the user picked up.
	WordAccepted
	// WordRejected: the user declined.
	WordRejected
	// WordTerminated: the call is over, whoever ended it.
	WordTerminated
)

var wordNames = [...]string{"unknown", "connected", "ringing", "accepted", "rejected", "terminated"}

func (w Word) String() string {
	if int(w) < len(wordNames) {
		return wordNames[w]
	}
	return "unknown"
}

// Report is a word of Meta's with what came along. Only Word is needed.
type Report struct {
	Word Word
	// At is Meta's time of what it says, in whole seconds; zero if it gave none.
	At time.Time
	// Code and Title explain a WordTerminated of a call that failed (Meta: calling error codes). Failed says that it did,
	// also where Meta does not explain it.
	Code   int
	Title  string
	Failed bool
	// AnsweredAt and Duration come with the WordTerminated of a call that was answered, by Meta's clock, in whole
	// seconds. They are the proof that it was, also where no WordAccepted came.
	AnsweredAt time.Time
	Duration   time.Duration
}

// Said is what Meta has said of a call. The times are when we heard it; zero means that we did not.
type Said struct {
	ConnectedAt, RingingAt, AcceptedAt, RejectedAt, TerminatedAt time.Time

	// Meta is when it happened by Meta's clock, as far as Meta told.
	Meta MetaTimes

	// Of the WordTerminated.
	Code       int
	Title      string
	Failed     bool
	AnsweredAt time.Time
	Duration   time.Duration
}

// MetaTimes are by Meta's clock, in whole seconds. Zero means that Meta did not say.
type MetaTimes struct {
	Ringing, Accepted, Rejected, Terminated time.Time
}

// nothing says that no webhook about the call has reached us.
func (s *Said) nothing() bool {
	return s.ConnectedAt.IsZero() && s.RingingAt.IsZero() && s.AcceptedAt.IsZero() && s.RejectedAt.IsZero() && s.TerminatedAt.IsZero()
}

// answered says whether the user picked up, by Meta's account.
func (s *Said) answered() bool {
	return !s.AcceptedAt.IsZero() || !s.AnsweredAt.IsZero() || s.Duration > 0
}

// pickedUp is the best guess at when that was in a call that began and is over, zero if it was not. Meta's clock is another
// than ours, so its time may lie outside.
func (s *Said) pickedUp(begun, over time.Time) time.Time {
	at := s.AnsweredAt
	switch {
	case !s.answered():
		return time.Time{}
	case !at.IsZero():
	case !s.AcceptedAt.IsZero():
		at = s.AcceptedAt
	default:
		at = over.Add(-s.Duration)
	}
	switch {
	case at.Before(begun):
		return begun
	case at.After(over):
		return over
	default:
		return at
	}
}

// Said returns what Meta has said so far.
func (c *Call) Said() Said {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.said
}

// Report tells the call what a webhook said of it. Meta repeats and reorders its webhooks, so each word counts once,
// whenever it comes, and one that no longer fits is only remembered. It may be called before Run and after the end.
func (c *Call) Report(r Report) {
	said, first := c.remember(r)
	if !first {
		return
	}
	switch r.Word {
	case WordRinging:
		c.ring()
	case WordAccepted:
		if !said.TerminatedAt.IsZero() {
			c.End(c.terminated(&said), nil) // before anybody takes the pick-up for the beginning of a talk
		}
		close(c.accepted)
	case WordRejected:
		if c.opts.Direction == Outbound && !said.answered() && !c.Answered() {
			c.End(ReasonRejected, nil)
		}
	case WordTerminated:
		if reason := c.terminated(&said); reason != ReasonUnanswered {
			c.End(reason, nil)
		}
		c.overAtMeta() // and if nobody has said yet whether the user declined, watch waits for that
	default:
	}
}

// remember notes a word, unless it was said before: a second WordTerminated changes no duration.
func (c *Call) remember(r Report) (said Said, first bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := &c.said
	var heard, meta *time.Time
	switch r.Word {
	case WordConnected:
		heard, meta = &s.ConnectedAt, new(time.Time)
	case WordRinging:
		heard, meta = &s.RingingAt, &s.Meta.Ringing
	case WordAccepted:
		heard, meta = &s.AcceptedAt, &s.Meta.Accepted
	case WordRejected:
		heard, meta = &s.RejectedAt, &s.Meta.Rejected
	case WordTerminated:
		heard, meta = &s.TerminatedAt, &s.Meta.Terminated
	default:
		return c.said, false
	}
	if !heard.IsZero() {
		return c.said, false
	}
	*heard, *meta = time.Now(), r.At
	if r.Word == WordTerminated {
		s.Code, s.Title, s.Failed, s.AnsweredAt, s.Duration = r.Code, r.Title, r.Failed, r.AnsweredAt, r.Duration
	}
	return c.said, true
}

// The codes by which Meta explains the end of a call (Meta: calling troubleshooting).
const (
	codeConnectTimeout   = 138007 // the business answered, or applied the SDP, too late
	codeClientSetup      = 138019 // the WhatsApp client failed to set the call up
	codeClientUnreached  = 138020 // the client could not reach the relay
	codeNothingReceived  = 138021 // the client received no media for long
	codeClientSentNone   = 138022 // the client sent no media for long
	codeNoMediaSignalled = 138023 // answered, and ended without a sign of media
)

// terminated names the end that Meta speaks of.
func (c *Call) terminated(said *Said) Reason {
	switch said.Code {
	case 0:
		if said.Failed {
			return ReasonMetaFailed
		}
	case codeConnectTimeout:
		return ReasonMetaTimeout
	case codeClientSetup, codeClientUnreached, codeClientSentNone:
		return ReasonClientFailed
	case codeNothingReceived, codeNoMediaSignalled:
		return ReasonMediaNotReceived
	default:
		return ReasonMetaFailed
	}
	if c.opts.Direction == Outbound && !c.Answered() && !said.answered() {
		if !said.RejectedAt.IsZero() {
			return ReasonRejected
		}
		return ReasonUnanswered
	}
	return ReasonUserHangup
}

// ring says that the phone rings, as far as we know.
func (c *Call) ring() { c.ringOnce.Do(func() { close(c.rang) }) }
