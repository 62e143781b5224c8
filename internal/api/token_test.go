package api_test

import (
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/livekit/protocol/auth"
	"github.com/livekit/protocol/livekit"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/livekit-connector/livekit-connector/internal/api"
)

// claims signs any set of claims, well-formed or not. A duration stands for the time that is so far from now.
func claims(tb testing.TB, method jwt.SigningMethod, signingKey any, c jwt.MapClaims) string {
	tb.Helper()
	c = maps.Clone(c)
	for name, value := range c {
		if d, relative := value.(time.Duration); relative {
			c[name] = time.Now().Add(d).Unix()
		}
	}
	token, err := jwt.NewWithClaims(method, c).SignedString(signingKey)
	require.NoError(tb, err)
	return token
}

// Tokens are made when they are used: each test case has a clock of its own.

// claimed makes a token of any claims.
func claimed(c jwt.MapClaims) func(testing.TB) string {
	return claimedWith(jwt.SigningMethodHS256, []byte(secret), c)
}

func claimedWith(method jwt.SigningMethod, signingKey any, c jwt.MapClaims) func(testing.TB) string {
	return func(tb testing.TB) string {
		tb.Helper()
		return claims(tb, method, signingKey, c)
	}
}

// signed makes a token as LiveKit's SDKs do.
func signed(apiKey, apiSecret string, grant *auth.VideoGrant, change ...func(*auth.AccessToken)) func(testing.TB) string {
	return func(tb testing.TB) string {
		tb.Helper()
		return sign(tb, apiKey, apiSecret, grant, change...)
	}
}

func TestBadTokens(t *testing.T) {
	create := &auth.VideoGrant{RoomCreate: true}
	grant := map[string]any{"roomCreate": true}
	good := jwt.MapClaims{"iss": key, "video": grant, "exp": time.Hour}
	set := func(value string) func(*http.Request) { return header("Authorization", value) }
	var cases []errorCase
	for _, tc := range []struct {
		name   string
		token  func(testing.TB) string
		change func(*http.Request)
		want   string
	}{
		{"none", nil, func(r *http.Request) { r.Header.Del("Authorization") }, "missing authorization header"},
		{"another scheme", nil, set("Basic ZGV2OmRldg=="), "malformed authorization header"},
		{"scheme alone", nil, set("Bearer"), "malformed authorization header"},
		{"no JWT", nil, set("Bearer abc"), "malformed access token"},
		{"no base64", nil, set("Bearer a.b.c"), "malformed access token"},
		{"unknown key", signed("nokey", secret, create), nil, "unknown API key"},
		{"no key", claimed(jwt.MapClaims{"video": grant, "exp": time.Hour}), nil, "unknown API key"},
		{"another's secret", signed(key, otherSecret, create), nil, "wrong signature"},
		{"cut signature", signed(key, secret, create), func(r *http.Request) {
			whole := r.Header.Get("Authorization")
			set(whole[:len(whole)-4])(r)
		}, "wrong signature"},
		{"expired", claimed(jwt.MapClaims{"iss": key, "video": grant, "exp": -2 * time.Minute}), nil, "expired"},
		{"of the future", claimed(jwt.MapClaims{"iss": key, "video": grant, "nbf": 5 * time.Minute, "exp": time.Hour}), nil, "not valid yet"},
		{"HS384", claimedWith(jwt.SigningMethodHS384, []byte(secret), good), nil, "HS256"},
		{"alg none", claimedWith(jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, good), nil, "HS256"},
		{"broken body too", nil, func(r *http.Request) { set("Bearer abc")(r); body("{")(r) }, "malformed access token"},
	} {
		for method, req := range everyMethod() {
			cases = append(cases, errorCase{
				name: tc.name + "/" + method, method: method, req: req, token: tc.token, change: tc.change,
				want: failure{401, "unauthenticated", tc.want, nil},
			})
		}
	}
	requireErrors(t, cases)
}

func everyMethod() map[string]proto.Message {
	return map[string]proto.Message{
		dialMethod: dial(), acceptMethod: accept(), connectMethod: connect(), disconnectMethod: disconnect(),
		twilioMethod: &livekit.ConnectTwilioCallRequest{},
	}
}

