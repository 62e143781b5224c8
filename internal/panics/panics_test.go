package panics_test

import (
	"bytes"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/internal/panics"
)

func TestAPanicIsCountedLoggedAndNotTold(t *testing.T) {
	registry := prometheus.NewRegistry()
	counter := panics.NewCounter(registry)
	var text bytes.Buffer
	log := slog.New(slog.NewJSONHandler(&text, nil))
	after := 0
	func() {
		defer counter.Recover(panics.Call, log, func() { after++ })
		panic("hush: EAAtoken")
	}()
	require.Equal(t, 1, after)
	require.Contains(t, text.String(), `"where":"call","panic":"string"`)
	require.Contains(t, text.String(), "TestAPanicIsCountedLoggedAndNotTold", "the stack")
	require.NotContains(t, text.String(), "hush")

	text.Reset()
	func() {
		defer counter.Recover(panics.Audio, log, nil)
		none := make([]int, len(text.Bytes()))
		_ = none[len(text.Bytes())]
	}()
	require.Contains(t, text.String(), "index out of range [0] with length 0")

	func() {
		defer (*panics.Counter)(nil).Recover(panics.Call, log, func() { after++ })
		panic(1)
	}()
	require.Equal(t, 2, after)
	require.PanicsWithValue(t, http.ErrAbortHandler, func() {
		defer counter.Recover(panics.HTTP, log, nil)
		panic(http.ErrAbortHandler)
	})
	func() { defer counter.Recover(panics.Call, log, func() { t.Error("nothing happened") }) }()

	require.Equal(t, len(panics.Places()), testutil.CollectAndCount(registry, "livekit_connector_panics_total"))
	require.NoError(t, testutil.GatherAndCompare(registry, strings.NewReader(`
# HELP livekit_connector_panics_total Mistakes of the program that ended a request or a call, by where they were caught. Report each: the log has its stack.
# TYPE livekit_connector_panics_total counter
livekit_connector_panics_total{where="api"} 0
livekit_connector_panics_total{where="audio"} 1
livekit_connector_panics_total{where="bus"} 0
livekit_connector_panics_total{where="call"} 1
livekit_connector_panics_total{where="event"} 0
livekit_connector_panics_total{where="http"} 0
livekit_connector_panics_total{where="probe"} 0
livekit_connector_panics_total{where="sweeper"} 0
livekit_connector_panics_total{where="webhook"} 0
`)))
}
