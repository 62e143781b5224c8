package webhook

import "time"

// What is remembered of calls. Retries of calling webhooks have no documented horizon (Meta: calling FAQ), so it is hours
// rather than minutes; the number bounds the memory (about 200 bytes each).
const (
	memoryTTL = 6 * time.Hour
	memoryMax = 100_000
)

// memory knows which events of a call were seen. A terminate leaves a tombstone too: what comes later does not revive the
// call. It is not safe for concurrent use.
type memory struct {
	calls map[string]*remembered
	order []string // oldest first
}

type remembered struct {
	seen  map[kind]bool
	over  bool // a terminate came
	since time.Time
}

func newMemory() *memory { return &memory{calls: make(map[string]*remembered)} }

func (m *memory) has(callID string, k kind) bool {
	r := m.calls[callID]
	return r != nil && r.seen[k]
}

// over says whether a terminate of the call came, whatever became of it.
func (m *memory) over(callID string) bool {
	r := m.calls[callID]
	return r != nil && r.over
}

func (m *memory) add(callID string, k kind, now time.Time) {
	r := m.calls[callID]
	if r == nil {
		m.expire(now)
		r = &remembered{seen: make(map[kind]bool, 2), since: now}
		m.calls[callID] = r
		m.order = append(m.order, callID)
	}
	r.seen[k] = true
	r.over = r.over || k == kindTerminate
}

// forget lets an event be done again. A call that is over stays so.
func (m *memory) forget(callID string, k kind) {
	if r := m.calls[callID]; r != nil {
		delete(r.seen, k)
	}
}

func (m *memory) expire(now time.Time) {
	for len(m.order) > 0 {
		oldest := m.order[0]
		if len(m.order) < memoryMax && now.Sub(m.calls[oldest].since) < memoryTTL {
			return
		}
		m.order = m.order[1:]
		delete(m.calls, oldest)
	}
}
