package api

import (
	"context"
	"net/http"
	"strings"

	"github.com/twitchtv/twirp"

	"github.com/livekit-connector/livekit-connector/internal/attempts"
)

// passOn has livekit-server answer. Who guesses tokens there spends the same attempts as who guesses them here.
//
// What one of our keys signed is passed on whatever else comes from its address, and so is what needs no token. The rest is
// passed on while its address has attempts left, because livekit-server may know keys that we do not: it is an attempt if
// livekit-server refuses it.
func (s *Server) passOn(w http.ResponseWriter, r *http.Request) {
	if s.attempts == nil || asksNoToken(r) || s.isSigned(r) {
		s.proxy.ServeHTTP(w, r)
		return
	}
	if refused := s.limited(w.Header(), attempts.PlaceLiveKit, r); refused != nil {
		crossOrigin(w, r) // a browser is to see why
		_ = twirp.WriteError(w, refused)
		return
	}
	failed := func() { s.attempts.Failed(s.attempts.Client(r)) }
	s.proxy.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), refusedKey{}, failed)))
}

// asksNoToken says whether a request is what browsers ask before they send a token, or livekit-server's own probe.
func asksNoToken(r *http.Request) bool {
	if r.Method == http.MethodOptions {
		return true
	}
	return r.URL.Path == "/" && (r.Method == http.MethodGet || r.Method == http.MethodHead)
}

// isSigned says whether a request has a good token where livekit-server looks for it, but in a body, which is not read here.
// What the token permits is livekit-server's matter.
func (s *Server) isSigned(r *http.Request) bool {
	header := r.Header.Get("Authorization")
	raw, bearer := strings.CutPrefix(header, "Bearer ")
	if header == "" {
		raw = r.URL.Query().Get("access_token") // WebSockets of browsers have no header
	} else if !bearer {
		return false
	}
	if raw == "" {
		return false
	}
	_, _, _, err := s.verifyToken(raw)
	return err == nil
}

type refusedKey struct{}

// noteRefusal looks at livekit-server's answer, that to a WebSocket too, and changes nothing.
func noteRefusal(res *http.Response) error {
	failed, ok := res.Request.Context().Value(refusedKey{}).(func())
	if ok && (res.StatusCode == http.StatusUnauthorized || res.StatusCode == http.StatusForbidden) {
		failed()
	}
	return nil
}
