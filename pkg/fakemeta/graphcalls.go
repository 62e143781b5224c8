package fakemeta

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"unicode/utf8"
)

// callRequest is the body of POST calls.
type callRequest struct {
	MessagingProduct string       `json:"messaging_product"`
	To               numeral      `json:"to"`
	Recipient        string       `json:"recipient"`
	CallID           string       `json:"call_id"`
	Action           string       `json:"action"`
	Session          *sessionBody `json:"session"`
	Opaque           string       `json:"biz_opaque_callback_data"`
	Recording        *capture     `json:"recording"`
	Transcription    *capture     `json:"transcription"`
}

// numeral takes a phone number as a string, like all published requests have it, or as a JSON number, like the
// parameter table says.
type numeral string

// UnmarshalJSON implements json.Unmarshaler.
func (n *numeral) UnmarshalJSON(b []byte) error {
	var text string
	if len(b) > 0 && b[0] == '"' {
		if err := json.Unmarshal(b, &text); err != nil {
			return err
		}
		*n = numeral(text)
		return nil
	}
	*n = numeral(b)
	if text = string(b); text == "null" {
		*n = ""
	}
	return nil
}

type sessionBody struct {
	SDP     string `json:"sdp"`
	SDPType string `json:"sdp_type"`
}

// capture asks for a recording or a transcription.
type capture struct {
	Status   string `json:"status"`
	Purpose  string `json:"purpose"`
	Language string `json:"announcement_language"`
}

func (c *capture) check(name string) *graphError {
	switch {
	case c == nil || c.Status != "ENABLED":
		return nil
	case c.Purpose == "" || utf8.RuneCountInString(c.Purpose) > 250:
		return refusal(CodeInvalidParameter, name+".purpose is required, 250 characters at most")
	case c.Language == "":
		return refusal(CodeInvalidParameter, name+".announcement_language is required")
	}
	return nil
}

// success is the answer to all actions but connect.
var success = map[string]any{"messaging_product": "whatsapp", "success": true}

// serveCalls is the one endpoint of all five actions.
func (s *Server) serveCalls(w http.ResponseWriter, req *graphRequest) {
	var body callRequest
	refused := decode(req.body, &body)
	s.serve(w, req, body.Action, body.CallID, func(req *graphRequest) (any, *graphError) {
		if refused != nil {
			return nil, refused
		}
		return s.callAction(req.number, &body)
	})
}

func (s *Server) callAction(n *number, body *callRequest) (any, *graphError) {
	if err := wantWhatsApp(body.MessagingProduct); err != nil {
		return nil, err
	}
	if n.setting("sip", "status") == "ENABLED" {
		return nil, refusal(CodeSIPEnabled, "the number is SIP enabled")
	}
	if n.setting("status") != "ENABLED" {
		return nil, refusal(CodeCallingNotEnabled, "calling is not enabled in the number's settings")
	}
	if utf8.RuneCountInString(body.Opaque) > 512 {
		return nil, refusal(CodeInvalidParameter, "biz_opaque_callback_data is longer than 512 characters")
	}
	if err := body.Recording.check("recording"); err != nil {
		return nil, err
	}
	if err := body.Transcription.check("transcription"); err != nil {
		return nil, err
	}
	switch body.Action {
	case "connect":
		return s.connectAction(n, body)
	case "pre_accept", "accept":
		return s.answerAction(n, body)
	case "reject", "terminate":
		return s.endAction(n, body)
	case "":
		return nil, refusal(CodeInvalidParameter, "action is required")
	}
	return nil, refusal(CodeInvalidParameter, "action must be connect, pre_accept, accept, reject or terminate, in lower case")
}

// session returns the SDP of a request that must carry one of the wanted type. Meta's parameter tables say "offer"
// for pre_accept and accept; Meta's servers want "answer".
func (b *callRequest) session(kind string) (string, *graphError) {
	switch {
	case b.Session == nil || strings.TrimSpace(b.Session.SDP) == "":
		return "", refusal(CodeInvalidParameter, "session.sdp is required")
	case b.Session.SDPType != kind:
		return "", refusal(CodeInvalidParameter, "session.sdp_type must be "+kind)
	}
	return b.Session.SDP, nil
}

