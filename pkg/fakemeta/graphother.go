package fakemeta

import (
	"cmp"
	"encoding/json"
	"time"
	"unicode/utf8"
)

// callPermissions answers GET call_permissions.
func (s *Server) callPermissions(req *graphRequest) (any, *graphError) {
	q := req.http.URL.Query()
	var u *User
	switch {
	case digits(q.Get("user_wa_id")):
		u = s.User(q.Get("user_wa_id"))
	case q.Get("recipient") != "":
		u = s.userByID(q.Get("recipient"))
	default:
		return nil, refusal(CodeInvalidParameter, "user_wa_id (digits) or recipient is required")
	}
	permission := map[string]any{"status": "no_permission"}
	may := false
	if u != nil && !u.isUncallable() {
		switch u.permissionNow() {
		case PermissionTemporary:
			permission = map[string]any{"status": "temporary", "expiration_time": u.permissionEnds().Unix()}
			may = true
		case PermissionPermanent:
			permission = map[string]any{"status": "permanent"}
			may = true
		case PermissionNone:
		}
	}
	mayAsk, limits := true, []any(nil)
	if u != nil {
		mayAsk, limits = u.mayBeAsked()
	}
	return map[string]any{
		"messaging_product": "whatsapp", "permission": permission,
		"actions": []any{
			map[string]any{
				"action_name": "send_call_permission_request", "can_perform_action": mayAsk, "limits": limits,
			},
			map[string]any{
				"action_name": "start_call", "can_perform_action": may,
				"limits": []any{map[string]any{"time_period": "PT24H", "max_allowed": 100, "current_usage": 0}},
			},
		},
	}, nil
}

func (s *Server) readSettings(req *graphRequest) (any, *graphError) {
	settings, err := req.number.currentSettings()
	if err != nil {
		return nil, refusal(CodeSomethingWentWrong, err.Error())
	}
	return map[string]any{"calling": settings}, nil
}

func (s *Server) writeSettings(req *graphRequest) (any, *graphError) {
	var body struct {
		Calling map[string]any `json:"calling"`
	}
	if err := decode(req.body, &body); err != nil {
		return nil, err
	}
	if len(body.Calling) == 0 {
		return nil, refusal(CodeInvalidParameter, "calling is required")
	}
	if status, ok := body.Calling["status"]; ok && status != "ENABLED" && status != "DISABLED" {
		return nil, refusal(CodeInvalidParameter, "calling.status must be ENABLED or DISABLED")
	}
	req.number.update(body.Calling)
	return map[string]any{"success": true}, nil
}

// messageRequest is as much of POST messages as calling needs.
type messageRequest struct {
	MessagingProduct string `json:"messaging_product"`
	To               string `json:"to"`
	Recipient        string `json:"recipient"`
	Type             string `json:"type"`
	Interactive      *struct {
		Type   string `json:"type"`
		Action struct {
			Name       string `json:"name"`
			Parameters struct {
				DisplayText string `json:"display_text"`
				TTLMinutes  int    `json:"ttl_minutes"`
				Payload     string `json:"payload"`
			} `json:"parameters"`
		} `json:"action"`
		Body *struct {
			Text string `json:"text"`
		} `json:"body"`
	} `json:"interactive"`
}

// messages takes permission requests and call buttons, and any other message without a look at it.
func (s *Server) messages(req *graphRequest) (any, *graphError) {
	var body messageRequest
	if err := decode(req.body, &body); err != nil {
		return nil, err
	}
	if err := wantWhatsApp(body.MessagingProduct); err != nil {
		return nil, err
	}
	var user *User
	switch {
	case digits(body.To):
		user = s.User(body.To)
	case body.To == "" && body.Recipient != "":
		user = s.userByID(body.Recipient)
	}
	if user == nil {
		return nil, refusal(CodeInvalidParameter, "to must be a phone number of digits only, or recipient a user's ID")
	}
	id := messageID()
	if body.Type == "interactive" {
		if err := body.interactive(user, id); err != nil {
			return nil, err
		}
	}
	return map[string]any{
		"messaging_product": "whatsapp",
		"contacts":          []any{map[string]string{"input": cmp.Or(body.To, body.Recipient), "wa_id": user.waID}},
		"messages":          []any{map[string]string{"id": id}},
	}, nil
}

// interactive takes a permission request or a call button.
func (m *messageRequest) interactive(user *User, id string) *graphError {
	i := m.Interactive
	switch {
	case i == nil || i.Type != i.Action.Name:
		return refusal(CodeInvalidParameter, "interactive.action.name must equal interactive.type")
	case i.Type == "call_permission_request":
		if i.Body == nil || i.Body.Text == "" || utf8.RuneCountInString(i.Body.Text) > 1024 {
			return refusal(CodeInvalidParameter, "interactive.body.text must have 1 to 1024 characters")
		}
		if user.permissionNow() == PermissionPermanent {
			return refusal(CodePermissionExists, "the user has permitted calls for good")
		}
		if may, _ := user.mayBeAsked(); !may {
			return refusal(CodePermissionRequestLimit, "the user was asked once today, or twice this week")
		}
		user.askedForPermission(id)
	case i.Type == "voice_call":
		p := i.Action.Parameters
		if len(p.DisplayText) > 20 || len(p.Payload) > 512 || p.TTLMinutes < 0 || p.TTLMinutes > 43200 {
			return refusal(CodeInvalidParameter, "voice_call: display_text up to 20 characters, payload up to 512, ttl_minutes up to 43200")
		}
	}
	return nil
}

// PermissionReply is a user's word on calls from a business, or Meta's own in his name.
type PermissionReply struct {
	Accept    bool `json:"accept"`
	Permanent bool `json:"permanent"`
	// Automatic marks what no user did: accepted because the user called (Context is that call's ID), or revoked
	// after calls that nobody answered.
	Automatic bool `json:"automatic"`
	// Context is the message or call that it answers. Empty: the last permission request, if there was one.
	Context string `json:"context,omitempty"`
	// FromProfile leaves Context out: the user changed it in the business' profile.
	FromProfile bool `json:"from_profile,omitempty"`
}

// ReplyPermission sets the user's permission and tells the business about it.
func (u *User) ReplyPermission(phoneNumberID string, r PermissionReply) error {
	n, err := u.server.number(phoneNumberID)
	if err != nil {
		return err
	}
	permission, response, source := PermissionNone, "reject", "user_action"
	reply := map[string]any{}
	if r.Accept {
		permission, response = PermissionTemporary, "accept"
		reply["is_permanent"] = r.Permanent
		if r.Permanent {
			permission = PermissionPermanent
		}
	}
	u.SetPermission(permission)
	if r.Automatic {
		source = "automatic"
	}
	reply["response"], reply["response_source"] = response, source
	if permission == PermissionTemporary {
		reply["expiration_timestamp"] = seconds(u.permissionEnds())
	}
	message := map[string]any{
		"from": u.waID, "id": messageID(), "timestamp": seconds(time.Now()), "type": "interactive",
		"interactive": map[string]any{"type": "call_permission_reply", "call_permission_reply": reply},
	}
	if context := u.permissionContext(r); context != "" {
		message["context"] = map[string]string{"from": n.DisplayNumber, "id": context}
	}
	raw, err := json.Marshal(message)
	if err != nil {
		return err
	}
	u.server.dispatcher.send(&update{event: "message", callID: "user", number: n, field: "messages", value: Value{
		MessagingProduct: "whatsapp", Metadata: n.metadata(), Contacts: []Contact{u.contact()},
		Messages: []json.RawMessage{raw},
	}})
	return nil
}
