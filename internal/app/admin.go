package app

import (
	"net/http"
	"net/http/pprof"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// adminMux is what the operator's port serves and the API's does not. It asks for no token: who reaches the port may do all
// of it, which is why it listens on this machine alone by default.
func (a *App) adminMux(gatherer prometheus.Gatherer) *http.ServeMux {
	mux := http.NewServeMux()
	a.probes.Register(mux)
	a.draining.register(mux)
	RegisterMetrics(mux, gatherer)
	registerProfiles(mux)
	registerLogLevel(mux, a.log)
	return mux
}

// AdminURL is where this machine reaches the operator's port, without a slash at the end.
func (a *App) AdminURL() string { return a.servers.Admin.URL() }

// RegisterMetrics adds /metrics to mux.
func RegisterMetrics(mux *http.ServeMux, gatherer prometheus.Gatherer) {
	mux.Handle("GET /metrics", promhttp.HandlerFor(gatherer, promhttp.HandlerOpts{}))
}

// registerProfiles adds what `go tool pprof` asks for. The command line is left out: a secret may have been given as a flag.
func registerProfiles(mux *http.ServeMux) {
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/cmdline", http.NotFound)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
}
