package app

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/internal/call"
)

func TestKeysForThePhoneAreOffByDefault(t *testing.T) {
	c := DefaultConfig()
	require.Equal(t, call.KeysOff, c.DTMF.mode())
	for text, mode := range map[string]call.KeyMode{"off": call.KeysOff, "events": call.KeysEvents, "tones": call.KeysTones} {
		var v validation
		c.DTMF.ToPhone = text
		v.dtmf(&c.DTMF)
		require.Empty(t, v.problems)
		require.Equal(t, mode, c.DTMF.mode())
	}
	var v validation
	v.dtmf(&DTMFConfig{ToPhone: "inband"})
	require.Len(t, v.problems, 1)
	require.ErrorContains(t, v.problems[0], `"inband" is not one of off, events, tones`)
}

// The manual's settings are read, its outcomes are all that there are, and the programs' lines in it are those that the
// end-to-end tests run.
func TestTheManualOfKeysIsTrue(t *testing.T) {
	b, err := os.ReadFile("../../docs/dtmf.md")
	require.NoError(t, err)
	manual := string(b)
	_, rest, _ := strings.Cut(manual, "```yaml\n")
	example, _, _ := strings.Cut(rest, "```")
	file := filepath.Join(t.TempDir(), "config.yaml")
	require.NoError(t, os.WriteFile(file, []byte("ws_url: ws://127.0.0.1:7880\napi_key: k\napi_secret: s\n"+example), 0o600))
	line, err := parse(nil, "--config", file)
	require.NoError(t, err)
	require.Equal(t, call.KeysEvents, line.Config.DTMF.mode())

	for _, mode := range dtmfModes {
		require.Contains(t, manual, "\n| `"+mode+"` | ")
	}
	for _, o := range call.KeyOutcomes {
		require.Contains(t, manual, "\n| `"+o.String()+"` | ")
	}
	b, err = os.ReadFile("../e2e/sdk/rtc-node/driver.mjs")
	require.NoError(t, err)
	for _, line := range []string{"room.on(RoomEvent.DtmfReceived, (code, digit, participant) => {", "await room.localParticipant.publishDtmf("} {
		require.Contains(t, manual, line)
		require.Contains(t, string(b), line)
	}
}
