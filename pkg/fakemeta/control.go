package fakemeta

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/livekit-connector/livekit-connector/pkg/fakemeta/hearing"
)

// controlHelp is what GET / of the control API answers.
const controlHelp = `The control API of the fake Meta: you are the WhatsApp user.
{id} is a call ID, a call's number, or "last". {user} is a phone number, digits only.

GET    /calls                       all calls, the ended ones included
POST   /calls                       call the business: {"user":"15550002222"}; optional "number" (phone number ID),
                                    "deeplink_payload", "cta_payload", "dialect" ("live" or "docs")
GET    /calls/{id}                  the judgement: state, problems, what the handset heard, what the relay counted
GET    /calls/{id}/timeline         what happened when, as text
GET    /calls/{id}/recording.wav    what the user heard
POST   /calls/{id}/compare          body: a WAV file of what was said; tells how well the user heard it
POST   /calls/{id}/pick-up          also: reject, hang-up
POST   /calls/{id}/vanish           phone and relay fall silent and nobody is told
POST   /calls/{id}/dtmf?keys=12#    press keys
POST   /calls/{id}/fail?code=138020 the call fails as if the WhatsApp client had given up
GET    /users/{user}                what the user is like
PATCH  /users/{user}                {"name":"…","permission":"temporary|permanent|none","uncallable":true,
                                    "answering":{"pick_up_after":"2s","reject_after":"","hang_up_after":"10s"}}
POST   /users/{user}/permission     tell the business: {"accept":true,"permanent":false,"automatic":false}
POST   /faults                      make Graph requests go wrong: {"action":"accept","code":138004,"times":1}; also
                                    http_status, details, body, processed, delay, delay_before, drop_response,
                                    drop_request, call_id
DELETE /faults                      no more faults
PUT    /delivery                    how webhooks go out: {"rules":[{"event":"connect","after":"terminate"}]}; also
                                    batch_window, foreign, unknown, omit_contacts, omit_from, legacy, wrong_signature,
                                    no_signature, connect_before_response, parallel; {} is a good day
POST   /webhook/verify              send the challenge that Meta sends when a webhook is registered
`

// Control returns the control API, for those who want it on a listener of their own. It has no access control:
// whoever reaches it is every user.
func (s *Server) Control() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = io.WriteString(w, controlHelp)
	})
	route := func(pattern string, f func(*http.Request) (any, error)) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			r.Body = http.MaxBytesReader(w, r.Body, 64<<20)
			answer, err := f(r)
			if err != nil {
				writeJSON(w, controlStatus(err), map[string]string{"error": err.Error()})
				return
			}
			writeControl(w, answer)
		})
	}
	route("GET /calls", s.controlCalls)
	route("POST /calls", s.controlPlace)
	route("GET /calls/{id}", s.onCall(func(c *Call, _ *http.Request) (any, error) { return viewReport(c), nil }))
	route("GET /calls/{id}/timeline", s.onCall(controlTimeline))
	route("POST /calls/{id}/compare", s.onCall(controlCompare))
	route("POST /calls/{id}/{action}", s.onCall(controlAction))
	mux.HandleFunc("GET /calls/{id}/recording.wav", s.controlRecording)
	route("GET /users/{user}", func(r *http.Request) (any, error) { return s.controlUser(r, false) })
	route("PATCH /users/{user}", func(r *http.Request) (any, error) { return s.controlUser(r, true) })
	route("POST /users/{user}/permission", s.controlPermission)
	route("POST /faults", s.controlFault)
	route("DELETE /faults", func(*http.Request) (any, error) { s.ClearFaults(); return done, nil })
	route("PUT /delivery", s.controlDelivery)
	route("POST /webhook/verify", func(r *http.Request) (any, error) {
		return done, s.VerifyWebhook(r.Context(), s.controlNumber(r.URL.Query().Get("number")))
	})
	return mux
}

// done is the answer of what has nothing to say.
var done = map[string]bool{"ok": true}

var (
	errNoSuchCall = errors.New("no such call")
	errBadRequest = errors.New("bad request")
)

func controlStatus(err error) int {
	switch {
	case errors.Is(err, errNoSuchCall), errors.Is(err, ErrUnknownNumber):
		return http.StatusNotFound
	case errors.Is(err, errBadRequest):
		return http.StatusBadRequest
	}
	return http.StatusConflict
}