func TestGrants(t *testing.T) {
	yes := true
	for _, tc := range []struct {
		name  string
		token func(testing.TB) string
		// start and steer say whether Dial, Accept, Twilio and whether Connect, Disconnect may be called.
		start, steer bool
		// strict is steer with AllowEmptyGrants off.
		strict bool
	}{
		{"roomCreate", signed(key, secret, &auth.VideoGrant{RoomCreate: true}), true, true, true},
		{"roomCreate of another key", signed(otherKey, otherSecret, &auth.VideoGrant{RoomCreate: true}), true, true, true},
		{"roomCreate and room, as Go signs Dial", signed(key, secret, &auth.VideoGrant{RoomCreate: true, Room: "r"}), true, true, true},
		{
			"serialised defaults, as Python signs",
			claimed(jwt.MapClaims{"iss": key, "sub": "", "exp": time.Hour, "video": map[string]any{
				"roomCreate": true, "canPublish": true, "canSubscribe": true, "canPublishData": true,
			}}), true, true, true,
		},
		{
			"every field, as Rust signs",
			claimed(jwt.MapClaims{"iss": key, "exp": time.Hour, "video": map[string]any{
				"roomCreate": true, "roomJoin": false, "room": "", "destinationRoom": "", "canPublishSources": []string{},
			}}), true, true, true,
		},
		{
			"empty sip, as Kotlin signs",
			claimed(jwt.MapClaims{"iss": key, "exp": time.Hour, "sip": map[string]any{}, "video": map[string]any{"roomCreate": true}}),
			true, true, true,
		},
		{"clock 30 s behind", claimed(jwt.MapClaims{"iss": key, "nbf": 30 * time.Second, "exp": time.Hour, "video": map[string]any{"roomCreate": true}}), true, true, true},
		{"clock 30 s ahead", claimed(jwt.MapClaims{"iss": key, "exp": -30 * time.Second, "video": map[string]any{"roomCreate": true}}), true, true, true},

		{"empty grant, as Go up to 2.16.7 signs", signed(key, secret, &auth.VideoGrant{}), false, true, false},
		{"empty grant with an identity", signed(key, secret, &auth.VideoGrant{}, identity("me")), false, false, false},
		{"participant", signed(key, secret, &auth.VideoGrant{RoomJoin: true, Room: "r"}, identity("me")), false, false, false},
		{"participant without identity", signed(key, secret, &auth.VideoGrant{RoomJoin: true}), false, false, false},
		{"other server grant", signed(key, secret, &auth.VideoGrant{RoomList: true}), false, false, false},
		{"publish grant", signed(key, secret, &auth.VideoGrant{CanPublish: &yes}), false, false, false},
		{"sip grant", signed(key, secret, &auth.VideoGrant{}, func(a *auth.AccessToken) { a.SetSIPGrant(&auth.SIPGrant{Admin: true}) }), false, false, false},
		{"no video grant", claimed(jwt.MapClaims{"iss": key, "exp": time.Hour}), false, false, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			inBubble(t, newNode(), func(t *testing.T, lenient *stand) {
				strict := newStand(t, newNode(), func(o *api.Options) { o.AllowEmptyGrants = false })
				for method, req := range everyMethod() {
					permitted, permittedStrictly := tc.start, tc.start
					if method == connectMethod || method == disconnectMethod {
						permitted, permittedStrictly = tc.steer, tc.strict
					}
					for s, want := range map[*stand]bool{lenient: permitted, strict: permittedStrictly} {
						for _, e := range encodings {
							w := s.post(t, e, method, req, bearer(tc.token(t)))
							if want {
								require.NotContains(t, []int{401, 403}, w.Code, "%s: %s", method, w.Body)
							} else {
								requireFailure(t, failure{403, "permission_denied", "lacks the video grant roomCreate", nil}, w)
							}
						}
					}
				}
			})
		})
	}
}

func identity(id string) func(*auth.AccessToken) {
	return func(a *auth.AccessToken) { a.SetIdentity(id) }
}

func TestTheKeyGoesToTheNode(t *testing.T) {
	inBubble(t, newNode(), func(t *testing.T, s *stand) {
		w := s.post(t, encodings[1], dialMethod, dial(), bearer(sign(t, otherKey, otherSecret, &auth.VideoGrant{RoomCreate: true})))
		require.Equal(t, 200, w.Code)
		require.Equal(t, otherKey, s.node.lastStart(t).ApiKey)
	})
}

func TestRefusalsDoNotQuoteTheToken(t *testing.T) {
	s := newStand(t, newNode())
	for _, token := range []string{"not-a-token-but-secret", sign(t, "unknown-key", secret, &auth.VideoGrant{}), sign(t, key, otherSecret, &auth.VideoGrant{})} {
		w := s.post(t, encodings[0], dialMethod, dial(), bearer(token))
		require.Equal(t, 401, w.Code)
		for _, part := range append(strings.Split(token, "."), "unknown-key") {
			require.NotContains(t, w.Body.String(), part)
			require.NotContains(t, s.log.String(), part)
		}
	}
}
