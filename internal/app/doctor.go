package app

import (
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/livekit-connector/livekit-connector/internal/doctor"
	"github.com/livekit-connector/livekit-connector/internal/logs"
	"github.com/livekit-connector/livekit-connector/pkg/whatsapp"
)

// DoctorOptions are what doctor examines of a configuration: what stands in it, as calls would use it. The error is that of
// ParseCommandLine.
func (l *CommandLine) DoctorOptions(err error) (doctor.Options, error) {
	c := &l.Config
	o := doctor.Options{
		Source: l.source(), RulesFile: c.RulesFile, MaxActiveCalls: c.MaxActiveCalls, Connections: c.connections(), CertFile: c.TLS.CertFile, KeyFile: c.TLS.KeyFile, Redact: logs.Mask,
		Limits: doctor.Limits{
			MaxCPU: c.Limits.MaxCPUUtilization, MaxMemory: c.Limits.MaxMemoryUtilization,
			CPUs: c.Limits.CPUs, RelayCost: c.Limits.RelayCost, MixCost: c.Limits.MixCost,
		},
		LiveKit: doctor.LiveKit{URL: c.WSURL}, Graph: c.WhatsApp.examined(), RTC: c.RTC.examined(), Ports: c.examinedPorts(),
	}
	for _, problem := range Problems(err) {
		o.Problems = append(o.Problems, problem.Error())
	}
	for _, warning := range l.Warnings {
		o.Warnings = append(o.Warnings, warning.Error())
	}
	if len(o.Problems) > 0 {
		return o, nil
	}
	o.Graph.G711 = c.Media.G711 != g711Off
	keys := keyMap(c)
	o.LiveKit.Keys = append(o.LiveKit.Keys, doctor.Key{Key: c.APIKey, Secret: keys[c.APIKey]}) // rooms are joined with it
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		if key != c.APIKey {
			o.LiveKit.Keys = append(o.LiveKit.Keys, doctor.Key{Key: key, Secret: keys[key]})
		}
	}
	for i, url := range c.Events.URLs {
		o.Receivers = append(o.Receivers, doctor.Receiver{Key: "events.urls[" + strconv.Itoa(i) + "]", URL: url})
	}
	for i, f := range c.Webhook.Forward {
		o.Receivers = append(o.Receivers, doctor.Receiver{Key: "webhook.forward[" + strconv.Itoa(i) + "]", URL: f.URL})
	}
	secrets, err := newAppSecrets(&c.Webhook, newNumbers(&c.WhatsApp, slog.New(slog.DiscardHandler)), slog.New(slog.DiscardHandler))
	if err != nil {
		return o, err
	}
	o.Webhook = doctor.Webhook{
		Path: c.Webhook.Path, PublicURL: c.Webhook.PublicURL, VerifyToken: c.Webhook.VerifyToken.Reveal(),
		AppSecrets: secrets.current(),
	}
	return o, nil
}

// source names what the configuration was read from.
func (l *CommandLine) source() string {
	file := ""
	for _, origin := range l.Origins {
		if name, _, ok := strings.Cut(origin, ":"); ok && !strings.HasPrefix(origin, "$") && !strings.HasPrefix(origin, "--") {
			file = name
		}
	}
	if file != "" {
		return file
	}
	return "the environment and the command line"
}

func (c *WhatsAppConfig) examined() doctor.Graph {
	g := doctor.Graph{URL: c.GraphURL, Timeout: c.RequestTimeout}
	ns := newNumbers(c, slog.New(slog.DiscardHandler))
	for _, id := range slices.Sorted(maps.Keys(ns.byID)) {
		n := ns.byID[id]
		g.Numbers = append(g.Numbers, doctor.Number{
			Credentials: whatsapp.Credentials{PhoneNumberID: id, AccessToken: n.token.current().Reveal(), Version: n.version},
			Name:        n.name, AppSecret: n.appSecret.current().Reveal(),
		})
	}
	return g
}

func (c *Config) examinedPorts() []doctor.Port {
	ports := []doctor.Port{{Key: "port", Addresses: listenAddresses(c.BindAddresses, c.Port)}}
	for _, p := range []struct {
		key  string
		port int
	}{{"health_port", c.HealthPort}, {"prometheus_port", c.PrometheusPort}} {
		if p.port != 0 && p.port != c.Port {
			ports = append(ports, doctor.Port{Key: p.key, Addresses: listenAddresses(c.BindAddresses, p.port)})
		}
	}
	return append(ports, doctor.Port{Key: "admin.port", Addresses: listenAddresses(c.Admin.BindAddresses, c.Admin.Port)})
}

func (c *RTCConfig) examined() doctor.RTC {
	r := doctor.RTC{
		PortMin: c.PortRangeStart, PortMax: c.PortRangeEnd, NAT1To1IPs: c.NAT1To1IPs, IPv6: c.UseIPv6,
		Loopback: c.EnableLoopbackCandidate, KeepInterface: c.Interfaces.keep, KeepIP: c.IPs.keep,
	}
	for _, server := range c.ICEServers {
		for _, url := range server.URLs {
			match := iceURL.FindStringSubmatch(url)
			switch {
			case match == nil:
			case strings.HasPrefix(match[1], "turn"):
				r.TURN = append(r.TURN, doctor.TURN{URL: url, Username: server.Username, Password: server.Credential.Reveal()})
			case match[1] == "stun": // stuns is TCP
				port := match[3]
				if port == "" {
					port = "3478"
				}
				r.STUN = append(r.STUN, match[2]+":"+port)
			}
		}
	}
	return r
}
