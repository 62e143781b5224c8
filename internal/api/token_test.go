package api_test

import (
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

// claims signs any set of claims, well-formed or not.
func claims(tb testing.TB, method jwt.SigningMethod, signingKey any, c jwt.MapClaims) string {
	tb.Helper()
	token, err := jwt.NewWithClaims(method, c).SignedString(signingKey)
	require.NoError(tb, err)
	return token
}

func hs256(tb testing.TB, c jwt.MapClaims) string {
	tb.Helper()
	return claims(tb, jwt.SigningMethodHS256, []byte(secret), c)
}

func in(d time.Duration) int64 { return time.Now().Add(d).Unix() }

func TestBadTokens(t *testing.T) {
	create := &auth.VideoGrant{RoomCreate: true}
	grant := map[string]any{"roomCreate": true}
	set := func(value string) func(*http.Request) { return header("Authorization", value) }
	refused := func(msg string) failure { return failure{401, "unauthenticated", msg, nil} }
	good := serverToken(t)
	var cases []errorCase
	for _, tc := range []struct {
		name   string
		change func(*http.Request)
		want   failure
	}{
		{"none", func(r *http.Request) { r.Header.Del("Authorization") }, refused("missing authorization header")},
		{"another scheme", set("Basic ZGV2OmRldg=="), refused("malformed authorization header")},
		{"scheme alone", set("Bearer"), refused("malformed authorization header")},
		{"no JWT", set("Bearer abc"), refused("malformed access token")},
		{"no base64", set("Bearer a.b.c"), refused("malformed access token")},
		{"unknown key", bearer(sign(t, "nokey", secret, create)), refused("unknown API key")},
		{"no key", bearer(hs256(t, jwt.MapClaims{"video": grant, "exp": in(time.Hour)})), refused("unknown API key")},
		{"another's secret", bearer(sign(t, key, otherSecret, create)), refused("wrong signature")},
		{"cut signature", bearer(good[:len(good)-4]), refused("wrong signature")},
		{"expired", bearer(hs256(t, jwt.MapClaims{"iss": key, "video": grant, "exp": in(-2 * time.Minute)})), refused("expired")},
		{"of the future", bearer(hs256(t, jwt.MapClaims{"iss": key, "video": grant, "nbf": in(5 * time.Minute), "exp": in(time.Hour)})), refused("not valid yet")},
		{
			"HS384", bearer(claims(t, jwt.SigningMethodHS384, []byte(secret), jwt.MapClaims{"iss": key, "video": grant, "exp": in(time.Hour)})),
			refused("HS256"),
		},
		{
			"alg none", bearer(claims(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, jwt.MapClaims{"iss": key, "video": grant, "exp": in(time.Hour)})),
			refused("HS256"),
		},
		{"broken body too", func(r *http.Request) { set("Bearer abc")(r); body("{")(r) }, refused("malformed access token")},
	} {
		for method, req := range everyMethod() {
			cases = append(cases, errorCase{name: tc.name + "/" + method, method: method, req: req, change: tc.change, want: tc.want})
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
		token string
		// start and steer say whether Dial, Accept, Twilio and whether Connect, Disconnect may be called.
		start, steer bool
		// strict is steer with AllowEmptyGrants off.
		strict bool
	}{
		{"roomCreate", serverToken(t), true, true, true},
		{"roomCreate of another key", sign(t, otherKey, otherSecret, &auth.VideoGrant{RoomCreate: true}), true, true, true},
		{"roomCreate and room, as Go signs Dial", sign(t, key, secret, &auth.VideoGrant{RoomCreate: true, Room: "r"}), true, true, true},
		{
			"serialised defaults, as Python signs",
			hs256(t, jwt.MapClaims{"iss": key, "sub": "", "exp": in(time.Hour), "video": map[string]any{
				"roomCreate": true, "canPublish": true, "canSubscribe": true, "canPublishData": true,
			}}), true, true, true,
		},
		{
			"every field, as Rust signs",
			hs256(t, jwt.MapClaims{"iss": key, "exp": in(time.Hour), "video": map[string]any{
				"roomCreate": true, "roomJoin": false, "room": "", "destinationRoom": "", "canPublishSources": []string{},
			}}), true, true, true,
		},
		{
			"empty sip, as Kotlin signs",
			hs256(t, jwt.MapClaims{"iss": key, "exp": in(time.Hour), "sip": map[string]any{}, "video": map[string]any{"roomCreate": true}}),
			true, true, true,
		},
		{"clock 30 s behind", hs256(t, jwt.MapClaims{"iss": key, "nbf": in(30 * time.Second), "exp": in(time.Hour), "video": map[string]any{"roomCreate": true}}), true, true, true},
		{"clock 30 s ahead", hs256(t, jwt.MapClaims{"iss": key, "exp": in(-30 * time.Second), "video": map[string]any{"roomCreate": true}}), true, true, true},

		{"empty grant, as Go up to 2.16.7 signs", sign(t, key, secret, &auth.VideoGrant{}), false, true, false},
		{"empty grant with an identity", sign(t, key, secret, &auth.VideoGrant{}, identity("me")), false, false, false},
		{"participant", sign(t, key, secret, &auth.VideoGrant{RoomJoin: true, Room: "r"}, identity("me")), false, false, false},
		{"participant without identity", sign(t, key, secret, &auth.VideoGrant{RoomJoin: true}), false, false, false},
		{"other server grant", sign(t, key, secret, &auth.VideoGrant{RoomList: true}), false, false, false},
		{"publish grant", sign(t, key, secret, &auth.VideoGrant{CanPublish: &yes}), false, false, false},
		{"sip grant", sign(t, key, secret, &auth.VideoGrant{}, func(a *auth.AccessToken) { a.SetSIPGrant(&auth.SIPGrant{Admin: true}) }), false, false, false},
		{"no video grant", hs256(t, jwt.MapClaims{"iss": key, "exp": in(time.Hour)}), false, false, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			lenient := newStand(t, newNode())
			strict := newStand(t, newNode(), func(o *api.Options) { o.AllowEmptyGrants = false })
			for method, req := range everyMethod() {
				permitted, permittedStrictly := tc.start, tc.start
				if method == connectMethod || method == disconnectMethod {
					permitted, permittedStrictly = tc.steer, tc.strict
				}
				for s, want := range map[*stand]bool{lenient: permitted, strict: permittedStrictly} {
					for _, e := range encodings {
						w := s.post(t, e, method, req, bearer(tc.token))
						if want {
							require.NotContains(t, []int{401, 403}, w.Code, "%s: %s", method, w.Body)
						} else {
							requireFailure(t, failure{403, "permission_denied", "lacks the video grant roomCreate", nil}, w)
						}
					}
				}
			}
		})
	}
}

func identity(id string) func(*auth.AccessToken) {
	return func(a *auth.AccessToken) { a.SetIdentity(id) }
}

func TestTheKeyGoesToTheNode(t *testing.T) {
	s := newStand(t, newNode())
	w := s.post(t, encodings[1], dialMethod, dial(), bearer(sign(t, otherKey, otherSecret, &auth.VideoGrant{RoomCreate: true})))
	require.Equal(t, 200, w.Code)
	require.Equal(t, otherKey, s.node.lastStart(t).ApiKey)
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
