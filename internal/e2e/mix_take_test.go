package e2e_test

import (
	"testing"
	"time"
)

// standstill is how long the machine may leave this process alone before what was said is judged anew. A jitter buffer bridges
// what a network does to packets; a process that does not run hears and says nothing for so long, and neither does it when
// its neighbours compile. What is decoded is held back for 10 ms on a network as good as this one (docs/audio.md), so a
// little more is a hole that a listener hears.
const standstill = 15 * time.Millisecond

// maxTakes bounds how often something is said again.
const maxTakes = 4

// takes lets something be said and judged. What was not heard well while the machine stood still is said again: everything
// else that goes wrong is a fault. problem is empty if all was heard; it names the take, from 1.
func takes(t *testing.T, say func(take int) (problem string)) {
	t.Helper()
	for n := 1; ; n++ {
		stood := watchMachine()
		problem := say(n)
		longest := stood()
		switch {
		case problem == "":
			return
		case longest < standstill || n == maxTakes:
			t.Fatalf("take %d, the machine stood still for %v: %s", n, longest, problem)
		}
		t.Logf("take %d again, the machine stood still for %v: %s", n, longest, problem)
	}
}

// watchMachine measures until the returned function is called how late a timer gets at most.
func watchMachine() (longest func() time.Duration) {
	const step = 5 * time.Millisecond
	quit, done := make(chan struct{}), make(chan time.Duration)
	go func() {
		var late time.Duration
		timer := time.NewTimer(step)
		defer timer.Stop()
		for before := time.Now(); ; {
			select {
			case <-timer.C:
				now := time.Now()
				late = max(late, now.Sub(before)-step)
				before = now
				timer.Reset(step)
			case <-quit:
				done <- late
				return
			}
		}
	}()
	return func() time.Duration { close(quit); return <-done }
}
