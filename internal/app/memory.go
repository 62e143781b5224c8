package app

import (
	"os"
	"runtime/debug"
)

// gcPercent is how much the heap may grow, in percent of what is live, before it is collected, unless the environment's
// GOGC says otherwise. What a call keeps is mostly Pion's and LiveKit's; what it throws away is little since packets
// pass without allocations. So Go's 100 has memory lie waiting for garbage that hardly comes: at 50 a relayed call takes a
// fifth less, and no more CPU that could be measured (docs/benchmark.md).
const gcPercent = 50

// tuneCollector sets gcPercent for the process and returns how to undo that.
func tuneCollector() (restore func()) {
	if _, set := os.LookupEnv("GOGC"); set {
		return func() {}
	}
	before := debug.SetGCPercent(gcPercent)
	return func() { debug.SetGCPercent(before) }
}
