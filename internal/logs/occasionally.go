package logs

import (
	"sync"
	"time"
)

// Occasionally says yes once a minute, and counts how often it said no: for lines that strangers could have written as often as
// they like. The zero Occasionally is ready.
type Occasionally struct {
	mu   sync.Mutex // guards the following fields
	last time.Time
	more int
}

// Due says whether to write the line now, and how many were not written since the last one.
func (o *Occasionally) Due(now time.Time) (yes bool, before int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.last.IsZero() && now.Sub(o.last) < time.Minute {
		o.more++
		return false, 0
	}
	before, o.more, o.last = o.more, 0, now
	return true, before
}
