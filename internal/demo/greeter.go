package main

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/pion/rtp"

	"github.com/livekit-connector/livekit-connector/internal/livekittest"
)

// callIDAttribute is where the connector's participants say which call they are.
const callIDAttribute = "whatsapp.callID"

// echoDelay is how much later the agent says again what it hears.
const echoDelay = time.Second

// greeter is an agent as the frameworks have it: a worker that takes jobs and, in each, says its greeting as soon as it
// can hear the caller, and then repeats what it hears unless the job's metadata says greetOnly.
type greeter struct {
	worker   *livekittest.AgentWorker
	greeting []livekittest.Packet
	notes    *notebook
	talking  sync.WaitGroup
	cancel   context.CancelFunc

	mu       sync.Mutex          // guards all below
	meetings map[string]*meeting // by call ID
	met      chan struct{}       // closed and replaced with every meeting
}

// meeting is one call as the agent sees it.
type meeting struct {
	callID string
	caller string // identity
	agent  *livekittest.Participant
	// greeted is closed when the whole greeting was said, left when the caller is gone.
	greeted, left chan struct{}
}

// startGreeter registers a worker that says the greeting.
func startGreeter(ctx context.Context, server *livekittest.Server, greeting []int16, notes *notebook) (*greeter, error) {
	packets, err := livekittest.Encode(greeting, speechRate)
	if err != nil {
		return nil, fmt.Errorf("encode the greeting: %w", err)
	}
	g := &greeter{greeting: packets, notes: notes, meetings: make(map[string]*meeting), met: make(chan struct{})}
	if g.worker, err = server.StartAgentWorker(ctx, livekittest.AgentWorkerOptions{AgentName: agentName}); err != nil {
		return nil, err
	}
	working, cancel := context.WithCancel(context.Background())
	g.cancel = cancel
	g.talking.Go(func() { g.takeJobs(working) })
	return g, nil
}

// close takes the agent out of all rooms.
func (g *greeter) close() error {
	g.cancel()
	err := g.worker.Close()
	g.talking.Wait()
	return err
}

// takeJobs starts a conversation for every job. The worker is asked for them: calls by hand may use any room.
func (g *greeter) takeJobs(ctx context.Context) {
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for taken := 0; ; {
		jobs := g.worker.Jobs()
		for _, job := range jobs[taken:] {
			if job.Agent != nil { // else the room was gone before the agent came
				g.talking.Go(func() { g.converse(ctx, job) })
			}
		}
		taken = len(jobs)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// converse is one job. What fails in it fails because the caller or the room is gone, which others notice.
func (g *greeter) converse(ctx context.Context, job *livekittest.Job) {
	defer func() { _ = job.Agent.Leave() }()
	track, err := job.Agent.Publish(livekittest.TrackOptions{Name: "greeting"})
	if err != nil {
		return
	}
	m, err := g.meet(ctx, job)
	if err != nil {
		return
	}
	defer close(m.left)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	g.talking.Go(func() {
		if g.greet(ctx, m, track) == nil && job.Metadata != greetOnly {
			_ = echo(ctx, m)
		}
	})
	left, err := m.agent.Wait(ctx, livekittest.Is(livekittest.EventLeft, m.caller))
	if err == nil {
		g.notes.add(m.callID, left.Time, byAgent, fmt.Sprintf("the caller left (%s)", left.Reason))
	}
}

// meet waits for the caller of a job.
func (g *greeter) meet(ctx context.Context, job *livekittest.Job) (*meeting, error) {
	seen, err := job.Agent.Wait(ctx, func(e livekittest.Event) bool {
		return e.Type == livekittest.EventJoined && e.Attributes[callIDAttribute] != ""
	})
	if err != nil {
		return nil, err
	}
	m := &meeting{
		callID: seen.Attributes[callIDAttribute], caller: seen.Identity, agent: job.Agent,
		greeted: make(chan struct{}), left: make(chan struct{}),
	}
	g.notes.add(m.callID, seen.Time, byAgent, "in the room, dispatched by the call, microphone on")
	g.mu.Lock()
	defer g.mu.Unlock()
	g.meetings[m.callID] = m
	close(g.met)
	g.met = make(chan struct{})
	return m, nil
}

// greet says the greeting once the caller is heard, which is what tells an agent that the call was answered.
func (g *greeter) greet(ctx context.Context, m *meeting, track *livekittest.Track) error {
	heard, err := m.agent.Wait(ctx, livekittest.Is(livekittest.EventTrackSubscribed, m.caller))
	if err != nil {
		return err
	}
	g.notes.add(m.callID, heard.Time, byAgent, "the caller's track is here: answered; the greeting begins")
	if err := track.WaitHeard(ctx); err != nil {
		return err
	}
	if err := track.Send(ctx, g.greeting); err != nil {
		return err
	}
	close(m.greeted)
	return nil
}

// echo says again what the caller says from now on, packet by packet, echoDelay later.
func echo(ctx context.Context, m *meeting) error {
	track, err := m.agent.Publish(livekittest.TrackOptions{Name: "echo"})
	if err != nil {
		return err
	}
	begun := time.Now()
	timer := time.NewTimer(0)
	defer timer.Stop()
	repeat := func(p livekittest.HeardPacket) error {
		timer.Reset(time.Until(p.Arrived.Add(echoDelay)))
		select {
		case <-timer.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		return track.WriteRTP(&rtp.Packet{
			Header: rtp.Header{Version: 2, Marker: p.Marker, SequenceNumber: p.Sequence, Timestamp: p.Timestamp}, Payload: p.Payload,
		})
	}
	_, err = m.agent.Heard(m.caller).Wait(ctx, func(p livekittest.HeardPacket) bool {
		if p.Arrived.Before(begun) || len(p.Payload) == 0 {
			return false
		}
		return repeat(p) != nil
	})
	return err
}

// meeting returns what the agent knows of a call, nil if it never met the caller.
func (g *greeter) meeting(callID string) *meeting {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.meetings[callID]
}

// waitMeeting waits until the agent meets the caller.
func (g *greeter) waitMeeting(ctx context.Context, callID string) (*meeting, error) {
	for {
		g.mu.Lock()
		m, met := g.meetings[callID], g.met
		g.mu.Unlock()
		if m != nil {
			return m, nil
		}
		select {
		case <-met:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// heard is what the agent heard of the caller so far, at speechRate.
func (m *meeting) heard() ([]int16, error) { return m.agent.Heard(m.caller).PCM(speechRate) }

// waitSpeech returns when d of the caller's audio has come, by its own clock.
func (m *meeting) waitSpeech(ctx context.Context, d time.Duration) error {
	const clockRate = 48000
	var first *uint32
	_, err := m.agent.Heard(m.caller).Wait(ctx, func(p livekittest.HeardPacket) bool {
		if first == nil {
			first = &p.Timestamp
		}
		return p.Timestamp-*first >= uint32(d.Seconds()*clockRate)
	})
	return err
}

// firstAudio is when the first packet of the caller came; zero if none did.
func (m *meeting) firstAudio() time.Time {
	packets := m.agent.Heard(m.caller).Packets()
	i := slices.IndexFunc(packets, func(p livekittest.HeardPacket) bool { return !p.Silence })
	if i < 0 {
		return time.Time{}
	}
	return packets[i].Arrived
}
