package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/livekit-connector/livekit-connector/pkg/fakemeta"
)

const (
	// callTimeout ends a call that hangs; a good one takes some 12 s.
	callTimeout = 60 * time.Second
	// ringFor is how long the user lets his phone ring.
	ringFor = 1500 * time.Millisecond
	// underWay is what the last words may take from one end to the other.
	underWay = 300 * time.Millisecond
	// endTimeout is how long the others may take to notice that a call is over.
	endTimeout = 30 * time.Second
	// maxTakes bounds how often a call is made anew because the machine was too busy to judge it by.
	maxTakes = 10
)

// scene is one call: placed by one side, talked in, ended by one side.
type scene struct {
	title string
	place func(context.Context) (*fakemeta.Call, error)
	end   func(context.Context, *fakemeta.Call) error
}

// play has two calls made, says how they were, and reports whether both were good. An error says that there was no
// playing on.
func (s *stage) play(ctx context.Context) (good bool, err error) {
	good = true
	for _, sc := range []scene{
		{"INBOUND CALL: a WhatsApp user calls, speaks, hears the greeting, hangs up", s.placeInbound, userHangsUp},
		{"OUTBOUND CALL: the business dials, the user picks up after 1.5 s, the business hangs up", s.placeOutbound, s.businessHangsUp},
	} {
		s.out.printf("%s\n", sc.title)
		ok, late := s.perform(ctx, sc)
		for take := 1; !ok && late > tooLate && take < maxTakes && ctx.Err() == nil; take++ {
			s.out.printf("  This machine was too busy to judge by: for %d ms it ran nothing. Once more.\n\n", late.Milliseconds())
			ok, late = s.perform(ctx, sc)
		}
		if ctx.Err() != nil {
			return false, context.Cause(ctx)
		}
		good = good && ok
	}
	if good {
		s.out.printf("demo: OK\n")
	} else {
		s.out.printf("demo: FAILED, see above; logs are in %s\n", s.folder)
	}
	return good, nil
}

// perform plays a scene, prints what became of it and says how late the machine was at worst meanwhile.
func (s *stage) perform(demo context.Context, sc scene) (ok bool, late time.Duration) {
	m := startMetronome()
	defer func() { late = m.stop() }()
	ctx, cancel := context.WithTimeoutCause(demo, callTimeout, fmt.Errorf("the call did not get on within %v", callTimeout))
	defer cancel()
	c, err := sc.place(ctx)
	switch {
	case demo.Err() != nil:
		return false, 0
	case err != nil:
		s.out.printf("  FAILED: %v\n\n", err)
		return false, 0
	}
	talked := s.talk(ctx, c)
	if err := sc.end(ctx, c); err != nil && talked == nil {
		talked = err
	}
	if demo.Err() != nil {
		return false, 0 // Ctrl-C: nobody wants to read about half a call
	}
	return s.curtain(c, talked), 0
}

func (s *stage) placeInbound(ctx context.Context) (*fakemeta.Call, error) {
	return s.meta.User(scriptedUser).Call(ctx, numberID, fakemeta.WithSpeech(s.speech.once()))
}

func (s *stage) placeOutbound(ctx context.Context) (*fakemeta.Call, error) {
	user := s.meta.User(scriptedUser)
	user.SetSpeech(s.speech.once())
	user.SetAnswering(fakemeta.Answering{PickUpAfter: ringFor})
	id, err := s.app.dial(ctx)
	if err != nil {
		return nil, err
	}
	if c := s.meta.Call(id); c != nil {
		return c, nil
	}
	return nil, errors.New("the call that the connector placed is unknown to Meta")
}

// talk returns when both ends have said everything and the last of it had time to arrive.
func (s *stage) talk(ctx context.Context, c *fakemeta.Call) error {
	if err := c.Wait(ctx, fakemeta.StateActive); err != nil {
		return fmt.Errorf("wait for the answer: %w", err)
	}
	m, err := s.greeter.waitMeeting(ctx, c.ID())
	if err != nil {
		return fmt.Errorf("wait for the agent: %w", err)
	}
	select {
	case <-m.greeted:
	case <-c.Done():
		return errors.New("the call ended during the greeting")
	case <-ctx.Done():
		return fmt.Errorf("wait for the greeting: %w", context.Cause(ctx))
	}
	if err := m.waitSpeech(ctx, breath+length(s.speech.caller)); err != nil {
		return fmt.Errorf("wait for the caller's words in the room: %w", err)
	}
	timer := time.NewTimer(underWay)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
	return nil
}

func userHangsUp(_ context.Context, c *fakemeta.Call) error { return c.HangUp() }

func (s *stage) businessHangsUp(ctx context.Context, c *fakemeta.Call) error {
	s.app.hangUp(ctx, c.ID())
	return nil
}

// curtain waits until everybody has noticed the end of a call and prints timeline and verdict. It has a time limit of
// its own, so that a call that got stuck is shown as far as it got.
func (s *stage) curtain(c *fakemeta.Call, talked error) bool {
	ctx, cancel := context.WithTimeoutCause(context.Background(), endTimeout, fmt.Errorf("not within %v", endTimeout))
	defer cancel()
	ended, m, complaints := s.awaitEnd(ctx, c)
	all := timeline(c, s.notes.about(c.ID()), ended, m)
	v := judge(s.speech, c, m)
	v.complaints = append(v.complaints, complaints...)
	v.complaints = append(v.complaints, missing(c.Direction(), all)...)
	if talked != nil {
		v.complaints = append(v.complaints, talked.Error())
	}
	s.out.printf("%s\n%s\n", table("  call ID "+c.ID(), all), v)
	return v.ok()
}

// awaitEnd waits until Meta, connector and agent are done with a call, and returns what each has to say.
func (s *stage) awaitEnd(ctx context.Context, c *fakemeta.Call) (ended logLine, m *meeting, complaints []string) {
	select {
	case <-c.Done():
	case <-ctx.Done():
		complaints = append(complaints, "the call is not over at Meta")
	}
	ended, err := s.connectorLog.waitEnd(ctx, c.ID())
	if err != nil {
		complaints = append(complaints, "the call is not over in the connector")
	}
	if m = s.greeter.meeting(c.ID()); m != nil {
		select {
		case <-m.left:
		case <-ctx.Done():
			complaints = append(complaints, "the caller is still in the room")
		}
	}
	select {
	case <-s.notes.finished(c.ID()):
	case <-ctx.Done():
		complaints = append(complaints, "the application did not hear of the end")
	}
	for _, trouble := range s.connectorLog.troubles(c.ID()) {
		complaints = append(complaints, "the connector's log: "+trouble.Message+" "+trouble.Error)
	}
	return ended, m, append(complaints, s.app.failures(c.ID())...)
}
