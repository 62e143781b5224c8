package logs_test

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/internal/logs"
	"github.com/livekit-connector/livekit-connector/internal/settings"
)

const (
	jwt       = "eyJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJrZXkifQ.c2lnbmF0dXJl"
	metaToken = "EAAGm0PX4ZCpsBAKZCtestonlytestonlytestonly"
	// The example of Meta's call IDs: it holds the numbers 15550002222 and 15550001111.
	callID = "wacid.HBgLMTU1NTAwMDIyMjIVAgASGCAwMTIzNDU2Nzg5QUJDREVGMDEyMzQ1Njc4OUFCQ0RFRhwYCzE1NTUwMDAxMTExFQIAAA=="
)

type config struct{ Secret settings.Secret }

func TestSecretsNeverReachTheLog(t *testing.T) {
	for _, c := range []logs.Config{{}, {JSON: true}, {PII: true}, {PII: true, JSON: true}} {
		var out bytes.Buffer
		c.Level = "debug"
		log := logs.New(c, &out)
		log.Info("token "+jwt, "token", "hunter2", "url", "wss://h/rtc?access_token="+jwt+"&auto=1")
		log.With("secret", settings.Secret("hunter2")).WithGroup("g").Error("x", "error", errors.New("Bearer hunter2"), "ice-pwd", "hunter2")
		log.Warn("x", "error", errors.New("GET "+metaToken+" failed"), "config", config{"hunter2"})
		log.Debug("pion reports", "detail", "a=ice-pwd:hunter2", "list", []string{"ufrag hunter2"})
		log.Debug("x", "error", errors.New("offer: \"v=0\\r\\no=- hunter2\""))

		text := out.String()
		for _, secret := range []string{"hunter2", "eyJ", metaToken} {
			require.NotContains(t, text, secret)
		}
		require.Contains(t, text, "auto=1", "only the secret is taken out of a text")
		require.Equal(t, 5, strings.Count(text, "\n"))
	}
}

func TestNobodyIsToldUnlessAskedFor(t *testing.T) {
	write := func(pii bool) string {
		var out bytes.Buffer
		log := logs.New(logs.Config{PII: pii}, &out)
		log.With("callID", callID, "room", logs.Personal{Text: "from-anna-b--15550002222", Of: []string{"Anna B.", "15550002222"}}).
			Info("call started", "phoneNumberID", "100000000000001", "userID", "DE.13491208655302741918")
		log.Info("x", "error", errors.New("dial +1 (555) 000-2222 or 15550002222 of DE.13491208655302741918 in "+callID), "to_phone_number", "15550002222")
		return out.String()
	}
	masked := write(false)
	for _, personal := range []string{"5550002222", "000-2222", "anna", "DE.1349", callID[:20]} {
		require.NotContains(t, masked, personal)
	}
	require.Equal(t, 2, strings.Count(masked, logs.ID(callID)), "a text and an attribute name the call alike")
	require.Contains(t, masked, "phoneNumberID=100000000000001", "the business's own ID is nobody's secret")
	require.Contains(t, masked, "room=from-[user]")
	require.Contains(t, masked, "***22")

	shown := write(true)
	for _, personal := range []string{callID, "from-anna-b--15550002222", "DE.13491208655302741918", "+1 (555) 000-2222"} {
		require.Contains(t, shown, personal)
	}
}

func TestSecretsAreFoundHoweverTheyAreWritten(t *testing.T) {
	for _, text := range []string{
		`remotePwd: "hunter2"`, `{"pwd":"hunter2"}`, `{"ice-pwd": "hunter2"}`, `"{\"pwd\":\"hunter2\"}"`, `{"access_token":"hunter2","x":1}`, `?access_token=hunter2&x=1`,
		`Authorization: Bearer hunter2`, `map[Authorization:[Bearer hunter2]]`, `authorization=hunter2`, `Bearer "hunter2"`, `{"Authorization":"Bearer hunter2"}`,
		`localUfrag: "hunter2"`, `ufrag:hunter2`, `ufrag hunter2`, `"ufrag":["hunter2"]`,
		"Discard request with wrong username from (udp4 prflx 192.0.2.1:5), username mismatch expected(68756e74657232) actual(68756e74657232)",
	} {
		masked := logs.Mask(text)
		require.NotContains(t, masked, "hunter2", text)
		require.NotContains(t, masked, "68756e74657232", text)
		require.Contains(t, masked, "[redacted]", text)
	}
	require.Equal(t, `{"[redacted]","x":1}`, logs.Mask(`{"access_token":"hunter2","x":1}`), "and nothing more")
}