func writeControl(w http.ResponseWriter, answer any) {
	if text, ok := answer.(string); ok {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = io.WriteString(w, text)
		return
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	_ = enc.Encode(answer) // the client is gone: nobody to tell
}

// controlNumber is the phone number ID to use: the given one, or any if there is one alone.
func (s *Server) controlNumber(id string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if id == "" && len(s.numbers) == 1 {
		for only := range s.numbers {
			return only
		}
	}
	return id
}

// onCall finds the call of a request.
func (s *Server) onCall(f func(*Call, *http.Request) (any, error)) func(*http.Request) (any, error) {
	return func(r *http.Request) (any, error) {
		c, err := s.findCall(r.PathValue("id"))
		if err != nil {
			return nil, err
		}
		return f(c, r)
	}
}

func (s *Server) findCall(id string) (*Call, error) {
	all := s.Calls()
	if id == "last" && len(all) > 0 {
		return all[len(all)-1], nil
	}
	for _, c := range all {
		if c.id == id || strconv.Itoa(c.index) == id {
			return c, nil
		}
	}
	return nil, errNoSuchCall
}

func (s *Server) controlCalls(*http.Request) (any, error) {
	list := []any{}
	for _, c := range s.Calls() {
		list = append(list, viewCall(c))
	}
	return list, nil
}

func (s *Server) controlPlace(r *http.Request) (any, error) {
	var body struct {
		User     string `json:"user"`
		Number   string `json:"number"`
		Deeplink string `json:"deeplink_payload"`
		CTA      string `json:"cta_payload"`
		Dialect  string `json:"dialect"`
	}
	if err := controlBody(r, &body); err != nil {
		return nil, err
	}
	if !digits(body.User) {
		return nil, fmt.Errorf("%w: user must be digits", errBadRequest)
	}
	options := []CallOption{WithDeeplinkPayload(body.Deeplink), WithCTAPayload(body.CTA)}
	if body.Dialect != "" {
		d, err := ParseDialect(body.Dialect)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", errBadRequest, err)
		}
		options = append(options, WithDialect(d))
	}
	c, err := s.User(body.User).Call(r.Context(), s.controlNumber(body.Number), options...)
	if err != nil {
		return nil, err
	}
	return viewCall(c), nil
}

func controlTimeline(c *Call, _ *http.Request) (any, error) {
	var b strings.Builder
	for _, m := range c.Timeline() {
		b.WriteString(m.String() + "\n")
	}
	return b.String(), nil
}

func controlAction(c *Call, r *http.Request) (any, error) {
	switch action := r.PathValue("action"); action {
	case "pick-up":
		return done, c.PickUp()
	case "reject":
		return done, c.Reject()
	case "hang-up":
		return done, c.HangUp()
	case "vanish":
		c.Vanish()
		return done, nil
	case "dtmf":
		_, err := c.SendDTMF(r.URL.Query().Get("keys"))
		return done, err
	case "fail":
		code, err := strconv.Atoi(r.URL.Query().Get("code"))
		if err != nil {
			return nil, fmt.Errorf("%w: code must be a number", errBadRequest)
		}
		return done, c.Fail(code)
	default:
		return nil, fmt.Errorf("%w: unknown action %q", errBadRequest, action)
	}
}

func (s *Server) controlRecording(w http.ResponseWriter, r *http.Request) {
	c, err := s.findCall(r.PathValue("id"))
	if err != nil {
		writeJSON(w, controlStatus(err), map[string]string{"error": err.Error()})
		return
	}
	pcm, rate := c.Recording()
	w.Header().Set("Content-Type", "audio/wav")
	_ = hearing.WriteWAV(w, pcm, rate) // the client is gone: nobody to tell
}

func controlCompare(c *Call, r *http.Request) (any, error) {
	said, rate, err := hearing.ReadWAV(r.Body)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errBadRequest, err)
	}
	v, err := c.Compare(Speech{Samples: said, Rate: rate})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errBadRequest, err)
	}
	return map[string]any{
		"ok": v.OK(), "verdict": v.String(), "coverage": v.Coverage, "similarity": v.Similarity,
		"lag_ms": v.Lag.Milliseconds(), "first": v.First, "last": v.Last,
	}, nil
}

func (s *Server) controlFault(r *http.Request) (any, error) {
	var f Fault
	if err := controlBody(r, &f); err != nil {
		return nil, err
	}
	s.Fail(f)
	return done, nil
}

func (s *Server) controlDelivery(r *http.Request) (any, error) {
	var d Delivery
	if err := controlBody(r, &d); err != nil {
		return nil, err
	}
	s.SetDelivery(d)
	return done, nil
}

// controlBody reads a JSON body, strictly. Durations may be written as "1.5s".
func controlBody(r *http.Request, into any) error {
	var tree any
	if err := json.NewDecoder(r.Body).Decode(&tree); err != nil {
		return fmt.Errorf("%w: body is not JSON: %w", errBadRequest, err)
	}
	if err := durations(tree); err != nil {
		return fmt.Errorf("%w: %w", errBadRequest, err)
	}
	plain, err := json.Marshal(tree)
	if err != nil {
		return fmt.Errorf("%w: %w", errBadRequest, err)
	}
	dec := json.NewDecoder(strings.NewReader(string(plain)))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		return fmt.Errorf("%w: %w", errBadRequest, err)
	}
	return nil
}

// durationKeys are the keys whose strings are durations.
var durationKeys = map[string]bool{
	"delay": true, "delay_before": true, "copy_delay": true, "batch_window": true,
	"pick_up_after": true, "reject_after": true, "hang_up_after": true,
}

// durations replaces durations in words by nanoseconds, in place.
func durations(tree any) error {
	switch v := tree.(type) {
	case []any:
		for _, e := range v {
			if err := durations(e); err != nil {
				return err
			}
		}
	case map[string]any:
		for key, e := range v {
			text, ok := e.(string)
			if !ok || !durationKeys[key] {
				if err := durations(e); err != nil {
					return err
				}
				continue
			}
			if text == "" {
				text = "0s"
			}
			d, err := time.ParseDuration(text)
			if err != nil {
				return fmt.Errorf("%s: %w", key, err)
			}
			v[key] = int64(d)
		}
	}
	return nil
}
