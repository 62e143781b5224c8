package e2e_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/pkg/fakemeta"
)

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
	secrets := []string{metaToken, w.livekit.APISecret(), userNumber, business, "v=0\r\n", `v=0\r\n`, "eyJ"}
	for _, sdp := range []string{offer, answer} {
		for line := range strings.SplitSeq(sdp, "\r\n") {
			for _, prefix := range []string{"a=ice-pwd:", "a=ice-ufrag:", "a=fingerprint:sha-256 "} {
				if value, ok := strings.CutPrefix(line, prefix); ok {
					secrets = append(secrets, value)
				}
			}
		}
	}
	require.Greater(t, len(secrets), 10, "both descriptions were read")
	for _, secret := range secrets {
		require.NotContains(t, log, secret)
	}
}
