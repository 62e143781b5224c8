package fakemeta

import (
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"strconv"
	"strings"
)

// bodyLimit is more than any request of the calling API needs.
const bodyLimit = 1 << 20

// graphRequest is one request that passed the doors: path, version, token and number.
type graphRequest struct {
	http   *http.Request
	number *number
	body   []byte
}

// serveGraph is the Graph API: /v{N}/{phone number ID}/{endpoint}.
func (s *Server) serveGraph(w http.ResponseWriter, r *http.Request) {
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	req, endpoint, err := s.admit(parts, r)
	if err != nil {
		s.log.InfoContext(r.Context(), "graph request refused", slog.Int("code", err.code), slog.String("reason", err.details))
		err.write(w)
		return
	}
	switch r.Method + " " + endpoint {
	case "POST calls":
		s.serveCalls(w, req)
	case "GET call_permissions":
		s.serve(w, req, "call_permissions", "", s.callPermissions)
	case "GET settings":
		s.serve(w, req, "settings", "", s.readSettings)
	case "POST settings":
		s.serve(w, req, "settings", "", s.writeSettings)
	case "POST messages":
		s.serve(w, req, "messages", "", s.messages)
	default:
		// There is no way to ask for the state of a call, at Meta neither.
		refusal(CodeInvalidParameter, "Unsupported "+strings.ToLower(r.Method)+" request").write(w)
	}
}

// admit checks what every request must have.
func (s *Server) admit(parts []string, r *http.Request) (*graphRequest, string, *graphError) {
	if len(parts) != 3 {
		return nil, "", refusal(CodeUnknownPath, "path must be /v{version}/{phone number ID}/{endpoint}")
	}
	if err := s.checkVersion(parts[0]); err != nil {
		return nil, "", err
	}
	n, refused := s.authorize(r.Header.Get("Authorization"), parts[1])
	if refused != nil {
		return nil, "", refused
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, bodyLimit+1))
	if err != nil || len(body) > bodyLimit {
		return nil, "", refusal(CodeInvalidParameter, "request body unreadable or too large")
	}
	if r.Method == http.MethodPost {
		if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
			return nil, "", refusal(CodeInvalidParameter, "Content-Type must be application/json")
		}
	}
	return &graphRequest{http: r, number: n, body: body}, parts[2], nil
}

// authorize finds the number that a token may speak for.
func (s *Server) authorize(header, phoneNumberID string) (*number, *graphError) {
	token, ok := strings.CutPrefix(header, "Bearer ")
	if !ok || token == "" {
		return nil, refusal(CodeInvalidToken, "no bearer token in the Authorization header")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	n, valid := s.numbers[phoneNumberID], false
	for _, other := range s.numbers {
		valid = valid || other.AccessToken == token
	}
	switch {
	case !valid:
		return nil, refusal(CodeInvalidToken, "unknown access token")
	case n == nil:
		e := refusal(CodeInvalidParameter, "no phone number with this ID; the ID is needed, not the phone number")
		e.message, e.subcode = "Unsupported request. Object does not exist or cannot be loaded due to missing permissions", 33
		return nil, e
	case n.AccessToken != token:
		return nil, refusal(CodePermissionDenied, "the access token belongs to another number")
	}
	return n, nil
}

// checkVersion wants "v" major "." minor, not older than the configured minimum.
func (s *Server) checkVersion(text string) *graphError {
	number, ok := strings.CutPrefix(text, "v")
	major, minor, cut := strings.Cut(number, ".")
	if !ok || !cut || !digits(major) || !digits(minor) {
		return refusal(CodeUnknownPath, "path must begin with a version such as v24.0")
	}
	v, err := strconv.ParseFloat(number, 64)
	if err != nil || v < s.opts.MinVersion {
		return refusal(CodeDeprecatedVersion, "version is too old")
	}
	return nil
}

// serve runs one endpoint with the faults that are set for it.
func (s *Server) serve(w http.ResponseWriter, req *graphRequest, action, callID string, process func(*graphRequest) (any, *graphError)) {
	fault := s.takeFault(action, callID)
	log := s.log.With(slog.String("action", action))
	if c := s.Call(callID); c != nil {
		log = c.log.With(slog.String("action", action))
	}
	ctx := req.http.Context()
	if fault.DropRequest {
		log.Info("graph request dropped")
		panic(http.ErrAbortHandler) // the documented way to cut a connection
	}
	_ = sleep(ctx, fault.DelayBefore)
	injected := fault.refusal()
	if injected != nil && !fault.Processed {
		log.Info("graph request failed by injection", slog.Int("status", injected.status), slog.Int("code", injected.code))
		injected.write(w)
		return
	}
	answer, refused := process(req)
	_ = sleep(ctx, fault.Delay)
	if fault.DropResponse {
		log.Info("graph response dropped", slog.Bool("processed", refused == nil))
		panic(http.ErrAbortHandler)
	}
	if injected != nil {
		refused = injected
	}
	if refused != nil {
		log.Info("graph request refused", slog.Int("status", refused.status), slog.Int("code", refused.code), slog.String("reason", refused.details))
		refused.write(w)
		return
	}
	log.Info("graph request done")
	writeJSON(w, http.StatusOK, answer)
}

// decode reads a JSON body.
func decode(body []byte, into any) *graphError {
	if err := json.Unmarshal(body, into); err != nil {
		if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
			return refusal(CodeInvalidParameter, "parameter "+wrong.Field+" has the wrong type")
		}
		return refusal(CodeInvalidParameter, "request body is not valid JSON")
	}
	return nil
}

func wantWhatsApp(product string) *graphError {
	if product != "whatsapp" {
		return refusal(CodeInvalidParameter, "messaging_product must be whatsapp")
	}
	return nil
}
