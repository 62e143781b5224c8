// Package metaleg is the peer connection to Meta's media relay: ICE, DTLS and one
// audio stream each way, under the rules of Meta's calling API.
//
// A Stack holds what all calls share: settings, certificates excepted. A Leg is
// one call's connection. It answers Meta's offer (inbound) or makes one
// (outbound), and is in both cases ICE-full and controlling, because Meta is
// ICE-lite and refuses every other role with 487.
//
// What Meta imposes and Pion does not do by itself:
//
//   - DTLS client when Meta lets us choose; Pion answers an ice-lite offer with
//     setup:passive, and then Meta never starts the handshake.
//   - One socket per call and address of the host, never a shared port. Meta
//     answers many calls from the same address and port, and a mux of one port
//     tells flows apart by just that.
//   - Host candidates at once. Meta learns our public address from our checks
//     (peer-reflexive), so nothing is gained by waiting for a STUN server.
//   - No RTP before Open. The WhatsApp client takes the first packet as the
//     answer (Meta's FAQ), so the gate is here, behind everything else.
//   - An SDP without anything that Meta did not ask for: see localSDP.
package metaleg

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"time"

	"github.com/pion/transport/v5"
	"github.com/pion/webrtc/v4"

	"github.com/livekit-connector/livekit-connector/internal/panics"
	"github.com/livekit-connector/livekit-connector/media"
)

// Errors that callers tell apart.
var (
	// ErrSDP is wrapped by every error about a session description from Meta.
	// The error names what is wrong and never quotes the description.
	ErrSDP = errors.New("metaleg: unusable SDP from Meta")
	// ErrNoAddress is returned when no local address is left to send from: the
	// filters are too narrow or the port range is used up.
	ErrNoAddress = errors.New("metaleg: no local address or port for media")
	// ErrGateShut is returned by WriteRTP before Open.
	ErrGateShut = errors.New("metaleg: gate to Meta is shut")
	// ErrNotConnected is returned by WriteRTP while DTLS is not up.
	ErrNotConnected = errors.New("metaleg: not connected to Meta")
	// ErrNoEvents is returned by WriteRTP for an RTP event that Meta did not negotiate.
	ErrNoEvents = errors.New("metaleg: Meta takes no telephone-event")
	// ErrAnswered is returned by SetAnswer for a second, different answer: Meta
	// knows no renegotiation.
	ErrAnswered = errors.New("metaleg: another answer was applied before")
	// ErrUnreachable is a leg's end when ICE found no path or lost the one it had.
	ErrUnreachable = errors.New("metaleg: no path to Meta")
	// ErrHandshake is a leg's end when DTLS failed: a wrong fingerprint, no
	// answer, or no common parameters.
	ErrHandshake = errors.New("metaleg: DTLS with Meta failed")
	// ErrClosedByMeta is a leg's end when Meta closed the connection.
	ErrClosedByMeta = errors.New("metaleg: Meta closed the connection")
)

// Config is what all legs share. Its zero value is usable.
type Config struct {
	// PortMin and PortMax bound the local UDP ports, both included. Both zero
	// means any free port. Each leg takes one port per local address.
	PortMin, PortMax uint16
	// NAT1To1IPs are public addresses that stand for the local ones in our
	// candidates, each alone or as "public/local".
	NAT1To1IPs []string
	// IPv4Only leaves out IPv6 addresses.
	IPv4Only bool
	// IncludeLoopback offers loopback addresses too.
	IncludeLoopback bool
	// KeepInterface and KeepIP choose among the host's interfaces and addresses;
	// nil keeps all.
	KeepInterface func(name string) bool
	KeepIP        func(ip net.IP) bool
	// ICEServers are STUN and TURN servers, for networks that let nothing else
	// out. They never delay an offer or answer: what they yield is tried as it
	// comes.
	ICEServers []ICEServer
	// G711 says whether calls may be in G.711 instead of Opus.
	G711 G711
	// Panics counts mistakes that ended a leg; may be nil.
	Panics *panics.Counter
	// Logger takes what happens to legs, at debug level; nil discards it.
	Logger *slog.Logger
}

// ICEServer is a STUN or TURN server and the credentials for it.
type ICEServer struct {
	URLs                 []string
	Username, Credential string
}

// Stack makes legs. It is safe for concurrent use and owns nothing that would
// have to be closed.
type Stack struct {
	config  Config
	log     *slog.Logger
	servers []webrtc.ICEServer
	nat     []webrtc.ICEAddressRewriteRule
	host    func() (transport.Net, error)

	gatherLimit time.Duration
}

// New checks c and returns a Stack.
func New(c Config) (*Stack, error) {
	s := &Stack{config: c, log: c.Logger, host: new(host).list, gatherLimit: gatherLimit}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	for _, server := range c.ICEServers {
		s.servers = append(s.servers, webrtc.ICEServer{
			URLs: server.URLs, Username: server.Username, Credential: server.Credential,
		})
	}
	var err error
	if s.nat, err = natRules(c.NAT1To1IPs); err != nil {
		return nil, err
	}
	// A leg that is never used finds the mistakes that Pion reports only when it
	// makes a connection: ports, URLs, credentials.
	l, err := s.newLeg(answerPatience, c.G711.codecs())
	if err != nil {
		return nil, err
	}
	return s, l.Close()
}

// Answer makes a leg for Meta's offer and returns our answer to it. The leg then
// connects by itself; the caller closes it. The context bounds making the answer,
// not the leg.
func (s *Stack) Answer(ctx context.Context, offer string) (*Leg, string, error) {
	remote, err := parseRemote(offer, s.config.G711.choose)
	if err != nil {
		return nil, "", err
	}
	if remote.setup != "actpass" && remote.setup != "passive" {
		return nil, "", sdpErrorf("offer with setup:%s leaves us no client role in DTLS", known(remote.setup, "active"))
	}
	l, err := s.newLeg(answerPatience, []media.Codec{remote.audio.codec})
	if err != nil {
		return nil, "", err
	}
	answer, err := l.answerOffer(ctx, offer, remote)
	if err != nil {
		return nil, "", errors.Join(err, l.Close())
	}
	return l, answer, nil
}

// Offer makes a leg and the offer for a call that we place. The leg waits for
// SetAnswer; the caller closes it. The context bounds making the offer, not the
// leg.
func (s *Stack) Offer(ctx context.Context) (*Leg, string, error) {
	l, err := s.newLeg(offerPatience, s.config.G711.codecs())
	if err != nil {
		return nil, "", err
	}
	offer, err := l.offer(ctx)
	if err != nil {
		return nil, "", errors.Join(err, l.Close())
	}
	return l, offer, nil
}

func (s *Stack) configuration() webrtc.Configuration {
	return webrtc.Configuration{
		ICEServers:   s.servers,
		SDPSemantics: webrtc.SDPSemanticsUnifiedPlan,
		BundlePolicy: webrtc.BundlePolicyMaxBundle,
		// RFC 9335 is newer than anything Meta was seen to understand.
		RTPHeaderEncryptionPolicy: webrtc.RTPHeaderEncryptionPolicyDisable,
	}
}
