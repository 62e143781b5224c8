package app

import (
	"net/netip"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/livekit-connector/livekit-connector/internal/admission"
	"github.com/livekit-connector/livekit-connector/internal/attempts"
)

// HTTPConfig bounds what strangers can ask of the API's port.
type HTTPConfig struct {
	TrustedProxies           []string `yaml:"trusted_proxies" group:"HTTP limits" help:"Addresses or networks of reverse proxies before the API's port, such as 10.0.0.0/8. What they say in X-Forwarded-For is the client's address for the limits below and in the log. Empty believes nobody."`
	MaxConnections           int      `yaml:"max_connections" help:"Connections that the API's port holds at once, proxied WebSockets among them; more are closed at once, those of probes too, for which there is health_port. It is lowered to a quarter of the open files that the process may have, so that calls have theirs; 0 means as many."`
	MaxConnectionsPerAddress int      `yaml:"max_connections_per_address" help:"The same for one client address, or an IPv6 /64. Trusted proxies and this machine are not counted. 0 means no limit."`
	MaxFailures              int      `yaml:"max_failures" help:"Requests a minute with a wrong token or signature from one address; then it is answered 429. What is properly signed is never limited. 0 means no limit."`
	MaxFailuresTotal         int      `yaml:"max_failures_total" help:"The same from all addresses together. 0 means no limit."`
}

func defaultHTTP() HTTPConfig {
	return HTTPConfig{MaxConnections: 10_000, MaxConnectionsPerAddress: 1000, MaxFailures: 60, MaxFailuresTotal: 3000}
}

func (v *validation) http(c *HTTPConfig) {
	for _, text := range c.TrustedProxies {
		p, err := parsePrefix(text)
		switch {
		case err != nil:
			v.add("http.trusted_proxies", "%q is neither an IP address nor a network such as 10.0.0.0/8", text)
		case p.Bits() == 0:
			v.add("http.trusted_proxies", "%s is everybody: anybody could invent addresses", text)
		}
	}
	v.within("http.max_connections", c.MaxConnections, 0, 1_000_000)
	v.within("http.max_connections_per_address", c.MaxConnectionsPerAddress, 0, 1_000_000)
	v.within("http.max_failures", c.MaxFailures, 0, 1_000_000)
	v.within("http.max_failures_total", c.MaxFailuresTotal, 0, 1_000_000)
}

// connections are those that the API's port may hold. One that is proxied has another at LiveKit.
func (c *Config) connections() admission.Connections {
	wanted := admission.Connections{Max: c.HTTP.MaxConnections, Files: 1}
	if c.ProxyLiveKit {
		wanted.Files++
	}
	return wanted
}

// proxies are those that are trusted.
func (c *HTTPConfig) proxies() []netip.Prefix {
	var networks []netip.Prefix
	for _, text := range c.TrustedProxies {
		if p, err := parsePrefix(text); err == nil {
			networks = append(networks, p.Masked())
		}
	}
	return networks
}

func (a *App) newAttempts(reg prometheus.Registerer) *attempts.Limiter {
	c := &a.config.HTTP
	return attempts.New(attempts.Options{
		PerAddress: c.MaxFailures, Total: c.MaxFailuresTotal, Proxies: c.proxies(), Logger: a.log, Registerer: reg,
	})
}
