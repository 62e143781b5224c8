// Package subject is what every bridge that the benchmark measures does alike: it tells where it is reached and lets
// itself be looked into, on loopback only.
package subject

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/pprof"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Endpoints are the base URLs of a bridge that is ready for calls.
type Endpoints struct {
	// API serves livekit.Connector over Twirp.
	API string `json:"api"`
	// Debug serves /metrics and /debug/pprof/.
	Debug string `json:"debug"`
}

// Announce writes e as the one line on standard output that the benchmark waits for.
func Announce(w io.Writer, e Endpoints) error {
	if err := json.NewEncoder(w).Encode(e); err != nil {
		return fmt.Errorf("announce endpoints: %w", err)
	}
	return nil
}

// ServeDebug serves metrics and profiles on a free port of loopback until the process ends or close is called.
func ServeDebug(metrics prometheus.Gatherer) (url string, closeServer func() error, err error) {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(metrics, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	l, err := net.Listen("tcp4", "127.0.0.1:0") //nolint:noctx // a local bind returns at once
	if err != nil {
		return "", nil, fmt.Errorf("listen for debugging: %w", err)
	}
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	stopped := make(chan error, 1)
	go func() { stopped <- server.Serve(l) }()
	return "http://" + l.Addr().String(), func() error {
		err := server.Close()
		if serveErr := <-stopped; !errors.Is(serveErr, http.ErrServerClosed) {
			err = errors.Join(err, serveErr)
		}
		return err
	}, nil
}
