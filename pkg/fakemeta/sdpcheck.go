package fakemeta

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/livekit-connector/livekit-connector/pkg/fakemeta/handset"
)

// SDPRule names the rule that a session description of the business broke.
type SDPRule string

// The rules of Meta's SDP validation, as far as they are documented or were seen in the wild.
const (
	RuleSyntax      SDPRule = "syntax"
	RuleLineEnds    SDPRule = "line-ends"
	RuleOneMedia    SDPRule = "one-media-line"
	RuleAudioOnly   SDPRule = "audio-only"
	RulePort        SDPRule = "port"
	RuleProtocol    SDPRule = "protocol"
	RuleFingerprint SDPRule = "fingerprint"
	RuleCredentials SDPRule = "ice-credentials"
	RuleICELite     SDPRule = "ice-lite"
	RuleSetup       SDPRule = "setup"
	RuleMid         SDPRule = "mid"
	RuleBundle      SDPRule = "bundle"
	RuleRTCPMux     SDPRule = "rtcp-mux"
	RuleDirection   SDPRule = "direction"
	RuleSSRC        SDPRule = "ssrc"
	RuleOpus        SDPRule = "opus"
	RulePayload     SDPRule = "payload"
	RuleDTMF        SDPRule = "telephone-event"
	RulePtime       SDPRule = "ptime"
)

// SDPError says which rule a session description broke. Details is what the Graph error carries in
// error_data.details.
type SDPError struct {
	Rule    SDPRule
	Details string
}

// Error returns rule and details.
func (e *SDPError) Error() string { return string(e.Rule) + ": " + e.Details }

func refuse(rule SDPRule, details string) error { return &SDPError{Rule: rule, Details: details} }

// CheckOffer judges the offer of a business initiated call as the fake does in strict mode. The error is an
// *SDPError.
func CheckOffer(offer string) error {
	_, err := checkSDP(offer, nil, sdpPolicy{})
	return err
}

// CheckAnswer judges a business' answer to offer as the fake does in strict mode. The error is an *SDPError.
func CheckAnswer(answer, offer string) error {
	ours, err := parseDescription(offer)
	if err != nil {
		return fmt.Errorf("read offer: %w", err)
	}
	var policy sdpPolicy
	for _, c := range ours.codecs() { // what an offer of Meta's names is enabled
		name, _, _ := strings.Cut(c.mapping, "/")
		policy.additional = append(policy.additional, strings.ToUpper(name))
	}
	_, err = checkSDP(answer, ours, policy)
	return err
}

// sdpPolicy is what a test may relax.
type sdpPolicy struct {
	anyPtime     bool // take every packet duration
	anyDirection bool // take recvonly, sendonly and inactive; audio then flows one way at most
	// additional are the codecs that the number's settings enable beside Opus ("PCMA", "PCMU").
	additional []string
}

// callCodecs are the codecs a call can be in, as SDP names them.
var callCodecs = map[string]handset.Codec{"opus/48000/2": handset.Opus, "pcmu/8000": handset.PCMU, "pcma/8000": handset.PCMA}

// codecOf tells which codec of a call c is; Opus is allowed always, another one where it is enabled.
func (policy sdpPolicy) codecOf(c codec) (handset.Codec, bool) {
	mapping := strings.TrimSuffix(strings.ToLower(c.mapping), "/1")
	kind, known := callCodecs[mapping]
	name, _, _ := strings.Cut(strings.ToUpper(mapping), "/")
	return kind, known && (kind == handset.Opus || slices.Contains(policy.additional, name))
}

// peer is what the fake must know of the business' media, out of its session description.
type peer struct {
	ufrag, pwd  string
	fingerprint string // SHA-256: "AA:BB:…", upper case
	setup       string // active, passive or actpass
	mid, bundle string
	direction   string
	codec       handset.Codec // of the call, the first one that Meta takes
	payload     uint8         // type of codec
	dtmf        uint8         // payload type of telephone-event/8000; 126 when not named
	codecs      []codec
	extensions  []string // extmap values
	mixed       bool     // extmap-allow-mixed
	remarks     []string // accepted, but nobody has seen Meta take it
}

