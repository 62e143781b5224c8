package whatsapp

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"time"
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

// CallPermission asks whether user may be called. user is a phone number (digits with or without a leading plus) or a business-scoped
// user ID. Meta limits this request to a few per second.
func (c *Client) CallPermission(ctx context.Context, creds Credentials, user string) (Permission, error) {
	user = strings.TrimPrefix(user, "+")
	if user == "" {
		return Permission{}, fmt.Errorf("graph %s: %w: user is missing", ActionCallPermissions, ErrInvalidRequest)
	}
	query := url.Values{"recipient": {user}}
	if strings.Trim(user, "0123456789") == "" {
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