// theirCall finds the call that a request names.
func (s *Server) theirCall(n *number, id string) (*Call, *graphError) {
	if id == "" {
		return nil, refusal(CodeInvalidParameter, "call_id is required")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if c, ok := s.calls[id]; ok && c.number.PhoneNumberID == n.PhoneNumberID {
		return c, nil
	}
	if _, ok := s.tombstones[id]; ok {
		return nil, refusal(CodeInvalidParameter, errCallEnded.Error())
	}
	return nil, refusal(CodeInvalidParameter, "call_id is unknown")
}

// sdpRefusal turns a judgement into the Graph error.
func (s *Server) sdpRefusal(err error) *graphError {
	details := err.Error()
	if e, ok := errors.AsType[*SDPError](err); ok {
		details = e.Details
	}
	return refusal(s.opts.SDPErrorCode, details)
}

func (s *Server) answerAction(n *number, body *callRequest) (any, *graphError) {
	c, refused := s.theirCall(n, body.CallID)
	if refused != nil {
		return nil, refused
	}
	answer, refused := body.session("answer")
	if refused != nil {
		return nil, refused
	}
	if c.direction != Inbound {
		return nil, refusal(CodeInvalidParameter, errNotInbound.Error())
	}
	p, err := checkSDP(answer, c.offered, s.sdpPolicy(n))
	if err != nil {
		c.note("sdp refused", err.Error())
		return nil, s.sdpRefusal(err)
	}
	ev := evAccept
	if body.Action == "pre_accept" {
		ev = evPreAccept
	}
	if err := c.do(message{event: ev, answer: answer, peer: p, opaque: body.Opaque}); err != nil {
		return nil, refusal(CodeInvalidParameter, err.Error())
	}
	return success, nil
}

func (s *Server) endAction(n *number, body *callRequest) (any, *graphError) {
	ev := evTerminate
	if body.Action == "reject" {
		ev = evReject
	}
	c, refused := s.theirCall(n, body.CallID)
	if refused == nil {
		if err := c.do(message{event: ev}); err != nil {
			refused = refusal(CodeInvalidParameter, err.Error())
		}
	}
	if refused != nil && ev == evTerminate && s.opts.TerminateEndedOK && refused.details == errCallEnded.Error() {
		return success, nil
	}
	if refused != nil {
		return nil, refused
	}
	return success, nil
}

// connectAction places a call to a user. The answer's SDP comes by webhook, never here.
func (s *Server) connectAction(n *number, body *callRequest) (any, *graphError) {
	user, refused := s.callee(body)
	if refused != nil {
		return nil, refused
	}
	offer, refused := body.session("offer")
	if refused != nil {
		return nil, refused
	}
	p, err := checkSDP(offer, nil, s.sdpPolicy(n))
	if err != nil {
		s.log.Info("offer refused", "reason", err.Error())
		return nil, s.sdpRefusal(err)
	}
	switch {
	case user.isUncallable():
		return nil, refusal(CodeUncallable, "the user cannot be called")
	case user.permissionNow() == PermissionNone:
		return nil, refusal(CodeNoPermission, "the user has not permitted calls")
	}
	c, refused := s.dial(n, user, offer, p, body.Opaque)
	if refused != nil {
		return nil, refused
	}
	return map[string]any{
		"messaging_product": "whatsapp",
		"calls":             []map[string]string{{"id": c.id}},
		"success":           true,
	}, nil
}

func (s *Server) callee(body *callRequest) (*User, *graphError) {
	to := string(body.To)
	switch {
	case to != "" && !digits(to):
		return nil, refusal(CodeInvalidParameter, "to must be a phone number of digits only")
	case to != "":
		return s.User(to), nil
	case body.Recipient != "":
		if u := s.userByID(body.Recipient); u != nil {
			return u, nil
		}
		return nil, refusal(CodeUncallable, "no user with this recipient ID")
	}
	return nil, refusal(CodeInvalidParameter, "to or recipient is required")
}