// checkSDP judges text: an answer to offer, or an offer of the business when offer is nil.
func checkSDP(text string, offer *description, policy sdpPolicy) (*peer, error) {
	d, err := parseDescription(text)
	if err != nil {
		return nil, err
	}
	p := &peer{dtmf: 126}
	for _, check := range []func() error{
		func() error { return checkMediaLine(d) },
		func() error { return p.checkFingerprint(d) },
		func() error { return p.checkICE(d) },
		func() error { return p.checkSetup(d, offer != nil) },
		func() error { return p.checkBundle(d, offer) },
		func() error { return p.checkDirection(d, policy) },
		func() error { return checkSources(d) },
		func() error { return p.checkCodecs(d, offer, policy) },
		func() error { return checkPtime(d, policy) },
	} {
		if err = check(); err != nil {
			return nil, err
		}
	}
	p.remark(d, offer)
	return p, nil
}

func checkMediaLine(d *description) error {
	for _, m := range d.media {
		if m.kind != "audio" {
			return refuse(RuleAudioOnly, "only audio is supported, found m="+m.kind)
		}
	}
	if len(d.media) != 1 {
		return refuse(RuleOneMedia, fmt.Sprintf("exactly one m=audio line expected, found %d", len(d.media)))
	}
	switch m := d.media[0]; {
	case m.port <= 0 || m.port > 65535:
		return refuse(RulePort, "port of m=audio must not be 0")
	case m.proto != "UDP/TLS/RTP/SAVPF":
		return refuse(RuleProtocol, "protocol of m=audio must be UDP/TLS/RTP/SAVPF")
	}
	if len(d.all("rtcp-mux")) == 0 {
		return refuse(RuleRTCPMux, "rtcp-mux is required")
	}
	return nil
}

// checkFingerprint wants exactly one SHA-256 fingerprint at either level: three of them, which some stacks write
// by default, were refused with 138008 in the wild.
func (p *peer) checkFingerprint(d *description) error {
	all := d.all("fingerprint")
	if len(all) == 0 {
		return refuse(RuleFingerprint, "No fingerprint found in SDP")
	}
	if len(all) > 1 {
		return refuse(RuleFingerprint, fmt.Sprintf("exactly one fingerprint expected, found %d", len(all)))
	}
	hash, digits, _ := strings.Cut(strings.TrimSpace(all[0]), " ")
	if !strings.EqualFold(hash, "sha-256") {
		return refuse(RuleFingerprint, "fingerprint must be sha-256")
	}
	octets := strings.Split(strings.TrimSpace(digits), ":")
	raw, err := hex.DecodeString(strings.Join(octets, ""))
	if err != nil || len(raw) != 32 || len(octets) != 32 {
		return refuse(RuleFingerprint, "fingerprint must be 32 octets in hexadecimal, separated by colons")
	}
	p.fingerprint = strings.ToUpper(strings.TrimSpace(digits))
	return nil
}

// checkICE wants credentials, RFC 8839 section 5.4. Candidates are not needed: Meta learns ours from the checks.
func (p *peer) checkICE(d *description) error {
	p.ufrag, _ = d.value("ice-ufrag")
	p.pwd, _ = d.value("ice-pwd")
	if len(p.ufrag) < 4 || len(p.ufrag) > 256 || len(p.pwd) < 22 || len(p.pwd) > 256 {
		return refuse(RuleCredentials, "ice-ufrag (4-256 characters) and ice-pwd (22-256 characters) are required")
	}
	if len(d.all("ice-lite")) > 0 {
		return refuse(RuleICELite, "the business must be a full ICE agent, ice-lite is not allowed")
	}
	return nil
}

// checkSetup takes passive in an answer, as Meta does, although such a call dies later: Meta never sends the
// ClientHello of an inbound call.
func (p *peer) checkSetup(d *description, answer bool) error {
	p.setup, _ = d.value("setup")
	switch p.setup {
	case "active", "passive":
		return nil
	case "actpass":
		if !answer {
			return nil
		}
		return refuse(RuleSetup, "setup:actpass is not allowed in an answer")
	}
	return refuse(RuleSetup, "setup must be active, passive or (in an offer) actpass")
}

func (p *peer) checkBundle(d, offer *description) error {
	p.mid, _ = d.value("mid")
	for _, group := range d.all("group") {
		if rest, ok := strings.CutPrefix(group, "BUNDLE"); ok {
			p.bundle = strings.TrimSpace(rest)
		}
	}
	if p.mid == "" {
		return refuse(RuleMid, "mid is required")
	}
	if p.bundle != p.mid {
		return refuse(RuleBundle, "group:BUNDLE must name the audio mid")
	}
	if offer != nil {
		if want, _ := offer.value("mid"); p.mid != want {
			return refuse(RuleMid, "mid of the answer does not mirror the offer")
		}
	}
	return nil
}

