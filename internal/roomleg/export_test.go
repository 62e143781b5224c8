package roomleg

import "time"

// TakeTime lets the leg leave as slowly as the machine and the server do.
func (l *Leg) TakeTime() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.limits = limits{negotiation: 30 * time.Second, goodbye: 30 * time.Second, leave: time.Minute}
}
