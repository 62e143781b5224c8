package metaleg

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/pion/ice/v4"
	"github.com/pion/sdp/v3"

	"github.com/livekit-connector/livekit-connector/media"
)

// sdpError is a description from Meta that cannot be used. It says why in our own
// words; what Meta sent stays out, because it holds ICE credentials.
type sdpError struct{ reason string }

func (e *sdpError) Error() string { return ErrSDP.Error() + ": " + e.reason }
func (e *sdpError) Unwrap() error { return ErrSDP }

func sdpErrorf(format string, args ...any) error {
	return &sdpError{fmt.Sprintf(format, args...)}
}

// known returns value if it is one of the words it may be, and a stand-in
// otherwise, so that nothing of a description gets into an error.
func known(value string, words ...string) string {
	if slices.Contains(words, value) {
		return value
	}
	if value == "" {
		return "(none)"
	}
	return "(unknown)"
}

// remoteSDP is what matters of a description from Meta.
type remoteSDP struct {
	mid     string
	setup   string    // actpass, active or passive
	offered []payload // all of its codecs that we know, in its order
	audio   payload   // the one that is used
	// event is the payload type of RTP events; hasEvent says whether there are any.
	event    uint8
	hasEvent bool
}

// parseRemote checks that text is a description a call can be made with: exactly
// one audio stream over DTLS-SRTP with an ICE-lite peer, in a codec that choose
// takes. It refuses everything else with a reason, before Pion sees it.
func parseRemote(text string, choose func([]payload) (payload, bool)) (*remoteSDP, error) {
	if strings.TrimSpace(text) == "" {
		return nil, sdpErrorf("it is empty")
	}
	var d sdp.SessionDescription
	if err := d.UnmarshalString(text); err != nil {
		return nil, sdpErrorf("it does not parse as SDP") // err quotes the text
	}
	audio, err := onlyAudio(&d)
	if err != nil {
		return nil, err
	}
	r := &remoteSDP{}
	for _, check := range []func(*sdp.SessionDescription, *sdp.MediaDescription) error{
		checkTransport, checkICE, checkExtensions, checkFingerprint, r.readSetup, r.readMid, checkDirection, r.readFormats,
	} {
		if err := check(&d, audio); err != nil {
			return nil, err
		}
	}
	chosen, ok := choose(r.offered)
	if !ok {
		return nil, r.noCodec()
	}
	r.audio = chosen
	return r, nil
}

// noCodec says why none of the codecs is used.
func (r *remoteSDP) noCodec() error {
	if len(r.offered) > 0 {
		return sdpErrorf("it has no opus/48000/2, only G.711, which the setting media.g711 does not allow")
	}
	return sdpErrorf("it has no opus/48000/2")
}

func onlyAudio(d *sdp.SessionDescription) (*sdp.MediaDescription, error) {
	var audio *sdp.MediaDescription
	for _, m := range d.MediaDescriptions {
		switch {
		case m.MediaName.Media != "audio":
			return nil, sdpErrorf("it has a media section that is not audio: %s",
				known(m.MediaName.Media, "video", "application", "text", "message", "image"))
		case audio != nil:
			return nil, sdpErrorf("it has more than one audio section")
		case m.MediaName.Port.Value == 0:
			return nil, sdpErrorf("its audio is rejected (port 0)")
		}
		audio = m
	}
	if audio == nil {
		return nil, sdpErrorf("it has no audio")
	}
	return audio, nil
}

// checkTransport refuses SDES, the other key exchange that a number can be set to
// (a=crypto with RTP/SAVP), by its name: the remedy is a setting of the number.
func checkTransport(_ *sdp.SessionDescription, m *sdp.MediaDescription) error {
	if _, sdes := m.Attribute("crypto"); sdes {
		return sdpErrorf("it uses SDES (a=crypto); set the number's srtp_key_exchange_protocol to DTLS")
	}
	protocol := strings.Join(m.MediaName.Protos, "/")
	if protocol != "UDP/TLS/RTP/SAVPF" {
		return sdpErrorf("its transport is %s, not UDP/TLS/RTP/SAVPF",
			known(protocol, "RTP/AVP", "RTP/SAVP", "RTP/AVPF", "RTP/SAVPF", "UDP/TLS/RTP/SAVP"))
	}
	if _, mux := m.Attribute("rtcp-mux"); !mux {
		return sdpErrorf("it has no rtcp-mux")
	}
	return nil
}

func checkICE(d *sdp.SessionDescription, m *sdp.MediaDescription) error {
	if _, lite := attribute(d, m, "ice-lite"); !lite {
		return sdpErrorf("its sender is not ice-lite, so the roles of ICE are undefined")
	}
	ufrag, _ := attribute(d, m, "ice-ufrag")
	pwd, _ := attribute(d, m, "ice-pwd")
	switch { // RFC 8839 section 5.4
	case len(ufrag) < 4 || !iceChars(ufrag):
		return sdpErrorf("ice-ufrag is missing or malformed")
	case len(pwd) < 22 || !iceChars(pwd):
		return sdpErrorf("ice-pwd is missing or malformed")
	}
	return checkCandidates(m)
}

