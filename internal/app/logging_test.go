package app

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const (
	jwt       = "eyJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJrZXkifQ.c2lnbmF0dXJl"
	metaToken = "EAAGm0PX4ZCpsBAKZCtestonlytestonlytestonly"
)

func TestSecretsNeverReachTheLog(t *testing.T) {
	for _, json := range []bool{false, true} {
		var out bytes.Buffer
		log := NewLogger(LoggingConfig{Level: "debug", JSON: json}, &out)
		log.Info("token "+jwt, "token", "hunter2", "to_phone_number", "15550001111", "url", "wss://h/rtc?access_token="+jwt+"&auto=1")
		log.With("secret", Secret("hunter2")).WithGroup("g").Error("x", "error", errors.New("dial +15550001111: Bearer hunter2"), "ice-pwd", "hunter2")
		log.Warn("x", "error", errors.New("GET "+metaToken+" failed"), "config", Config{APISecret: "hunter2"})
		log.Debug("pion reports", "detail", "a=ice-pwd:hunter2 for +15550001111")

		text := out.String()
		for _, secret := range []string{"hunter2", "15550001111", "eyJ", metaToken} {
			require.NotContains(t, text, secret)
		}
		require.Contains(t, text, "auto=1", "only the secret is taken out of a text")
		require.Equal(t, 4, strings.Count(text, "\n"))
	}
}

func TestLevelAndForm(t *testing.T) {
	var out bytes.Buffer
	log := NewLogger(LoggingConfig{Level: "warn"}, &out)
	log.Info("quiet")
	log.Warn("loud", "calls", 3)
	require.NotContains(t, out.String(), "quiet")
	require.Contains(t, out.String(), "level=WARN msg=loud calls=3\n")
	out.Reset()
	NewLogger(LoggingConfig{JSON: true}, &out).Info("loud", "calls", 3)
	require.Contains(t, out.String(), `"level":"INFO","msg":"loud","calls":3}`)
}

func TestRedactTextLeavesOrdinaryTextAlone(t *testing.T) {
	for _, text := range []string{"call ended", "level +3 dB", "pwdless", "EAAshort", "eyJ", "20:15:00 +0100", "1763829000123456"} {
		require.Equal(t, text, redactText(text))
	}
}
