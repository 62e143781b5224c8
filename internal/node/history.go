package node

import (
	"sync"
	"time"

	"github.com/livekit-connector/livekit-connector/proto/connectorpb"
)

// History says for how long ended calls are remembered, and how many at most.
type History struct {
	Keep time.Duration
	Max  int
}

// past is a call that is over.
type past struct {
	record *connectorpb.CallRecord // replaced, never changed
	apiKey string
	until  time.Time
}

// history remembers calls that are over, for those who ask afterwards. A record is some kilobytes.
type history struct {
	opts History

	mu sync.Mutex // guards what follows
	// calls are by ID; a call that was taken anew under its ID replaces the old one.
	calls map[string]*past
	order []*past // by end, oldest first; some may have been replaced
}

func newHistory(o History) *history { return &history{opts: o, calls: make(map[string]*past)} }

// add remembers a call that is over as tell has it. It is asked under the lock, as it is by change: who hears of a call in
// parallel could otherwise put an older account in the place of a newer one.
func (h *history) add(tell func() *connectorpb.CallRecord, apiKey string, now time.Time) {
	if h.opts.Keep <= 0 || h.opts.Max <= 0 {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	p := &past{record: tell(), apiKey: apiKey, until: now.Add(h.opts.Keep)}
	h.calls[p.record.GetCallId()] = p
	h.order = append(h.order, p)
	h.expireLocked(now)
}

// change replaces the record of a call that is over by a newer one of the same call, if it is still remembered.
func (h *history) change(id string, tell func() *connectorpb.CallRecord) {
	h.mu.Lock()
	defer h.mu.Unlock()
	p := h.calls[id]
	if p == nil {
		return
	}
	if r := tell(); p.record.GetCreatedAt().AsTime().Equal(r.GetCreatedAt().AsTime()) {
		p.record = r
	}
}

// get returns an ended call that a key made, nil if there is none.
func (h *history) get(id, apiKey string, now time.Time) *connectorpb.CallRecord {
	h.mu.Lock()
	defer h.mu.Unlock()
	if p := h.calls[id]; p != nil && p.apiKey == apiKey && now.Before(p.until) {
		return p.record
	}
	return nil
}

// all returns the ended calls that a key made.
func (h *history) all(apiKey string, now time.Time) []*connectorpb.CallRecord {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.expireLocked(now)
	var records []*connectorpb.CallRecord
	for _, p := range h.order {
		if p.apiKey == apiKey && h.calls[p.record.GetCallId()] == p {
			records = append(records, p.record)
		}
	}
	return records
}

// expire forgets what is too old.
func (h *history) expire(now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.expireLocked(now)
}

func (h *history) expireLocked(now time.Time) {
	for len(h.order) > 0 && (len(h.order) > h.opts.Max || !now.Before(h.order[0].until)) {
		oldest := h.order[0]
		h.order[0] = nil
		h.order = h.order[1:]
		if id := oldest.record.GetCallId(); h.calls[id] == oldest {
			delete(h.calls, id)
		}
	}
}
