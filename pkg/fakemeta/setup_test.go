package fakemeta

import (
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/pkg/fakemeta/relay"
)

func TestAnswerSetupModes(t *testing.T) {
	for _, tt := range []struct {
		mode            SetupMode
		offered, answer string
		role            relay.DTLSRole
	}{
		{SetupActive, "actpass", "active", relay.DTLSRoleClient},
		{SetupPassive, "actpass", "passive", relay.DTLSRoleServer},
		{SetupActpass, "actpass", "actpass", relay.DTLSRoleServer},
		{SetupActive, "active", "passive", relay.DTLSRoleServer},
		{SetupActpass, "passive", "active", relay.DTLSRoleClient},
	} {
		inFakeTime(t, Options{AnswerSetup: tt.mode}, func(b *bench) {
			offer := strings.Replace(vector(b.T, chromeOffer), "a=setup:actpass", "a=setup:"+tt.offered, 1)
			status, _ := b.graph(map[string]any{
				"action": "connect", "to": "15550002222", "session": map[string]any{"sdp_type": "offer", "sdp": offer},
			})
			require.Equal(b, 200, status)
			c, err := b.User("15550002222").NextCall(b.Context())
			require.NoError(b, err)
			require.Contains(b, c.Answer(), "a=setup:"+tt.answer+"\r\n")
			synctest.Wait()
			require.Equal(b, tt.role, b.sessions[0].remote.DTLSRole)
		})
	}
}

func TestPassiveAnswerGetsNoHandshakeUnlessLenient(t *testing.T) {
	for lenient, role := range map[bool]relay.DTLSRole{false: relay.DTLSRoleNone, true: relay.DTLSRoleClient} {
		inFakeTime(t, Options{LenientPassive: lenient}, func(b *bench) {
			c, answer := b.inbound()
			answer = strings.Replace(answer, "a=setup:active", "a=setup:passive", 1)
			require.Equal(b, 200, b.act("accept", c.ID(), answer))
			require.Equal(b, role, b.sessions[0].remote.DTLSRole)
			require.Equal(b, !lenient, strings.Contains(strings.Join(c.Report().Problems, "\n"), "passive"))
		})
	}
}
