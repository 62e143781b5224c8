package app

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/livekit-connector/livekit-connector/internal/outbound"
	"github.com/livekit-connector/livekit-connector/internal/settings"
)

// Validate returns every problem of the configuration, joined; each is a *settings.KeyError with the key. It never quotes
// a secret.
func (c *Config) Validate() error {
	var v validation
	v.liveKit(c)
	v.ports(c)
	v.admin(c)
	v.http(&c.HTTP)
	v.tls(&c.TLS)
	v.calls(c)
	v.whatsApp(&c.WhatsApp)
	v.numbers(c)
	v.orders(&c.WhatsApp)
	v.webhook(c)
	v.events(c)
	v.callHistory(&c.CallHistory)
	v.limits(c)
	v.media(&c.Media)
	v.dtmf(&c.DTMF)
	v.rtc(&c.RTC)
	v.logging(&c.Logging)
	return errors.Join(v.problems...)
}

type validation struct {
	problems []error
}

func (v *validation) add(key, format string, args ...any) {
	v.problems = append(v.problems, &settings.KeyError{Key: key, Text: fmt.Sprintf(format, args...)})
}

func (v *validation) liveKit(c *Config) {
	if c.WSURL == "" {
		v.add("ws_url", "is missing: the URL of livekit-server, such as ws://127.0.0.1:7880")
	} else {
		v.url("ws_url", c.WSURL, "ws", "wss", "http", "https")
	}
	if c.APIKey == "" {
		v.add("api_key", "is missing")
	}
	if c.APISecret == "" {
		v.add("api_secret", "is missing")
	}
	for key, secret := range c.Keys {
		if key == "" || secret == "" {
			v.add("keys", "an API key or its secret is empty")
		}
		if key == c.APIKey && key != "" && secret != c.APISecret {
			v.add("keys", "%s has another secret than in api_secret", key)
		}
	}
}

// url checks an absolute URL. What is wrong is said without quoting it: it might hold a password.
func (v *validation) url(key, text string, schemes ...string) {
	u, err := url.Parse(text)
	switch {
	case err != nil:
		v.add(key, "is not a URL that begins with %s://", strings.Join(schemes, ":// or "))
	case !slices.Contains(schemes, u.Scheme):
		v.add(key, "must begin with %s://", strings.Join(schemes, ":// or "))
	case u.Hostname() == "":
		v.add(key, "names no host")
	case u.User != nil:
		v.add(key, "must not hold a user or password")
	case u.RawQuery != "" || u.Fragment != "":
		v.add(key, "must not have a query or fragment")
	case !validPort(u.Port()):
		v.add(key, "port %s is not between 1 and 65535", u.Port())
	}
}

func validPort(text string) bool {
	if text == "" {
		return true
	}
	n, err := strconv.Atoi(text)
	return err == nil && n > 0 && n <= maxPort
}

const maxPort = 65535

func (v *validation) ports(c *Config) {
	ports := []struct {
		key  string
		port int
	}{{"port", c.Port}, {"health_port", c.HealthPort}, {"prometheus_port", c.PrometheusPort}}
	for _, p := range ports {
		if p.port < 0 || p.port > maxPort {
			v.add(p.key, "%d is not between 0 and %d", p.port, maxPort)
			continue
		}
		if p.key == "health_port" && p.port != 0 && p.port == c.Port {
			v.add(p.key, "%d is the API's port, which answers probes in any case: use 0", p.port)
		}
	}
	v.addresses("bind_addresses", c.BindAddresses)
}

func (v *validation) calls(c *Config) {
	if c.MaxActiveCalls < 0 {
		v.add("max_active_calls", "must not be negative")
	}
	if c.MaxCallDuration < 0 {
		v.add("max_call_duration", "must not be negative")
	}
	if c.AloneTimeout < 0 {
		v.add("alone_timeout", "must not be negative")
	}
	if c.DrainTimeout < 0 {
		v.add("drain_timeout", "must not be negative")
	}
	v.between("ringing_timeout", c.RingingTimeout, time.Second, 10*time.Minute)
	v.between("setup_timeout", c.SetupTimeout, time.Second, time.Minute)
	v.between("connect_timeout", c.ConnectTimeout, 100*time.Millisecond, 30*time.Second)
	// Under a few seconds a short loss of packets would end calls.
	v.between("media_timeout", c.MediaTimeout, 2*time.Second, time.Hour)
}

func (v *validation) between(key string, d, least, most time.Duration) {
	if d < least || d > most {
		v.add(key, "%s is not between %s and %s", d, least, most)
	}
}

var graphVersion = regexp.MustCompile(`^(\d+)\.\d+$`)

// firstGraphVersion is the first version of the Graph API whose calls carry what the connector needs.
const firstGraphVersion = 23

func (v *validation) whatsApp(c *WhatsAppConfig) {
	if c.GraphURL == "" {
		v.add("whatsapp.graph_url", "is missing")
	} else {
		v.url("whatsapp.graph_url", c.GraphURL, "https", "http")
		if u, err := url.Parse(c.GraphURL); err == nil && u.Scheme == "http" && !c.AllowInsecure && !outbound.Loopback(u.Hostname()) {
			v.add("whatsapp.graph_url", "must begin with https:// unless whatsapp.allow_insecure is set: access tokens are sent there")
		}
	}
	for _, text := range c.APIVersions {
		match := graphVersion.FindStringSubmatch(text)
		if match == nil {
			v.add("whatsapp.api_versions", "%q is not a version such as 23.0, without v", text)
			continue
		}
		if major, err := strconv.Atoi(match[1]); err != nil || major < firstGraphVersion {
			v.add("whatsapp.api_versions", "%s is older than %d.0", text, firstGraphVersion)
		}
	}
	v.between("whatsapp.request_timeout", c.RequestTimeout, 100*time.Millisecond, 8*time.Second)
}

