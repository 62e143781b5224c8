package node

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/livekit-connector/livekit-connector/internal/admission"
	"github.com/livekit-connector/livekit-connector/internal/call"
	"github.com/livekit-connector/livekit-connector/pkg/whatsapp"
)

// entry is a call in the table with what is needed to steer it.
type entry struct {
	call *call.Call
	// apiKey is the LiveKit API key that made the call; only it may steer the call.
	apiKey string
	creds  whatsapp.Credentials
	room   string
	// who is the caller in the room, rule the dispatch rule that took the call, if one did.
	who  participant
	rule string
	// trace is the call in its request's trace; nothing in it without tracing.
	trace callTrace
	// slot is the call's place on this node.
	slot *admission.Place
	// observer hears what the call goes through.
	observer *observer
	// said is set once a Disconnect spoke of the call: the one that ended it, or the first one after it ended otherwise.
	said atomic.Bool
}

// untold says that the call is over and Meta could not be told: another word about it may bring a better token.
func (e *entry) untold() bool { return e.call != nil && e.call.TerminateErr() != nil }

// lingerer is a call that is over. Whoever tells of its end for the first time, or has a token by which Meta can be told, gets
// a friendly answer; and Meta may say what it knows of the call, whoever ended it.
type lingerer struct {
	*entry
	until time.Time
}

// lingerTime is how late the word of a call's end may come. Meta's webhook takes the way over the application.
const lingerTime = time.Minute

// Errors of the table.
var (
	errExists  = errors.New("node: a call with this id is being handled")
	errEnded   = errors.New("node: the call with this id has ended")
	errUnknown = errors.New("node: no call with this id")
)

// Tombstones keep the IDs of ended calls, because Meta repeats and reorders its webhooks and an application passes them
// on. Retries of calling webhooks have no documented horizon (Meta: calling FAQ), so it is hours rather than minutes; the
// number bounds the memory (about 200 bytes each).
const (
	tombstoneTTL = 6 * time.Hour
	tombstoneMax = 100_000
)

// table knows all calls of this node: live, being made, and ended not long ago.
type table struct {
	mu sync.Mutex // guards all following fields; never held across I/O
	// live holds a nil entry for an ID that is reserved: its call is being made.
	live map[string]*entry
	// making holds a channel for every reserved ID, closed when its call is made or never will be.
	making map[string]chan struct{}
	// lingering holds calls that are over, for those who say so.
	lingering map[string]lingerer
	// abandoned are calls whose ID another call holds. Nobody can steer them, but who hangs up all has to find them.
	abandoned map[*entry]struct{}
	// ended maps the ID of an ended call to when that was; order is the same, oldest first.
	ended map[string]time.Time
	order []string
	// slots counts admitted calls, those without an ID included.
	slots int
	// shut is set while no more calls are admitted, final once that is for ever.
	shut, final bool
	// dialing holds a channel for every request that is with Meta and has no ID yet, closed when it has.
	dialing map[chan struct{}]struct{}
	// empty is closed when the last slot becomes free; nil while nobody waits for that.
	empty chan struct{}
}

func newTable() *table {
	return &table{
		live:      make(map[string]*entry),
		making:    make(map[string]chan struct{}),
		lingering: make(map[string]lingerer),
		abandoned: make(map[*entry]struct{}),
		ended:     make(map[string]time.Time),
		dialing:   make(map[chan struct{}]struct{}),
	}
}

// admit takes a slot: whoever drains waits for it. The caller gives it back with free, or lets end do it.
func (t *table) admit() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.shut {
		return errDraining
	}
	t.slots++
	return nil
}

// free gives back a slot that no call came to use.
func (t *table) free() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.freeLocked()
}

func (t *table) freeLocked() {
	t.slots--
	if t.slots == 0 && t.empty != nil {
		close(t.empty)
		t.empty = nil
	}
}

// reserve claims an ID before anything is done for it: errExists or errEnded if that is not possible.
func (t *table) reserve(id string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, ok := t.live[id]; ok {
		return errExists
	}
	if at, ok := t.ended[id]; ok && time.Since(at) < tombstoneTTL {
		return errEnded
	}
	t.live[id] = nil
	t.making[id] = make(chan struct{})
	return nil
}

// put makes a call known under the ID that was reserved for it.
func (t *table) put(id string, e *entry) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.live[id] = e
	t.madeLocked(id)
}

// drop forgets an ID and frees its slot without leaving a tombstone: nothing happened.
func (t *table) drop(id string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.live, id)
	t.madeLocked(id)
	t.freeLocked()
}

