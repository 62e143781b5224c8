package admission

import "time"

// Use is what the process uses.
type Use struct {
	// CPU is the time it has had since it began, of all its threads.
	CPU time.Duration
	// Memory is what it holds now, in bytes.
	Memory float64
}

// windowSize is over how many samples the use of CPU is averaged: one second alone may be a collection of garbage or the
// setup of some calls.
const windowSize = 5

// window is the use of the last seconds.
type window struct {
	at   []time.Time // oldest first, at most windowSize+1
	cpu  []time.Duration
	base float64 // memory without calls
	last float64 // memory now
}

func (w *window) start(now time.Time, u Use) {
	w.base = u.Memory
	w.add(now, u)
}

func (w *window) add(now time.Time, u Use) {
	if n := len(w.at); n > 0 && !now.After(w.at[n-1]) {
		return
	}
	if len(w.at) > windowSize {
		w.at, w.cpu = w.at[1:], w.cpu[1:]
	}
	w.at, w.cpu, w.last = append(w.at, now), append(w.cpu, u.CPU), u.Memory
}

// cores is the mean use of CPU over the window, in cores; zero if nothing was measured.
func (w *window) cores() float64 {
	n := len(w.at)
	if n < 2 {
		return 0
	}
	return float64(w.cpu[n-1]-w.cpu[0]) / float64(w.at[n-1].Sub(w.at[0]))
}

func (w *window) memory() float64 { return w.last }

// seen is the share of the window that lies after a time: so much of what began then the mean shows, 0 to 1.
func (w *window) seen(since time.Time) float64 {
	n := len(w.at)
	if n < 2 {
		return 0
	}
	whole := w.at[n-1].Sub(w.at[0])
	return min(1, max(0, float64(w.at[n-1].Sub(since))/float64(whole)))
}

// sumEvery is how often the log tells of refusals at most.
const sumEvery = time.Minute

// complaint is what the log has not been told of refusals.
type complaint struct {
	blind bool // the process's use cannot be measured
	from  time.Time
	limit Limit
	n     int
}

// note counts a refusal. It returns true for one that is to be told at once: the first after a while without any.
func (c *complaint) note(l Limit, now time.Time) bool {
	if c.from.IsZero() {
		c.from = now
		return true
	}
	c.limit = l
	c.n++
	return false
}

// sum returns, once in a while, how many refusals the log was not told of, and the limit of the last.
func (c *complaint) sum(now time.Time) (l Limit, n int) {
	if c.from.IsZero() || now.Sub(c.from) < sumEvery {
		return "", 0
	}
	l, n = c.limit, c.n
	c.n, c.from = 0, now
	if n == 0 {
		c.from = time.Time{}
	}
	return l, n
}
