package soak

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/livekit/protocol/auth"
	"github.com/livekit/protocol/livekit"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/livekit-connector/livekit-connector/bench/speech"
	"github.com/livekit-connector/livekit-connector/internal/livekittest"
	"github.com/livekit-connector/livekit-connector/pkg/fakemeta"
)

// How long things may take before a call counts as failed. They bound, they do not judge.
const (
	joinTimeout = 20 * time.Second
	setUpWithin = 25 * time.Second
	// endWithin is more than the longest that the connector takes by itself: media_timeout of 30 s, alone_timeout of 20 s.
	endWithin    = 60 * time.Second
	recordWithin = 15 * time.Second
	ringFor      = 5 * time.Second // ringing_timeout of calls that nobody answers
	leastTalk    = 4 * time.Second // also when no more calls are wanted
)

// Outcome is what became of one call.
type Outcome struct {
	Kind string `json:"kind"`
	// Problem says what went another way than planned, empty if nothing did.
	Problem string `json:"problem,omitempty"`
	// Reason is the connector's, Talked how long both talked, seconds.
	Reason string  `json:"reason,omitempty"`
	Talked float64 `json:"talked,omitempty"`
	Mixed  bool    `json:"mixed,omitempty"`
	// Lost packets of a bad network.
	Lost uint64 `json:"lost,omitempty"`
	// Listened says that it was listened to, Heard what became of the voice that fared worst, and Unheard which were not
	// heard well.
	Listened bool   `json:"listened,omitempty"`
	Heard    Class  `json:"heard,omitempty"`
	Unheard  string `json:"unheard,omitempty"`
}

// life is one call while it is made, goes on and ends.
type life struct {
	*stage
	plan
	user, room string
	phone      *fakemeta.Call
	// people in the room; the first of them listens.
	people  []*livekittest.Participant
	sayings []*saying // of people
	// speaking is done when they shall be silent; talking are those that speak.
	speaking context.Context //nolint:containedctx // of goroutines that a life owns
	hush     context.CancelFunc
	talking  sync.WaitGroup
	began    time.Time // when it was answered
	ended    time.Time
}

// saying is a clip that somebody in the room plays over and over.
type saying struct {
	clip *speech.Clip
	// begun is each time that it began, talking alone changes it.
	begun []time.Time
}

// live makes one call and tells what became of it. When stopping is done the call ends as it would have later.
func (s *stage) live(stopping context.Context, n int, p plan, listen bool) (o Outcome) {
	// What was begun is ended in its way: a call is bounded by its own times.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(stopping), joinTimeout+setUpWithin+p.talk+endWithin+recordWithin)
	defer cancel()
	user := strconv.Itoa(firstUser + n)
	l := &life{stage: s, plan: p, user: user, room: roomOf(user)}
	l.speaking, l.hush = context.WithCancel(ctx)
	o = Outcome{Kind: p.name, Mixed: p.voices > 1 && p.end.talks()}
	defer l.leave()
	if err := l.run(ctx, stopping, &o); err != nil {
		o.Problem = err.Error()
		if l.phone != nil {
			_ = l.phone.HangUp() // whatever it was, it shall not stay
		}
	}
	if l.phone != nil {
		o.Lost = s.dismantle(user, l.phone.ID())
	}
	if o.Problem == "" && p.end.talks() {
		if o.Problem = l.delivered(); o.Problem == "" && listen && l.ended.Sub(l.began) >= listenTo {
			l.silence()
			var err error
			if o.Heard, o.Unheard, err = l.listen(); err != nil {
				o.Problem = err.Error()
			} else {
				o.Listened = true
			}
		}
	}
	return o
}

