package metaleg

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/interceptor"
	"github.com/pion/transport/v5/packetio"
	"github.com/pion/webrtc/v4"

	"github.com/livekit-connector/livekit-connector/media"
)

// Payload types of our offers. Meta answers with what it was offered; in its own
// offers it uses the same two.
const (
	opusPayloadType  = 111
	eventPayloadType = 126
)

const (
	// answerPatience is how long a path may fail to answer before the leg gives
	// up, at the start or later.
	answerPatience = 30 * time.Second
	// offerPatience is the same for outbound calls: nobody promises that the relay
	// answers before the user picks up, and a phone may ring for a minute.
	offerPatience = 90 * time.Second
	// keepalive is the interval of consent checks on the chosen pair.
	keepalive = 2 * time.Second
	// maxChecks is how often a pair is checked without an answer. Pion's own limit
	// of 7 is over after 1.4 s, and a relay that learns of the call later would
	// find nobody. Time ends the checking, not a count.
	maxChecks = 10_000
	// dtlsInterval is the first retransmission interval of the handshake; each
	// next one is twice as long. Meta drops what comes before it processed our
	// SDP, so the first ClientHello is usually lost. With RFC 6347's 1 s that
	// clips three seconds of the caller.
	dtlsInterval = 100 * time.Millisecond
	// relayWait is the head start of direct paths over a TURN server's. Pion gives them 2 s, and the caller waits.
	relayWait = 300 * time.Millisecond
)

// newPeerConnection builds Pion's engines and a connection of them, on the leg's
// own network, for the given audio codecs. What comes goes into inlets of the given
// maker. patience is how long its path may be dead. What Pion says goes to log.
func (s *Stack) newPeerConnection(
	host *network, patience time.Duration, own []media.Codec, inlet func(packetio.BufferPacketType, uint32) io.ReadWriteCloser,
	log *legLog,
) (*webrtc.PeerConnection, error) {
	settings := webrtc.SettingEngine{LoggerFactory: pionLog{log}}
	settings.SetNet(host)
	settings.BufferFactory = inlet
	settings.DisableMediaEngineCopy(true) // it is this connection's own
	if err := s.setICE(&settings, patience); err != nil {
		return nil, err
	}
	// Client whenever Meta leaves the choice: in its offers, and in an answer that
	// says actpass although RFC 8842 section 5.3 forbids it.
	if err := settings.SetAnsweringDTLSRole(webrtc.DTLSRoleClient); err != nil {
		return nil, fmt.Errorf("set dtls role: %w", err)
	}
	settings.SetDTLSRetransmissionInterval(dtlsInterval)
	settings.SetDTLSConnectContextMaker(func() (context.Context, func()) {
		// The handshake belongs to no request; Close ends it by its socket.
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		return ctx, cancel
	})
	settings.SetSDPMediaLevelFingerprints(true)
	// Pion otherwise keeps a goroutine that reads for the first packet.
	settings.SetFireOnTrackBeforeFirstRTP(true)
	settings.SetHandleUndeclaredSSRCWithoutAnswer(true)

	codecs := &webrtc.MediaEngine{}
	for _, codec := range ownCodecs(own) {
		if err := codecs.RegisterCodec(codec, webrtc.RTPCodecTypeAudio); err != nil {
			return nil, fmt.Errorf("register codec: %w", err)
		}
	}
	pc, err := webrtc.NewAPI(
		webrtc.WithSettingEngine(settings),
		webrtc.WithMediaEngine(codecs),
		// None, not even for reports (see Leg.report): Meta negotiates no header
		// extension, so there is no congestion feedback to give, and repairs losses
		// with FEC, so none to repair.
		webrtc.WithInterceptorRegistry(&interceptor.Registry{}),
	).NewPeerConnection(s.configuration())
	if err != nil {
		return nil, fmt.Errorf("make peer connection: %w", err)
	}
	return pc, nil
}

func (s *Stack) setICE(settings *webrtc.SettingEngine, patience time.Duration) error {
	c := &s.config
	// Pion gives up in two steps; the first means nothing to us.
	settings.SetICETimeouts(patience/4, patience-patience/4, keepalive)
	settings.SetICEMaxBindingRequests(maxChecks)
	settings.SetRelayAcceptanceMinWait(relayWait)
	settings.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled)
	settings.DisableActiveTCP(true)
	settings.SetIncludeLoopbackCandidate(c.IncludeLoopback)
	// TCP is in the list for TURN over TCP and TLS only: without a TCP mux and
	// with active TCP off there are no TCP candidates.
	networks := []webrtc.NetworkType{webrtc.NetworkTypeUDP4, webrtc.NetworkTypeTCP4}
	if !c.IPv4Only {
		networks = append(networks, webrtc.NetworkTypeUDP6, webrtc.NetworkTypeTCP6)
	}
	settings.SetNetworkTypes(networks)
	if c.PortMin != 0 || c.PortMax != 0 {
		if err := settings.SetEphemeralUDPPortRange(c.PortMin, c.PortMax); err != nil {
			return fmt.Errorf("set UDP port range %d-%d: %w", c.PortMin, c.PortMax, err)
		}
	}
	if c.KeepInterface != nil {
		settings.SetInterfaceFilter(c.KeepInterface)
	}
	if c.KeepIP != nil {
		settings.SetIPFilter(c.KeepIP)
	}
	if len(s.nat) > 0 {
		if err := settings.SetICEAddressRewriteRules(s.nat...); err != nil {
			return fmt.Errorf("set NAT 1:1 addresses: %w", err)
		}
	}
	return nil
}

// natRules makes the addresses of Config.NAT1To1IPs replace those of our host
// candidates. An address alone stands for every local one of its family.
func natRules(ips []string) ([]webrtc.ICEAddressRewriteRule, error) {
	var rules []webrtc.ICEAddressRewriteRule
	var all []string
	for _, ip := range ips {
		public, local, pinned := strings.Cut(ip, "/")
		for _, part := range []string{public, local} {
			if _, err := netip.ParseAddr(part); err != nil && (pinned || part == public) {
				return nil, fmt.Errorf("read NAT 1:1 address %q: neither an IP address nor public/local", ip)
			}
		}
		if pinned {
			rules = append(rules, webrtc.ICEAddressRewriteRule{
				External: []string{public}, Local: local, AsCandidateType: webrtc.ICECandidateTypeHost,
			})
			continue
		}
		all = append(all, ip)
	}
	if len(all) > 0 {
		rules = append(rules, webrtc.ICEAddressRewriteRule{
			External: all, AsCandidateType: webrtc.ICECandidateTypeHost,
		})
	}
	return rules, nil
}
