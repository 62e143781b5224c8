package metaleg

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/pion/sdp/v3"
)

// offeredFmtp is what our offers say about Opus: packets of 20 ms, and FEC
// wanted, because the room's receivers use it. Pion's own description has none
// (see ownCodecs); an answer repeats Meta's.
const offeredFmtp = "minptime=20;useinbandfec=1"

// localSDP rewrites a description that Pion made and applied into the one that
// Meta gets. It changes the form and leaves out what Meta never sends and nobody
// has proven it to ignore; what the connection is made of (ICE credentials,
// candidates, fingerprint, setup, mid, codecs, SSRC) stays what Pion applied:
//
//   - one fingerprint, in the media section; more than one is refused (138008)
//   - one ssrc line with its cname, no plan B doubles, no ssrc-group
//   - candidates of component 1 over UDP only, for RTCP is multiplexed
//   - ptime:20 and maxptime:20, the only packet time Meta supports
//   - no extmap and nothing about it, no cryptex, no rtcp-rsize, no rtcp-fb
//
// It is pure: the same text in gives the same text out.
func localSDP(text string) (string, error) {
	var d sdp.SessionDescription
	if err := d.UnmarshalString(text); err != nil {
		return "", errors.New("read own description: it does not parse")
	}
	if len(d.MediaDescriptions) != 1 {
		return "", fmt.Errorf("read own description: %d media sections instead of one", len(d.MediaDescriptions))
	}
	m := d.MediaDescriptions[0]
	var w sdpWriter
	w.line("v=0")
	w.line("o=" + d.Origin.String())
	w.line("s=-")
	w.line("t=0 0")
	mid := w.need(&d, m, "mid")
	w.attribute("group", "BUNDLE "+mid)
	msid := w.need(&d, m, "msid")
	stream, _, _ := strings.Cut(msid, " ")
	w.attribute("msid-semantic", " WMS "+stream)
	w.line("m=audio " + strconv.Itoa(m.MediaName.Port.Value) + " UDP/TLS/RTP/SAVPF " + strings.Join(m.MediaName.Formats, " "))
	w.line("c=IN IP4 0.0.0.0")
	w.attribute("rtcp", "9 IN IP4 0.0.0.0")
	w.candidates(m)
	w.attribute("ice-ufrag", w.need(&d, m, "ice-ufrag"))
	w.attribute("ice-pwd", w.need(&d, m, "ice-pwd"))
	w.attribute("fingerprint", w.need(&d, m, "fingerprint"))
	setup := w.need(&d, m, "setup")
	w.attribute("setup", setup)
	w.attribute("mid", mid)
	w.line("a=sendrecv")
	if _, ok := m.Attribute("sendrecv"); !ok {
		w.missing = append(w.missing, "sendrecv")
	}
	w.attribute("msid", msid)
	w.line("a=rtcp-mux")
	w.codecs(m, setup == "actpass")
	w.attribute("maxptime", "20")
	w.attribute("ptime", "20")
	w.source(m)
	if len(w.missing) > 0 {
		return "", fmt.Errorf("read own description: it lacks %s", strings.Join(w.missing, ", "))
	}
	return w.text.String(), nil
}

// sdpWriter collects lines, and the names of attributes that were not there.
type sdpWriter struct {
	text    strings.Builder
	missing []string
}

func (w *sdpWriter) line(s string) { w.text.WriteString(s + "\r\n") }

func (w *sdpWriter) attribute(key, value string) { w.line("a=" + key + ":" + value) }

func (w *sdpWriter) need(d *sdp.SessionDescription, m *sdp.MediaDescription, key string) string {
	value, ok := attribute(d, m, key)
	if !ok {
		w.missing = append(w.missing, key)
	}
	return value
}

// candidates repeats each UDP candidate of the first component, without the
// credentials that Pion appends: "foundation component protocol priority address
// port typ type ..." (RFC 8839 section 5.1).
func (w *sdpWriter) candidates(m *sdp.MediaDescription) {
	for _, a := range m.Attributes {
		f := strings.Fields(a.Value)
		if a.Key != "candidate" || len(f) < 8 || f[1] != "1" || !strings.EqualFold(f[2], "udp") {
			continue
		}
		keep := f[:8]
		for i := 8; i+1 < len(f); i += 2 {
			if f[i] == "raddr" || f[i] == "rport" || f[i] == "generation" {
				keep = append(keep, f[i], f[i+1])
			}
		}
		w.attribute("candidate", strings.Join(keep, " "))
	}
	if _, ok := m.Attribute("end-of-candidates"); ok {
		w.line("a=end-of-candidates")
	}
}

// codecs writes rtpmap and fmtp of each format of the m-line.
func (w *sdpWriter) codecs(m *sdp.MediaDescription, offer bool) {
	for _, format := range m.MediaName.Formats {
		name := formatAttribute(m, "rtpmap", format)
		if name == "" {
			w.missing = append(w.missing, "rtpmap")
			continue
		}
		w.attribute("rtpmap", format+" "+name)
		fmtp := formatAttribute(m, "fmtp", format)
		if fmtp == "" && offer && strings.EqualFold(name, "opus/48000/2") {
			fmtp = offeredFmtp
		}
		if fmtp != "" {
			w.attribute("fmtp", format+" "+fmtp)
		}
	}
}

// source writes the one source that Meta allows.
func (w *sdpWriter) source(m *sdp.MediaDescription) {
	for _, a := range m.Attributes {
		ssrc, rest, _ := strings.Cut(a.Value, " ")
		if a.Key == "ssrc" && strings.HasPrefix(rest, "cname:") {
			w.attribute("ssrc", ssrc+" "+rest)
			return
		}
	}
	w.missing = append(w.missing, "ssrc")
}

func formatAttribute(m *sdp.MediaDescription, key, format string) string {
	for _, a := range m.Attributes {
		if pt, value, _ := strings.Cut(a.Value, " "); a.Key == key && pt == format {
			return value
		}
	}
	return ""
}
