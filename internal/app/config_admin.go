package app

import "net/netip"

// AdminConfig is about the operator's port: metrics, profiles, probes and draining, without a token.
type AdminConfig struct {
	Port          int      `yaml:"port" group:"Admin" help:"Port of what is for the operator alone: /metrics, /debug/pprof/, the probes once more, draining. It asks for no token. 0 takes any free port."`
	BindAddresses []string `yaml:"bind_addresses" help:"IP addresses that the admin port listens on. Another than this machine's own lets everybody who reaches it read profiles and drain."`
}

// The default port is one that neither LiveKit's servers nor its agents (8081) take on the same machine.
func defaultAdmin() AdminConfig {
	return AdminConfig{Port: 8085, BindAddresses: []string{"127.0.0.1"}}
}

func (v *validation) admin(c *Config) {
	a := &c.Admin
	v.within("admin.port", a.Port, 0, maxPort)
	for _, other := range []struct {
		key  string
		port int
	}{{"port", c.Port}, {"health_port", c.HealthPort}, {"prometheus_port", c.PrometheusPort}} {
		if a.Port != 0 && a.Port == other.port {
			v.add("admin.port", "%d is %s already: the admin port is one of its own", a.Port, other.key)
		}
	}
	v.addresses("admin.bind_addresses", a.BindAddresses)
}

func (v *validation) addresses(key string, texts []string) {
	for _, text := range texts {
		if _, err := netip.ParseAddr(text); err != nil {
			v.add(key, "%q is not an IP address", text)
		}
	}
}
