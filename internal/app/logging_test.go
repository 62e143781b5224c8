package app

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/livekit/protocol/livekit"
	"github.com/livekit/protocol/logger"
	"github.com/stretchr/testify/require"
)

const (
	jwt       = "eyJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJrZXkifQ.c2lnbmF0dXJl"
	metaToken = "EAAGm0PX4ZCpsBAKZCtestonlytestonlytestonly"
)

func TestSecretsNeverReachTheLog(t *testing.T) {
	for _, json := range []bool{false, true} {
		var out bytes.Buffer
		c := LoggingConfig{Level: "debug", JSON: json, PionLevel: "debug", LiveKitLevel: "debug"}
		log := NewLogger(c, &out)
		log.Info("token "+jwt, "token", "hunter2", "to_phone_number", "15550001111", "url", "wss://h/rtc?access_token="+jwt+"&auto=1")
		log.With("secret", Secret("hunter2")).WithGroup("g").Error("x", "error", errors.New("dial +15550001111: Bearer hunter2"), "ice-pwd", "hunter2")
		log.Warn("x", "error", errors.New("GET "+metaToken+" failed"), "config", Config{APISecret: "hunter2"})
		PionLogger(log, c).NewLogger("ice").Warnf("a=ice-pwd:%s for %s", "hunter2", "+15550001111")
		lk := LiveKitLogger(log, c)
		lk.WithValues("token", jwt, "room", "demo").WithName("x").Infow("joined "+jwt, "connParams", struct{ Token string }{"hunter2"},
			"participant", &livekit.ParticipantInfo{Metadata: "hunter2"}, "leave", logger.Proto(&livekit.LeaveRequest{}), "attempt", 3)
		lk.Errorw("failed", errors.New("Authorization: hunter2"))
		lk.WithUnlikelyValues("secret", "hunter2").Warnw("unlikely", nil)

		text := out.String()
		for _, secret := range []string{"hunter2", "15550001111", "eyJ", metaToken} {
			require.NotContains(t, text, secret)
		}
		require.Contains(t, text, "auto=1", "only the secret is taken out of a text")
		require.Contains(t, text, "attempt")
		require.Equal(t, 7, strings.Count(text, "\n"))
	}
}

func TestLibrariesHaveLevelsOfTheirOwn(t *testing.T) {
	var out bytes.Buffer
	c := LoggingConfig{Level: "info", PionLevel: "error", LiveKitLevel: "warn"}
	log := NewLogger(c, &out)
	pion := PionLogger(log, c).NewLogger("dtls")
	pion.Warn("quiet")
	pion.Tracef("quiet %d", 1)
	pion.Error("loud pion")
	lk := LiveKitLogger(log, c)
	lk.Infow("quiet")
	lk.WithComponent("engine").Debugw("quiet")
	lk.Errorw("loud livekit", nil)
	log.Debug("quiet")
	log.Info("loud own")
	require.NotContains(t, out.String(), "quiet")
	require.Contains(t, out.String(), `level=ERROR msg="loud pion" component=pion scope=dtls`)
	require.Contains(t, out.String(), `level=WARN msg="loud livekit" component=livekit`)
	require.Contains(t, out.String(), `level=INFO msg="loud own"`)
}

func TestRedactTextLeavesOrdinaryTextAlone(t *testing.T) {
	for _, text := range []string{"call ended", "level +3 dB", "pwdless", "EAAshort", "eyJ", "20:15:00 +0100", "1763829000123456"} {
		require.Equal(t, text, redactText(text))
	}
}
