package e2e_test

import (
	"encoding/base64"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/internal/app"
	"github.com/livekit-connector/livekit-connector/internal/logs"
	"github.com/livekit-connector/livekit-connector/pkg/fakemeta"
)

// Every connector of these tests logs at debug level, and what it logged is looked through at the end of its test: whatever
// happened there, no secret and nobody's number is in it.
var (
	// numberText is any number of the invented people, however it is written.
	numberText = regexp.MustCompile(`1[ .()-]{0,2}555[ .()-]{0,2}(000|999)[ .()-]{0,2}\d{4}|7730012345`)
	// indiscreet is what no line may hold: tokens, session descriptions and parts of them, Meta's whole call IDs, user IDs.
	indiscreet = regexp.MustCompile(`eyJ[\w-]{8}|\bEAA|(?i:bearer )[^\[]|v=0(\\r|\\n|\r|\n)|a=(ice|cand|fingerprint|setup|rtpmap)|` +
		`(ice-)?(ufrag|pwd)[:= ][^\[]|wacid\.|\b[A-Z]{2}\.[0-9A-Za-z]{10,}`)
	// encoded is what may be base64.
	encoded = regexp.MustCompile(`[0-9A-Za-z+/_-]{16,}`)
)

// requireDiscreet fails for a log that holds what it must not.
func requireDiscreet(t *testing.T, log string, secrets ...string) {
	t.Helper()
	secrets = append(secrets, metaToken, appSecret, verifyToken)
	for line := range strings.Lines(log) {
		if found := indiscretion(line, secrets); found != "" {
			t.Errorf("the log holds %s: %s", found, line)
		}
	}
}

// indiscretion says what a line of a log holds that it must not; "" is nothing.
func indiscretion(line string, secrets []string) string {
	for _, secret := range secrets {
		if strings.Contains(line, secret) {
			return "the secret " + secret
		}
	}
	if found := indiscreet.FindString(line); found != "" {
		return fmt.Sprintf("%q", found)
	}
	if number := numberText.FindString(line); number != "" {
		return "the number " + number
	}
	for _, run := range encoded.FindAllString(line, -1) {
		run = strings.NewReplacer("-", "+", "_", "/").Replace(run)
		for from := range 4 {
			text, _ := base64.RawStdEncoding.DecodeString(run[from : from+(len(run)-from)/4*4])
			if number := numberText.Find(text); number != nil {
				return fmt.Sprintf("the number %s in base64", number)
			}
		}
	}
	return ""
}

func TestIndiscretionsAreFound(t *testing.T) {
	secrets := []string{metaToken}
	for _, line := range []string{
		"token " + metaToken, "from +1 (555) 000-2222", "to=15550003333", "callID=wacid.HBgL", "a=ice-ufrag:x", `offer="v=0\r\no=-"`,
		"id=" + base64.StdEncoding.EncodeToString([]byte("\x1c\x18\x0b15550002222\x15\x02")), "Authorization: Bearer abc",
		"user=US." + strings.Repeat("1", 16), "jwt=eyJhbGciOiJIUzI1NiJ9",
	} {
		require.NotEmpty(t, indiscretion(line, secrets), line)
	}
	for _, line := range []string{
		"call ended callID=wacid-352d7cbba4a1c06f phoneNumberID=1000555000111", "Authorization: Bearer [redacted]", "number=***22",
	} {
		require.Empty(t, indiscretion(line, secrets), line)
	}
}

// Whatever happens, at the most talkative level: no token, secret, phone number, SDP or ICE password in the log.
func TestLogHoldsNoSecrets(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{})
	a := w.newApplication(nil)
	c, err := w.meta.User(userNumber).Call(wait(t), numberID)
	require.NoError(t, err)
	require.NoError(t, a.wait("accept", c.ID()).err)
	offer, answer := c.Offer(), c.Answer()
	require.NoError(t, c.HangUp())
	requireOver(t, c)
	w.meta.Fail(fakemeta.Fault{Action: "connect", Code: 138006, Details: "no permission from " + userNumber})
	_, err = a.sdk.do(wait(t), "dial", dialRequest())
	require.Error(t, err)
	w.meta.Fail(fakemeta.Fault{Action: "connect", DropResponse: true})
	_, err = a.sdk.do(wait(t), "dial", dialRequest())
	require.Error(t, err)
	require.NoError(t, w.stop())

	log := w.log.String()
	require.Contains(t, log, `"level":"DEBUG"`, "the log is as talkative as it gets")
	var secrets []string
	for _, sdp := range []string{offer, answer} {
		for line := range strings.SplitSeq(sdp, "\r\n") {
			for _, prefix := range []string{"a=ice-pwd:", "a=ice-ufrag:", "a=fingerprint:sha-256 "} {
				if value, ok := strings.CutPrefix(line, prefix); ok {
					secrets = append(secrets, value)
				}
			}
		}
	}
	require.GreaterOrEqual(t, len(secrets), 6, "both descriptions were read")
	requireDiscreet(t, log, secrets...)
	requireOneCallALine(t, log, c.ID())
}

// requireOneCallALine checks the course of one call in the log: its lines at start, answer and end, once each, and its ID and the
// participant's on every line that one of the call's own parts wrote.
func requireOneCallALine(t *testing.T, log, callID string) {
	t.Helper()
	told := map[string]int{}
	for line := range strings.Lines(log) {
		if strings.Contains(line, `"callID":"`+logs.ID(callID)+`"`) {
			for _, message := range []string{"call started", "call active", "call ended"} {
				told[message] += strings.Count(line, `"msg":"`+message+`"`)
			}
		}
		for _, component := range []string{logs.Call, logs.RoomLeg} {
			if strings.Contains(line, `"component":"`+component+`"`) {
				require.Contains(t, line, `"callID":"wacid-`)
				require.Contains(t, line, `"participant":"`)
			}
		}
		require.LessOrEqual(t, strings.Count(line, `"callID":`), 1, line)
		require.Equal(t, 1, strings.Count(line, `"component":`), line)
	}
	require.Equal(t, map[string]int{"call started": 1, "call active": 1, "call ended": 1}, told)
}

// Rules may make names of rooms and participants of who calls. The room has them; the log does not, unless it may.
func TestNamesMadeOfTheCallerAreMasked(t *testing.T) {
	t.Parallel()
	const rules = "rules:\n  - name: all\n    room: {name: \"from-{from}-{name}-{random}\"}\n" +
		"    participant: {identity: \"caller-{from}-{random}\", name: Caller}\n    wait_until_answered: false\n"
	for _, pii := range []bool{false, true} {
		g := newGateway(t, "secrets-listener", worldOptions{config: func(c *app.Config) { c.LogPII = pii }}, rules)
		user := g.meta.User(userNumber)
		user.SetName("Wilhelmina Tell")
		c, err := user.Call(wait(t), numberID)
		require.NoError(t, err)
		require.NoError(t, c.Wait(wait(t), fakemeta.StateActive))
		require.NoError(t, c.HangUp())
		requireOver(t, c)
		require.NoError(t, g.app.Node().WaitEmpty(wait(t)))
		require.NoError(t, g.stop())
		log := g.log.String()
		require.Equal(t, pii, strings.Contains(log, "from-"+userNumber))
		require.Equal(t, pii, strings.Contains(log, c.ID()))
		require.NotContains(t, log, metaToken, "secrets never pass")
		if !pii {
			require.NotContains(t, log, "Wilhelmina")
			require.Contains(t, log, `"room":"from-[user]-[user]-`)
			require.Contains(t, log, `"participant":"caller-[user]-`)
		}
	}
}
