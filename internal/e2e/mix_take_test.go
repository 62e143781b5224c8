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

// A take that the machine spoiled proves nothing, so there are many. It is the only reason for another one.
const (
	maxTakes = 10
	// calm is how long the machine must keep time before something is said again, if it does at all within maxCalms of it.
	calm     = time.Second
	maxCalms = 10
)

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
		awaitCalm(t)
	}
}

// awaitCalm waits for the machine to keep time, but not for ever.
func awaitCalm(t *testing.T) {
	t.Helper()
	for range maxCalms {
		stood := watchMachine()
		err := beat(calm)(t.Context())
		if longest := stood(); longest < standstill || err != nil {
			return
		}
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
