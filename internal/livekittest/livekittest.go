// Package livekittest runs a real livekit-server on loopback and puts participants into its rooms.
//
// A [Server] is a child process on ports of its own. A [Participant] is a client of LiveKit's Go SDK that says known
// audio, records what it hears and keeps a log of everything that happened. An [AgentWorker] registers like an agent
// framework does, takes jobs and joins their rooms. Tests and the demo use all of them; nothing here is mocked.
//
// LiveKit's SDK gathers no loopback candidates, so the machine needs one more network interface that is up. No packet
// leaves the machine: the server announces 127.0.0.1 only.
package livekittest

import (
	"context"
	"slices"
	"sync"
)

// journal is an append-only list that can be waited on.
type journal[T any] struct {
	mu      sync.Mutex
	entries []T
	grown   chan struct{} // closed and replaced at every append
}

func newJournal[T any]() *journal[T] {
	return &journal[T]{grown: make(chan struct{})}
}

func (j *journal[T]) append(entry T) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.entries = append(j.entries, entry)
	close(j.grown)
	j.grown = make(chan struct{})
}

// snapshot returns the entries from index on and a channel that is closed when there are more.
func (j *journal[T]) snapshot(from int) ([]T, <-chan struct{}) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.entries[from:]), j.grown
}

// wait returns the first entry, old or new, that match accepts.
func (j *journal[T]) wait(ctx context.Context, match func(T) bool) (T, error) {
	seen := 0
	for {
		entries, grown := j.snapshot(seen)
		for _, entry := range entries {
			if match(entry) {
				return entry, nil
			}
		}
		seen += len(entries)
		select {
		case <-grown:
		case <-ctx.Done():
			var zero T
			return zero, context.Cause(ctx)
		}
	}
}