// abandon notes a call without an ID of its own, which keeps its slot until forget.
func (t *table) abandon(e *entry) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.abandoned[e] = struct{}{}
}

// forget drops a call that was abandoned, and frees its slot.
func (t *table) forget(e *entry) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.abandoned, e)
	t.freeLocked()
}

func (t *table) madeLocked(id string) {
	if c, ok := t.making[id]; ok {
		delete(t.making, id)
		close(c)
	}
}

// end replaces a call by a tombstone and frees its slot. The call may linger; expire ends that.
func (t *table) end(id string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if e := t.live[id]; e != nil {
		t.lingering[id] = lingerer{entry: e, until: time.Now().Add(lingerTime)}
	}
	delete(t.live, id)
	t.madeLocked(id)
	t.buryLocked(id)
	t.freeLocked()
}

// bury leaves a tombstone for an ID that nobody holds: its call was over before we heard of it. It reports whether it did;
// a call that is being made, or is there, is none to bury.
func (t *table) bury(id string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, ok := t.live[id]; ok {
		return false
	}
	t.buryLocked(id)
	return true
}

// expire forgets the calls that lingered long enough.
func (t *table) expire(now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for id, l := range t.lingering {
		if now.After(l.until) {
			delete(t.lingering, id)
		}
	}
}

func (t *table) buryLocked(id string) {
	now := time.Now()
	if _, ok := t.ended[id]; !ok {
		t.order = append(t.order, id)
	}
	t.ended[id] = now
	for len(t.order) > 0 {
		oldest := t.order[0]
		if len(t.order) <= tombstoneMax && now.Sub(t.ended[oldest]) < tombstoneTTL {
			return
		}
		t.order = t.order[1:]
		delete(t.ended, oldest)
	}
}

// find returns a live call, or one that lingers: errEnded or errUnknown if there is none. With errEnded comes a call that
// lingers though its end was spoken of: nobody may steer it, but Meta may say more of it. A call whose request is still
// with Meta may be meant by an ID that nobody knows yet (Meta's webhook can beat its own HTTP response), so find waits for
// the requests that were there before it, and only for those: on a busy node there is always another. Without any it
// answers at once.
func (t *table) find(ctx context.Context, id string) (*entry, error) {
	e, pending, err := t.look(id)
	for _, made := range pending {
		select {
		case <-made:
		case <-ctx.Done():
			return nil, err
		}
		if e, _, err = t.look(id); !errors.Is(err, errUnknown) {
			break
		}
	}
	return e, err
}

// look is one try of find; another is worth it, if the ID is unknown, whenever one of pending is closed.
func (t *table) look(id string) (e *entry, pending []<-chan struct{}, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if e := t.live[id]; e != nil {
		return e, nil, nil
	}
	if c, ok := t.making[id]; ok {
		return nil, []<-chan struct{}{c}, errUnknown
	}
	if l, ok := t.lingering[id]; ok {
		if l.said.Load() {
			return l.entry, nil, errEnded
		}
		return l.entry, nil, nil
	}
	if _, ok := t.ended[id]; ok {
		return nil, nil, errEnded
	}
	for c := range t.dialing {
		pending = append(pending, c)
	}
	return nil, pending, errUnknown
}

// dial announces a request to Meta whose call has no ID yet; the returned function says that it has one, or never will.
func (t *table) dial() (done func()) {
	c := make(chan struct{})
	t.mu.Lock()
	defer t.mu.Unlock()
	t.dialing[c] = struct{}{}
	return sync.OnceFunc(func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		delete(t.dialing, c)
		close(c)
	})
}

// all returns the live calls.
func (t *table) all() []*entry {
	t.mu.Lock()
	defer t.mu.Unlock()
	calls := make([]*entry, 0, len(t.live))
	for _, e := range t.live {
		if e != nil {
			calls = append(calls, e)
		}
	}
	return calls
}

// everyone returns the live calls and those that were abandoned.
func (t *table) everyone() []*entry {
	calls := t.all()
	t.mu.Lock()
	defer t.mu.Unlock()
	for e := range t.abandoned {
		calls = append(calls, e)
	}
	return calls
}

func (t *table) size() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.slots
}

// waitEmpty waits until no slot is taken or ctx ends.
func (t *table) waitEmpty(ctx context.Context) error {
	t.mu.Lock()
	if t.slots == 0 {
		t.mu.Unlock()
		return nil
	}
	if t.empty == nil {
		t.empty = make(chan struct{})
	}
	empty := t.empty
	t.mu.Unlock()
	select {
	case <-empty:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
