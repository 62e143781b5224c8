package main

import (
	"slices"
	"sync"
	"time"
)

// Who notes something.
const (
	byMeta        = "Meta"
	byPhone       = "phone"
	byApplication = "application"
	byConnector   = "connector"
	byAgent       = "agent"
)

// note is one thing that somebody saw happen.
type note struct {
	at   time.Time
	who  string
	what string
}

// notebook is where the application and the agent write down what they see, by call.
type notebook struct {
	mu    sync.Mutex // guards pages
	pages map[string]*page
}

// page is about one call. finished is closed when the application has nothing more to do for it.
type page struct {
	notes    []note
	finished chan struct{}
	once     sync.Once
}

func newNotebook() *notebook { return &notebook{pages: make(map[string]*page)} }

// pageLocked returns the page of a call, a new one if there is none.
func (n *notebook) pageLocked(callID string) *page {
	p := n.pages[callID]
	if p == nil {
		p = &page{finished: make(chan struct{})}
		n.pages[callID] = p
	}
	return p
}

// add writes a note down. The time is given because a call's ID may become known later than what happened.
func (n *notebook) add(callID string, at time.Time, who, what string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	p := n.pageLocked(callID)
	p.notes = append(p.notes, note{at: at, who: who, what: what})
}

// finish says that the application is done with a call.
func (n *notebook) finish(callID string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	p := n.pageLocked(callID)
	p.once.Do(func() { close(p.finished) })
}

// finished is closed once finish was called for the call.
func (n *notebook) finished(callID string) <-chan struct{} {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.pageLocked(callID).finished
}

// about returns the notes about a call, in the order in which they were made.
func (n *notebook) about(callID string) []note {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.pageLocked(callID).notes)
}