func (v *validation) media(c *MediaConfig) {
	v.oneOf("media.mode", c.Mode, mediaModes)
	v.oneOf("media.g711", c.G711, g711Policies)
	if c.MaxRelayBitrate != 0 {
		v.within("media.max_relay_bitrate", c.MaxRelayBitrate, minBitrate, maxBitrate)
	}
	v.within("media.max_voices", c.MaxVoices, 1, 100)
	v.within("media.gain_to_phone", c.GainToPhone, -maxGain, maxGain)
	v.within("media.gain_to_room", c.GainToRoom, -maxGain, maxGain)
	v.within("media.opus.bitrate", c.Opus.Bitrate, minBitrate, maxBitrate)
	v.within("media.opus.complexity", c.Opus.Complexity, 1, 10)
	v.within("media.opus.expected_loss", c.Opus.ExpectedLoss, 0, 100)
	v.between("media.jitter.min_delay", c.Jitter.MinDelay, 10*time.Millisecond, time.Second)
	v.between("media.jitter.max_delay", c.Jitter.MaxDelay, 20*time.Millisecond, 2*time.Second)
	if c.Jitter.MaxDelay < c.Jitter.MinDelay {
		v.add("media.jitter.max_delay", "%s is below min_delay %s", c.Jitter.MaxDelay, c.Jitter.MinDelay)
	}
}

const (
	// What Opus takes (RFC 6716 section 2.1.1), in bits per second.
	minBitrate, maxBitrate = 6000, 510_000
	// maxGain is a hundredfold of the power, in dB: more is no level any more but a mistake.
	maxGain = 20
)

func (v *validation) within(key string, n, least, most int) {
	if n < least || n > most {
		v.add(key, "%d is not between %d and %d", n, least, most)
	}
}

func (v *validation) oneOf(key, text string, values []string) {
	if !slices.Contains(values, text) {
		v.add(key, "%q is not one of %s", text, strings.Join(values, ", "))
	}
}

func (v *validation) rtc(c *RTCConfig) {
	v.portRange(c.PortRangeStart, c.PortRangeEnd)
	for _, text := range c.NAT1To1IPs {
		if addr, err := netip.ParseAddr(text); err != nil || addr.IsUnspecified() {
			v.add("rtc.nat_1_to_1_ips", "%q is not an IP address", text)
		}
	}
	for key, list := range map[string][]string{"rtc.ips.includes": c.IPs.Includes, "rtc.ips.excludes": c.IPs.Excludes} {
		for _, text := range list {
			if _, err := parsePrefix(text); err != nil {
				v.add(key, "%q is neither an IP address nor a network such as 10.0.0.0/8", text)
			}
		}
	}
	for key, list := range map[string][]string{"rtc.interfaces.includes": c.Interfaces.Includes, "rtc.interfaces.excludes": c.Interfaces.Excludes} {
		if slices.Contains(list, "") {
			v.add(key, "a name is empty")
		}
	}
	for i, server := range c.ICEServers {
		v.iceServer(fmt.Sprintf("rtc.ice_servers[%d]", i), server)
	}
}

func (v *validation) portRange(start, end int) {
	const first = "rtc.port_range_start"
	const last = "rtc.port_range_end"
	if start == 0 && end == 0 {
		return
	}
	for _, p := range []struct {
		key  string
		port int
	}{{first, start}, {last, end}} {
		if p.port < 1 || p.port > maxPort {
			v.add(p.key, "%d is not between 1 and %d; a range needs both ends", p.port, maxPort)
			return
		}
	}
	if end < start {
		v.add(last, "%d is below port_range_start %d", end, start)
	}
}

// iceURL is RFC 7064 and RFC 7065: scheme:host[:port][?transport=udp|tcp], the host maybe an IPv6 address in brackets.
var iceURL = regexp.MustCompile(`^(stuns?|turns?):(\[[0-9A-Fa-f:.]+\]|[^\[\]:?/@\s]+)(?::(\d{1,5}))?(\?transport=(?:udp|tcp))?$`)

func (v *validation) iceServer(key string, server ICEServer) {
	if len(server.URLs) == 0 {
		v.add(key+".urls", "is missing")
	}
	turn := false
	for _, text := range server.URLs {
		match := iceURL.FindStringSubmatch(text)
		if match == nil || !validPort(match[3]) {
			v.add(key+".urls", "want stun:host:port or turn:host:port?transport=udp")
			continue
		}
		turn = turn || strings.HasPrefix(match[1], "turn")
	}
	if turn && (server.Username == "" || server.Credential == "") {
		v.add(key, "a TURN server needs username and credential")
	}
}

// parsePrefix reads an IP address or a network.
func parsePrefix(text string) (netip.Prefix, error) {
	if addr, err := netip.ParseAddr(text); err == nil {
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	return netip.ParsePrefix(text)
}

// listenAddresses returns host:port for every bind address.
func listenAddresses(bind []string, port int) []string {
	if len(bind) == 0 {
		return []string{net.JoinHostPort("", strconv.Itoa(port))}
	}
	addrs := make([]string, 0, len(bind))
	for _, host := range bind {
		addrs = append(addrs, net.JoinHostPort(host, strconv.Itoa(port)))
	}
	return addrs
}