func (l *life) run(ctx, stopping context.Context, o *Outcome) error {
	if l.end != givesUp {
		if err := l.gather(ctx); err != nil {
			return err
		}
	}
	if l.lossy {
		l.degrade(l.user)
	}
	if err := l.place(ctx); err != nil || l.phone == nil {
		return err
	}
	if l.end.talks() {
		if err := l.talkTo(ctx, stopping); err != nil {
			return err
		}
		o.Talked = l.ended.Sub(l.began).Seconds()
	} else if err := l.waver(ctx); err != nil {
		return err
	}
	if err := over(ctx, l.phone); err != nil {
		return err
	}
	var err error
	if o.Reason, err = l.reason(ctx); err != nil {
		return err
	}
	if !slices.Contains(l.reasons, o.Reason) {
		return fmt.Errorf("the connector says %q, not one of %q", o.Reason, l.reasons)
	}
	return nil
}

// gather puts people into the room, who speak all the time.
func (l *life) gather(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, joinTimeout)
	defer cancel()
	clips := []*speech.Clip{l.options.voices.Agent, l.options.voices.Other}
	for i := range l.voices {
		options := livekittest.ParticipantOptions{Room: l.room, Identity: fmt.Sprintf("agent-%d", i+1), Deaf: i > 0, Kind: livekit.ParticipantInfo_AGENT}
		p, err := l.liveKit.Join(ctx, options)
		if err != nil {
			return fmt.Errorf("join the agent: %w", err)
		}
		l.people = append(l.people, p)
		track, err := p.Publish(livekittest.TrackOptions{})
		if err != nil {
			return fmt.Errorf("publish the agent's track: %w", err)
		}
		packets := packetsOf(clips[i])
		said := &saying{clip: clips[i]}
		l.sayings = append(l.sayings, said)
		l.talking.Go(func() {
			for {
				said.begun = append(said.begun, time.Now())
				if track.Send(l.speaking, packets) != nil {
					return
				}
			}
		})
	}
	return nil
}

func packetsOf(c *speech.Clip) []livekittest.Packet {
	packets := make([]livekittest.Packet, len(c.Packets))
	for i := range packets {
		packets[i] = livekittest.Packet{Payload: c.Packets[i], Level: c.Levels[i]}
	}
	return packets
}

// place makes the call. Without error there is none only if it was to fail.
func (l *life) place(ctx context.Context) (err error) {
	user := l.meta.User(l.user)
	if !l.way.dialled() {
		if l.phone, err = user.Call(ctx, l.way.number()); err != nil {
			return fmt.Errorf("place the call: %w", err)
		}
		if l.end == acceptFails {
			// The agent's track has to be heard of before the connector accepts, so this is in time.
			l.meta.Fail(fakemeta.Fault{Action: "accept", CallID: l.phone.ID(), Times: -1, HTTPStatus: http.StatusInternalServerError})
		}
		return nil
	}
	request := &livekit.DialWhatsAppCallRequest{
		WhatsappPhoneNumberId: l.way.number(), WhatsappToPhoneNumber: l.user, WhatsappApiKey: graphToken, WhatsappCloudApiVersion: graphVersion,
		RoomName: l.room, ParticipantIdentity: callerIdentity,
	}
	switch l.end {
	case rejected:
		user.SetAnswering(fakemeta.Answering{RejectAfter: l.ask})
	case unanswered:
		request.RingingTimeout = durationpb.New(ringFor)
	default:
		user.SetAnswering(fakemeta.Answering{PickUpAfter: l.ask})
	}
	if l.end == dialFails {
		l.dialling.Lock()
		defer l.dialling.Unlock()
		l.meta.Fail(fakemeta.Fault{Action: "connect", Times: 1, HTTPStatus: http.StatusInternalServerError})
	} else {
		l.dialling.RLock()
		defer l.dialling.RUnlock()
	}
	res, err := l.sdk.DialWhatsAppCall(ctx, request)
	switch {
	case l.end == dialFails && err == nil:
		return errors.New("the dial was taken although Graph failed")
	case l.end == dialFails:
		return nil
	case err != nil:
		return fmt.Errorf("dial: %w", err)
	}
	if l.phone = l.meta.Call(res.GetWhatsappCallId()); l.phone == nil {
		return errors.New("the dialled call is not at Meta")
	}
	return nil
}

