package app

import (
	"net/http"
	"net/http/pprof"
	"net/netip"

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

// startServers opens the ports.
func (a *App) startServers(handler http.Handler, registry *prometheus.Registry) error {
	a.warnOfAdmin()
	a.warnOfSecrets()
	tlsConfig, err := a.newTLS(registry)
	if err != nil {
		return err
	}
	a.servers, err = StartServers(&a.config, Served{
		API: handler, Admin: a.adminMux(registry), Probes: a.probes, TLS: tlsConfig, Registry: registry, Panics: a.panics, Logger: a.log,
	})
	if err != nil {
		return err
	}
	a.onClose("servers", func() error {
		ctx, cancel := a.closing(shutdownTimeout, afterNode)
		defer cancel()
		if closeErr := a.servers.Shutdown(ctx); closeErr != nil {
			a.log.Warn("requests were cut off at the end", "error", closeErr) // no reason to fail at the end
		}
		return nil
	})
	return nil
}

// warnOfAdmin says so if others than this machine reach the admin port, which asks for no token.
func (a *App) warnOfAdmin() {
	for _, text := range a.config.Admin.BindAddresses {
		if addr, err := netip.ParseAddr(text); err == nil && !addr.IsLoopback() {
			a.log.Warn("the admin port is open to other machines: whoever reaches it can drain, read profiles and change the log; "+
				"keep others away by a firewall or a NetworkPolicy", "address", text)
		}
	}
	if len(a.config.Admin.BindAddresses) == 0 {
		a.log.Warn("the admin port listens on every address: set admin.bind_addresses, or keep others away by a firewall or a NetworkPolicy")
	}
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
