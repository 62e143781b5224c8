package rig

import (
	"context"
	"errors"
	"sync"

	"github.com/livekit-connector/livekit-connector/bench/speech"
	"github.com/livekit-connector/livekit-connector/pkg/fakemeta"
)

// Voices are what is said in a call: by the phone, by the agent in the room, and by another one there.
type Voices struct{ Caller, Agent, Other *speech.Clip }

// LoadVoices encodes them.
func LoadVoices() (v Voices, err error) {
	var errs [3]error
	v.Caller, errs[0] = speech.Caller(speech.CallerFile)
	v.Agent, errs[1] = speech.Participant(speech.AgentFile)
	v.Other, errs[2] = speech.Participant(speech.CallerFile)
	return v, errors.Join(errs[:]...)
}

// Answer hands what Meta tells of the calls of one phone number over to handle, as an application's webhook does, each event
// on a goroutine of its own. It goes on until stop is called, which waits for them; their context is done then, or with ctx.
func Answer(ctx context.Context, meta *fakemeta.Server, number string, handle func(context.Context, fakemeta.CallEvent)) (stop func()) {
	events := meta.Events()
	ctx, cancel := context.WithCancel(ctx)
	var working sync.WaitGroup
	working.Go(func() {
		for {
			e, err := events.Next(ctx)
			if err != nil {
				return
			}
			if e.PhoneNumberID != number {
				continue
			}
			for _, c := range e.Calls() {
				working.Go(func() { handle(ctx, c) })
			}
		}
	})
	return func() {
		cancel()
		events.Close()
		working.Wait()
	}
}
