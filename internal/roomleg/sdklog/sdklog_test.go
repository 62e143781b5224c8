package sdklog_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/internal/roomleg/sdklog"
)

const token = "eyJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJrZXkifQ.c2lnbmF0dXJl"

func TestNothingSecretPasses(t *testing.T) {
	var out bytes.Buffer
	l := sdklog.New(slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug})))

	l.WithValues("connParams", "15550001111", "trackID", "TR_1").
		Errorw("invalid token: "+token, fmt.Errorf("dial \"ws://host/rtc?join_request=c2VjcmV0\": refused, %s", token),
			"attributes", map[string]string{"number": "15550002222"}, "reason", "because "+token)
	l.Debugw("sending answer", "answer", "v=0 ice-pwd")
	l.WithUnlikelyValues("sdp", "ice-pwd").Warnw("odd", nil)

	text := out.String()
	require.NotContains(t, text, "eyJ")
	require.NotContains(t, text, "c2VjcmV0")
	require.NotContains(t, text, "1555000")
	require.NotContains(t, text, "ice-pwd")
	require.Equal(t, 2, strings.Count(text, "level=DEBUG"), "a call that goes on must not fill the log")
	require.Contains(t, text, "trackID=TR_1")
	require.Contains(t, text, "severity=error")
	require.Contains(t, text, "component=livekit")
}

func TestLostRaceIsTold(t *testing.T) {
	l, doomed := sdklog.WatchJoin(nil)
	l = l.WithValues("transport", "PUBLISHER")
	isDoomed := func() bool {
		select {
		case <-doomed:
			return true
		default:
			return false
		}
	}
	l.Errorw("could not set remote description", errors.New("no such media section"))
	require.False(t, isDoomed())
	for range 2 {
		l.Errorw("could not set remote description",
			errors.New("InvalidModificationError: invalid proposed signaling state transition: stable->SetRemote(answer)->stable"))
	}
	require.True(t, isDoomed())
}

func TestErrorKeepsContextCausesAndHidesURLs(t *testing.T) {
	err := sdklog.Error(&url.Error{Op: "Get", URL: "http://h/rtc?join_request=c2VjcmV0", Err: context.DeadlineExceeded})
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.NotContains(t, err.Error(), "c2VjcmV0")

	err = sdklog.Error(errors.New("unauthorized: invalid token: " + token + ", error: bad"))
	require.EqualError(t, err, "unauthorized: invalid token: <token>, error: bad")
	require.NoError(t, sdklog.Error(nil))
}
