// Package clock keeps moments that many goroutines read and write, such that their distances are right whatever becomes of
// the machine's clock: when it is set, by hand or by NTP, no call may seem to have been silent for an hour.
package clock

import (
	"sync/atomic"
	"time"
)

// Watch counts from when it was started, by the monotonic clock. Its zero value is not started.
type Watch struct{ origin time.Time }

// Start returns a watch that counts from now.
func Start() Watch { return Watch{time.Now()} }

// Moment is a time in an atomic; its zero value is none. It belongs to one watch.
type Moment struct{ since atomic.Int64 } // nanoseconds, one more than they are, so that zero is none

// Set sets m to a time that time.Now gave, not before the watch was started.
func (w *Watch) Set(m *Moment, now time.Time) { m.since.Store(w.stamp(now)) }

// First sets m unless it is set, and reports whether it did.
func (w *Watch) First(m *Moment, now time.Time) bool { return m.since.CompareAndSwap(0, w.stamp(now)) }

func (w *Watch) stamp(now time.Time) int64 { return max(0, int64(now.Sub(w.origin))) + 1 }

// Time is the moment as a time with a monotonic reading, by the clock as it was when the watch was started; zero if there is
// none.
func (w *Watch) Time(m *Moment) time.Time {
	if n := m.since.Load(); n != 0 {
		return w.origin.Add(time.Duration(n - 1))
	}
	return time.Time{}
}

// Clear makes m none.
func (m *Moment) Clear() { m.since.Store(0) }

// IsSet reports whether there is a moment.
func (m *Moment) IsSet() bool { return m.since.Load() != 0 }
