package app

import (
	"io"
	"log/slog"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/livekit-connector/livekit-connector/internal/panics"
)

// newDefences makes what keeps mistakes and strangers from doing harm.
func (a *App) newDefences(reg prometheus.Registerer) {
	a.panics = panics.NewCounter(reg)
	a.probes.panics = a.panics
	a.attempts = a.newAttempts(reg)
}

// recovering serves h and answers for its panics: the caller learns that it was our mistake, and nothing else. What was
// answered already cannot be taken back: then the connection is dropped, so that half an answer is not taken for a whole.
func recovering(h http.Handler, counter *panics.Counter, log *slog.Logger) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer := &begunWriter{ResponseWriter: w}
		defer counter.Recover(panics.HTTP, log, func() {
			if answer.begun {
				panic(http.ErrAbortHandler)
			}
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusInternalServerError)
			_, _ = io.WriteString(w, `{"code":"internal","msg":"internal error"}`) // as Twirp has it
		})
		h.ServeHTTP(answer, r)
	})
}

// begunWriter knows whether an answer was begun.
type begunWriter struct {
	http.ResponseWriter
	begun bool
}

func (w *begunWriter) WriteHeader(status int) {
	w.begun = true
	w.ResponseWriter.WriteHeader(status)
}

func (w *begunWriter) Write(b []byte) (int, error) {
	w.begun = true
	return w.ResponseWriter.Write(b)
}

// Unwrap is for http.ResponseController, which proxied WebSockets and deadlines need.
func (w *begunWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
