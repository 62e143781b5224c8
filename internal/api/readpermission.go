package api

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/livekit/protocol/auth"
	"github.com/twitchtv/twirp"

	"github.com/livekit-connector/livekit-connector/pkg/whatsapp"
)

// Permissions asks Meta what the business may do towards a user: ErrNoCredentials if nothing is configured for the number.
type Permissions func(ctx context.Context, phoneNumberID, user string) (whatsapp.Permission, error)

// ErrNoCredentials is returned by Permissions for a phone number without a configured token.
var ErrNoCredentials = errors.New("api: no token is configured for this phone number")

// maxParameterBytes is more than any phone number ID, phone number or user ID takes.
const maxParameterBytes = 256

// permissionAnswer is whatsapp.Permission in JSON. It does not repeat whom it is about.
type permissionAnswer struct {
	// Status is "no_permission", "temporary" or "permanent", or one that Meta added since.
	Status string `json:"status"`
	// ExpirationTime is that of a temporary permission.
	ExpirationTime *time.Time `json:"expirationTime,omitempty"`
	// CanCall says whether Meta would take a call to the user now.
	CanCall bool            `json:"canCall"`
	Actions []actionsAnswer `json:"actions"`
}

type actionsAnswer struct {
	Action  string        `json:"action"`
	Allowed bool          `json:"allowed"`
	Limits  []limitAnswer `json:"limits"`
}

type limitAnswer struct {
	// Period is ISO 8601, such as PT24H.
	Period string `json:"period"`
	Max    int    `json:"max"`
	Used   int    `json:"used"`
	// ExpirationTime is when the period ends, if the limit is reached.
	ExpirationTime *time.Time `json:"expirationTime,omitempty"`
}

func (a *reader) permissions(x *exchange, r *http.Request, grants *auth.ClaimGrants) (any, twirp.Error) {
	q, refused := readQuery(r, "phone_number_id", "user")
	if refused != nil {
		return nil, refused
	}
	if !grants.Video.RoomCreate {
		return nil, twirp.NewError(twirp.PermissionDenied, "access token lacks the video grant roomCreate")
	}
	number, user := q.Get("phone_number_id"), q.Get("user")
	switch {
	case number == "":
		return nil, twirp.RequiredArgumentError("phone_number_id")
	case user == "":
		return nil, twirp.RequiredArgumentError("user")
	case len(number) > maxParameterBytes || len(user) > maxParameterBytes:
		return nil, twirp.NewError(twirp.InvalidArgument, "phone_number_id and user must not exceed 256 bytes")
	case a.permitted.refuses(x.apiKey, number) != nil:
		return nil, a.permitted.refuses(x.apiKey, number)
	case a.permission == nil:
		return nil, noCredentials()
	}
	p, err := a.permission(r.Context(), number, user)
	if err != nil {
		a.log.WarnContext(r.Context(), "call permission not read", "error", redact(err.Error(), []string{user}))
		return nil, permissionError(err, user)
	}
	answer := permissionAnswer{
		Status: p.Status, ExpirationTime: moment(p.Expiration), CanCall: p.CanStartCall(), Actions: []actionsAnswer{},
	}
	for _, action := range p.Actions {
		limits := []limitAnswer{}
		for _, l := range action.Limits {
			limits = append(limits, limitAnswer{Period: l.Period, Max: l.Max, Used: l.Used, ExpirationTime: moment(l.Expiration)})
		}
		answer.Actions = append(answer.Actions, actionsAnswer{Action: action.Name, Allowed: action.Allowed, Limits: limits})
	}
	return answer, nil
}

// moment is absent for a time that is not given.
func moment(at time.Time) *time.Time {
	if at.IsZero() {
		return nil
	}
	at = at.UTC()
	return &at
}

func noCredentials() twirp.Error {
	return twirp.NewError(twirp.FailedPrecondition, "no access token is configured for this phone_number_id: set it under whatsapp.numbers")
}

// permissionError is the answer when Meta did not tell. Nothing was begun, so all of it may be tried again.
func permissionError(err error, user string) twirp.Error {
	var api *whatsapp.APIError
	switch {
	case errors.Is(err, ErrNoCredentials):
		return noCredentials()
	case errors.Is(err, whatsapp.ErrInvalidRequest), errors.Is(err, whatsapp.ErrVersion):
		return twirp.NewError(twirp.InvalidArgument, redact(err.Error(), []string{user}))
	case !errors.As(err, &api):
		return twirp.NewError(twirp.Unavailable, "meta cannot be reached: send the request again")
	}
	code := twirp.Unavailable
	switch {
	case api.HTTPStatus == http.StatusTooManyRequests, api.Code == permissionQueryLimit:
		code = twirp.ResourceExhausted
	case api.HTTPStatus < http.StatusInternalServerError:
		code = twirp.FailedPrecondition
	}
	return twirp.NewError(code, redact(err.Error(), []string{user})).
		WithMeta("whatsapp_error_code", strconv.Itoa(api.Code)).WithMeta("whatsapp_http_status", strconv.Itoa(api.HTTPStatus))
}

// permissionQueryLimit is Meta's code for asking too often.
const permissionQueryLimit = 613
