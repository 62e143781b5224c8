package app

import (
	"log/slog"
	"net"
	"net/netip"
	"slices"

	"github.com/livekit-connector/livekit-connector/internal/logs"
	"github.com/livekit-connector/livekit-connector/internal/metaleg"
	"github.com/livekit-connector/livekit-connector/internal/panics"
)

// metaConfig is the rtc section, and what media says of codecs, as the connection to Meta understands it. The configuration has been validated.
func metaConfig(c *Config, counter *panics.Counter, log *slog.Logger) metaleg.Config {
	m := metaleg.Config{
		PortMin: uint16(c.RTC.PortRangeStart), PortMax: uint16(c.RTC.PortRangeEnd),
		NAT1To1IPs: c.RTC.NAT1To1IPs, IPv4Only: !c.RTC.UseIPv6, IncludeLoopback: c.RTC.EnableLoopbackCandidate,
		KeepInterface: c.RTC.Interfaces.keep, KeepIP: c.RTC.IPs.keep,
		G711:   c.Media.g711(),
		Panics: counter, Logger: log.With(logs.KeyComponent, logs.MetaLeg),
	}
	for _, s := range c.RTC.ICEServers {
		m.ICEServers = append(m.ICEServers, metaleg.ICEServer{
			URLs: s.URLs, Username: s.Username, Credential: s.Credential.Reveal(),
		})
	}
	return m
}

func (f InterfaceFilter) keep(name string) bool {
	return (len(f.Includes) == 0 || slices.Contains(f.Includes, name)) && !slices.Contains(f.Excludes, name)
}

func (f IPFilter) keep(ip net.IP) bool {
	addr, ok := netip.AddrFromSlice(ip)
	if !ok {
		return false
	}
	addr = addr.Unmap()
	return (len(f.Includes) == 0 || within(addr, f.Includes)) && !within(addr, f.Excludes)
}

func within(addr netip.Addr, networks []string) bool {
	return slices.ContainsFunc(networks, func(text string) bool {
		p, err := parsePrefix(text)
		return err == nil && p.Contains(addr)
	})
}
