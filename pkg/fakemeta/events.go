package fakemeta

import (
	"context"
	"sync"
	"time"
)

// Event is one webhook request, as the listener gets it.
type Event struct {
	Time          time.Time // of the first attempt
	PhoneNumberID string
	Body          []byte // the exact bytes; shared, do not change
	Payload       Payload
	Signature     string // X-Hub-Signature-256, empty if left out
}

// Calls returns the elements of all calls arrays.
func (e *Event) Calls() []CallEvent {
	var all []CallEvent
	for _, entry := range e.Payload.Entry {
		for _, c := range entry.Changes {
			all = append(all, c.Value.Calls...)
		}
	}
	return all
}

// Statuses returns the elements of all statuses arrays.
func (e *Event) Statuses() []CallStatus {
	var all []CallStatus
	for _, entry := range e.Payload.Entry {
		for _, c := range entry.Changes {
			all = append(all, c.Value.Statuses...)
		}
	}
	return all
}

// Subscription receives every webhook request from its beginning on, in the order in which they were first made. It
// keeps what nobody has read yet, without limit; close it.
type Subscription struct {
	server *Server
	mu     sync.Mutex
	queue  []Event
	ready  chan struct{} // capacity 1
	done   chan struct{}
	once   sync.Once
}

// Events returns a subscription to all webhooks, for an application that lives in the same process. Webhooks go to
// WebhookURL as well, if there is one.
func (s *Server) Events() *Subscription {
	sub := &Subscription{server: s, ready: make(chan struct{}, 1), done: make(chan struct{})}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.subscriptions[sub] = struct{}{}
	return sub
}

// Next returns the next webhook. It waits for one until ctx ends or the subscription is closed, then it returns
// ctx's error or ErrClosed.
func (s *Subscription) Next(ctx context.Context) (Event, error) {
	for {
		s.mu.Lock()
		if len(s.queue) > 0 {
			e := s.queue[0]
			s.queue = s.queue[1:]
			s.mu.Unlock()
			return e, nil
		}
		s.mu.Unlock()
		select {
		case <-s.ready:
		case <-s.done:
			return Event{}, ErrClosed
		case <-ctx.Done():
			return Event{}, context.Cause(ctx)
		}
	}
}

// NextCall skips until a webhook about callID's named event comes: "connect" or "terminate". An empty callID takes
// any call. What it skips is lost.
func (s *Subscription) NextCall(ctx context.Context, callID, event string) (CallEvent, error) {
	for {
		e, err := s.Next(ctx)
		if err != nil {
			return CallEvent{}, err
		}
		for _, c := range e.Calls() {
			if c.Event == event && (callID == "" || c.ID == callID) {
				return c, nil
			}
		}
	}
}

// NextStatus skips until a status of callID comes: "RINGING", "ACCEPTED" or "REJECTED". An empty callID takes any
// call. What it skips is lost.
func (s *Subscription) NextStatus(ctx context.Context, callID, status string) (CallStatus, error) {
	for {
		e, err := s.Next(ctx)
		if err != nil {
			return CallStatus{}, err
		}
		for _, c := range e.Statuses() {
			if c.Status == status && (callID == "" || c.ID == callID) {
				return c, nil
			}
		}
	}
}

// Close ends the subscription. It is safe to call twice.
func (s *Subscription) Close() {
	s.once.Do(func() { close(s.done) })
	s.server.mu.Lock()
	defer s.server.mu.Unlock()
	delete(s.server.subscriptions, s)
}

func (s *Subscription) push(e Event) {
	s.mu.Lock()
	s.queue = append(s.queue, e)
	s.mu.Unlock()
	select {
	case s.ready <- struct{}{}:
	default:
	}
}

// publish hands a webhook to all subscriptions.
func (s *Server) publish(e Event) {
	s.mu.Lock()
	subs := make([]*Subscription, 0, len(s.subscriptions))
	for sub := range s.subscriptions {
		subs = append(subs, sub)
	}
	s.mu.Unlock()
	for _, sub := range subs {
		sub.push(e)
	}
}
