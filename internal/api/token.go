package api

import (
	"errors"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/livekit/protocol/auth"
	"github.com/twitchtv/twirp"

	"github.com/livekit-connector/livekit-connector/internal/attempts"
)

// grantRule says which tokens may call a method.
type grantRule int

const (
	// needsRoomCreate: the video grant says roomCreate.
	needsRoomCreate grantRule = iota
	// takesEmpty: that, or an empty video grant in a token that is nobody's. The Go SDK up to v2.16.7 signs those.
	takesEmpty
)

// grantOf lists the service's methods.
var grantOf = map[string]grantRule{
	"DialWhatsAppCall":       needsRoomCreate,
	"AcceptWhatsAppCall":     needsRoomCreate,
	"ConnectWhatsAppCall":    takesEmpty,
	"DisconnectWhatsAppCall": takesEmpty,
	"ConnectTwilioCall":      needsRoomCreate,
}

// authenticate returns the API key that signed the request's token, which must permit the method.
func (s *Server) authenticate(x *exchange, r *http.Request, method string) (apiKey string, _ twirp.Error) {
	apiKey, claims, grants, err := s.verify(x, r)
	if err != nil {
		return "", err
	}
	if !s.permits(grantOf[method], claims, grants) {
		return "", twirp.NewError(twirp.PermissionDenied, "access token lacks the video grant roomCreate")
	}
	s.proved(r)
	return apiKey, nil
}

// verify is readToken, which costs no more than a look at the head, with another answer for clients that have failed too often. It
// counts failures; whoever looks at the grants calls proved.
func (s *Server) verify(x *exchange, r *http.Request) (apiKey string, _ *jwt.RegisteredClaims, _ *auth.ClaimGrants, _ twirp.Error) {
	apiKey, claims, grants, err := s.readToken(r)
	if err == nil {
		return apiKey, claims, grants, nil
	}
	if refused := s.limited(x.Header(), attempts.PlaceAPI, r); refused != nil {
		return "", nil, nil, refused
	}
	s.attempts.Failed(s.attempts.Client(r))
	return "", nil, nil, err
}

// proved notes that a request came with a token that permits it. Participants of rooms have tokens, too: such prove nothing.
func (s *Server) proved(r *http.Request) { s.attempts.Proved(s.attempts.Client(r)) }

// limited is the answer to a client that failed too often, with the header of it, nil for others.
func (s *Server) limited(answer http.Header, place string, r *http.Request) twirp.Error {
	after, refused := s.attempts.Refused(place, s.attempts.Client(r))
	if !refused {
		return nil
	}
	seconds := strconv.Itoa(int(after.Round(time.Second) / time.Second))
	answer.Set("Retry-After", seconds)
	return twirp.NewError(twirp.ResourceExhausted, "too many requests with a wrong access token came from this address: "+
		"try again in "+seconds+" s, and check the API key and its secret").WithMeta("limit", "failed_attempts")
}

// readToken returns the API key that signed the request's token, and what the token says. Signatures are compared in constant
// time and clocks may differ by a minute; both are the auth package's work.
func (s *Server) readToken(r *http.Request) (apiKey string, _ *jwt.RegisteredClaims, _ *auth.ClaimGrants, _ twirp.Error) {
	header := r.Header.Get("Authorization")
	if header == "" {
		return "", nil, nil, unauthenticated(`missing authorization header: send "Authorization: Bearer <access token>"`)
	}
	scheme, raw, _ := strings.Cut(header, " ")
	raw = strings.TrimSpace(raw)
	if !strings.EqualFold(scheme, "Bearer") || raw == "" {
		return "", nil, nil, unauthenticated(`malformed authorization header: it must read "Bearer <access token>"`)
	}
	return s.verifyToken(raw)
}

// verifyToken is readToken for the token alone.
func (s *Server) verifyToken(raw string) (apiKey string, _ *jwt.RegisteredClaims, _ *auth.ClaimGrants, _ twirp.Error) {
	token, err := auth.ParseAPIToken(raw)
	if err != nil {
		return "", nil, nil, unauthenticated("malformed access token: it must be a JWT signed with HS256")
	}
	secret := ""
	if token.APIKey() != "" {
		secret = s.keys.GetSecret(token.APIKey())
	}
	if secret == "" {
		return "", nil, nil, unauthenticated("access token names an unknown API key as its issuer")
	}
	claims, grants, err := token.Verify(secret)
	if err != nil {
		return "", nil, nil, unauthenticated(verdict(err))
	}
	return token.APIKey(), claims, grants, nil
}

func (s *Server) permits(rule grantRule, claims *jwt.RegisteredClaims, grants *auth.ClaimGrants) bool {
	if grants.Video == nil {
		return false
	}
	if grants.Video.RoomCreate {
		return true
	}
	return rule == takesEmpty && s.emptyGrants && isEmptyServerToken(claims, grants)
}

// isEmptyServerToken is true for a token that grants nothing at all and is nobody's. One with any other grant was made
// for something else: a participant's has an identity and roomJoin, an egress or ingress token its own grant.
func isEmptyServerToken(claims *jwt.RegisteredClaims, grants *auth.ClaimGrants) bool {
	if claims.Subject != "" || grants.Identity != "" {
		return false
	}
	if grants.SIP != nil || grants.Agent != nil || grants.Inference != nil || grants.Observability != nil {
		return false
	}
	// Zero as a whole, so that a grant which LiveKit adds one day does not count as none.
	v := *grants.Video
	v.Room = "" // says where, not what
	if len(v.CanPublishSources) == 0 {
		v.CanPublishSources = nil
	}
	return reflect.ValueOf(v).IsZero()
}

// verdict says what is wrong with a token in words of ours: the library's may quote it.
func verdict(err error) string {
	switch {
	case errors.Is(err, jwt.ErrTokenSignatureInvalid):
		return "access token has a wrong signature: the API secret does not fit the API key, or the algorithm is not HS256"
	case errors.Is(err, jwt.ErrTokenExpired):
		return "access token is expired"
	case errors.Is(err, jwt.ErrTokenNotValidYet), errors.Is(err, jwt.ErrTokenUsedBeforeIssued):
		return "access token is not valid yet: check the clock of the machine that made it"
	default:
		return "access token is invalid"
	}
}

func unauthenticated(msg string) twirp.Error {
	return twirp.NewError(twirp.Unauthenticated, msg)
}
