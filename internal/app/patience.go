package app

import (
	"net/http"
	"time"
)

// patience is how long a client may take.
type patience struct {
	header time.Duration // to send a request's head, or to do the TLS handshake
	body   time.Duration // to send a request's body
	answer time.Duration // from the request's head to when the answer was taken
	idle   time.Duration // between two requests
}

// defaultPatience: Accept is answered after up to 28 s.
func defaultPatience() patience {
	return patience{header: 10 * time.Second, body: 30 * time.Second, answer: time.Minute, idle: 2 * time.Minute}
}

// timed bounds what a client may do with its connection once its request is being served, whoever serves it: a body of which
// nothing is read, because the request was refused, is read by net/http to its end, and an answer waits for whoever
// reads it. Handlers set closer deadlines for bodies, and the proxy sets others: what passes through it may last.
func timed(h http.Handler, p patience) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn := http.NewResponseController(w) // not every ResponseWriter can; those of our servers do
		now := time.Now()
		_ = conn.SetWriteDeadline(now.Add(p.answer))
		if r.Body != nil && r.Body != http.NoBody {
			_ = conn.SetReadDeadline(now.Add(p.body))
		}
		h.ServeHTTP(w, r)
	})
}
