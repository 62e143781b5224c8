package whatsapp

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"
)

// Permission statuses. Numbers that cannot be called at all also report PermissionNone.
const (
	PermissionNone      = "no_permission"
	PermissionTemporary = "temporary"
	PermissionPermanent = "permanent"
)

// Permission is what a business may do towards one user now.
type Permission struct {
	Status     string    // a Permission constant, or one that Meta added since
	Expiration time.Time // of a temporary permission; zero otherwise
	Actions    []PermittedAction
}

// PermittedAction is "start_call" or "send_call_permission_request" with its limits.
type PermittedAction struct {
	Name    string
	Allowed bool
	Limits  []Limit
}

// Limit is how often an action is allowed in a period.
type Limit struct {
	Period     string // ISO 8601: "PT24H", "P7D"
	Max        int
	Used       int
	Expiration time.Time // when the period ends, if the limit is reached; zero otherwise
}

// CanStartCall reports whether Meta would take a connect to the user now.
func (p Permission) CanStartCall() bool {
	for _, a := range p.Actions {
		if a.Name == "start_call" {
			return a.Allowed
		}
	}
	return p.Status == PermissionTemporary || p.Status == PermissionPermanent
}

// Action returns the action of that name, "start_call" or "send_call_permission_request"; ok is false if Meta did not
// speak of it.
func (p Permission) Action(name string) (a PermittedAction, ok bool) {
	for _, a := range p.Actions {
		if a.Name == name {
			return a, true
		}
	}
	return PermittedAction{}, false
}

// Again is when an action that is not allowed now may be allowed again, by its limits; zero if Meta did not say.
func (a PermittedAction) Again() time.Time {
	var at time.Time
	for _, l := range a.Limits {
		if l.Expiration.After(at) {
			at = l.Expiration
		}
	}
	return at
}

// maxRequestText is the longest text of an interactive message's body, in characters (Meta: interactive messages).
const maxRequestText = 1024

// RequestPermission sends a user a message that asks for the permission to call, with text above its buttons, and returns
// the message's ID. Meta takes it only within 24 hours of the user's last message, once a day and twice a week. The user's
// word comes by webhook (call_permission_reply). user is a phone number or a business-scoped user ID, as for
// CallPermission. It is sent at most once.
func (c *Client) RequestPermission(ctx context.Context, creds Credentials, user, text string) (string, error) {
	user = strings.TrimPrefix(user, "+")
	switch {
	case user == "":
		return "", fmt.Errorf("graph %s: %w: user is missing", ActionMessages, ErrInvalidRequest)
	case text == "" || utf8.RuneCountInString(text) > maxRequestText:
		return "", fmt.Errorf("graph %s: %w: the text must have 1 to %d characters", ActionMessages, ErrInvalidRequest, maxRequestText)
	}
	body := messageBody{MessagingProduct: "whatsapp", RecipientType: "individual", To: user, Type: "interactive"}
	if !digits(user) {
		body.To, body.Recipient = "", user
	}
	body.Interactive.Type = "call_permission_request"
	body.Interactive.Action.Name = "call_permission_request"
	body.Interactive.Body.Text = text
	r, err := c.newRequest(ActionMessages, "messages", nil, creds, user)
	if err != nil {
		return "", err
	}
	r.method = http.MethodPost
	if r.body, err = json.Marshal(body); err != nil {
		return "", fmt.Errorf("graph %s: marshal body: %w", ActionMessages, err)
	}
	response, err := c.once(ctx, r)
	if err != nil {
		return "", err
	}
	var reply struct {
		Messages flexList[struct {
			ID flexString `json:"id"`
		}] `json:"messages"`
	}
	// It is a JSON object. Meta took the message even if it named none.
	_ = json.Unmarshal(response, &reply)
	if len(reply.Messages) == 0 {
		return "", nil
	}
	return string(reply.Messages[0].ID), nil
}

// messageBody is as much of POST messages as a permission request needs.
type messageBody struct {
	MessagingProduct string `json:"messaging_product"`
	RecipientType    string `json:"recipient_type"`
	To               string `json:"to,omitempty"`
	Recipient        string `json:"recipient,omitempty"`
	Type             string `json:"type"`
	Interactive      struct {
		Type   string `json:"type"`
		Action struct {
			Name string `json:"name"`
		} `json:"action"`
		Body struct {
			Text string `json:"text"`
		} `json:"body"`
	} `json:"interactive"`
}

func digits(s string) bool { return strings.Trim(s, "0123456789") == "" }

// CallPermission asks whether user may be called. user is a phone number (digits with or without a leading plus) or a business-scoped
// user ID. Meta limits this request to a few per second.
func (c *Client) CallPermission(ctx context.Context, creds Credentials, user string) (Permission, error) {
	user = strings.TrimPrefix(user, "+")
	if user == "" {
		return Permission{}, fmt.Errorf("graph %s: %w: user is missing", ActionCallPermissions, ErrInvalidRequest)
	}
	query := url.Values{"recipient": {user}}
	if digits(user) {
		query = url.Values{"user_wa_id": {user}}
	}
	body, err := c.read(ctx, creds, ActionCallPermissions, query, user)
	if err != nil {
		return Permission{}, err
	}
	var reply struct {
		Permission struct {
			Status     flexString `json:"status"`
			Expiration flexTime   `json:"expiration_time"`
		} `json:"permission"`
		Actions flexList[struct {
			Name    flexString `json:"action_name"`
			Allowed flexBool   `json:"can_perform_action"`
			Limits  flexList[struct {
				Period     flexString `json:"time_period"`
				Max        flexInt    `json:"max_allowed"`
				Used       flexInt    `json:"current_usage"`
				Expiration flexTime   `json:"limit_expiration_time"`
			}] `json:"limits"`
		}] `json:"actions"`
	}
	// It is a JSON object; members of a wrong type stay zero, and zero permits nothing.
	_ = json.Unmarshal(body, &reply)
	p := Permission{Status: string(reply.Permission.Status), Expiration: time.Time(reply.Permission.Expiration)}
	for _, a := range reply.Actions {
		action := PermittedAction{Name: string(a.Name), Allowed: bool(a.Allowed)}
		for _, l := range a.Limits {
			action.Limits = append(action.Limits,
				Limit{Period: string(l.Period), Max: int(l.Max), Used: int(l.Used), Expiration: time.Time(l.Expiration)})
		}
		p.Actions = append(p.Actions, action)
	}
	return p, nil
}

// read sends a GET; edge is its action too. secret is a value of the query that must not come back in an error.
func (c *Client) read(ctx context.Context, creds Credentials, edge string, query url.Values, secret string) ([]byte, error) {
	r, err := c.newRequest(edge, edge, query, creds, secret)
	if err != nil {
		return nil, err
	}
	return c.repeat(ctx, r, c.attempts, judgeRead)
}