// talkTo waits until the call is answered, lets both sides talk, and ends it.
func (l *life) talkTo(ctx, stopping context.Context) error {
	setUp, cancel := context.WithTimeout(ctx, setUpWithin)
	defer cancel()
	if err := l.phone.Wait(setUp, fakemeta.StateActive); err != nil {
		return fmt.Errorf("wait for the answer: %w", err)
	}
	l.began = time.Now()
	timer := time.NewTimer(l.talk)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-stopping.Done():
		pause(ctx, leastTalk-time.Since(l.began)) // who hangs up at once may not have been heard to pick up
	case <-l.phone.Done():
		return fmt.Errorf("it ended by itself after %v: %s", time.Since(l.began).Round(time.Second), endOf(l.phone))
	}
	l.ended = time.Now()
	return l.finish(ctx)
}

func (l *life) finish(ctx context.Context) error {
	switch l.end { //nolint:exhaustive // the others never talk
	case userHangsUp:
		return l.phone.HangUp()
	case businessHangsUp:
		_, err := l.sdk.DisconnectWhatsAppCall(ctx, &livekit.DisconnectWhatsAppCallRequest{
			WhatsappCallId: l.phone.ID(), WhatsappApiKey: graphToken,
		})
		return err
	case agentLeaves:
		for _, p := range l.people {
			_ = p.Leave() // once more later, which does nothing
		}
		return nil
	case roomDeleted:
		return l.liveKit.DeleteRoom(ctx, l.room)
	case participantRemoved:
		return l.liveKit.RemoveParticipant(ctx, l.room, callerIdentity)
	case vanishes:
		l.phone.Vanish()
	}
	return nil
}

// waver is a call that is not answered: its user gives up, or nothing has to be done.
func (l *life) waver(ctx context.Context) error {
	if l.end != givesUp {
		return nil
	}
	timer := time.NewTimer(l.ask)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
	return l.phone.HangUp()
}

// over waits until nothing of a call is left at Meta.
func over(ctx context.Context, c *fakemeta.Call) error {
	timer := time.NewTimer(endWithin)
	defer timer.Stop()
	select {
	case <-c.Done():
		return nil
	case <-timer.C:
		return errors.New("it is still there at Meta")
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func endOf(c *fakemeta.Call) string {
	r := c.Report()
	return fmt.Sprintf("by %s, code %d, problems %v", r.EndedBy, r.ErrorCode, r.Problems)
}

// reason asks the connector why the call ended.
func (l *life) reason(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, recordWithin)
	defer cancel()
	token, err := auth.NewAccessToken(l.liveKit.APIKey(), l.liveKit.APISecret()).
		SetVideoGrant(&auth.VideoGrant{RoomList: true}).SetValidFor(time.Minute).ToJWT()
	if err != nil {
		return "", fmt.Errorf("sign token: %w", err)
	}
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		record, err := l.record(ctx, token)
		if err == nil && record.State == "ended" {
			return record.EndReason, nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return "", fmt.Errorf("the connector does not say why it ended, its state is %q: %w", record.State, errors.Join(err, context.Cause(ctx)))
		}
	}
}

type callRecord struct {
	State     string `json:"state"`
	EndReason string `json:"endReason"`
}

func (l *life) record(ctx context.Context, token string) (r callRecord, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, l.bridge.api+"/connector/v1/calls/"+url.PathEscape(l.phone.ID()), http.NoBody)
	if err != nil {
		return r, err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return r, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return r, fmt.Errorf("the connector's record of the call: %s", res.Status)
	}
	return r, json.NewDecoder(res.Body).Decode(&r)
}

// silence returns when nobody speaks in the room any more.
func (l *life) silence() {
	l.hush()
	l.talking.Wait()
}

// leave takes everybody out of the room.
func (l *life) leave() {
	l.silence()
	for _, p := range l.people {
		_ = p.Leave() // the room may be gone
	}
}
