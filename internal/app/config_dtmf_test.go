package app

import (
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