// checkCandidates reads all of them, because Pion applies a description up to the first that it cannot read, and then takes
// no better one.
func checkCandidates(m *sdp.MediaDescription) error {
	n, usable := 0, false
	for _, a := range m.Attributes {
		if a.Key != "candidate" {
			continue
		}
		n++
		c, err := ice.UnmarshalCandidate(a.Value)
		if err != nil {
			return sdpErrorf("candidate %d cannot be read", n)
		}
		usable = usable || c.Component() == 1 && c.NetworkType().IsUDP()
	}
	if !usable {
		return sdpErrorf("it has no UDP candidate, and an ice-lite peer finds no others")
	}
	return nil
}

// checkExtensions reads the header extensions for the same reason; none of them is used.
func checkExtensions(_ *sdp.SessionDescription, m *sdp.MediaDescription) error {
	for _, a := range m.Attributes {
		var e sdp.ExtMap
		if a.Key == sdp.AttrKeyExtMap && e.Unmarshal(a.String()) != nil {
			return sdpErrorf("a header extension (extmap) cannot be read")
		}
	}
	return nil
}

// iceChars allows "=" beside the characters of RFC 8839: live offers of Meta have
// passwords in padded base64.
func iceChars(s string) bool {
	for _, c := range s {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '+', c == '/', c == '=':
		default:
			return false
		}
	}
	return true
}

func checkFingerprint(d *sdp.SessionDescription, m *sdp.MediaDescription) error {
	value, ok := attribute(d, m, "fingerprint")
	if !ok {
		return sdpErrorf("it has no fingerprint")
	}
	hash, digest, _ := strings.Cut(value, " ")
	if !strings.EqualFold(hash, "sha-256") {
		return sdpErrorf("its fingerprint is %s, not sha-256", known(strings.ToLower(hash), "sha-1", "sha-384", "sha-512"))
	}
	raw, err := hex.DecodeString(strings.ReplaceAll(strings.TrimSpace(digest), ":", ""))
	if err != nil || len(raw) != 32 {
		return sdpErrorf("its sha-256 fingerprint is malformed")
	}
	return nil
}

func (r *remoteSDP) readSetup(d *sdp.SessionDescription, m *sdp.MediaDescription) error {
	r.setup, _ = attribute(d, m, "setup")
	switch r.setup {
	case "actpass", "active", "passive":
		return nil
	default:
		return sdpErrorf("its setup is %s, not actpass, active or passive", known(r.setup, "holdconn"))
	}
}

func (r *remoteSDP) readMid(_ *sdp.SessionDescription, m *sdp.MediaDescription) error {
	if r.mid, _ = m.Attribute("mid"); r.mid == "" {
		return sdpErrorf("its audio section has no mid")
	}
	return nil
}

func checkDirection(d *sdp.SessionDescription, m *sdp.MediaDescription) error {
	for _, direction := range []string{"sendonly", "recvonly", "inactive"} {
		if _, ok := attribute(d, m, direction); ok {
			return sdpErrorf("its audio is %s, not sendrecv", direction)
		}
	}
	return nil
}

// known mappings of formats that need no rtpmap (RFC 3551 section 6).
var staticFormats = map[string]string{"0": "pcmu/8000", "8": "pcma/8000"}

// audioCodecs by the names that rtpmap gives them, in lower case.
var audioCodecs = map[string]media.Codec{
	"opus/48000/2": media.CodecOpus,
	"pcmu/8000":    media.CodecPCMU, "pcmu/8000/1": media.CodecPCMU,
	"pcma/8000": media.CodecPCMA, "pcma/8000/1": media.CodecPCMA,
}

// readFormats notes the codecs of the m-line in its order, and the events.
func (r *remoteSDP) readFormats(_ *sdp.SessionDescription, m *sdp.MediaDescription) error {
	for _, format := range m.MediaName.Formats {
		typ, err := strconv.ParseUint(format, 10, 7)
		if err != nil {
			continue
		}
		name := strings.ToLower(strings.TrimSpace(formatAttribute(m, "rtpmap", format)))
		if name == "" {
			name = staticFormats[format]
		}
		if codec, ok := audioCodecs[name]; ok {
			r.offered = append(r.offered, payload{codec, uint8(typ)})
		}
		if name == "telephone-event/8000" {
			r.event, r.hasEvent = uint8(typ), true
		}
	}
	return nil
}

// attribute looks in the media section first, then in the session's part.
func attribute(d *sdp.SessionDescription, m *sdp.MediaDescription, key string) (string, bool) {
	if value, ok := m.Attribute(key); ok {
		return value, true
	}
	return d.Attribute(key)
}