func (p *peer) checkDirection(d *description, policy sdpPolicy) error {
	p.direction = "sendrecv"
	for _, direction := range []string{"sendonly", "recvonly", "inactive"} {
		if len(d.all(direction)) > 0 {
			p.direction = direction
		}
	}
	if p.direction != "sendrecv" && !policy.anyDirection {
		return refuse(RuleDirection, "direction must be sendrecv")
	}
	return nil
}

// checkSources wants one source: the relay rewrites whatever comes to a single SSRC, and two of them would be
// woven into one broken stream.
func checkSources(d *description) error {
	var ssrcs []string
	for _, v := range d.all("ssrc") {
		ssrc, _, _ := strings.Cut(v, " ")
		if _, err := strconv.ParseUint(ssrc, 10, 32); err != nil {
			return refuse(RuleSSRC, "malformed ssrc")
		}
		if !slices.Contains(ssrcs, ssrc) {
			ssrcs = append(ssrcs, ssrc)
		}
	}
	if len(ssrcs) > 1 || len(d.all("ssrc-group")) > 0 {
		return refuse(RuleSSRC, "a single audio SSRC is allowed")
	}
	var tracks []string
	for _, m := range d.all("msid") {
		if !slices.Contains(tracks, m) {
			tracks = append(tracks, m)
		}
	}
	if len(tracks) > 1 {
		return refuse(RuleSSRC, "a single audio track is allowed")
	}
	return nil
}

// checkCodecs wants Opus, or a codec that the number's settings enable. The call is in the first of them: whoever
// answers puts what he prefers first, RFC 3264 section 6.1, and Meta's answers keep the order of the offer.
func (p *peer) checkCodecs(d, offer *description, policy sdpPolicy) error {
	p.codecs = d.codecs()
	first := slices.IndexFunc(p.codecs, func(c codec) bool { _, ok := policy.codecOf(c); return ok })
	if first < 0 {
		return refuse(RuleOpus, "opus/48000/2 is required")
	}
	p.codec, _ = policy.codecOf(p.codecs[first])
	p.payload = p.codecs[first].payloadType()
	if event := slices.IndexFunc(p.codecs, func(c codec) bool { return c.is("telephone-event/8000") }); event >= 0 {
		p.dtmf = p.codecs[event].payloadType()
	}
	if offer == nil {
		return nil
	}
	for _, c := range p.codecs {
		// An answer may only name what was offered, under the offer's numbers, RFC 3264 section 6.1.
		match := slices.IndexFunc(offer.codecs(), func(o codec) bool { return o.payload == c.payload })
		switch {
		case strings.HasPrefix(strings.ToLower(c.mapping), "telephone-event/") && !c.is("telephone-event/8000"):
			return refuse(RuleDTMF, "the clock rate of telephone-event must be 8000")
		case match < 0 || !c.is(offer.codecs()[match].mapping):
			return refuse(RulePayload, "payload type "+c.payload+" was not offered with this codec")
		}
	}
	return nil
}

func checkPtime(d *description, policy sdpPolicy) error {
	if policy.anyPtime {
		return nil
	}
	if v, ok := d.value("ptime"); ok && v != "20" {
		return refuse(RulePtime, "ptime must be 20")
	}
	if v, ok := d.value("maxptime"); ok {
		if n, err := strconv.Atoi(v); err != nil || n < 20 {
			return refuse(RulePtime, "maxptime must be at least 20")
		}
	}
	return nil
}

// remark notes what passes here but was never seen to pass at Meta.
func (p *peer) remark(d, offer *description) {
	p.extensions = d.all("extmap")
	p.mixed = len(d.all("extmap-allow-mixed")) > 0
	if len(d.all("cryptex")) > 0 {
		p.remarks = append(p.remarks, "a=cryptex: unproven at Meta, leave it out")
	}
	if offer != nil && len(p.extensions) > 0 && len(offer.all("extmap")) == 0 {
		p.remarks = append(p.remarks, "a=extmap: header extensions that were not offered")
	}
}
