package app

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/livekit-connector/livekit-connector/internal/panics"
)

func TestAPanicOfAHandlerReachesNobody(t *testing.T) {
	registry := prometheus.NewRegistry()
	var log strings.Builder
	h := http.NewServeMux()
	h.HandleFunc("/early", func(http.ResponseWriter, *http.Request) { panic("hush") })
	h.HandleFunc("/late", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "half an ans")
		panic("hush")
	})
	h.HandleFunc("/fine", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "fine") })
	RegisterMetrics(h, registry)
	logger := slog.New(slog.NewTextHandler(&log, nil))
	failed := make(chan error, 1)
	p := port{name: "api", bind: []string{"127.0.0.1"}, patience: defaultPatience()}
	server, err := p.listen(recovering(h, panics.NewCounter(registry), logger), slog.New(slog.DiscardHandler), failed)
	require.NoError(t, err)
	defer func() { require.NoError(t, server.shutdown(context.Background())) }()

	status, body := get(t, server.URL()+"/early")
	require.Equal(t, http.StatusInternalServerError, status)
	require.JSONEq(t, `{"code":"internal","msg":"internal error"}`, body)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL()+"/late", nil)
	require.NoError(t, err)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	if res, err := client.Do(req); err == nil {
		_, err = io.ReadAll(res.Body)
		require.Error(t, err, "half an answer must not be taken for a whole")
		res.Body.Close()
	}
	status, _ = get(t, server.URL()+"/fine")
	require.Equal(t, http.StatusOK, status)
	require.NotContains(t, log.String(), "hush")
	require.Contains(t, log.String(), "recover_test.go", "the stack")
	_, metrics := get(t, server.URL()+"/metrics")
	require.Contains(t, metrics, `livekit_connector_panics_total{where="http"} 2`)
}