// Rules write letters and digits into names of rooms, and dashes for all else.
func TestNamesInRooms(t *testing.T) {
	for _, name := range []struct{ is, room, masked string }{
		{"Wilhelmina Tell", "support-Wilhelmina-Tell-x7", "support-[user]-x7"},
		{"प्रिया", "support-प-र-य--x7", "support-[user]--x7"},
		{"प्रिया", "support-प्रिया-x7", "support-[user]-x7"},
		{"สมชาย ใจดี", "สมชาย-ใจด-", "[user]-"},
		{"Jose\u0301", "from-Jose-", "from-[user]-"},
		{"王伟", "来自-王伟-x7", "来自-[user]-x7"},
		{"Bo", "robot-Bo", "robot-Bo"},
		{"", "support", "support"},
	} {
		require.Equal(t, name.masked, logs.Personal{Text: name.room, Of: []string{name.is}}.String())
	}
}

// The rule that docs/logs.md gives: printf %s "$CALL_ID" | sha256sum | cut -c1-16.
func TestCallIDInTheLog(t *testing.T) {
	require.Equal(t, "wacid-352d7cbba4a1c06f", logs.ID(callID))
	require.NotEqual(t, logs.ID(callID), logs.ID(callID[:len(callID)-1]))
	for _, plain := range []string{"", "wacid.", "call-1"} {
		require.Equal(t, plain, logs.ID(plain))
	}
}

func TestOrdinaryTextIsLeftAlone(t *testing.T) {
	for _, text := range []string{
		"call ended", "level +3 dB", "pwdless", "EAAshort", "eyJ", "20:15:00 +0100", "1763829000123456", "192.168.100.200:34567",
		"[2a00:1450:4001:81b::200e]:443", "HTTP 404, code 138006", "wacid-352d7cbba4a1c06f", "livekit.Connector", "2026-11-23T01:02:03Z", "a=b",
	} {
		var out bytes.Buffer
		logs.New(logs.Config{}, &out).Info("x", "detail", text)
		require.Contains(t, strings.ReplaceAll(out.String(), `"`, ""), "detail="+text+" component=app\n")
	}
}

func TestLevelAndForm(t *testing.T) {
	var out bytes.Buffer
	log := logs.New(logs.Config{Level: "warn"}, &out)
	log.Info("quiet")
	log.Warn("loud", "calls", 3)
	require.NotContains(t, out.String(), "quiet")
	require.Contains(t, out.String(), "level=WARN msg=loud calls=3 component=app\n")
	out.Reset()
	logs.New(logs.Config{JSON: true}, &out).Info("loud", "calls", 3)
	require.Contains(t, out.String(), `"level":"INFO","msg":"loud","calls":3,"component":"app"}`)
}

func TestEachComponentHasItsLevel(t *testing.T) {
	var out bytes.Buffer
	log := logs.New(logs.Config{Level: "warn", Components: map[string]string{"call": "debug"}}, &out)
	call := log.With("component", "node", "nodeID", "n1").With("component", "call", "callID", "c1")
	call.Debug("seen")
	log.With("component", "node").Info("unseen")
	log.With("component", "no such").Info("unseen")
	require.Equal(t, 1, strings.Count(out.String(), "\n"))
	require.Contains(t, out.String(), "msg=seen nodeID=n1 callID=c1 component=call\n", "the innermost counts, and stands there once")

	levels := logs.LevelsOf(log)
	require.Equal(t, "debug", levels.All()["call"])
	require.True(t, levels.Set("call", slog.LevelError))
	require.False(t, levels.Set("cal", slog.LevelError))
	out.Reset()
	call.Warn("unseen")
	require.Empty(t, out.String(), "a level that is changed counts for loggers that are in use")
	require.True(t, levels.Set("", slog.LevelDebug))
	call.Debug("seen")
	log.With("component", "node").Debug("seen")
	require.Equal(t, 2, strings.Count(out.String(), "\n"))
	require.Nil(t, logs.LevelsOf(slog.New(slog.DiscardHandler)))
}

func TestLevelsThatDoNotExist(t *testing.T) {
	_, err := logs.ParseLevel("loud")
	require.EqualError(t, err, `"loud" is not one of debug, info, warn and error`)
}

// A line that is not logged costs nothing.
func TestQuietLinesAllocateNothing(t *testing.T) {
	log := logs.New(logs.Config{}, io.Discard).With("component", "webrtc")
	require.Zero(t, testing.AllocsPerRun(100, func() { log.Debug("packet", "n", 1) }))
}
